"""What the upload stage talks to, opened together and closed in reverse.

`connect` opens the real ones; a test may hand the stage others.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.kafka.profiles_ranges import ProfilesRanges
from consumer.kafka.profiles_reader import ProfilesReader
from consumer.kafka.rejected_rows import RejectedRows
from consumer.kafka.uploads_ledger import UploadsLedger
from consumer.stages.upload_context import Worker
from consumer.target.client import TargetClient
from consumer.target.token_api import Credentials, TokenApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from consumer.clock import Clock
    from consumer.config import Settings
    from consumer.kafka.statistics import ClientStatistics
    from consumer.stages.upload_context import Blocking


@dataclass(frozen=True, slots=True)
class Connections:
    """Kafka, Target, and the threads that blocking work runs on."""

    reader: ProfilesReader
    ledger: UploadsLedger
    rejected: RejectedRows
    ranges: ProfilesRanges
    client: TargetClient
    worker: Worker
    blocking: Blocking = asyncio.to_thread
    tokens: TokenApi | None = None


@asynccontextmanager
async def connect(
    settings: Settings,
    clock: Clock,
    on_statistics: Callable[[ClientStatistics], None] | None = None,
) -> AsyncIterator[Connections]:
    """Open everything; TopicAbsent or BrokerUnreachable if `profiles` is not there."""
    target = settings.target
    async with AsyncExitStack() as stack:
        worker = Worker()
        stack.callback(worker.close)
        ledger = UploadsLedger(settings)
        stack.push_async_callback(asyncio.to_thread, ledger.close)
        rejected = RejectedRows(settings)
        stack.push_async_callback(asyncio.to_thread, rejected.close)
        client = await stack.enter_async_context(
            TargetClient(target.endpoint, target.client, api=target.api)
        )
        reader = await stack.enter_async_context(
            ProfilesReader(settings, clock, on_statistics)
        )
        ranges = ProfilesRanges(settings)
        tokens = None
        if (credentials := credentials_of(settings)) is not None:
            tokens = await stack.enter_async_context(TokenApi(credentials))
        yield Connections(
            reader, ledger, rejected, ranges, client, worker, tokens=tokens
        )


def credentials_of(settings: Settings) -> Credentials | None:
    """Return what the profile token is fetched with; None where it is configured."""
    given = settings.target.token_api
    if given.tenant is None or given.client_id is None or given.client_secret is None:
        return None
    return Credentials(
        ims=given.ims,
        admin=given.admin,
        tenant=given.tenant,
        client_id=given.client_id,
        client_secret=given.client_secret,
        scopes=given.scopes,
    )
