"""Every second of a loop is credited to one step, whoever looks and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.clock import ManualClock
from consumer.telemetry.health import Health
from consumer.telemetry.labels import STEPS
from consumer.telemetry.metrics import Metrics

STEP = st.sampled_from(sorted(STEPS["aggregate"]))
SECONDS = st.floats(0, 100).map(lambda value: round(value, 3))
MOVES = st.one_of(
    st.tuples(st.just("to"), STEP),
    st.tuples(st.just("whole"), STEP),
    st.tuples(st.just("rename"), STEP),
    st.tuples(st.just("divide"), st.dictionaries(STEP, SECONDS, max_size=3)),
    st.tuples(st.just("pass"), SECONDS),
    st.tuples(st.just("scrape"), st.none()),
)


def seconds(metrics: Metrics, step: str | None = None) -> float:
    """Add up what was credited, to one step or to all."""
    return sum(
        sample.value
        for family in metrics.step_seconds.collect()
        for sample in family.samples
        if step is None or sample.labels["step"] == step
    )


@given(st.lists(MOVES, max_size=30))
def test_the_steps_add_up_to_wall_time(moves: list[tuple[str, object]]) -> None:
    """Whatever a loop does, and however often it is scraped meanwhile."""
    clock, metrics, passed = ManualClock(), Metrics(), 0.0
    with metrics.laps("aggregate", "idle", clock.monotonic) as laps:
        for move, what in moves:
            match move, what:
                case "to", str(step):
                    laps.to(step)
                case "whole", str(step):
                    laps.to(step, whole=True)
                case "rename", str(step):
                    laps.rename(step)
                case "divide", dict(parts):
                    laps.divide(parts)
                case "pass", float(some):
                    clock.advance(some)
                    passed += some
                case _:
                    metrics.reflect(Health(), clock.monotonic(), clock.now())
    assert seconds(metrics) == pytest.approx(passed)


def test_a_divided_step_keeps_what_its_parts_leave() -> None:
    """The seconds of a batch go to its steps, the rest to the batch."""
    clock, metrics = ManualClock(), Metrics()
    with metrics.laps("aggregate", "idle", clock.monotonic) as laps:
        laps.to("assemble", whole=True)
        clock.advance(10)
        metrics.reflect(Health(), clock.monotonic(), clock.now())
        assert seconds(metrics) == 0
        laps.divide({"decode": 4.0, "fold": 5.0})
        laps.to("commit")
        clock.advance(2)
    assert seconds(metrics, "decode") == 4
    assert seconds(metrics, "fold") == 5
    assert seconds(metrics, "assemble") == 1
    assert seconds(metrics, "commit") == 2


def test_a_scrape_sees_the_step_under_way() -> None:
    """A loop that has waited for an hour shows it before the hour is over."""
    clock, metrics = ManualClock(), Metrics()
    with metrics.laps("intake", "idle", clock.monotonic):
        clock.advance(3_600)
        metrics.reflect(Health(), clock.monotonic(), clock.now())
        assert seconds(metrics, "idle") == 3_600


def test_a_step_within_a_step_goes_back_to_it() -> None:
    """Waiting in the middle of something is told apart from it."""
    clock, metrics = ManualClock(), Metrics()
    with metrics.laps("sealing", "seal", clock.monotonic) as laps:
        with laps.step("idle"):
            clock.advance(5)
        clock.advance(1)
    assert seconds(metrics, "idle") == 5
    assert seconds(metrics, "seal") == 1


def test_a_loop_that_ended_takes_no_more_time() -> None:
    """Files that were delivered long ago do not go on counting."""
    clock, metrics = ManualClock(), Metrics()
    with metrics.laps("delivery", "post", clock.monotonic):
        clock.advance(1)
    clock.advance(100)
    metrics.reflect(Health(), clock.monotonic(), clock.now())
    assert seconds(metrics) == 1


def test_a_step_that_is_not_in_the_catalogue_is_refused() -> None:
    """A misspelt step does not become a series."""
    with (
        Metrics().laps("aggregate", "idle") as laps,
        pytest.raises(ValueError, match="no step 'post'"),
    ):
        laps.to("post")
