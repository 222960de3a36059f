"""The Target sandbox alone, in the foreground, until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable

from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.server import TargetSandbox


def run_target(
    options: TargetOptions,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    status_port: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until SIGINT or SIGTERM, saying the addresses first.

    Raises `AddressInUse` if a port is taken.
    """
    asyncio.run(_serve(options, host, port, status_port, say))


async def _serve(
    options: TargetOptions,
    host: str,
    port: int,
    status_port: int,
    say: Callable[[str], None],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    sandbox = TargetSandbox(options, host=host, port=port, status_port=status_port)
    async with sandbox:
        say(f"Target sandbox for client {options.client}: {sandbox.endpoint}")
        say(f"batchStatus is answered at: {sandbox.status_endpoint}")
        say(f"What it saw: {sandbox.endpoint}/sandbox/journal")
        say(f"What it holds: {sandbox.endpoint}/sandbox/profiles")
        say("Ctrl-C ends it.")
        await stop.wait()
    seen = sandbox.journal
    say(
        f"{len(seen.calls):,} calls, at most {seen.busiest_minute()} in a minute; "
        f"{len(seen.violations)} violations of the contract."
    )
