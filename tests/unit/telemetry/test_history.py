"""A minute is one log line, and the page's lines have their samples."""

from __future__ import annotations

import asyncio

import structlog

from consumer.clock import ManualClock
from consumer.telemetry.history import History
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.status import StatusBoard


async def test_each_minute_is_summed_up_in_one_line() -> None:
    """The line has what moved within that minute, and the state at its end."""
    clock, metrics = ManualClock(), Metrics()
    board = StatusBoard(clock.now)
    metrics.records.labels("folded").inc(1_000)
    metrics.lag_records.labels("aggregate", "1").set(7)
    with structlog.testing.capture_logs() as logged:
        task = asyncio.create_task(History(metrics, board, clock).run())
        await asyncio.sleep(0)
        for _ in range(24):
            metrics.records.labels("folded").inc(10)
            metrics.records.labels("dead_lettered").inc(1)
            metrics.upload_rows.labels("accepted").inc(2)
            metrics.upload_rows.labels("retry").inc(5)
            await clock.run_for(5)
        task.cancel()
    assert [line["event"] for line in logged] == ["The last minute."] * 2
    for line in logged:
        assert line["log_level"] == "info"
        assert (line["folded"], line["dead_lettered"]) == (120, 12)
        assert (line["records"], line["rows"], line["lag"]) == (132, 24, 7)
    assert len(board.samples()) == 25
    assert board.samples()[-1].totals["rows"] == 48
