"""A TCP proxy before the broker that can delay, hold back and reset.

It knows as much of Kafka's protocol as it needs: a request is four bytes of length,
then two of the API's key. A request held back is given to the broker in the end, even
when its client has gone meanwhile: that is how an end of a transaction comes too late.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import defaultdict
from typing import Final, Self

from consumer.sandbox.ports import HOST

LIST_OFFSETS: Final = 2
END_TXN: Final = 26
_LENGTH: Final = struct.Struct(">i")
_KEY: Final = struct.Struct(">h")


class Wire:
    """Forwards connections to `behind`; an async context manager."""

    def __init__(self, behind: tuple[str, int]) -> None:
        """Listen on a free port once entered."""
        self.port = 0
        self.latency = 0.0
        self._behind = behind
        self._holds: defaultdict[int, list[float]] = defaultdict(list)
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, HOST)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening and drop all connections."""
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"{HOST}:{self.port}"

    def hold(self, api: int, seconds: float) -> None:
        """Hold the next request of an API back for so long."""
        self._holds[api].append(seconds)

    @property
    def held(self) -> int:
        """How many requests are still to be held back."""
        return sum(map(len, self._holds.values()))

    def reset(self) -> None:
        """Reset every connection."""
        for client in self._clients:
            client.transport.abort()

    def heal(self) -> None:
        """Let everything through from now on."""
        self.latency = 0.0
        self._holds.clear()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._clients.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                upstream = await asyncio.open_connection(*self._behind)
                answers = asyncio.create_task(self._answers(upstream[0], writer))
                try:
                    await self._requests(reader, upstream[1])
                finally:
                    answers.cancel()
                    upstream[1].close()
        finally:
            self._clients.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(_LENGTH.size)
                request = await reader.readexactly(_LENGTH.unpack(head)[0])
                if self.latency:
                    await asyncio.sleep(self.latency)
                if holds := self._holds.get(_KEY.unpack_from(request)[0]):
                    await asyncio.sleep(holds.pop(0))
                writer.write(head + request)
                await writer.drain()
        # The broker reads what was sent before it sees the end.
        await writer.drain()

    @staticmethod
    async def _answers(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
