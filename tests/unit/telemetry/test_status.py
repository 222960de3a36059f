"""The board is bounded, and the page shows what is on it to anybody, safely."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from consumer.clock import ManualClock
from consumer.telemetry.health import Health
from consumer.telemetry.status import BatchStatus, PartitionStatus, StatusBoard
from consumer.telemetry.status_page import page

VOID = {"meta", "link", "path", "rect", "circle"}
OPTIONAL = {"tr", "td", "th", "li", "html"}


class Shape(HTMLParser):
    """Collects text and checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        """Open."""
        self.tags.append(tag)
        if tag not in VOID | OPTIONAL:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close."""
        if tag not in VOID | OPTIONAL:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep."""
        self.text += data


def drawn(board: StatusBoard, health: Health | None = None) -> Shape:
    """Draw and take apart."""
    shape = Shape()
    shape.feed(page("shop", health or Health(), board))
    assert shape.open == []
    return shape


def test_an_empty_board_makes_a_whole_page() -> None:
    """Right after the start there is nothing to show yet, and the page says so."""
    shape = drawn(StatusBoard())
    assert "no partition is ours" in shape.text
    assert "none yet" in shape.text
    assert "no warning or error since the start" in shape.text
    assert "this process does not upload" in shape.text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """No script, no font, no image from another place: it works in a closed network."""
    text = page("shop", Health(), StatusBoard())
    assert "<script" not in text
    assert "src=" not in text
    addresses = [
        part for part in text.split("http")[1:] if part.startswith(("s:", ":"))
    ]
    assert addresses == ["://www.w3.org/2000/svg%22 " + addresses[0].partition(" ")[2]]


def test_the_board_keeps_the_last_batches() -> None:
    """The page's memory is bounded."""
    board = StatusBoard()
    for number in range(100):
        board.batch(BatchStatus(str(number), float(number), number, 1, "accepted"))
    assert [batch.rows for batch in board.batches()] == list(range(99, 79, -1))


def test_a_batch_shows_its_last_news() -> None:
    """An accepted batch becomes a complete one, in its place."""
    clock = ManualClock(now=50.0)
    board = StatusBoard(clock.now)
    for name in ("a", "b"):
        board.batch(BatchStatus(name, 1.0, 5, 1, "accepted"))
    board.batch_outcome("a", "complete")
    board.batch_outcome("unknown", "complete")
    assert [(b.batch, b.outcome, b.at) for b in board.batches()] == [
        ("b", "accepted", 1.0),
        ("a", "complete", 50.0),
    ]


def test_a_partition_that_left_is_not_shown() -> None:
    """Only what is ours is on the page."""
    board = StatusBoard()
    board.partition(PartitionStatus("upload", 1, "running"))
    board.partition(PartitionStatus("aggregate", 1, "running"))
    board.forget("upload", 1)
    assert [one.stage for one in board.partitions()] == ["aggregate"]


def test_repeated_troubles_are_one_line_with_a_number() -> None:
    """A storm of one warning does not push the others off the page."""
    board = StatusBoard()
    board.trouble("error", "The disk is full.")
    for _ in range(1_000):
        board.trouble("warning", "The broker <is> away.")
    shape = drawn(board)
    assert "1,000 times" in shape.text
    assert "The broker <is> away." in shape.text
    assert "The disk is full." in shape.text


def test_the_budget_counts_the_calls_of_one_minute() -> None:
    """The gauge falls again when the calls are a minute old."""
    clock = ManualClock()
    board = StatusBoard(clock.now)
    board.budget = 40
    for _ in range(39):
        board.call()
        clock.advance(1)
    assert board.calls_in_last_minute() == 39
    assert "fill warn" in page("shop", Health(), board)
    clock.advance(30)
    assert board.calls_in_last_minute() == 29
    clock.advance(60)
    assert board.calls_in_last_minute() == 0


def test_the_rate_is_that_of_the_last_minute() -> None:
    """What happened before does not weigh on the figure."""
    clock = ManualClock()
    board = StatusBoard(clock.now)
    for second in range(0, 600, 5):
        records = float(max(0, second - 500) * 100)
        board.sample({"records": records, "rows": 0.0})
        clock.advance(5)
    assert "100 a second" in drawn(board).text
    assert "9,500 since the start" in drawn(board).text


@pytest.mark.parametrize(
    ("wait", "halted", "word"),
    [("a broker", {}, "not ready"), ("", {"partition 1": "why"}, "degraded")],
)
def test_the_page_says_what_is_the_matter(
    wait: str, halted: dict[str, str], word: str
) -> None:
    """The state in one word, and its reason, come first."""
    health = Health()
    component = health.component("aggregate")
    component.wait(wait)
    component.degrade(halted)
    text = drawn(StatusBoard(), health).text
    assert word in text
    assert "What is the matter" in text
    assert (wait or "why") in text


def test_what_has_halted_is_not_passed_off_as_no_lag() -> None:
    """What a halted partition has not read is not known; the figure says so."""
    board = StatusBoard()
    board.partition(PartitionStatus("aggregate", 0, "running", 7, 0, 0.0))
    board.partition(PartitionStatus("aggregate", 1, "halted: overflow"))
    assert "no lag, not counting 1 halted partition" in drawn(board).text
    board.partition(PartitionStatus("aggregate", 2, "halted: overflow"))
    assert "not counting 2 halted partitions" in drawn(board).text


def test_the_page_says_when_what_has_halted_is_tried_again() -> None:
    """A person who has mended the cause learns what else to do."""
    board, health = StatusBoard(), Health()
    component = health.component("aggregate")
    component.ready()
    component.degrade({"partition 1": "why"})
    assert "restarts" not in drawn(board, health).text
    board.partition(PartitionStatus("aggregate", 1, "halted: overflow"))
    assert "tried again once this replica restarts" in drawn(board, health).text


def test_a_restore_shows_how_far_it_is() -> None:
    """The bar can be read by people who do not see it."""
    board = StatusBoard()
    board.partition(PartitionStatus("aggregate", 4, "restoring", restored=0.25))
    assert "25% restored" in page("shop", Health(), board)
