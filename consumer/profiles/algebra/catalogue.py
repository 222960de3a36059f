"""Which monoid computes which configured aggregate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.profiles.algebra.additive import Additive
from consumer.profiles.algebra.edge import Edge
from consumer.profiles.algebra.extreme import Extreme
from consumer.profiles.algebra.keyed import Keyed
from consumer.profiles.algebra.recent import Recent
from consumer.profiles.algebra.windowed import ByDay

if TYPE_CHECKING:
    from consumer.plan.attributes import AttributePlan
    from consumer.profiles.algebra.monoid import Aggregate


def aggregate_for(plan: AttributePlan) -> Aggregate:
    """Choose the monoid that computes an attribute; see `windowed` for windows."""
    match plan.aggregate:
        case "count" | "sum" | "mean":
            additive = Additive(plan.name)
            return additive if plan.window is None else ByDay(plan.name, additive)
        case "min" | "max":
            extreme = Extreme(
                plan.name, plan.kept.storage, least=plan.aggregate == "min"
            )
            return extreme if plan.window is None else ByDay(plan.name, extreme)
        case "first" | "last":
            return Edge(
                plan.name, plan.kept.storage, earliest=plan.aggregate == "first"
            )
        case "top" | "distinct":
            return Keyed(
                plan.name,
                plan.kept.storage,
                weighted=plan.aggregate == "top",
                dated=plan.window is not None,
            )
        case "recent":
            return Recent(plan.name, plan.kept.storage, plan.n)
