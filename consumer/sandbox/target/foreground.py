"""The Target sandbox alone, in the foreground, until it is told to stop."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.orders import read_orders
from consumer.sandbox.target.server import TargetSandbox


def run_target(  # noqa: PLR0913 - the command's options
    options: TargetOptions,
    *,
    faults: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    status_port: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until SIGINT or SIGTERM, saying the addresses first.

    Raises `AddressInUse` if a port is taken, `ConfigurationError` if `faults` names no
    file of orders (see `orders`).
    """
    sandbox = TargetSandbox(options, host=host, port=port, status_port=status_port)
    if faults is not None:
        for fault in read_orders(faults, sandbox.account.clock.now()):
            sandbox.order(fault)
    asyncio.run(_serve(sandbox, say))


async def _serve(sandbox: TargetSandbox, say: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with sandbox:
        client = sandbox.account.options.client
        say(f"Target sandbox for client {client}: {sandbox.endpoint}")
        say(f"A page to look at: {sandbox.endpoint}/")
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
