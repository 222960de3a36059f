"""Several replicas of one application, whose configurations change under way."""

from __future__ import annotations

import asyncio
import sys
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Final, Self

import pytest
from confluent_kafka import Consumer, TopicPartition

from consumer.sandbox.demo.service_process import Metrics, read_metrics
from consumer.sandbox.demo.work import Work, configure
from consumer.sandbox.supervised import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

SECONDS: Final = 60.0
# A killed member holds its partitions until its session ends.
IMPATIENT: Final = """
[kafka.consumer]
"session.timeout.ms" = 6000
"heartbeat.interval.ms" = 1000
"""


class Replica:
    """One process of the service, its folder and its configuration."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._process: SupervisedProcess | None = None

    def change(self, old: str, new: str) -> None:
        """Replace a part of the configuration, which must be there."""
        text = self.work.config.read_text(encoding="utf-8")
        assert old in text
        self.work.config.write_text(text.replace(old, new), encoding="utf-8")

    def start(self, *arguments: str, failpoint: str = "") -> Self:
        """Start it, or start it again, with orders for its failpoints."""
        self.close()
        self._process = command(self.work, "run", *arguments, failpoint=failpoint)
        self._process.start()
        return self

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.running

    async def ended(self, seconds: float = SECONDS) -> int | None:
        """Wait for its end; its exit code, None if it goes on."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, seconds)

    async def drain(self) -> None:
        """Stop it in order."""
        assert self._process is not None
        self._process.send_signal(SIGTERM)
        assert await self.ended(40.0) == 0

    async def metrics(self) -> Metrics:
        """Scrape it; it must run."""
        assert self.running, f"it has ended; see {self.work.log}"
        return await asyncio.to_thread(read_metrics, self.work.port)

    def close(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            self._process.send_signal(SIGKILL)
            self._process.close()
            self._process = None


def command(
    work: Work, *arguments: str, failpoint: str = "", log: Path | None = None
) -> SupervisedProcess:
    """Make a process of the command line, which ends with its owner."""
    variables = [f"POS_CONSUMER_FAILPOINT={failpoint}"] if failpoint else []
    how = [sys.executable, "-m", "consumer", "--config", str(work.config)]
    return SupervisedProcess(["env", *variables, *how, *arguments], log=log or work.log)


class Replicas:
    """A context manager that ends every replica it made."""

    def __init__(
        self,
        folder: Path,
        *,
        bootstrap: str,
        endpoint: str,
        application: str,
        topic: str,
    ) -> None:
        self.all: list[Replica] = []
        self._folder = folder
        self._bootstrap = bootstrap
        self._endpoint = endpoint
        self._application = application
        self._topic = topic

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in self.all:
            one.close()

    def add(self) -> Replica:
        """Configure one more, in a folder of its own; it does not run."""
        folder = self._folder / f"replica-{len(self.all)}"
        folder.mkdir()
        work = configure(
            folder,
            bootstrap=self._bootstrap,
            endpoint=self._endpoint,
            application=self._application,
            topic=self._topic,
            more=IMPATIENT,
        )
        replica = Replica(work)
        replica.change("calls_per_minute = 50", "calls_per_minute = 600")
        replica.change('max_age = "2s"', 'max_age = "500ms"')
        self.all.append(replica)
        return replica


async def until(
    replica: Replica,
    reached: Callable[[Metrics], bool],
    otherwise: str,
    seconds: float = SECONDS,
) -> None:
    """Scrape a replica until a condition holds."""
    for _ in range(int(seconds * 5)):
        if reached(await replica.metrics()):
            return
        await asyncio.sleep(0.2)
    pytest.fail(f"{otherwise}; see {replica.work.log}")


def ready(scrape: Metrics) -> bool:
    """Whether it has restored what it was assigned."""
    return scrape.total("pos_consumer_ready") == 1


def commits(scrape: Metrics) -> bool:
    """Whether it has committed some transactions."""
    return scrape.total("pos_consumer_transactions_total", result="committed") > 2


def halted(scrape: Metrics, stage: str, reason: str | None = None) -> int:
    """Count a stage's partitions that are halted, for a reason or at all."""
    labels = {"stage": stage} | ({} if reason is None else {"reason": reason})
    return int(scrape.total("pos_consumer_partition_halted", **labels))


async def folded(
    bootstrap: str, application: str, topic: str, seconds: float = 2 * SECONDS
) -> None:
    """Wait until every purchase that is in the topic now has been folded."""
    for _ in range(int(seconds * 2)):
        if not await asyncio.to_thread(_left, bootstrap, application, topic):
            return
        await asyncio.sleep(0.5)
    pytest.fail("not everything was folded")


def _left(bootstrap: str, application: str, topic: str) -> int:
    """Count the purchases that are not committed as folded."""
    asker = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{application}-aggregate",  # to see its commits, never joined
        }
    )
    try:
        known = asker.list_topics(topic, timeout=10.0).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in known]
        left = 0
        for place in asker.committed(places, timeout=10.0):
            low, high = asker.get_watermark_offsets(place, timeout=10.0)
            left += high - max(low, place.offset)
        return left
    finally:
        asker.close()
