"""What the parts of the upload stage share: its tools, and who owns what."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, TypeVar

from consumer.errors import ConfigurationError, PartitionHalt, PosConsumerError
from consumer.target.backoff import full_jitter
from consumer.target.expiry import token_expiry
from consumer.telemetry.logging import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    import pyarrow as pa

    from consumer.clock import Clock
    from consumer.config import Settings
    from consumer.kafka.profiles_ranges import ProfilesRanges
    from consumer.kafka.rejected_rows import RejectedRows
    from consumer.kafka.uploads_ledger import UploadsLedger
    from consumer.stages.call_gate import CallGate
    from consumer.stages.upload_report import UploadReport
    from consumer.stages.upload_token import TokenKeeper
    from consumer.target.client import TargetClient
    from consumer.target.pending import Pending
    from consumer.telemetry.metrics import Metrics

P = ParamSpec("P")
R = TypeVar("R")

AUTHORISATION_PAUSE: Final = 30.0
"""Seconds between two tries while Target refuses the token."""

log = get_logger(__name__)


class Renderer(Protocol):
    """Renders profile records to rows; `profiles.rows.RowRenderer` is one."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names sent, in order."""
        ...

    def rows(self, values: Sequence[bytes]) -> pa.RecordBatch:
        """Render records to `visitor`, `version`, `generation` and the attributes."""
        ...


class Blocking(Protocol):
    """Runs a blocking function beside the event loop, as `asyncio.to_thread` does."""

    async def __call__(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return what the function returns."""
        ...


class Worker:
    """One thread for columnar work, so that the event loop is never blocked.

    What runs here runs one after the other: it is what guards `Pending`.
    """

    def __init__(self) -> None:
        """Start no thread yet."""
        self._thread = ThreadPoolExecutor(1, "upload-columns")

    async def __call__(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run the function on the thread and return what it returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, lambda: function(*args, **kwargs)
        )

    def close(self) -> None:
        """End the thread once it is idle."""
        self._thread.shutdown(wait=True)


@dataclass(slots=True)
class UploadContext:
    """The tools of the upload stage, composed by `UploadStage`.

    `calling` are the partitions whose slots may be used and whose rows may be sent,
    `held` those whose answers still count, each with the epoch of its assignment; a
    partition that leaves is first taken from `calling`. What was read or sealed in one
    epoch is not sent in another. `confirmed` tells whether the group has counted us in
    lately (who was frozen knows of no loss until it has asked), and whether partitions
    have no epoch that the loop has yet to hear of. `changed` is set whenever rows
    or batches have moved. `put_down` are the offsets of rows that Target refuses, by
    partition: they are not sent again for an older batch. `renew` takes up what was
    announced lately, and blocks; `give_up` leaves a partition to its next owner.
    `refused` and `failing` show that Target takes no token, or no file, and why; with
    nothing, that it does.
    """

    settings: Settings
    clock: Clock
    metrics: Metrics
    report: UploadReport
    renderer: Renderer
    pending: Pending
    ledger: UploadsLedger
    rejected: RejectedRows
    ranges: ProfilesRanges
    client: TargetClient
    worker: Worker
    gate: CallGate
    commit: Callable[[], Awaitable[None]]
    halt: Callable[[int, PartitionHalt], Awaitable[None]]
    refused: Callable[[str], None]
    failing: Callable[[str], None]
    confirmed: Callable[[Iterable[int]], bool]
    renew: Callable[[], bool]
    give_up: Callable[[int, PartitionHalt], Awaitable[None]]
    blocking: Blocking = asyncio.to_thread
    random: Random = field(default_factory=Random)
    calling: set[int] = field(default_factory=set)
    held: dict[int, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    put_down: dict[int, set[int]] = field(default_factory=dict)
    last_token: str = field(default="", repr=False)
    keeper: TokenKeeper | None = None

    async def readable(
        self, partition: int, read: Callable[[], Awaitable[R]]
    ) -> R | None:
        """Read profiles of a partition; None once it was given up.

        That is where a replica with a newer configuration has written: ours would
        leave out what it added, and nobody would send it after us.
        """
        try:
            return await read()
        except PartitionHalt:
            await self.durably("reading the control topic", self.renew)
        try:
            return await read()
        except PartitionHalt as halt:
            await self.give_up(partition, halt)
            return None

    def token(self) -> str:
        """Return the profile token as it is now, or nothing; a file is read anew.

        A file that cannot be read is no token: Target refuses the call, uploads pause
        and go on by themselves once it can be read.
        """
        if self.keeper is not None:
            return self.keeper.text
        secret = self.settings.target.token
        try:
            token = "" if secret is None else secret.read("target.token")
        except ConfigurationError as error:
            log.warning("The profile token cannot be read.", error=str(error))
            return ""
        if token != self.last_token:
            self.last_token = token
            self.show_expiry(token_expiry(token))
        return token

    def show_expiry(self, expiry: float | None) -> None:
        """Show when the token ends (seconds since the epoch), or that it is unknown."""
        gauge = self.metrics.token_expiry_timestamp_seconds
        if expiry is None:
            gauge.remove_by_labels({"token": "profile"})
        else:
            gauge.labels("profile").set(expiry)

    async def durably(
        self, doing: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a blocking function until the broker lets it succeed.

        Retriable errors are tried again with full jitter, for as long as it takes; any
        other is raised.
        """
        attempt = 0
        while True:
            try:
                return await self.blocking(function, *args, **kwargs)
            except PosConsumerError as error:
                if not error.retriable:
                    raise
                attempt += 1
                pause = full_jitter(attempt, self.random.random)
                log.warning(
                    "Kafka does not answer; trying again.",
                    doing=doing,
                    error=str(error),
                    attempt=attempt,
                )
                await self.clock.sleep(pause)
