"""What keeps this process from its work here: each finding is fine, or what to do.

Nothing is changed, joined, written to Kafka or uploaded; Target is asked for its
address once, and for the profile token where that is fetched.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consumer.errors import PosConsumerError
from consumer.kafka.clients import check_options, wait_for_broker
from consumer.kafka.excerpt import Excerpt
from consumer.kafka.groups import group_members
from consumer.kafka.open_transactions import OpenTransactions
from consumer.kafka.partitioners import placed_by
from consumer.kafka.topics import TopicAdmin
from consumer.stages.doctor_records import halting, keys
from consumer.stages.doctor_schemas import look_at_schemas
from consumer.stages.finding import Finding
from consumer.stages.upload_connections import credentials_of
from consumer.target.client import TargetClient
from consumer.target.expiry import token_expiry
from consumer.target.token_api import TokenApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from consumer.clock import Clock
    from consumer.config import Settings
    from consumer.events.decode import Schemas
    from consumer.frames import Records

LEAST_CALLS: Final = 4
"""Calls a minute of one replica below which statuses and files wait for each other."""

LARGEST_SKEW: Final = 2.0
"""Seconds; beyond it slots of two replicas overlap by more than the reserve is for."""

LEAST_FREE: Final = 1_000_000_000
"""Bytes on the disk of the state directory."""

RECORDS_LOOKED_AT: Final = 500

SOON: Final = 7 * 86_400.0
"""Seconds before a token's end from which it is told."""

LONGEST_TRANSACTION: Final = 30.0
"""Seconds; ours end after ten, or in the broker's next round."""

UNTRIED: Final = "It can be read; whether Target takes it is not tried"

_NETWORK: Final = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "ceph", "9p")


async def examine(
    settings: Settings,
    clock: Clock,
    schemas: Callable[[], Schemas],
    *,
    patience: float,
    replicas: int | None,
) -> AsyncIterator[Finding]:
    """Look at everything, in the order in which a start would meet it.

    `schemas` opens the configured source of schemas.
    """
    yield _options(settings)
    reached = await _brokers(settings, clock, patience)
    yield reached
    partitions, newest = 0, None
    if reached.ok:
        found, partitions, newest = await asyncio.to_thread(_cluster, settings, clock)
        for finding in found:
            yield finding
    looked = await asyncio.to_thread(lambda: [*look_at_schemas(schemas, newest)])
    for finding in looked:
        yield finding
    if newest is not None and all(finding.ok for finding in looked):
        halted = await asyncio.to_thread(halting, settings, schemas, newest)
        if halted is not None:
            yield halted
    async for finding in _target(settings, clock):
        yield finding
    yield await _token(settings, clock)
    yield _disk(settings)
    if reached.ok:
        count = replicas
        if count is None:
            count = await asyncio.to_thread(_uploading, settings)
        yield budget(settings, partitions, count)


def _uploading(settings: Settings) -> int:
    """Count the replicas that upload now; one where that cannot be told."""
    try:
        return max(1, group_members(settings, settings.upload_group))
    except PosConsumerError:  # as on a cluster that never had a group
        return 1


def _options(settings: Settings) -> Finding:
    try:
        check_options(settings.kafka)
    except PosConsumerError as error:
        return Finding("configuration", error.what, error.remedy or "Correct [kafka].")
    names = ", ".join(settings.attributes)
    return Finding("configuration", f"It can be read; attributes: {names}.")


async def _brokers(settings: Settings, clock: Clock, patience: float) -> Finding:
    try:
        await wait_for_broker(settings, clock, patience)
    except PosConsumerError as error:
        return Finding("brokers", error.what, error.remedy)
    return Finding("brokers", f"{settings.kafka.bootstrap_servers} answers.")


def _cluster(
    settings: Settings, clock: Clock
) -> tuple[list[Finding], int, Records | None]:
    """Look at topics, keys and transactions; also gives partitions and records."""
    found, partitions = _topics(settings)
    ready = all(finding.ok for finding in found)
    newest = None
    if partitions:
        newest, failed = _newest(settings)
        if failed is not None:
            found.append(failed)
        elif newest is not None and not settings.rekeys:
            found.append(keys(placed_by(newest, partitions), partitions))
    if partitions and ready:
        found.append(_transactions(settings, clock, partitions))
    return found, partitions, newest


def _topics(settings: Settings) -> tuple[list[Finding], int]:
    try:
        specs, differences = TopicAdmin(settings).plan()
    except PosConsumerError as error:
        return [Finding("topics", error.what, error.remedy or "See the message.")], 0
    found = [
        Finding(
            "topics",
            one.what,
            f"{one.remedy} {one.command}".rstrip(),
        )
        for one in differences
    ]
    fine = Finding("topics", f"All {len(specs)} are there and set as they must be.")
    return found or [fine], specs[0].partitions


def _newest(settings: Settings) -> tuple[Records | None, Finding | None]:
    """Read the newest records, or say why not."""
    try:
        with Excerpt(settings, settings.topics.source) as excerpt:
            return excerpt.newest(RECORDS_LOOKED_AT), None
    except PosConsumerError as error:
        return None, Finding("records", error.what, error.remedy or "See the message.")


def _transactions(settings: Settings, clock: Clock, partitions: int) -> Finding:
    """Look for one that is open for longer than the service's own may be."""
    topic = settings.topics.profiles
    places = [(topic, number) for number in range(partitions)]
    try:
        found = OpenTransactions(settings, looks=1).look(places)
    except PosConsumerError as error:
        return Finding("transactions", error.what, error.remedy or "See the message.")
    old = [one for one in found if clock.now() - one.since > LONGEST_TRANSACTION]
    if not old:
        return Finding("transactions", f"None is left open on {topic}.")
    first = min(old, key=lambda one: one.since)
    more = f" So it is on {len(old) - 1} more partitions." if len(old) > 1 else ""
    return Finding("transactions", first.what + more, first.remedy(settings))


async def _target(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    endpoint = settings.target.endpoint
    async with TargetClient(endpoint, settings.target.client) as client:
        before = clock.now()
        reply = await client.status(f"{endpoint}/", "")
        middle = (before + clock.now()) / 2
    if reply.failure is not None:
        yield Finding(
            "target",
            f"{endpoint} does not answer ({reply.detail or reply.failure}).",
            "Check target.endpoint, the network, and that no proxy is needed: the "
            "service uses none.",
        )
        return
    yield Finding("target", f"{endpoint} answers.")
    told = (reply.headers or {}).get("date", "")
    try:
        theirs = parsedate_to_datetime(told).timestamp()
    except (TypeError, ValueError):
        yield Finding("clock", "Target does not tell the time; nothing to compare.")
        return
    skew = middle - theirs
    # the header has whole seconds: half of one is no skew
    if abs(skew - 0.5) > LARGEST_SKEW:
        yield Finding(
            "clock",
            f"This clock is {skew:+.1f} s off Target's.",
            "Set it by NTP: replicas share the calls by the clock.",
        )
    else:
        yield Finding("clock", "This clock agrees with Target's.")


async def _token(settings: Settings, clock: Clock) -> Finding:
    given = settings.target
    try:
        if (credentials := credentials_of(settings)) is not None:
            async with TokenApi(credentials) as api:
                fetched = await api.fetch()
            text, seconds = fetched.text, fetched.seconds or None
        elif given.token is not None:
            text, seconds = given.token.read("target.token"), None
        else:
            return Finding(
                "token",
                "None is configured; right where the account does not require one.",
            )
    except PosConsumerError as error:
        return Finding("token", str(error), error.remedy or "Correct [target].")
    ends = token_expiry(text)
    left = seconds if ends is None else ends - clock.now()
    if left is None:
        return Finding("token", f"{UNTRIED}; when it ends it does not say.")
    days = left / 86_400
    if left < SOON:
        return Finding(
            "token",
            f"It ends in {days:.1f} days.",
            "Have a new one made in Target, and give it to all who use it.",
        )
    return Finding("token", f"{UNTRIED}; it is good for {days:.0f} days.")


def _disk(settings: Settings) -> Finding:
    path = settings.aggregate.state_dir
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding(
            "disk",
            f"The state directory {path} cannot be written: {error.strerror}.",
            "Make it writable, or name another in [aggregate] state_dir.",
        )
    kind = _file_system(there)
    if kind in _NETWORK:
        return Finding(
            "disk",
            f"The state directory {path} is on a network file system ({kind}).",
            "Name a local disk in [aggregate] state_dir: the store maps its files.",
        )
    if free < LEAST_FREE:
        return Finding(
            "disk",
            f"{free / 1e6:,.0f} MB are free for the state directory {path}.",
            "Free some, or name another disk in [aggregate] state_dir.",
        )
    return Finding("disk", f"{path} can be written, {free / 1e9:,.1f} GB are free.")


def _file_system(path: Path) -> str:
    """Return the type of the file system that a path is on; empty if unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    except OSError:
        return ""
    there = os.path.realpath(path)
    best = ("", "")
    for line in mounts:
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        within = there == point or there.startswith(point.rstrip("/") + "/")
        if within and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def budget(settings: Settings, partitions: int, replicas: int) -> Finding:
    """Tell a replica's share of the calls; `partitions` 0: unknown."""
    calls = settings.target.budget.calls_per_minute - settings.target.budget.reserve
    sharing = min(replicas, partitions) if partitions else replicas
    share = calls / sharing
    what = f"{calls} calls a minute over {sharing} replicas: {share:.1f} each."
    if sharing == 1:
        what = f"{calls} calls a minute, all for one replica."
    if share < LEAST_CALLS:
        return Finding(
            "budget",
            what,
            "Let fewer replicas upload: `pos-consumer run --stage upload` on some, "
            "`--stage aggregate` on the others.",
        )
    return Finding("budget", what)
