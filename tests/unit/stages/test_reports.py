"""What the stages tell of themselves is true."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.clock import ManualClock
from consumer.kafka.statistics import ClientStatistics, Hidden
from consumer.stages.client_report import ClientReport
from consumer.stages.upload_report import Times, UploadReport
from consumer.target.expiry import token_expiry
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.status import StatusBoard


class Site:
    """A report and what it writes to; the clock stands at 1,000 s."""

    def __init__(self) -> None:
        self.clock = ManualClock(now=1_000.0)
        self.metrics = Metrics()
        self.board = StatusBoard(self.clock.now)
        self.report = UploadReport(self.metrics, self.board, self.clock)

    def value(self, name: str, **labels: str) -> float:
        """Return a series' value as scraped."""
        found = self.metrics.registry.get_sample_value(f"pos_consumer_{name}", labels)
        assert found is not None
        return found

    def age(self) -> float:
        """Return partition 3's lag in seconds."""
        return self.value("lag_seconds", stage="upload", partition="3")


def milliseconds(*seconds: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Make timestamps."""
    return (np.array(seconds) * 1_000).astype(np.int64)


def test_the_lag_in_seconds_is_the_age_of_the_oldest_event_not_accepted() -> None:
    """It falls batch by batch as offsets are committed, and ends at zero."""
    site = Site()
    site.report.taken(3, 10, milliseconds(910, 900))
    site.report.taken(3, 20, milliseconds(950))
    for next_offset, lag, age in ((5, 15, 100.0), (10, 10, 50.0), (20, 0, 0.0)):
        site.report.lags({3: lag}, {3: next_offset})
        assert site.age() == age
        assert site.value("lag_records", stage="upload", partition="3") == lag


def test_what_was_not_read_yet_is_at_most_as_young_as_the_last_read() -> None:
    """The reader may be behind as well: its last record is the best there is."""
    site = Site()
    site.report.taken(3, 10, milliseconds(940))
    site.report.lags({3: 500}, {3: 10})
    assert site.age() == 60.0


def test_a_partition_that_left_is_forgotten() -> None:
    """Neither a series nor a line on the page stays behind."""
    site = Site()
    site.report.assigned(3)
    site.report.taken(3, 10, milliseconds(940))
    site.report.lags({3: 500}, {3: 10})
    site.report.halted(3, "why")
    assert site.board.partitions()[0].state == "halted: why"
    site.report.forget(3)
    assert site.board.partitions() == ()
    text = [s for f in site.metrics.registry.collect() for s in f.samples]
    assert not [s for s in text if s.labels.get("partition") == "3"]


def test_a_complete_batch_is_counted_row_by_row_where_it_is_ours() -> None:
    """Partitions that have left are their new owner's to count."""
    site = Site()
    keys = pl.DataFrame(
        {
            "partition": pl.Series([0, 0, 0, 1], dtype=pl.Int32),
            "timestamp": pl.Series([999_100, 999_900, 400_000, 0], dtype=pl.Int64),
        }
    )
    site.report.confirmed(Times.by_partition(keys), [0])
    assert site.value("confirmed_rows_total") == 3
    name = "event_to_confirmed_seconds"
    assert site.value(f"{name}_count") == 3
    assert site.value(f"{name}_bucket", le="1.0") == 2
    assert site.value(f"{name}_sum") == 602


def test_calls_count_on_the_page_and_in_the_metric() -> None:
    """The gauge of the page and the panel of the dashboard agree."""
    site = Site()
    site.report.budget(40, 8)
    site.report.call("submit")
    site.report.call("status")
    assert site.board.calls_in_last_minute() == 2
    assert site.value("calls_total", kind="submit") == 1
    assert site.value("budget_calls_per_minute") == 40


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.integers(1, 4), st.sampled_from([b"x", b"y"])
        ),
        max_size=12,
    )
)
def test_versions_that_go_back_are_found(rows: list[tuple[str, int, bytes]]) -> None:
    """Each profile is held against the one before it of the same visitor."""
    last: dict[str, tuple[int, bytes]] = {}
    back = repeated = 0
    for visitor, version, value in rows:
        if visitor in last:
            before, content = last[visitor]
            back += version < before
            repeated += version == before and value != content
        last[visitor] = version, value
    site = Site()
    found = site.report.regressions(
        pa.array([row[0] for row in rows], pa.string()),
        pa.array([row[1] for row in rows], pa.int64()),
        [row[2] for row in rows],
    )
    assert found == back + repeated
    assert site.value("version_regressions_total", kind="back") == back
    assert site.value("version_regressions_total", kind="repeated") == repeated


def statistics(received: int, hidden: dict[int, Hidden]) -> ClientStatistics:
    """Make statistics of which two figures matter."""
    return ClientStatistics(received, 0, 0, 0, 0, 1, 0.5, 0, 0, hidden)


def test_a_client_made_anew_counts_on() -> None:
    """The producer is replaced now and then; its counters never go back."""
    site = Site()
    report = ClientReport(site.metrics, "producer")
    for total in (100, 250, 30, 40):
        report(statistics(total, {0: Hidden(9, 1)}))
    assert site.value("kafka_received_bytes_total", client="producer") == 290
    assert site.value("kafka_round_trip_seconds", client="producer") == 0.5
    samples = [s for f in site.metrics.unstable_records.collect() for s in f.samples]
    assert samples == []


def test_records_behind_an_open_transaction_show_at_their_stage() -> None:
    """A hanging transaction can be told from a slow reader."""
    site = Site()
    report = ClientReport(site.metrics, "profiles", "upload", site.clock.monotonic)
    place = {"stage": "upload", "partition": "4"}
    shown = []
    # Two transactions one after the other, the second for long; then all is readable.
    for hidden in ((17, 100), (3, 117), (9, 117), (12, 117), (0, 129), (2, 129)):
        report(statistics(0, {4: Hidden(*hidden)}))
        shown.append(
            (
                site.value("unstable_records", **place),
                site.value("unstable_seconds", **place),
            )
        )
        site.clock.advance(15)
    assert shown == [(17, 0), (3, 0), (9, 15), (12, 30), (0, 0), (2, 0)]


@pytest.mark.parametrize(
    ("token", "expiry"),
    [
        # the claims are: exp is 1900000000; sub is x
        ("e30.eyJleHAiOiAxOTAwMDAwMDAwfQ.sig", 1_900_000_000.0),
        ("e30.eyJzdWIiOiAieCJ9.sig", None),
        ("an-opaque-token", None),
        ("a.b.c", None),
        ("e30.W10.sig", None),
        ("", None),
    ],
)
def test_a_token_that_says_when_it_ends_is_understood(
    token: str, expiry: float | None
) -> None:
    """Any other token is taken as it is."""
    assert token_expiry(token) == expiry
