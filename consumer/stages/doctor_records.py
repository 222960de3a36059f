"""What the newest purchases tell before a start: their keys, and what would halt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.errors import PosConsumerError
from consumer.kafka.partitioners import PARTITIONERS
from consumer.kafka.topics import MAX_RECORD_BYTES
from consumer.plan.compile import compile_plan
from consumer.stages.finding import Finding
from consumer.stages.preview import HALTED, preview

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.config import Settings
    from consumer.events.decode import Schemas
    from consumer.frames import Records


def keys(found: Mapping[str, int], partitions: int) -> Finding:
    """Judge what `placed_by` has counted: one key, one partition."""
    keyed = found["keyed"]
    if not keyed:
        return Finding("keys", "No record with a key was found; nothing to judge.")
    if partitions == 1:
        return Finding("keys", "There is one partition: every key is in it.")
    best = max(PARTITIONERS, key=lambda name: found[name])
    if found[best] == keyed:
        what = f"All of the newest {keyed:,} records were placed by {best}."
        return Finding("keys", what)
    return Finding(
        "keys",
        f"Of the newest {keyed:,} records {found[best]:,} fit the partitioner {best}, "
        "the others do not: one key may lie in several partitions.",
        'Let all producers use one partitioner, or use [purchases] key = "other". If '
        "they have one of their own that keeps each key in one partition, all is well.",
    )


def halting(
    settings: Settings, schemas: Callable[[], Schemas], records: Records
) -> Finding | None:
    """Work records as the service would, and tell what would halt a partition.

    A key that is not the visitor is not seen by its partition alone. None: nothing
    would, or the configuration is wrong, which `check` tells.
    """
    try:
        source = schemas()
        plan = compile_plan(settings, source.newest()[1].sample_frame())
        found = preview(
            settings, plan, source, records, largest_record=MAX_RECORD_BYTES
        )
    except PosConsumerError:
        return None
    halts = [one for one in found.records if one.outcome == HALTED]
    if not halts:
        return None
    subject = "keys" if halts[0].reason == "key_is_not_visitor" else "records"
    numbers = ", ".join(map(str, sorted({one.partition for one in halts})))
    return Finding(
        subject,
        f"A start would halt partition {numbers} ({halts[0].reason}).",
        halts[0].sentence,
    )
