"""Each alert is seen firing, by a fault that the sandbox or this test causes.

The rules' windows are shortened by one factor, all alike, so that minutes are seconds;
what they compare and against what stays as it is. Only the age of an open transaction
is shortened, too, and the time after which a confirmed row is looked up; a loop that
does not move is waited for in full.
"""

from __future__ import annotations

import asyncio
import re
import resource
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import pytest
import yaml
from confluent_kafka import Consumer, Producer

from consumer.failpoints import VARIABLE
from consumer.sandbox.demo.service_process import ServiceProcess, run_command
from consumer.sandbox.demo.work import configure
from consumer.sandbox.ports import free_port
from consumer.sandbox.prometheus import RULES
from consumer.sandbox.target import Fault, FaultKind
from consumer.sandbox.target.faults import ALWAYS
from consumer.sandbox.target.options import TargetOptions
from dashboards import thresholds
from dashboards.rules import ALERTS
from tests.observe import impatient
from tests.observe.site import (
    APPLICATION,
    JOB,
    PARTITIONS,
    TOPIC,
    VISITORS,
    configured,
    foreign_key,
    read_records,
    site,
)
from tests.observe.test_healthy import jwt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from confluent_kafka import Message

    from tests.observe.site import Site

PATIENCE: Final = 240.0
# What comes again and again takes its time on a machine with much else to do.
SLOWER: Final = {"PosConsumerRebalancing": 5, "PosConsumerTransactionsFailing": 10}
TOO_OLD_HOURS: Final = 2.0
BURNS: Final = {
    f"PosConsumer{what}Burn{speed}"
    for what in ("Freshness", "Delivery")
    for speed in ("Fast", "Steady", "Slow")
}
OF_TARGET: Final = BURNS | {
    "PosConsumerDeadLetters",
    "PosConsumerBudgetExhausted",
    "PosConsumerBatchesStuck",
    "PosConsumerRowsFailing",
    "PosConsumerThrottled",
    "PosConsumerAuthRefused",
    "PosConsumerUploadStuck",
    "PosConsumerTokenExpiring",
}
OF_ROWS: Final = {
    "PosConsumerProfilesNotFound",
    "PosConsumerRowsRejected",
    "PosConsumerRowsLost",
}
OF_KAFKA: Final = {
    "PosConsumerVersionWentBack",
    "PosConsumerTransactionHanging",
    "PosConsumerStalled",
    "PosConsumerPartitionUnowned",
    "PosConsumerRebalancing",
    "PosConsumerTransactionsFailing",
    "PosConsumerPartitionHalted",
    "PosConsumerDegraded",
    "PosConsumerOpenFiles",
    "PosConsumerNotReady",
    "PosConsumerLoopStalled",
    "PosConsumerDown",
}


def test_no_alert_is_left_out() -> None:
    """Each has a fault below."""
    assert {alert.name for alert in ALERTS} == OF_TARGET | OF_ROWS | OF_KAFKA


def faster(folder: Path, times: int) -> Path:
    """Write the rules with all their durations shortened."""
    rules = yaml.safe_load(RULES.read_text("utf-8"))
    for rule in rules["groups"][0]["rules"]:
        by = min(times, SLOWER.get(rule["alert"], times))
        rule["for"] = shortened(rule["for"], by)
        for window in set(re.findall(r"(?<=[\[:])\d+[smhd]\b", rule["expr"])):
            rule["expr"] = re.sub(
                rf"(?<=[\[:]){window}\b", shortened(window, by), rule["expr"]
            )
        if rule["alert"] == "PosConsumerTransactionHanging":
            age = f"> {thresholds.UNSTABLE_SECONDS}"
            assert rule["expr"].count(age) == 1
            shorter = f"> {thresholds.UNSTABLE_SECONDS // by}"
            rule["expr"] = rule["expr"].replace(age, shorter)
    path = folder / "faster.yml"
    path.write_text(yaml.safe_dump(rules), "utf-8")
    return path


def shortened(duration: str, times: int) -> str:
    """Return a duration in whole seconds, at least one."""
    seconds = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    return f"{max(1, int(duration[:-1]) * seconds[duration[-1]] // times)}s"


async def fires(running: Site, *names: str) -> None:
    """Wait until the alerts have fired."""
    deadline = time.monotonic() + PATIENCE
    while not set(names) <= set(await asyncio.to_thread(running.prometheus.fired)):
        if time.monotonic() > deadline:
            now = running.prometheus.alerts()
            states = [(one["labels"]["alertname"], one["state"]) for one in now]
            raise AssertionError(names, states)
        await asyncio.sleep(0.5)


async def test_faults_of_target_and_of_tills_raise_their_alerts(
    tmp_path: Path,
) -> None:
    """Refusals, delays, an account with too few calls, a token near its end."""
    token = tmp_path / "token"
    token.write_text(jwt(days=2), "utf-8")
    values = {
        "client": f'client = "acme"\ntoken = {{ file = "{token}" }}',
        "calls_per_minute": "calls_per_minute = 60",
        "reserve": "reserve = 0",
        "max_age": 'max_age = "500ms"',
        "first_poll": 'first_poll = "500ms"',
    }
    options = TargetOptions(processing_time=0.2, calls_per_minute=100_000)

    async with site(
        tmp_path, rules=faster(tmp_path, 60), options=options, values=values
    ) as running:
        running.till.poison = 0.05

        async def causes(fault: Fault, *names: str) -> None:
            running.target.order(fault)
            await fires(running, *names)
            running.target.account.faults.cancel()

        await fires(running, "PosConsumerDeadLetters", "PosConsumerBudgetExhausted")
        await causes(Fault(FaultKind.STUCK, calls=3), "PosConsumerBatchesStuck")
        await causes(
            Fault(FaultKind.FAILED_UPDATES, calls=ALWAYS, rows=500),
            "PosConsumerRowsFailing",
        )
        running.till.hours_old = TOO_OLD_HOURS
        await fires(running, *BURNS)
        await causes(Fault(FaultKind.HTTP_429, calls=ALWAYS), "PosConsumerThrottled")
        await causes(
            Fault(FaultKind.UNAUTHORIZED, calls=ALWAYS), "PosConsumerAuthRefused"
        )
        await causes(Fault(FaultKind.HTTP_503, calls=ALWAYS), "PosConsumerUploadStuck")
        await fires(running, "PosConsumerTokenExpiring")
        assert set(running.prometheus.fired()) >= OF_TARGET


async def test_rows_that_come_to_nothing_raise_their_alerts(tmp_path: Path) -> None:
    """Visitors that the bulk API's first version does not know, a row that it refuses.

    Another application's rows are told as stored, and are not.
    """
    sampling = f"127.0.0.1:{free_port()}"
    values = {
        "client": 'client = "acme"\napi = "v1"',
        "calls_per_minute": "calls_per_minute = 600",
        "max_age": 'max_age = "500ms"',
        "first_poll": 'first_poll = "500ms"',
    }
    options = TargetOptions(processing_time=0.2, calls_per_minute=100_000)
    async with site(
        tmp_path,
        rules=faster(tmp_path, 60),
        options=options,
        values=values,
        jobs={f"{JOB}-sampling": sampling},
    ) as running:
        await fires(running, "PosConsumerProfilesNotFound")
        # Not in every file: each that holds it is divided down to its row.
        sent = Counter(row.visitor for row in running.target.journal.rows())
        refused = sorted(sent, key=lambda visitor: sent[visitor])[len(sent) // 2]
        running.target.order(
            Fault(FaultKind.UNSUCCESSFUL, calls=ALWAYS, message="No", visitor=refused)
        )
        await fires(running, "PosConsumerRowsRejected")
        running.target.account.faults.cancel()
        running.target.order(Fault(FaultKind.SWALLOWED, calls=ALWAYS, rows=VISITORS))
        looks_up = values | {
            "client": 'client = "acme"',
            "first_poll": 'first_poll = "500ms"\nsample = 1.0',
        }
        with ExitStack() as stack:
            await asyncio.to_thread(
                start_another,
                running,
                tmp_path / "sampling",
                sampling,
                looks_up,
                stack,
                module=impatient.__name__,
            )
            await fires(running, "PosConsumerRowsLost")


async def test_faults_of_kafka_and_of_the_process_raise_their_alerts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers in our topics and groups, a hung loop, a missing broker, a kill."""
    hung, waiting = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    jobs = {f"{JOB}-hung": hung, f"{JOB}-waiting": waiting}
    options = TargetOptions(processing_time=0.2, calls_per_minute=100_000)
    values = {"max_age": 'max_age = "2s"'}
    async with site(
        tmp_path,
        rules=faster(tmp_path, 30),
        options=options,
        values=values,
        jobs=jobs,
    ) as running:
        with ExitStack() as stack:
            monkeypatch.setenv(VARIABLE, "before-fold:3:sleep=600")
            log = await asyncio.to_thread(
                start_another, running, tmp_path / "hung", hung, {}, stack
            )
            monkeypatch.delenv(VARIABLE)
            start_waiting(tmp_path, waiting, stack)
            await fires(running, "PosConsumerNotReady")
            with few_files(running), older_copies(running):
                await fires(
                    running, "PosConsumerOpenFiles", "PosConsumerVersionWentBack"
                )
            for cause, names in (
                (
                    open_transactions,
                    ["PosConsumerTransactionHanging", "PosConsumerStalled"],
                ),
                (stranger_stays, ["PosConsumerPartitionUnowned"]),
                (strangers_come_and_go, ["PosConsumerRebalancing"]),
                (copied_state, ["PosConsumerTransactionsFailing"]),
                (a_foreign_key, ["PosConsumerPartitionHalted", "PosConsumerDegraded"]),
            ):
                with cause(running):
                    await fires(running, *names)
            await fires(running, "PosConsumerLoopStalled")
            check_hung(hung, log.read_text("utf-8"))
        running.replicas[0].kill()
        await fires(running, "PosConsumerDown")
        assert set(running.prometheus.fired()) >= OF_KAFKA


def start_another(  # noqa: PLR0913 - what differs
    running: Site,
    folder: Path,
    address: str,
    values: Mapping[str, str],
    stack: ExitStack,
    *,
    module: str = "consumer",
) -> Path:
    """Start another application, named like its folder; its log."""
    port = address.rpartition(":")[2]
    work = configured(
        folder,
        running.kafka,
        running.target,
        {"port": f"port = {port}", **values},
        application=folder.name,
    )
    run_command(work.config, "topics", "create")
    stack.enter_context(ServiceProcess(work, module=module))
    return work.log


def start_waiting(folder: Path, address: str, stack: ExitStack) -> None:
    """Start another one that finds no broker."""
    nobody = f"127.0.0.1:{free_port()}"
    work = configure(
        folder / "waiting",
        bootstrap=nobody,
        endpoint="http://127.0.0.1:1",
        application="waiting",
        topic=TOPIC,
    )
    text = work.config.read_text("utf-8")
    port = f"port = {address.rpartition(':')[2]}"
    text = re.sub(r"^port = .*$", port, text, flags=re.MULTILINE)
    work.config.write_text(text, "utf-8")
    stack.enter_context(ServiceProcess(work))


def check_hung(address: str, log: str) -> None:
    """/livez fails and names the loop; the log has the stack that it hangs in."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://{address}/livez")
    assert caught.value.code == 503
    assert caught.value.read().decode().startswith("aggregate has not moved for ")
    with urllib.request.urlopen(f"http://{address}/readyz") as answer:
        assert answer.status == 200
    assert log.count("A loop does not move") == 1
    assert "in failpoint" in log or "_carry_out" in log


@contextmanager
def few_files(running: Site) -> Iterator[None]:
    """Let the process come near its limit of open files."""
    pid = running.replicas[0].pid
    while not (found := running.prometheus.query(f'process_open_fds{{job="{JOB}"}}')):
        time.sleep(0.5)
    (used,) = found
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    few = int(float(used["value"][1]) / (thresholds.OPEN_FILES_SHARE + 0.05))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextmanager
def older_copies(running: Site) -> Iterator[None]:
    """Write copies of old profiles, in the wrong order, as a restored backup does."""
    profiles = f"{APPLICATION}.profiles"
    copies: dict[object, list[Message]] = {}
    for record in read_records(running, profiles, 0, 500):
        copies.setdefault(record.key(), []).append(record)
    producer = Producer({"bootstrap.servers": running.kafka.bootstrap})
    for record in reversed(max(copies.values(), key=len)):
        producer.produce(
            profiles, record.value(), record.key(), 0, headers=record.headers()
        )
    producer.flush(10.0)
    yield


@contextmanager
def open_transactions(running: Site) -> Iterator[None]:
    """Begin a transaction in every partition of the purchases and leave it open."""
    value = read_records(running, TOPIC, 0, 1)[0].value()
    producer = Producer(
        {
            "bootstrap.servers": running.kafka.bootstrap,
            "transactional.id": "till",
            "transaction.timeout.ms": 600_000,
        }
    )
    producer.init_transactions(10.0)
    producer.begin_transaction()
    for partition in range(PARTITIONS):
        producer.produce(TOPIC, value, b"nobody", partition)
    producer.flush(10.0)
    yield
    producer.abort_transaction(10.0)


def stranger(running: Site, leave: threading.Event, *, content: bool = False) -> None:
    """Be a member of our group until told to leave, or content with some partitions."""
    consumer = Consumer(
        {
            "bootstrap.servers": running.kafka.bootstrap,
            "group.id": f"{APPLICATION}-aggregate",
            "partition.assignment.strategy": "cooperative-sticky",
            "heartbeat.interval.ms": 500,
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
        }
    )
    consumer.subscribe([TOPIC])
    while not (leave.is_set() or (content and consumer.assignment())):
        consumer.poll(0.1)
    consumer.close()


@contextmanager
def doing(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do something on a thread meanwhile, until the event is set."""
    leave = threading.Event()
    thread = threading.Thread(target=work, args=(leave,))
    thread.start()
    try:
        yield
    finally:
        leave.set()
        thread.join()


@contextmanager
def stranger_stays(running: Site) -> Iterator[None]:
    """Let somebody else's consumer hold some of our partitions."""
    with doing(lambda leave: stranger(running, leave)):
        yield


@contextmanager
def strangers_come_and_go(running: Site) -> Iterator[None]:
    """Let a replica crash again and again, as it looks to the group."""
    assigned = "pos_consumer_partition_assigned"
    whole = f'sum({assigned}{{job="{JOB}",stage="aggregate"}}) == {PARTITIONS}'

    def owns_all() -> bool:
        """Whether ours has got back what it gave: else the next takes just that."""
        return bool(running.prometheus.query(whole))

    def again(end: threading.Event) -> None:
        while not end.is_set():
            stranger(running, end, content=True)
            while not (owns_all() or end.wait(0.2)):
                pass

    with doing(again):
        yield


@contextmanager
def copied_state(running: Site) -> Iterator[None]:
    """Let another process use our transactional id, as a copied volume makes it."""
    name = running.works[0].folder / "state" / "replica-id"

    def fence(end: threading.Event) -> None:
        while not end.is_set():
            replica = name.read_text("utf-8").strip()
            producer = Producer(
                {
                    "bootstrap.servers": running.kafka.bootstrap,
                    "transactional.id": f"{APPLICATION}-{replica}",
                }
            )
            producer.init_transactions(10.0)
            end.wait(0.5)

    with doing(fence):
        yield


@contextmanager
def a_foreign_key(running: Site) -> Iterator[None]:
    """Let a till use another key than its visitor."""
    foreign_key(running)
    yield
