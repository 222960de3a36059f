"""Which monoid computes which configured aggregate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.profiles.algebra.additive import Additive
from consumer.profiles.algebra.edge import Edge
from consumer.profiles.algebra.extreme import Extreme
from consumer.profiles.algebra.keyed import Keyed
from consumer.profiles.algebra.recent import Recent

if TYPE_CHECKING:
    from consumer.plan.attributes import AttributePlan
    from consumer.profiles.algebra.monoid import Aggregate


def aggregate_for(plan: AttributePlan) -> Aggregate:
    """Choose the monoid that computes an attribute."""
    match plan.aggregate:
        case "count" | "sum" | "mean":
            return Additive(plan.name)
        case "min" | "max":
            return Extreme(plan.name, plan.kept.storage, least=plan.aggregate == "min")
        case "first" | "last":
            return Edge(
                plan.name, plan.kept.storage, earliest=plan.aggregate == "first"
            )
        case "top" | "distinct":
            return Keyed(plan.name, plan.kept.storage, weighted=plan.aggregate == "top")
        case "recent":
            return Recent(plan.name, plan.kept.storage, plan.n)
