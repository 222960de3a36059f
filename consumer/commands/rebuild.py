"""`pos-consumer rebuild`: attributes computed anew from purchases, beside the service.

The request in `control` is what a rebuild is known by: whoever runs the command again
goes on with it. It ends when every partition's owner has taken it over.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands import config_file
from consumer.commands.rebuild_work import (
    Desk,
    announced,
    finish,
    in_words,
    start_of,
    tidy,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consumer.kafka.control_records import ControlView, Request
    from consumer.stages.rebuild import Stretch

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ATTRIBUTE]...",
        help="The attributes to compute; those that changed or are new without any.",
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="earliest|TIME",
        help="Where to begin: what the topic still has, or a time with its offset such "
        'as "2026-01-31T00:00Z".',
    ),
]
Truncated = Annotated[
    bool,
    typer.Option(
        "--allow-truncated-history",
        help="Go on although purchases are gone that the present profiles count.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
]
Status = Annotated[
    bool, typer.Option("--status", help="Show how far a rebuild is, and do nothing.")
]
Abort = Annotated[
    bool,
    typer.Option("--abort", help="Give a rebuild up that has not been announced yet."),
]
Anew = Annotated[
    bool,
    typer.Option(
        "--anew",
        help="Compute once more, in place of an announced rebuild that cannot be taken "
        "over.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def rebuild(
    context: typer.Context,
    attribute: Names = None,
    start: From = None,
    allow_truncated_history: Truncated = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    status: Status = False,
    abort: Abort = False,
    anew: Anew = False,
    as_json: AsJson = False,
) -> None:
    """Compute attributes anew from the purchases, and switch the profiles over.

    The service goes on meanwhile. The other attributes are carried over as they are.
    Stopped or killed at any moment, the command goes on where it was when it is started
    again.
    """
    from consumer.errors import PosConsumerError

    with _desk(context, as_json=as_json) as desk:
        view = desk.control.read()
        request = _open(view)
        if status:
            _show(desk, view, request)
        elif abort:
            _abort(desk, view, request)
        else:
            if request is None and not dry_run:
                tidy(desk, view)
            if request is None or (anew and announced(view, request)):
                request = _begin(
                    desk,
                    view,
                    attribute or [],
                    start,
                    allow_truncated_history=allow_truncated_history,
                    dry_run=dry_run,
                    yes=yes,
                    instead_of=request,
                )
            elif dry_run:
                raise PosConsumerError(
                    f"The rebuild {request.id} is under way.",
                    "See `pos-consumer rebuild --status`.",
                )
            else:
                _require_same(desk, request, attribute, start)
                desk.say(f"Going on with the rebuild {request.id}.")
            if request is not None:
                finish(desk, request)


@contextmanager
def _desk(context: typer.Context, *, as_json: bool) -> Iterator[Desk]:
    import asyncio
    from contextlib import closing

    from consumer.clock import SystemClock
    from consumer.config import load_settings
    from consumer.kafka.clients import wait_for_broker
    from consumer.kafka.control import Control
    from consumer.loading import load_plan
    from consumer.telemetry.logging import configure_logging

    settings = load_settings(config_file(context))
    quiet = settings.log.model_copy(update={"level": "warning"})
    configure_logging(quiet if settings.log.level == "info" else settings.log)
    plan, schemas = load_plan(settings)
    asyncio.run(wait_for_broker(settings, SystemClock()))
    with closing(Control(settings)) as control:
        yield Desk(settings, control, plan, schemas, as_json)


def _open(view: ControlView) -> Request | None:
    """Give the rebuild that has not come to its end; there is at most one."""
    from consumer.stages.rebuild_progress import REBUILD

    found = [one for one in view.requests(REBUILD) if not view.ended(one)]
    return found[-1] if found else None


def _begin(
    desk: Desk,
    view: ControlView,
    named: Sequence[str],
    start: str | None,
    *,
    allow_truncated_history: bool,
    dry_run: bool,
    yes: bool,
    instead_of: Request | None,
) -> Request | None:
    """Say what is to be done, have it confirmed, and ask for it."""
    from consumer.kafka.control_records import Request
    from consumer.stages.rebuild import (
        choose,
        definitions_of,
        replays,
        require_whole,
        survey,
    )
    from consumer.stages.rebuild_progress import REBUILD

    replaced: list[str] = []
    if instead_of is not None:  # what it was to bring must come with this one
        named = [*instead_of.body["attributes"], *named]
        replaced = [*instead_of.body.get("replaces", []), instead_of.id]
    names = choose(desk.plan, view.generations, named)
    begin = start_of(start)
    stretches = survey(desk.settings, begin)
    facts = _facts(desk, names, start or "earliest", stretches)
    for line in facts:
        desk.say(line)
    if not allow_truncated_history:
        require_whole(stretches)
    if dry_run:
        desk.put_out(
            {
                "attributes": [*names],
                "from": start or "earliest",
                "records": sum(one.end - one.start for one in stretches),
                "shortened": [one.partition for one in stretches if one.shortened],
            }
        )
        return None
    if not yes:
        typer.confirm("Begin?", abort=True, err=True)
    request = Request.new(
        REBUILD,
        time.time(),
        len(stretches),
        {
            "attributes": [*names],
            "definitions": dict(definitions_of(desk.plan, names)),
            "from": start or "earliest",
            "replaces": replaced,
            "generation": view.generations[-1].number,
            "replays": replays(view),
            "begins": [one.start for one in stretches],
        },
    )
    desk.control.put(request)
    if instead_of is not None:
        desk.control.remove([instead_of.key])
    return request


def _facts(
    desk: Desk, names: Sequence[str], start: str, stretches: Sequence[Stretch]
) -> Iterator[str]:
    others = [a.name for a in desk.plan.attributes if a.name not in names]
    records = sum(one.end - one.start for one in stretches)
    yield f"Computed anew from {start}: {', '.join(names)}."
    yield f"Carried over as they are: {', '.join(others) or 'none'}."
    yield f"{records:,} records in {len(stretches)} partitions are read."
    if short := [one for one in stretches if one.shortened]:
        yield f"In {len(short)} partitions purchases are gone that profiles count."


def _require_same(
    desk: Desk, request: Request, named: Sequence[str] | None, start: str | None
) -> None:
    """Refuse to go on with a rebuild by another configuration, or with other wishes."""
    from consumer.errors import PosConsumerError
    from consumer.stages.rebuild import definitions_of

    body = request.body
    same = dict(definitions_of(desk.plan, body["attributes"])) == body["definitions"]
    if not same or (named and sorted(named) != sorted(body["attributes"])):
        raise PosConsumerError(
            f"The rebuild {request.id} is under way, of {', '.join(body['attributes'])}"
            " by other definitions or of other attributes.",
            "Let it finish with its own configuration, or give it up with --abort.",
        )
    if start is not None and start != body["from"]:
        raise PosConsumerError(
            f"The rebuild {request.id} is under way from {body['from']}.",
            "Leave --from out to go on with it, or give it up with --abort.",
        )


def _show(desk: Desk, view: ControlView, request: Request | None) -> None:
    """Say how far a rebuild is."""
    if request is None:
        desk.say("No rebuild is under way.")
        desk.put_out({"state": "none"})
        return
    generation = announced(view, request)
    state = "computing" if generation is None else "taking over"
    names = ", ".join(request.body["attributes"])
    desk.say(f"The rebuild {request.id} of {names}, from {request.body['from']}.")
    if generation is None:
        desk.say("It is not computed yet; `pos-consumer rebuild` goes on with it.")
    else:
        desk.say(in_words(view, request))
    desk.put_out(
        {
            "id": request.id,
            "state": state,
            "attributes": request.body["attributes"],
            "from": request.body["from"],
            "generation": None if generation is None else generation.number,
            "partitions": {
                str(one.partition): {
                    "state": one.state,
                    "done": one.done,
                    "total": one.total,
                }
                for one in view.progress(request.id).values()
            },
        }
    )


def _abort(desk: Desk, view: ControlView, request: Request | None) -> None:
    """Give a rebuild up: nothing of it was seen by anybody yet."""
    from consumer.errors import PosConsumerError
    from consumer.kafka.announcement import Announcement
    from consumer.stages.rebuild import clean_up

    if request is None:
        desk.say("No rebuild is under way.")
        desk.put_out({"aborted": None})
        return
    # Who holds the right to announce cannot be overtaken by the rebuild.
    with Announcement(desk.settings):
        view = desk.control.read()
        if announced(view, request) is not None:
            raise PosConsumerError(
                f"The rebuild {request.id} has been announced: partitions may have "
                "taken it over.",
                "Let it finish: restart the replicas with its configuration.",
            )
        desk.control.remove([request.key])
    clean_up(desk.settings, request.id)
    desk.say(f"The rebuild {request.id} was given up; profiles are as they were.")
    desk.put_out({"aborted": request.id})
