"""What makes each alert fire, and what nearly does: promtool's tests as data.

A series is written as promtool wants it: `start+step x times`, a value a minute, or
every ten where the windows are days.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from dashboards import thresholds as t
from dashboards.rules import ALERTS, RUNBOOK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dashboards.thresholds import Objective

JOB: Final = "pos-consumer"
Series = dict[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """`firing` and `silent` map series to values; at minute `at` it is judged.

    `labels` are what the alert has beside its job and severity, `shown` replaces the
    templates of its summary. `every` is how many minutes lie between two values.
    """

    alert: str
    firing: Series
    silent: Series
    at: int = 30
    labels: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)
    every: int = 1


def _s(name: str, /, **labels: str) -> str:
    inner = ",".join(f'{k}="{v}"' for k, v in {"job": JOB, **labels}.items())
    return f"{name}{{{inner}}}"


def _p(name: str, /, **labels: str) -> str:
    return _s(f"pos_consumer_{name}", instance="a:9464", **labels)


def _events(objective: Objective, late: int, minutes: int) -> Series:
    """Make a thousand events a minute, so many of them late."""
    name = objective.metric
    return {
        _p(f"{name}_bucket", le=repr(objective.seconds)): (
            f"0+{1_000 - late}x{minutes}"
        ),
        _p(f"{name}_count"): f"0+1000x{minutes}",
    }


def _burns(name: str, objective: Objective) -> Iterator[Case]:
    speeds = {"Fast": (200, 90, 1), "Steady": (80, 400, 1), "Slow": (20, 4_400, 10)}
    for speed, (late, minutes, every) in speeds.items():
        firing = _events(objective, late, minutes // every)
        # As many were late once, but not lately: nobody needs to be woken.
        mended = {series: _mended(v, minutes) for series, v in firing.items()}
        yield Case(
            f"PosConsumer{name}Burn{speed}",
            firing,
            mended if speed == "Fast" else _events(objective, 5, minutes // every),
            minutes,
            every=every,
        )


def _mended(values: str, minutes: int) -> str:
    """Let the last quarter of an hour be without a late event."""
    step = int(values.partition("+")[2].partition("x")[0])
    reached = step * (minutes - 15)
    return f"0+{step}x{minutes - 15} {reached + 1_000}+1000x14"


_UP: Final = {_p("build_info", version="1"): "1x60"}
_PLACE: Final = {"stage": "aggregate", "partition": "3"}

CASES: Final = (
    *_burns("Freshness", t.FRESHNESS),
    *_burns("Delivery", t.DELIVERY),
    Case(
        "PosConsumerStalled",
        {
            _p("lag_records", stage="aggregate", partition="0"): "5x60",
            _p("consumed_records_total", stage="aggregate"): "700x60",
        },
        {
            # Rows wait for their file, nothing new comes; the other stage has no lag.
            _p("lag_records", stage="upload", partition="0"): "5x60",
            _p("lag_seconds", stage="upload", partition="0"): "0+20x60",
            _p("consumed_records_total", stage="upload"): "700x60",
            _p("lag_records", stage="aggregate", partition="0"): "0x60",
            _p("consumed_records_total", stage="aggregate"): "9x60",
        },
        labels={"stage": "aggregate"},
        shown={"stage": "aggregate"},
    ),
    Case(
        "PosConsumerUploadStuck",
        {
            _p("lag_seconds", stage="upload", partition="0"): "3000+60x60",
            _p("upload_rows_total", outcome="accepted"): "700x60",
        },
        {
            _p("lag_seconds", stage="upload", partition="0"): "3000+60x60",
            _p("upload_rows_total", outcome="accepted"): "700+20x60",
        },
        at=40,
    ),
    Case(
        "PosConsumerDeadLetters",
        {
            _p("records_total", outcome="folded"): "0+980x60",
            _p("records_total", outcome="dead_lettered"): "0+20x60",
        },
        {
            _p("records_total", outcome="folded"): "0+995x60",
            _p("records_total", outcome="dead_lettered"): "0+5x60",
        },
        shown={"value": "2%"},
    ),
    Case(
        "PosConsumerAuthRefused",
        {
            _p("upload_batches_total", outcome="unauthorised"): "0x20 1+1x40",
            _p("status_answers_total", progress="unauthorised"): "0x60",
        },
        {
            _p("upload_batches_total", outcome="unauthorised"): "4x60",
            _p("status_answers_total", progress="unauthorised"): "0x60",
        },
    ),
    Case(
        "PosConsumerTokenExpiring",
        {_p("token_expiry_timestamp_seconds", token="profile"): "439200x120"},
        {_p("token_expiry_timestamp_seconds", token="profile"): "864000x120"},
        at=120,
        shown={"value": "5d 0h 0m 0s"},
    ),
    Case(
        "PosConsumerBudgetExhausted",
        {
            _p("calls_total", kind="submit"): "0+39x60",
            _p("budget_calls_per_minute"): "40x60",
        },
        {
            _p("calls_total", kind="submit"): "0+30x60",
            _p("budget_calls_per_minute"): "40x60",
        },
    ),
    Case(
        "PosConsumerThrottled",
        {_p("upload_batches_total", outcome="throttled"): "0+1x60"},
        {_p("upload_batches_total", outcome="throttled"): "0x20 1x40"},
    ),
    Case(
        "PosConsumerBatchesStuck",
        {_p("batch_ends_total", end="stuck"): "0x20 1x40"},
        {
            _p("batch_ends_total", end="complete"): "0+5x60",
            _p("batch_ends_total", end="stuck"): "2x60",
        },
        labels={"end": "stuck"},
        shown={"end": "stuck"},
    ),
    Case(
        "PosConsumerRowsFailing",
        {
            _p("failed_updates_total"): "0+30x90",
            _p("confirmed_rows_total"): "0+970x90",
        },
        {
            _p("failed_updates_total"): "0+2x90",
            _p("confirmed_rows_total"): "0+998x90",
        },
        at=80,
    ),
    Case(
        "PosConsumerRowsLost",
        {
            _p("sampled_rows_total", found="lost"): "0x10 5x80",
            _p("sampled_rows_total", found="present"): "0+10x90",
        },
        {
            _p("sampled_rows_total", found="lost"): "0x10 1x80",
            _p("sampled_rows_total", found="present"): "0+10x90",
            _p("sampled_rows_total", found="superseded"): "0+10x90",
        },
        at=80,
    ),
    Case(
        "PosConsumerProfilesNotFound",
        {
            _p("profiles_not_found_total"): "0+200x90",
            _p("confirmed_rows_total"): "0+1000x90",
        },
        {
            _p("profiles_not_found_total"): "0+50x90",
            _p("confirmed_rows_total"): "0+1000x90",
        },
        at=80,
    ),
    Case(
        "PosConsumerRowsRejected",
        {_p("rejected_rows_total", reason="row_too_large"): "0x10 2x50"},
        {_p("rejected_rows_total", reason="row_too_large"): "2x60"},
        labels={"reason": "row_too_large"},
        shown={"reason": "row_too_large"},
    ),
    Case(
        "PosConsumerVersionWentBack",
        {_p("version_regressions_total", kind="back"): "0x20 1x40"},
        {_p("version_regressions_total", kind="back"): "0x60"},
    ),
    Case(
        "PosConsumerTransactionHanging",
        {
            _p("unstable_seconds", **_PLACE): "0+60x60",
            # Another partition flows.
            _p("unstable_seconds", stage="aggregate", partition="4"): "0 15 0 15 0x56",
        },
        {
            _p("unstable_seconds", **_PLACE): "0 30 60 90 0+60x9 0x46",
            # Paused, it goes on to show what it last knew.
            _p("unstable_seconds", stage="aggregate", partition="4"): "0+60x60",
            _p(
                "partition_halted",
                stage="aggregate",
                partition="4",
                reason="overflow",
            ): "1x60",
            _p("unstable_seconds", stage="upload", partition="5"): "0+60x60",
            _p(
                "step_seconds_total",
                stage="upload",
                loop="intake",
                step="backpressure",
            ): "0+60x60",
        },
        labels=_PLACE,
        shown=_PLACE,
    ),
    Case(
        "PosConsumerPartitionHalted",
        {_p("partition_halted", **_PLACE, reason="topic_recreated"): "1x60"},
        {_p("partition_assigned", **_PLACE): "1x60"},
        labels={**_PLACE, "reason": "topic_recreated"},
        shown={**_PLACE, "reason": "topic_recreated"},
    ),
    Case(
        "PosConsumerDegraded",
        {_p("degraded"): "1x60"},
        {_p("degraded"): "1x8 0 1x8 0 1x8 0 1x8 0 1x8"},
        labels={"instance": "a:9464"},
        shown={"instance": "a:9464"},
    ),
    Case(
        "PosConsumerPartitionUnowned",
        {
            _p("partitions", stage="aggregate"): "3x60",
            _p("partition_assigned", stage="aggregate", partition="0"): "1x60",
            _s(
                "pos_consumer_partition_assigned",
                instance="b:9464",
                stage="aggregate",
                partition="0",
            ): "1x60",
            _p("partition_assigned", stage="aggregate", partition="1"): "1x60",
        },
        {
            _p("partitions", stage="aggregate"): "2x60",
            _p("partition_assigned", stage="aggregate", partition="0"): "1x60",
            _p("partition_assigned", stage="aggregate", partition="1"): "1x60",
        },
        labels={"stage": "aggregate"},
        shown={"value": "1", "stage": "aggregate"},
    ),
    Case(
        "PosConsumerLoopStalled",
        {_p("loop_heartbeat_timestamp_seconds", loop="upload"): "0+60x20 1200x40"},
        {_p("loop_heartbeat_timestamp_seconds", loop="upload"): "0+60x60"},
        labels={"instance": "a:9464", "loop": "upload"},
        shown={"instance": "a:9464", "loop": "upload"},
    ),
    Case(
        "PosConsumerNotReady",
        {_p("ready"): "0x60"},
        {_p("ready"): "0x8 1 0x8 1 0x8 1 0x8"},
        labels={"instance": "a:9464"},
        shown={"instance": "a:9464"},
    ),
    Case(
        "PosConsumerDown",
        {**_UP, _s("up", instance="a:9464"): "1x10 0x50"},
        {**_UP, _s("up", instance="a:9464"): "1x60"},
        labels={"instance": "a:9464"},
        shown={"instance": "a:9464"},
    ),
    Case(
        "PosConsumerTransactionsFailing",
        {_p("producer_recycles_total", cause="member_fenced"): "0+1x60"},
        {_p("producer_recycles_total", cause="member_fenced"): "0x20 2x40"},
        labels={"cause": "member_fenced"},
        shown={"cause": "member_fenced"},
    ),
    Case(
        "PosConsumerRebalancing",
        {_p("rebalances_total", stage="upload", kind="revoked"): "0+1x60"},
        {_p("rebalances_total", stage="upload", kind="assigned"): "0+1x60"},
        labels={"stage": "upload"},
        shown={"stage": "upload"},
    ),
    Case(
        "PosConsumerOpenFiles",
        {
            **_UP,
            _s("process_open_fds", instance="a:9464"): "900x60",
            _s("process_max_fds", instance="a:9464"): "1024x60",
        },
        {
            **_UP,
            _s("process_open_fds", instance="a:9464"): "100x60",
            _s("process_max_fds", instance="a:9464"): "1024x60",
            _s("process_open_fds", instance="other:1"): "1000x60",
            _s("process_max_fds", instance="other:1"): "1024x60",
        },
        labels={"instance": "a:9464"},
        shown={"instance": "a:9464"},
    ),
)


def as_yaml(every: int) -> str:
    """Return promtool's test file: each alert once firing and once silent.

    Those whose series have a value `every` so many minutes, and are evaluated so.
    """
    alerts = {alert.name: alert for alert in ALERTS}
    tests: list[dict[str, Any]] = []
    for case in (case for case in CASES if case.every == every):
        alert = alerts[case.alert]
        summary = alert.summary
        for name, value in case.shown.items():
            for template in ("{{ $labels.%s }}" % name, "{{ $value }}"):  # noqa: UP031 - braces
                if name == "value" or template != "{{ $value }}":
                    summary = summary.replace(template, value)
            if name == "value":
                for how in ("humanizePercentage", "humanizeDuration"):
                    summary = summary.replace(f"{{{{ $value | {how} }}}}", value)
        expected = {
            "exp_labels": {"severity": alert.severity, "job": JOB, **case.labels},
            "exp_annotations": {
                "summary": summary,
                "runbook_url": RUNBOOK + alert.anchor,
            },
        }
        for word, series, found in (
            ("fires", case.firing, [expected]),
            ("stays silent", case.silent, []),
        ):
            tests.append(
                {
                    "name": f"{alert.name} {word}",
                    "interval": f"{every}m",
                    "input_series": [
                        {"series": k, "values": v} for k, v in series.items()
                    ],
                    "alert_rule_test": [
                        {
                            "eval_time": f"{case.at}m",
                            "alertname": alert.name,
                            "exp_alerts": found,
                        }
                    ],
                }
            )
    document = {
        "rule_files": ["../pos-consumer.yml"],
        "evaluation_interval": f"{every}m",
        "tests": tests,
    }
    head = "# Made by `python -m dashboards` of dashboards/rule_tests.py.\n"
    return head + yaml.safe_dump(document, sort_keys=False, width=100)
