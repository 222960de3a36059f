"""The alerts as data. Each has a section in docs/runbook.md, named like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml

from consumer.telemetry.catalogue import CATALOGUE
from dashboards import thresholds as t

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboards.thresholds import Objective

RUNBOOK: Final = "docs/runbook.md"
"""Where the runbook is; yours may be known under an address, see `as_yaml`."""

_HOURS: Final = 3_600


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert; `severity` page wakes a person, ticket waits for the morning."""

    name: str
    expr: str
    wait: str
    severity: Literal["page", "ticket"]
    summary: str

    @property
    def section(self) -> str:
        """The runbook's heading; the three speeds of a burn share one."""
        name, burn, _ = self.name.partition("Burn")
        return name + burn

    @property
    def anchor(self) -> str:
        """Where in the runbook it says what to do."""
        return f"#{self.section.lower()}"

    def as_rule(self, runbook: str) -> dict[str, Any]:
        """Return it as Prometheus reads it, with its section of a runbook."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "runbook_url": runbook + self.anchor,
            },
        }


def _m(name: str, part: str = "", /, **labels: str) -> str:
    """Return a metric of the catalogue; a value that begins with `~` is a pattern."""
    matchers = [
        f'{label}=~"{value[1:]}"' if value.startswith("~") else f'{label}="{value}"'
        for label, value in labels.items()
    ]
    braces = f"{{{','.join(matchers)}}}" if matchers else ""
    return f"{CATALOGUE[name].full_name}{part}{braces}"


def _late(objective: Objective, window: str) -> str:
    """Return the share of events that missed the objective within a window."""
    within = _m(objective.metric, "_bucket", le=repr(objective.seconds))
    good = f"sum by (job) (rate({within}[{window}]))"
    whole = f"sum by (job) (rate({_m(objective.metric, '_count')}[{window}]))"
    return f"1 - {good} / ({whole} > 0)"


def _burns(name: str, objective: Objective, what: str) -> Iterator[Alert]:
    """Give an alert for each pair of windows: both must burn the budget too fast."""
    speeds = ("Fast", "Steady", "Slow")
    for speed, (long, short, times, severity) in zip(speeds, t.BURNS, strict=True):
        limit = round(times * objective.budget, 6)
        yield Alert(
            f"PosConsumer{name}Burn{speed}",
            f"({_late(objective, long)}) > {limit:g}\n"
            f"and\n({_late(objective, short)}) > {limit:g}",
            "2m",
            "page" if severity == "page" else "ticket",
            f"{what} late: over {limit:.1%} in {long}, where "
            f"{objective.budget:.0%} is allowed in the long run.",
        )


_OWNED: Final = "max by (job, stage, partition)"
ALERTS: Final = (
    *_burns(
        "Freshness",
        t.FRESHNESS,
        f"Purchases reach their profile more than {t.FRESHNESS.seconds:.0f} s",
    ),
    *_burns(
        "Delivery",
        t.DELIVERY,
        f"Rows are confirmed more than {t.DELIVERY.seconds / _HOURS:.0f} h",
    ),
    Alert(
        "PosConsumerStalled",
        f"(sum by (job, stage) ({_OWNED} "
        f"({_m('lag_records', stage='~rekey|aggregate')})) > 0"
        # For the upload, some records always wait for their file.
        f"\nor max by (job, stage) ({_m('lag_seconds', stage='upload')}) "
        f"> {t.UPLOAD_LAG_SECONDS_WARN:.0f})\n"
        f"and on (job, stage)\n"
        f"sum by (job, stage) (rate({_m('consumed_records')}[5m])) == 0",
        "5m",
        "page",
        "The {{ $labels.stage }} stage has records to work on and takes none.",
    ),
    Alert(
        "PosConsumerUploadStuck",
        f"max by (job) ({_m('lag_seconds', stage='upload')}) "
        f"> {t.UPLOAD_LAG_SECONDS_BAD:.0f}\n"
        "and on (job)\n"
        "sum by (job) "
        f"(increase({_m('upload_rows', outcome='accepted')}[15m])) == 0",
        "5m",
        "page",
        "Rows wait, and Target has accepted none for a quarter of an hour.",
    ),
    Alert(
        "PosConsumerDeadLetters",
        "sum by (job) "
        f"(rate({_m('records', outcome='dead_lettered')}[10m]))\n"
        f"/ sum by (job) (rate({_m('records')}[10m])) > {t.DEAD_LETTERS_BAD:g}",
        "5m",
        "ticket",
        "{{ $value | humanizePercentage }} of the records are dead letters.",
    ),
    Alert(
        "PosConsumerAuthRefused",
        "sum by (job) "
        f"(increase({_m('upload_batches', outcome='unauthorised')}[10m]))\n"
        "+ sum by (job) "
        f"(increase({_m('status_answers', progress='unauthorised')}[10m]))"
        " > 0",
        "1m",
        "page",
        "Target refuses the profile token; uploads pause, nothing is lost.",
    ),
    Alert(
        "PosConsumerTokenExpiring",
        f"min by (job) ({_m('token_expiry_timestamp_seconds')}) - time() "
        f"< {t.TOKEN_DAYS} * 86400",
        "1h",
        "ticket",
        "The profile token ends in {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "PosConsumerBudgetExhausted",
        f"sum by (job) (rate({_m('calls')}[10m])) * 60\n"
        f"> {t.BUDGET_FULL:g} * max by (job) ({_m('budget_calls_per_minute')})",
        "15m",
        "ticket",
        "All calls of the budget are used; rows wait for calls.",
    ),
    Alert(
        "PosConsumerThrottled",
        "sum by (job) "
        f"(increase({_m('upload_batches', outcome='throttled')}[15m])) > 3",
        "5m",
        "ticket",
        "Target throttles: somebody else uses the account's calls.",
    ),
    Alert(
        "PosConsumerBatchesStuck",
        "sum by (job, end) (increase("
        f"{_m('batch_ends', end='~stuck|forgotten|overdue')}[1h])) > 0",
        "5m",
        "ticket",
        "Batches at Target end as {{ $labels.end }}; their rows are sent again.",
    ),
    Alert(
        "PosConsumerRowsFailing",
        f"sum by (job) (increase({_m('failed_updates')}[1h]))\n"
        f"> {t.FAILED_ROWS_BAD:g} * "
        f"(sum by (job) (increase({_m('confirmed_rows')}[1h]))"
        f" + sum by (job) (increase({_m('failed_updates')}[1h])))",
        "5m",
        "ticket",
        "Target does not apply some of the rows it accepted.",
    ),
    Alert(
        "PosConsumerRowsLost",
        f"sum by (job) (increase({_m('sampled_rows', found='lost')}[1d]))\n"
        f"> {t.LOST_ROWS_BAD:g} * sum by (job) (increase("
        f"{_m('sampled_rows', found='~lost|present')}[1d])) + 1",
        "5m",
        "ticket",
        "Target loses more of the rows that it confirms than Adobe admits.",
    ),
    Alert(
        "PosConsumerProfilesNotFound",
        f"sum by (job) (increase({_m('profiles_not_found')}[1h]))\n"
        f"> {t.NOT_FOUND_BAD:g} * sum by (job) "
        f"(increase({_m('confirmed_rows')}[1h]))",
        "5m",
        "ticket",
        "Target has no profile for many of the visitors sent.",
    ),
    Alert(
        "PosConsumerRowsRejected",
        f"sum by (job, reason) (increase({_m('rejected_rows')}[1h])) > 0",
        "5m",
        "ticket",
        "Rows are kept back that Target cannot take: {{ $labels.reason }}.",
    ),
    Alert(
        "PosConsumerVersionWentBack",
        f"sum by (job) (increase({_m('version_regressions')}[15m])) > 0",
        "0m",
        "page",
        "A profile's version went back: something else writes the topic of profiles.",
    ),
    Alert(
        "PosConsumerTransactionHanging",
        f"{_OWNED} ({_m('unstable_seconds')}) > {t.UNSTABLE_SECONDS}\n"
        # A partition that is paused learns nothing of its end.
        f"unless {_OWNED} ({_m('partition_halted')}) == 1\n"
        "unless on (job, stage) sum by (job, stage) "
        f"(rate({_m('step_seconds', step='backpressure')}[5m])) > 0.5",
        "2m",
        "page",
        "An open transaction hides records of partition {{ $labels.partition }} from "
        "the {{ $labels.stage }} stage.",
    ),
    Alert(
        "PosConsumerPartitionHalted",
        f"max by (job, stage, partition, reason) ({_m('partition_halted')}) == 1",
        "1m",
        "page",
        "Partition {{ $labels.partition }} is halted in {{ $labels.stage }}: "
        "{{ $labels.reason }}.",
    ),
    Alert(
        "PosConsumerDegraded",
        f"min_over_time({_m('degraded')}[10m]) == 1",
        "5m",
        "ticket",
        "{{ $labels.instance }} has been degraded for a quarter of an hour.",
    ),
    Alert(
        "PosConsumerPartitionUnowned",
        f"max by (job, stage) ({_m('partitions')})\n"
        f"- on (job, stage) sum by (job, stage) ({_OWNED} ({_m('partition_assigned')}))"
        " > 0",
        "10m",
        "page",
        "{{ $value }} partitions have no owner in the {{ $labels.stage }} stage.",
    ),
    Alert(
        "PosConsumerLoopStalled",
        f"time() - {_m('loop_heartbeat_timestamp_seconds')} > {t.HEARTBEAT_BAD:g}",
        "1m",
        "page",
        "The loop {{ $labels.loop }} of {{ $labels.instance }} does not move.",
    ),
    Alert(
        "PosConsumerNotReady",
        f"max_over_time({_m('ready')}[10m]) == 0",
        "5m",
        "page",
        "{{ $labels.instance }} has not been ready for a quarter of an hour.",
    ),
    Alert(
        "PosConsumerDown",
        f'up{{job=~".*pos-consumer.*"}} == 0\nor absent({_m("build")})',
        "5m",
        "page",
        "No figures from {{ $labels.instance }}: the replica is down or unreachable.",
    ),
    Alert(
        "PosConsumerTransactionsFailing",
        f"sum by (job, cause) (increase({_m('producer_recycles')}[15m])) "
        f"> {t.RECYCLES_BAD}",
        "5m",
        "ticket",
        "Transactions fail again and again: {{ $labels.cause }}.",
    ),
    Alert(
        "PosConsumerRebalancing",
        "sum by (job, stage) (increase("
        f"{_m('rebalances', kind='~revoked|lost')}[15m])) "
        f"> {t.REBALANCES_BAD}",
        "5m",
        "ticket",
        "Partitions of {{ $labels.stage }} keep changing hands.",
    ),
    Alert(
        "PosConsumerOpenFiles",
        "process_open_fds / process_max_fds "
        f"> {t.OPEN_FILES_SHARE:g}\nand on (job, instance) {_m('build')}",
        "10m",
        "ticket",
        "{{ $labels.instance }} is near its limit of open files.",
    ),
)

ABSENT: Final = {
    "partition_halted": "no partition is halted",
    "token_expiry_timestamp_seconds": "the token does not say when it ends",
}
"""Metrics that alerts ask for and that may have no series, with the reason."""


def as_yaml(runbook: str = RUNBOOK) -> str:
    """Return the rule file, with links into a runbook at that address."""
    rules = [alert.as_rule(runbook) for alert in ALERTS]
    document = {"groups": [{"name": "pos-consumer", "rules": rules}]}
    head = "# Made by `python -m dashboards` of dashboards/rules.py; not by hand.\n"
    text: str = yaml.dump(document, Dumper=_Readable, sort_keys=False, width=100)
    return head + text


class _Readable(yaml.SafeDumper):
    """Writes PromQL of several lines as it is."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)
