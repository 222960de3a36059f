"""A batch's status: where to ask, when, and what the answer means."""

from __future__ import annotations

import pytest

from consumer.target.outcome import Failure, Reply
from consumer.target.status import (
    FIRST_POLL,
    BatchStatus,
    Progress,
    next_poll,
    read_status,
    status_url,
)

ENDPOINT = "https://acme.tt.omtrdc.net"
OWN = f"{ENDPOINT}/m2/acme/profile/batchStatus?batchId=b-1&showDetails=true"
SUFFIXES = (".tt.omtrdc.net",)


def ask(given: str, batch_id: str = "b-1") -> str:
    """Return the URL that would be polled."""
    return status_url(
        given, batch_id, endpoint=ENDPOINT, client="acme", suffixes=SUFFIXES
    )


@pytest.mark.parametrize(
    "given",
    [
        "http://mboxedge45.tt.omtrdc.net/m2/acme/profile/batchStatus?batchId=b-1",
        "http://edge.tt.omtrdc.net/status?batchId=b-1&m2Node=45",
        "https://acme.tt.omtrdc.net/m2/acme/profile/batchStatus?batchId=b-1",
    ],
)
def test_a_url_on_an_allowed_host_is_followed(given: str) -> None:
    """Configured suffixes and the endpoint's own host are asked as given."""
    assert ask(given) == f"{given}&showDetails=true"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "http://evil.example/m2/acme/profile/batchStatus?batchId=b-1",
        "http://tt.omtrdc.net.evil.example/?batchId=b-1",
        "http://eviltt.omtrdc.net/?batchId=b-1",
        "http://169.254.169.254/latest?batchId=b-1",
        "http://user:pw@edge.tt.omtrdc.net/?batchId=b-1",
        "http://evil.example\\@edge.tt.omtrdc.net/?batchId=b-1",
        "http://evil.example#.tt.omtrdc.net/?batchId=b-1",
        "file:///etc/passwd?batchId=b-1",
        "http://[broken/?batchId=b-1",
        "http://edge.tt.omtrdc.net:99999/?batchId=b-1",
        "http://edge.tt.omtrdc.net/?batchId=another",
    ],
)
def test_any_other_url_is_replaced_by_its_batch_id_at_the_endpoint(given: str) -> None:
    """A host that is not configured is never called."""
    assert ask(given) == OWN


def test_a_batch_id_cannot_leave_its_parameter() -> None:
    """What Target calls a batch is data, not part of the URL."""
    assert ask("", "a&b=/../c").endswith("batchId=a%26b%3D%2F..%2Fc&showDetails=true")


def reply(inner: str, status: int = 200) -> Reply:
    """Make an answer with this in its response element."""
    return Reply(status, {}, f"<response>{inner}</response>".encode())


def test_both_documented_forms_are_read() -> None:
    """Counts of the detailed form, and the failed rows that older answers list."""
    counts = (
        "<batchId>b-1</batchId><status>complete</status><batchSize>9</batchSize>"
        "<consumedCount>9</consumedCount><successfulUpdates>6</successfulUpdates>"
        "<profilesNotFound>1</profilesNotFound><failedUpdates>2</failedUpdates>"
    )
    assert read_status(reply(counts), "b-1", 0.0) == BatchStatus(
        Progress.COMPLETE, size=9, consumed=9, updated=6, not_found=1, failed=2
    )
    listed = (
        "<batchId>b-1</batchId><status>complete</status>"
        "<profile><id>v1</id><status>failed</status></profile>"
        "<profile><id>v2</id><status>success</status></profile>"
    )
    assert read_status(reply(listed), "b-1", 0.0) == BatchStatus(
        Progress.COMPLETE, failed=1, failed_rows=("v1",)
    )


@pytest.mark.parametrize(
    ("answer", "progress"),
    [
        (reply("<batchId>b-1</batchId><status>incomplete</status>"), "incomplete"),
        (reply("<batchId>b-1</batchId><status>stuck</status>"), "stuck"),
        (reply("<batchId>b-2</batchId><status>complete</status>"), "unknown"),
        (reply("<status>odd</status>"), "unknown"),
        (Reply(200, {}, b"nonsense"), "unknown"),
        (Reply(500), "unknown"),
        (Reply(failure=Failure.NO_ANSWER), "unknown"),
        (Reply(404), "forgotten"),
        (Reply(503), "throttled"),
        (Reply(401), "unauthorised"),
    ],
)
def test_what_an_answer_means(answer: Reply, progress: str) -> None:
    """Only Target's own words end a batch; everything unclear is asked again."""
    assert read_status(answer, "b-1", 0.0).progress == progress


@pytest.mark.parametrize("form", ["120", "Tue, 14 Nov 2023 22:15:20 GMT"])
def test_a_throttled_status_says_how_long_to_wait(form: str) -> None:
    """In either form of Retry-After; the clock stands at 22:13:20."""
    answer = Reply(503, {"retry-after": form})
    assert read_status(answer, "b-1", 1_700_000_000.0).after == 120.0


def test_polls_begin_after_a_while_and_slow_down() -> None:
    """The first poll is about a minute after acceptance, later ones up to ten."""
    pauses = [next_poll(polls, lambda: 0.5) for polls in range(40)]
    assert pauses[0] == FIRST_POLL
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10 * FIRST_POLL
    assert next_poll(0, lambda: 0.0) < FIRST_POLL < next_poll(0, lambda: 0.999)
