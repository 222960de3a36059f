"""What is told of a transaction that somebody leaves open."""

from __future__ import annotations

from structlog.testing import capture_logs

from consumer.clock import ManualClock
from consumer.config import Settings
from consumer.kafka.open_transactions import OpenTransaction
from consumer.stages.transaction_watch import TransactionWatch
from consumer.telemetry.health import Health


def test_it_is_shown_while_it_lasts_and_said_once() -> None:
    """As degraded, and in the log with the command that helps."""
    clock, health = ManualClock(), Health()
    settings = Settings.model_validate(
        {
            "purchases": {"topic": "purchases"},
            "attributes": {"orders": {"aggregate": "count"}},
            "target": {"client": "acme"},
        }
    )
    watch = TransactionWatch(
        settings, 4, clock=clock, health=health.component("transactions")
    )
    topic = settings.topics.profiles
    one = OpenTransaction(topic, 3, 41, clock.now() - 90.0, 7)

    with capture_logs() as logs:
        watch.report({(topic, 3): one})
        watch.report({(topic, 3): one})

    assert [entry["log_level"] for entry in logs] == ["error"]
    assert "describe-producers" in logs[0]["remedy"]
    assert "41" in health.readiness().degraded[f"transactions: {topic} 3"]
    assert health.readiness().ready

    watch.report({})

    assert not health.readiness().degraded
