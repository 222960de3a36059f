"""What is printed holds what one looks for, however narrow the terminal is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from consumer.commands.dead_letters import Group, _print_groups
from consumer.commands.explain import _print_events
from consumer.commands.preview import print_preview
from consumer.commands.tables import ELSEWHERE, console, span
from consumer.events.letters import Kept, Letter
from consumer.stages.explain_events import Event, Replayed
from consumer.stages.preview import Became, Column, Preview, Profile

if TYPE_CHECKING:
    import pytest

AT = 1_795_650_949_661  # 2026-11-25T23:55:49.661Z
SENTENCE = "The schema with id 9 is not known."


def printed(width: int) -> tuple[Console, io.StringIO]:
    """Make a console of a width, and where it prints."""
    out = io.StringIO()
    return Console(file=out, width=width, highlight=False), out


def events(count: int) -> Replayed:
    """Make folded events with what they gave."""
    one = Event(
        offset=1_234_567,
        recorded_at=AT,
        event_id="r-2026-000000001-7",
        event_time=AT * 1000,
        became="folded",
        reason="",
        sentence="",
        gave={"net_revenue": ["12.50"], "last_store": ["S0001"]},
    )
    return Replayed([one] * count, {"folded": count}, count, [], [])


def test_events_are_whole_at_80_columns() -> None:
    """Times, what it became and what it gave are neither cut nor stacked."""
    on, out = printed(80)
    _print_events(on, events(2), None)
    assert out.getvalue().count("happened 2026-11-25 23:55:49Z, recorded 2026-") == 2
    assert out.getvalue().count("net_revenue 12.50; last_store S0001\n") == 2
    assert "r-2026-000000001-7 folded" in out.getvalue()


def test_dead_letters_show_their_times_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When each reason first and last occurred, and each sentence in one line."""
    monkeypatch.setenv("COLUMNS", "80")
    kept = Kept("unknown_schema", SENTENCE, "p", "id", 0, 7, AT, 9, "1", None, None, [])
    groups = {"unknown_schema": Group()}
    for offset, at in enumerate((AT, AT + 90_000_000)):
        letter = Letter(5, offset, at, b"k", b"v", [], kept)
        groups["unknown_schema"].add(letter, 3)
    _print_groups(groups)
    out = capsys.readouterr().out
    assert "2026-11-25 23:55 - 2026-11-27 00:55Z" in out
    assert f"  5 1  {SENTENCE}\n" in out


def test_a_span_names_a_day_once() -> None:
    """Two moments of one day, of two, and one moment alone."""
    one = "2026-01-31 08:00:00Z"
    assert span(one, one) == one
    assert span(one, "2026-01-31 09:30:00Z") == "2026-01-31 08:00:00-09:30:00Z"
    assert span(one, "2026-02-01 09:30:00Z") == "2026-01-31 08:00 - 2026-02-01 09:30Z"


def test_a_pipe_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal nothing is squeezed, unless COLUMNS says how wide it is."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == ELSEWHERE
    monkeypatch.setenv("COLUMNS", "91")
    assert console().width == 91


def previewed() -> Preview:
    """Make a preview of many records and profiles, some of them refused."""
    became = [Became(0, n, AT, "folded", "", "") for n in range(92)]
    became += [
        Became(1, n, AT, "dead_lettered", "unknown_schema", SENTENCE) for n in range(8)
    ]
    profiles = [Profile(f"v{n}", {}, {"orders": "1"}, f"v{n},1", "") for n in range(90)]
    columns = [Column(f"c{n}", "integer", 92, 0, ("1", "2")) for n in range(30)]
    return Preview(columns, became, "batch=thirdPartyId,orders", profiles)


def test_a_preview_says_the_sum_first_and_is_short(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each reason once, a few profiles, and how to see all of them."""
    on, out = printed(80)
    print_preview(on, previewed(), everything=False)
    tables, lines = out.getvalue(), capsys.readouterr().out.splitlines()
    assert lines[0] == "100 records: 92 folded, 8 dead_lettered."
    assert tables.count("unknown_schema") == 1
    assert "And 87 more profiles: --all shows them." in lines
    assert "And 10 more columns: --all shows them." in lines
    assert len(lines) + tables.count("\n") < 60


def test_a_whole_preview_has_every_record(capsys: pytest.CaptureFixture[str]) -> None:
    """With `--all`; what is said of several is written out once."""
    on, out = printed(160)
    print_preview(on, previewed(), everything=True)
    tables = out.getvalue()
    assert "v89,1" in capsys.readouterr().out
    assert tables.count("2026-11-25 23:55:49Z") == 100
    assert tables.count(SENTENCE) == 2  # of the kinds, and of the records
