"""The catalogue follows Prometheus' conventions and its labels are bounded."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import generate_latest

from consumer.telemetry.health import Health
from consumer.telemetry.histogram import BatchHistogram
from consumer.telemetry.labels import OUTCOMES, STAGE_OF, STEPS
from consumer.telemetry.metrics import Metrics

BOUNDS = (0.1, 1.0, 10.0)


def exposed(metrics: Metrics) -> str:
    """Return what a scrape gets."""
    return generate_latest(metrics.registry).decode()


def test_every_metric_has_the_prefix_and_a_sentence_of_help() -> None:
    """A reader of /metrics knows whose they are and what they mean."""
    families = list(Metrics().registry.collect())
    assert len(families) > 30
    for family in families:
        assert re.fullmatch(r"(pos_consumer|process)_[a-z_]+[a-z]", family.name)
        assert family.documentation.endswith((".", "in seconds"))


def test_counters_end_in_total_and_times_in_seconds() -> None:
    """Names tell type and base unit."""
    text = exposed(Metrics())
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            assert name.endswith("_total") == (kind == "counter")
            assert "milli" not in name
            assert not name.endswith("_ms")


def test_there_are_no_created_series() -> None:
    """Each counter is one series."""
    assert "_created" not in exposed(Metrics())


def test_bounded_series_are_there_before_the_first_event() -> None:
    """A rate over a counter that never moved is zero, not absent."""
    text = exposed(Metrics())
    for outcome in OUTCOMES:
        assert f'pos_consumer_records_total{{outcome="{outcome}"}} 0.0' in text
    for loop, steps in STEPS.items():
        for step in steps:
            labels = f'loop="{loop}",stage="{STAGE_OF[loop]}",step="{step}"'
            assert f"pos_consumer_step_seconds_total{{{labels}}} 0.0" in text


def test_two_catalogues_do_not_meet() -> None:
    """Two services in one process, as in tests, count apart."""
    one, other = Metrics(), Metrics()
    one.records.labels("folded").inc(3)
    folded = 'pos_consumer_records_total{outcome="folded"} '
    assert f"{folded}3.0" in exposed(one)
    assert f"{folded}0.0" in exposed(other)


def test_a_partition_that_is_gone_leaves_no_series() -> None:
    """A moved partition's lag is reported by its new owner alone."""
    metrics = Metrics()
    for partition in ("1", "2"):
        metrics.partition_assigned.labels("aggregate", partition).set(1)
        metrics.lag_records.labels("aggregate", partition).set(7)
        metrics.partition_halted.labels("aggregate", partition, "why").set(1)
        metrics.partition_halted.labels("upload", partition, "why").set(1)
    metrics.forget_partition("aggregate", 1)
    metrics.forget_partition("aggregate", 9)
    text = exposed(metrics)
    ones = [line for line in text.splitlines() if 'partition="1"' in line]
    assert [line for line in ones if 'stage="upload"' not in line] == []
    assert len(ones) == 1
    assert text.count('partition="2"') == 4


def test_health_shows_in_the_metrics() -> None:
    """Ready, degraded and heartbeats can be alarmed on."""
    metrics, health = Metrics(), Health()
    loop = health.component("aggregate")
    loop.beat(90.0)
    metrics.reflect(health, monotonic=100.0, now=1_000.0)
    assert "pos_consumer_ready 0.0" in exposed(metrics)
    loop.ready()
    loop.degrade({"partition 1": "why"})
    metrics.reflect(health, monotonic=100.0, now=1_000.0)
    text = exposed(metrics)
    assert "pos_consumer_ready 1.0" in text
    assert "pos_consumer_degraded 1.0" in text
    assert 'loop_heartbeat_timestamp_seconds{loop="aggregate"} 990.0' in text


def test_the_build_is_described() -> None:
    """A dashboard shows which version runs."""
    metrics = Metrics()
    metrics.describe_build("1.2.3", "2.16.0")
    assert 'pos_consumer_build_info{librdkafka="2.16.0",' in exposed(metrics)


@given(
    st.lists(
        st.lists(st.floats(0, 100) | st.sampled_from(BOUNDS), max_size=20), max_size=4
    )
)
def test_a_batch_counts_like_its_values_one_by_one(batches: list[list[float]]) -> None:
    """The batch histogram exposes what prometheus_client's own would."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    batched = BatchHistogram("x_seconds", "Help.", BOUNDS, ours)
    single = Histogram("x_seconds", "Help.", buckets=BOUNDS, registry=theirs)
    for batch in batches:
        batched.observe(np.asarray(batch, dtype=np.float64))
        for value in batch:
            single.observe(value)

    def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
        return {
            (sample.name, sample.labels.get("le", "")): sample.value
            for family in registry.collect()
            for sample in family.samples
        }

    assert samples(ours) == pytest.approx(samples(theirs))


def test_two_histograms_of_one_name_are_refused() -> None:
    """A name is declared once."""
    registry = CollectorRegistry()
    BatchHistogram("x_seconds", "Help.", BOUNDS, registry)
    with pytest.raises(ValueError, match="Duplicated"):
        BatchHistogram("x_seconds", "Help.", BOUNDS, registry)
