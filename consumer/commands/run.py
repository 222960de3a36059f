"""`pos-consumer run`: the service, until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated, Literal

import typer

from consumer.commands import config_file


def run(
    context: typer.Context,
    stage: Annotated[
        Literal["all", "rekey", "aggregate", "upload"],
        typer.Option(
            help="What this process does. `rekey` writes purchases anew by visitor, "
            'where `[purchases] key = "other"`; `aggregate` folds purchases into '
            "profiles, `upload` delivers profiles to Target; run each as often as you "
            "like, each with a state directory of its own."
        ),
    ] = "all",
    reset_attribute: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Let this attribute, whose definition has changed, start anew with "
            "nothing; may be given several times. Without a change it does nothing, so "
            "that it may stay where it is through a rolling update.",
        ),
    ] = None,
    supersede: Annotated[
        bool,
        typer.Option(
            help="This configuration, which was in use before, replaces the newest: a "
            "roll-back. What that had added is dropped; what it had dropped starts "
            "anew."
        ),
    ] = False,
    startup_timeout: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How long to try an unreachable broker at start, such as 30s.",
        ),
    ] = None,
) -> None:
    """Read purchases, keep profiles, deliver them to Target, until stopped.

    Needs the topics that `pos-consumer topics create` makes; it never creates any.
    SIGTERM and Ctrl-C drain: what was taken is finished within `drain_timeout`, the
    rest is done again at the next start. Serves /metrics, /livez, /readyz and a status
    page on `[http] port`.
    """
    from consumer.clock import SystemClock
    from consumer.config import load_settings
    from consumer.errors import ConfigurationError
    from consumer.service import STAGES, Service
    from consumer.stages.generations import Wishes
    from consumer.telemetry.logging import configure_logging

    overrides = {} if startup_timeout is None else {"startup_timeout": startup_timeout}
    settings = load_settings(config_file(context), overrides)
    configure_logging(settings.log)
    if stage == "rekey" and not settings.rekeys:
        raise ConfigurationError(
            "purchases.key",
            settings.purchases.key,
            'expected "other" for `--stage rekey`: with "visitor" nothing is rekeyed',
        )
    wishes = Wishes(frozenset(reset_attribute or ()), supersede)

    async def serve() -> None:
        stages = STAGES if stage == "all" else (stage,)
        service = Service(settings, SystemClock(), stages=stages, wishes=wishes)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        await service.run()

    try:
        import uvloop
    except ImportError:  # a platform without it: slower, the same
        asyncio.run(serve())
    else:
        uvloop.run(serve())
