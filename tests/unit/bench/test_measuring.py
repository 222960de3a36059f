"""How a course becomes figures, and rounds become rows."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from bench.cli import QUICK, QUICK_EVENTS, arguments
from bench.meter import Measured, Meter, Sample, measured_course, rss_mb
from bench.plot import SHOWN, plot
from bench.processes import output_of, report_of
from bench.results import Row, table, write
from bench.things import THINGS
from consumer.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {
    *("floor", "aggregate-uniform", "aggregate-zipf", "aggregate-poison"),
    *("aggregate-deduplicated", "restore", "upload-render", "service"),
    *("quix", "kafka-streams"),
}
ROW_KEYS = {
    *("name", "events", "wall_s", "events_per_s", "cpu_s_per_million"),
    *("peak_rss_mb", "checked"),
}


def course(*samples: tuple[int, float, float]) -> list[Sample]:
    """Make a course of (done, wall, CPU)."""
    return [Sample(*one) for one in samples]


def test_the_wait_at_the_end_of_a_topic_does_not_count() -> None:
    """The clock stops when 95 % are done; CPU is counted to the very end."""
    samples = course((0, 10, 1), (50, 11, 2), (96, 12, 3), (100, 20, 4))
    found = measured_course(samples, cpu=5.0, rss=7.0)
    assert found.events == 96
    assert found.wall_s == 2
    assert found.events_per_s == 48
    assert found.cpu_s_per_million == pytest.approx(4 / 100 * 1e6)
    assert found.peak_rss_mb == 7


def test_the_second_half_is_told_apart() -> None:
    """What a compiler needs to warm up can be seen."""
    samples = course((0, 0, 0), (50, 10, 8), (100, 12, 9))
    found = measured_course(samples, cpu=9.0, rss=0.0)
    assert found.detail["second_half_events_per_s"] == 25
    assert found.detail["second_half_cpu_s_per_million"] == pytest.approx(2e4)


def test_a_run_in_which_nothing_was_done_has_no_figures() -> None:
    """It is an error, not a row of zeros."""
    with pytest.raises(ValueError, match="nothing was done"):
        Meter().measured()


def test_a_meter_measures_this_process() -> None:
    """CPU and memory are this process's own."""
    meter = Meter()
    meter.begin()
    meter.at(sum(range(1_000_000)))
    found = meter.measured({"more": 1.0}, {"fold": 2.0})
    assert 0 < found.cpu_s_per_million < 60
    assert 10 < found.peak_rss_mb < 100_000
    assert found.detail["more"] == 1
    assert found.seconds_by_step == {"fold": 2.0}


def test_peak_memory_is_read_from_the_kernels_words() -> None:
    """Kilobytes of 1,024 bytes become MB."""
    assert rss_mb("VmPeak: 9 kB\nVmHWM:\t  1000 kB\n") == pytest.approx(1.024)


def test_a_report_crosses_the_process_boundary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a child prints is what its parent reads, whatever else it prints."""
    said = Measured(10, 2.0, 3.0, 4.0, {"a": 1.0}, {"fold": 0.5})
    said.report()
    assert Measured.read("noise\n" + capsys.readouterr().out + "noise") == said
    assert Measured.read("noise") is None


def test_a_child_that_fails_is_quoted() -> None:
    """Its last words and its exit code are in the error."""
    command = [sys.executable, "-c", "raise SystemExit('no broker')"]
    with pytest.raises(SandboxError, match=r"(?s)thing ended with 1.*no broker"):
        output_of(command, "thing")
    with pytest.raises(SandboxError, match=r"(?s)reported nothing.*hello"):
        report_of([sys.executable, "-c", "print('hello')"], "thing")


def rows() -> list[Row]:
    """Make rows of every kind."""
    rounds = [Measured(100, wall, wall, 50.0, {}, {"fold": wall}) for wall in (1, 2, 4)]
    return [
        Row("floor", rounds[:1]),
        Row("aggregate-uniform", rounds, checked=True),
        Row("service", failed="Round 1: it is wrong."),
        Row("kafka-streams", rounds, checked=True, failed="Round 2: it is wrong."),
        Row("quix", skipped="No network."),
    ]


def test_rows_are_medians_with_their_range(tmp_path: Path) -> None:
    """One object a row, with the names that readers rely on."""
    path = tmp_path / "results.json"
    write(rows(), path)
    floor, uniform, service, streams, quix = json.loads(path.read_text("utf-8"))
    assert floor.keys() >= ROW_KEYS
    assert floor["checked"] is None
    assert uniform["checked"] is True
    assert uniform["wall_s"] == 2
    assert uniform["events_per_s"] == 50
    assert uniform["events_per_s_range"] == [25, 100]
    assert uniform["seconds_by_step"] == {"fold": 2}
    wrong = {"failed": "Round 1: it is wrong.", "checked": False}
    assert service == {"name": "service", **wrong}
    assert (streams["failed"], streams["checked"]) == ("Round 2: it is wrong.", False)
    assert streams["wall_s"] == 2
    assert quix == {"name": "quix", "skipped": "No network."}


def test_the_table_has_every_row() -> None:
    """What failed or was skipped is there too."""
    assert table(rows()).row_count == 5


def test_the_plot_is_an_image_of_what_was_measured() -> None:
    """Each measured row that it knows has a bar in both panels but for the floor."""
    figures = [row.figures() for row in rows()]
    drawn = ET.fromstring(plot(figures))  # noqa: S314 - just made
    bars = drawn.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 5
    assert SHOWN["quix"] not in ET.tostring(drawn, "unicode")
    assert "prefers-color-scheme: dark" in plot(figures)


def test_everything_promised_can_be_measured() -> None:
    """The names that others read in results.json are all there, once."""
    names = [thing.name for thing in THINGS]
    assert set(names) >= NAMES
    assert len(names) == len(set(names))
    assert set(SHOWN) <= set(names)


def test_what_is_measured_can_be_chosen() -> None:
    """By name, by leaving out, or quickly."""
    given = arguments(["--only", "quix,floor", "--events", "1_000", "--rounds", "2"])
    assert [thing.name for thing in given.things] == ["floor", "quix"]
    assert (given.events, given.rounds, given.output) == (1_000, 2, None)
    left = arguments(["--without", "quix"])
    assert "quix" not in [thing.name for thing in left.things]
    assert not left.whole
    quick = arguments(["--quick"])
    assert [thing.name for thing in quick.things] == list(QUICK)
    assert quick.events == QUICK_EVENTS
    everything = arguments([])
    assert everything.whole
    assert everything.output.name == "results.json"


@pytest.mark.parametrize("words", [["--only", "nothing"], ["--rounds", "0"]])
def test_a_wrong_word_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With what is allowed, and before anything starts."""
    with pytest.raises(SystemExit):
        arguments(words)
    said = capsys.readouterr().err
    assert "floor" in said or "above 0" in said
