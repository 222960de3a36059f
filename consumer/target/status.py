"""A batch's status: where to ask, when to ask, and what the answer means.

All pure. A status URL comes from the network over plain http, so it is followed only
to hosts that the configuration names; otherwise its batch id is asked for at the
endpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import quote, urlsplit

from consumer.target.answer import BadAnswer, parse
from consumer.target.outcome import Reply, batch_id_of, retry_after

FIRST_POLL: Final = 60.0
"""Seconds after acceptance; the first poll is nearly always `incomplete` earlier."""

FORGOTTEN_AFTER: Final = 86_400.0
"""Seconds after which Target no longer answers for a batch."""

_SLOWEST: Final = 10.0
_GROWTH: Final = 1.5
_JITTER: Final = 0.2
_OK: Final = 200
_FAILED: Final = "failed"
_GONE: Final = (404, 410)


class Progress(StrEnum):
    """Where a batch stands."""

    INCOMPLETE = "incomplete"
    COMPLETE = "complete"
    STUCK = "stuck"
    FORGOTTEN = "forgotten"
    """Target no longer knows the batch."""

    UNKNOWN = "unknown"
    """No usable answer; ask again later."""

    THROTTLED = "throttled"
    UNAUTHORISED = "unauthorised"


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """One answer about a batch; counts are 0 where the answer does not tell them.

    `failed_rows` are the ids that older answers list as failed. `detail` is a word for
    people where `progress` is not one of Target's own, `after` the seconds that a
    throttled answer asks to wait.
    """

    progress: Progress
    size: int = 0
    consumed: int = 0
    updated: int = 0
    not_found: int = 0
    failed: int = 0
    failed_rows: tuple[str, ...] = ()
    detail: str = ""
    after: float = 0.0


def read_status(  # noqa: PLR0911 - a table
    reply: Reply, batch_id: str, now: float
) -> BatchStatus:
    """Judge the reply to a status call; an answer about another batch is unknown.

    `now` (epoch seconds) is for Retry-After dates.
    """
    if reply.failure is not None:
        return _without(Progress.UNKNOWN, reply.detail or str(reply.failure))
    said = f"HTTP {reply.status}"
    if reply.status in _GONE:
        return _without(Progress.FORGOTTEN, said)
    if reply.status in (401, 403):
        return _without(Progress.UNAUTHORISED, said)
    if reply.status in (429, 503):
        after = retry_after((reply.headers or {}).get("retry-after", ""), now)
        return BatchStatus(Progress.THROTTLED, detail=said, after=after)
    if reply.status != _OK:
        return _without(Progress.UNKNOWN, said)
    try:
        answer = parse(reply.body)
    except BadAnswer as error:
        return _without(Progress.UNKNOWN, str(error))
    if answer.text("batchId") not in ("", batch_id):
        return _without(Progress.UNKNOWN, "the answer is about another batch")
    word = answer.text("status").lower()
    if word not in (Progress.INCOMPLETE, Progress.COMPLETE, Progress.STUCK):
        return _without(Progress.UNKNOWN, f"status {word[:40]!r}")
    listed = tuple(
        profile.get("id", "")
        for profile in answer.profiles
        if profile.get("status", "").lower() == _FAILED
    )
    return BatchStatus(
        progress=Progress(word),
        size=answer.number("batchSize"),
        consumed=answer.number("consumedCount"),
        updated=answer.number("successfulUpdates"),
        not_found=answer.number("profilesNotFound"),
        failed=max(answer.number("failedUpdates"), len(listed)),
        failed_rows=listed,
    )


def _without(progress: Progress, detail: str) -> BatchStatus:
    return BatchStatus(progress, detail=detail)


def status_url(
    given: str, batch_id: str, *, endpoint: str, client: str, suffixes: Sequence[str]
) -> str:
    """Return the URL to poll: the one given if its host may be asked, else our own.

    A host may be asked if it is the endpoint's own or ends in one of the configured
    suffixes.
    """
    if _may_ask(given, endpoint, suffixes) and batch_id_of(given) == batch_id:
        base = given
    else:
        base = (
            f"{endpoint}/m2/{quote(client, safe='')}/profile/batchStatus"
            f"?batchId={quote(batch_id, safe='')}"
        )
    return f"{base}&showDetails=true"


def _may_ask(given: str, endpoint: str, suffixes: Sequence[str]) -> bool:
    try:
        url = urlsplit(given)
        url.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return False
    if url.scheme not in ("http", "https") or url.username or url.password:
        return False
    if url.fragment or not url.hostname or not given.isprintable():
        return False
    if "\\" in given or " " in given:  # read differently by different parsers
        return False
    if url.hostname == urlsplit(endpoint).hostname:
        return True
    return any(url.hostname.endswith(suffix) for suffix in suffixes)


def next_poll(
    polls: int, chance: Callable[[], float], *, first: float = FIRST_POLL
) -> float:
    """Return seconds to wait before the next poll, after `polls` polls so far.

    About `first` at first, then slower and slower up to ten times that, with jitter so
    that batches of one burst do not ask together.
    """
    pause = first * min(_SLOWEST, _GROWTH ** min(polls, 32))
    return float(pause * (1.0 + _JITTER * (2.0 * chance() - 1.0)))
