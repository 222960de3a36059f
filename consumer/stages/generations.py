"""Which generation of the configuration this process is, as agreed in `control`.

Added attributes and removed ones make a new generation, and so does a release whose
profile records have other fields; a changed definition is refused, since stored states
would mean something else from one event to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from consumer.errors import ConfigurationError, PosConsumerError
from consumer.kafka.control_records import Generation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumer.kafka.control import Control
    from consumer.kafka.control_records import ControlView
    from consumer.plan.compile import Plan
    from consumer.profiles.record import ProfileCodec

log = structlog.get_logger(__name__)


def agree(  # noqa: PLR0913 - what replicas agree on
    control: Control,
    view: ControlView,
    plan: Plan,
    codec: ProfileCodec,
    *,
    partitions: int,
    pseudonyms: str = "",
) -> tuple[int, int]:
    """Find or announce our generation; teaches `codec` the schemas of the others.

    `view` is what the topic holds. Returns the generation's number, and how many
    partitions the input had when the application began; `partitions` is how many it
    has now, `pseudonyms` the fingerprint of our key of pseudonyms.

    Raises `ConfigurationError` when an attribute's definition has changed.
    """
    _require_readable(view)
    known = view.generations
    codec.learn({one.schema_id: one.schema for one in known})
    definitions = {a.name: a.definition for a in plan.attributes}
    began_with = next((g.partitions for g in known if g.partitions), partitions)
    for one in reversed(known):
        # An older configuration that starts again is what it was: announcing it anew
        # would make it the newest, and halt the replicas that were rolled forward.
        if one.definitions == definitions and one.schema == codec.current.text:
            return one.number, began_with
    if known:
        _refuse_changes(known, definitions)
    number = known[-1].number + 1 if known else 1
    schema = codec.current
    control.put(
        Generation(
            number,
            schema.schema_id,
            schema.text,
            definitions,
            began_with,
            pseudonyms,
        )
    )
    log.info("configuration announced", generation=number)
    return number, began_with


def _require_readable(view: ControlView) -> None:
    """Refuse to start beside a generation that this release cannot read."""
    for key, problem in view.unreadable.items():
        if key.startswith("generation/"):
            raise PosConsumerError(
                f"The record {key} of the control topic cannot be read: {problem}.",
                "Run a release that can read it.",
            )


def _refuse_changes(
    known: Sequence[Generation], definitions: Mapping[str, str]
) -> None:
    latest: dict[str, str] = {}
    for one in known:
        latest.update(one.definitions)
    changed = [
        ConfigurationError(
            f"attributes.{name}",
            definition,
            f"the definition that stored profiles have, {latest[name]}; give the "
            "changed attribute another name",
        )
        for name, definition in definitions.items()
        if latest.get(name, definition) != definition
    ]
    if changed:
        raise ConfigurationError.of(changed)
