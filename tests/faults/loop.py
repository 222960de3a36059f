"""An event loop on a thread of its own, for servers that a blocking test drives."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")
_SECONDS = 30.0


class Loop:
    """A context manager; everything it runs has `_SECONDS` to return."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        """Run the loop."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function on the loop's thread."""

        async def called() -> T:
            return function()

        return self.run(called())

    @contextmanager
    def entered(self, resource: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Hold an async context manager open."""
        entered = self.run(resource.__aenter__())
        try:
            yield entered
        finally:
            self.run(_left(resource))


async def _left(resource: AbstractAsyncContextManager[Any]) -> None:
    await resource.__aexit__(None, None, None)
