"""What became of an upload: one pure function from Target's answer to an outcome.

The client hands over what it got, the upload stage does what the outcome asks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qs, urlsplit

from consumer.target.answer import Answer, BadAnswer, parse

LONGEST_WAIT: Final = 3_600.0
"""Seconds; a longer Retry-After is cut, so that a slip there cannot stop uploads."""

_LONGEST_REASON: Final = 200
_OK: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)
_CLIENT_ERROR: Final = range(400, 500)
_TOO_LARGE: Final = ("too large", "exceed", "size limit", "maximum size")
_PASSING: Final = ("unexpected error", "try again", "unavailable", "timeout")


class Failure(StrEnum):
    """Why there is no answer to judge."""

    NOT_SENT = "not_sent"
    """No connection was made, so Target has nothing of the file."""

    NO_ANSWER = "no_answer"
    """The call broke off or timed out; Target may have taken the file."""

    CUT_OFF = "cut_off"
    """The call broke off while the file was still going out: Target lacks its end."""

    BAD_ANSWER = "bad_answer"
    """The answer was too large or too slow to be read."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call brought: a status, headers (lower-case names) and body, or a failure.

    `failure` excludes the others; `detail` is a sentence for people in that case.
    """

    status: int = 0
    headers: Mapping[str, str] | None = None
    body: bytes = b""
    failure: Failure | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Target took the file under this id; `status_url` is as given, not yet trusted."""

    batch_id: str
    status_url: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Try the same file again, at the earliest after `after` seconds.

    `ambiguous`: Target may have taken it nevertheless, so a copy may land later.
    `answered`: the fault was told by an answer that may be about this file alone.
    `cut_off`: the connection went before the file was out, as where a server that finds
    it too large hangs up at once.
    """

    reason: str
    ambiguous: bool
    after: float = 0.0
    answered: bool = True
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Throttled:
    """The account's calls are used up: all calls wait, at least `after` seconds."""

    reason: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Split:
    """The file is too large for Target; smaller ones may pass."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """Target refuses what is in the file; sending it again does not help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unauthorised:
    """The token is missing, wrong or expired; no fault of the file."""

    reason: str


Outcome = Accepted | Retry | Throttled | Split | Rejected | Unauthorised


def classify(reply: Reply, now: float) -> Outcome:  # noqa: PLR0911 - a table
    """Judge the reply to a submission; `now` (epoch seconds) is for Retry-After dates.

    | reply                                            | outcome                      |
    |--------------------------------------------------|------------------------------|
    | no connection                                    | Retry                        |
    | broken off before the whole file was out         | Retry, cut off               |
    | broken off later, timed out, unreadable          | Retry, ambiguous             |
    | 2xx, success=true with a batch id                | Accepted                     |
    | 2xx, success=true without one                    | Retry, ambiguous             |
    | 2xx, success=false, message says too large       | Split                        |
    | 2xx, success=false, message of a passing fault   | Retry                        |
    | 2xx, success=false, any other message            | Rejected                     |
    | 2xx, anything that is not the documented XML     | Retry, ambiguous             |
    | 3xx (never followed), 404, 405, 410              | Retry: the address is wrong  |
    | 401, 403                                         | Unauthorised                 |
    | 413                                              | Split                        |
    | 429, 503                                         | Throttled (Retry-After)      |
    | 408, 5xx                                         | Retry, ambiguous             |
    | any other 4xx                                    | Rejected                     |
    """
    if reply.failure is not None:
        return Retry(
            reply.detail or reply.failure,
            ambiguous=reply.failure in (Failure.NO_ANSWER, Failure.BAD_ANSWER),
            answered=False,
            cut_off=reply.failure is Failure.CUT_OFF,
        )
    status = reply.status
    after = retry_after((reply.headers or {}).get("retry-after", ""), now)
    if status in _OK:
        return _judge_body(reply.body)
    said = f"HTTP {status}"
    if status in (401, 403):
        return Unauthorised(said)
    if status == 413:  # noqa: PLR2004 - HTTP's own number
        return Split(said)
    if status in (429, 503):
        return Throttled(said, after)
    if status in _REDIRECT or status in (404, 405, 410):
        what = f"{said}: nothing at this address takes files"
        return Retry(what, ambiguous=False, after=after, answered=False)
    if status in _CLIENT_ERROR and status != 408:  # noqa: PLR2004 - HTTP's own number
        return Rejected(said)
    return Retry(said, ambiguous=True, after=after)


def _judge_body(body: bytes) -> Outcome:
    try:
        answer = parse(body)
    except BadAnswer as error:
        return Retry(f"the answer cannot be read: {error}", ambiguous=True)
    success = answer.text("success").lower()
    if success == "true":
        return _accepted(answer)
    reason = answer.text("message")[:_LONGEST_REASON] or "no message"
    if success != "false":
        return Retry("the answer says neither success nor failure", ambiguous=True)
    told = reason.lower()
    if any(words in told for words in _TOO_LARGE):
        return Split(reason)
    if any(words in told for words in _PASSING):
        return Retry(reason, ambiguous=False)
    return Rejected(reason)


def _accepted(answer: Answer) -> Outcome:
    url = answer.text("batchStatus")
    batch_id = batch_id_of(url) or answer.text("batchId")
    if not batch_id:
        return Retry("the answer carries no batch id", ambiguous=True)
    return Accepted(batch_id, url)


def batch_id_of(url: str) -> str:
    """Return the batch id that a status URL carries, or nothing."""
    try:
        query = parse_qs(urlsplit(url).query)
    except ValueError:
        return ""
    return query.get("batchId", [""])[0]


def retry_after(value: str, now: float) -> float:
    """Return the seconds that a Retry-After asks for, in either of its forms.

    0 where it is absent, in the past or unreadable.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(LONGEST_WAIT, float(value))
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    seconds = (date - datetime.fromtimestamp(now, UTC)).total_seconds()
    return min(LONGEST_WAIT, max(0.0, seconds))
