"""Panels as data, and the PromQL they are made of. Pure; `draw` gives it to the SDK."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from consumer.telemetry.catalogue import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["graph", "stack", "stat", "table"]
RATE: Final = "$__rate_interval"
CHOSEN: Final = 'job=~"$job",instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression; `legend` as Grafana writes it."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; `description` says what is good and what to do where it is not.

    `steps` are the values from which it is `warn` and `bad`, rising, or falling where
    `warn` is the greater one. `link` is the dashboard that goes deeper. `names` are
    words for values; `columns` are headings for the labels of a table, in order.
    `empty` says why one of the queries gives nothing while all is well.
    """

    @property
    def explanation(self) -> str:
        """The description, and what it means where there is nothing to show."""
        if not self.empty:
            return self.description
        return f"{self.description} No data: {self.empty}."

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str
    kind: Kind = "graph"
    width: int = 8
    height: int = 8
    steps: tuple[float, float] | None = None
    link: str = ""
    most: float | None = None
    decimals: int | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    empty: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """One dashboard."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]


def series(name: str, part: str = "", /, **labels: str) -> str:
    """Return the selector of a metric of ours; `part` is a histogram's ending.

    A label's value that begins with `~` or `!` is matched so. KeyError for a metric
    that is not in the catalogue.
    """
    declared = CATALOGUE[name]
    unknown = labels.keys() - declared.labels.keys() - {"le"}
    if unknown:
        raise KeyError(f"{name} has no label {', '.join(sorted(unknown))}")
    return select(f"{declared.full_name}{part}", **labels)


def select(full_name: str, /, **labels: str) -> str:
    """Return the selector of any metric, for the chosen jobs and instances."""
    matchers = [CHOSEN]
    for label, value in labels.items():
        operator, wanted = "=", value
        if value.startswith("~"):
            operator, wanted = "=~", value[1:]
        elif value.startswith("!"):
            operator, wanted = "!=", value[1:]
        matchers.append(f'{label}{operator}"{wanted}"')
    return f"{full_name}{{{','.join(matchers)}}}"


def alerts(state: str) -> str:
    """Return our alerts in that state; one may be about no instance in particular."""
    return f'ALERTS{{alertname=~"PosConsumer.*",alertstate="{state}",job=~"$job"}}'


def rate(name: str, by: str = "", /, **labels: str) -> str:
    """Return a counter's rate, added up over replicas."""
    inner = f"rate({series(name, **labels)}[{RATE}])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def owned(name: str, by: str, /, **labels: str) -> str:
    """Return a gauge that only a partition's owner reports, added up over partitions.

    While a partition moves, two replicas may report it: the greater one counts.
    """
    inner = f"max by (stage, partition) ({series(name, **labels)})"
    return f"sum by ({by}) ({inner})" if by else inner


def quantile(share: float, name: str) -> str:
    """Return a histogram's quantile over all replicas: buckets add up."""
    buckets = f"rate({series(name, '_bucket')}[{RATE}])"
    return f"histogram_quantile({share:g}, sum by (le) ({buckets}))"


def mean(name: str) -> str:
    """Return a histogram's mean over all replicas."""
    total = f"sum(rate({series(name, '_sum')}[{RATE}]))"
    count = f"sum(rate({series(name, '_count')}[{RATE}]))"
    return f"{total} / {count}"


def ratio(part: str, whole: str) -> str:
    """Return a share that is 0, not absent, where there is nothing at all."""
    return f"{part} / ({whole} > 0) or vector(0)"
