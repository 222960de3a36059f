"""A record waits for its schema, but not for ever, and not again and again."""

from __future__ import annotations

from consumer.events.grace import MOST_IDS, REST_SECONDS, SchemaGrace

GRACE = 300.0


class Waiting:
    """A grace and a clock, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.grace = SchemaGrace(GRACE, lambda: self.now)

    def holds(
        self, schema_id: int, *, partition: int = 0, recorded: float | None = None
    ) -> bool:
        """Ask for a record with a timestamp, now if none is given."""
        at = self.now if recorded is None else recorded
        return self.grace.holds(schema_id, partition, int(at * 1000))


def test_a_record_waits_until_a_grace_time_after_its_timestamp() -> None:
    """The clock is the record's: what lay in the topic for longer waits no more."""
    waiting = Waiting()
    recorded = waiting.now
    assert not waiting.holds(7, recorded=recorded - GRACE)
    waiting.now += GRACE - 1
    assert waiting.holds(7, recorded=recorded)
    waiting.now += 1
    assert not waiting.holds(7, recorded=recorded)


def test_an_id_is_waited_for_once() -> None:
    """After a wait in vain its further records are refused at once, everywhere."""
    waiting = Waiting()
    assert waiting.holds(7)
    waiting.now += GRACE
    assert not waiting.holds(7, recorded=waiting.now - GRACE)
    assert not waiting.holds(7)
    assert not waiting.holds(7, partition=1)


def test_a_partition_that_waited_in_vain_rests() -> None:
    """Broken records that name ever new ids hold up their partition once an hour."""
    waiting = Waiting()
    assert waiting.holds(7)
    waiting.now += GRACE
    assert not waiting.holds(7, recorded=waiting.now - GRACE)
    assert not waiting.holds(8)
    assert waiting.holds(8, partition=1)
    waiting.now += REST_SECONDS
    assert waiting.holds(9)


def test_a_timestamp_in_the_future_waits_no_longer() -> None:
    """A till whose clock is a year ahead stops its partition for the grace time."""
    waiting = Waiting()
    ahead = waiting.now + 365 * 86_400
    assert waiting.holds(7, recorded=ahead)
    waiting.now += GRACE
    assert not waiting.holds(7, recorded=ahead)


def test_a_schema_that_came_can_be_waited_for_again() -> None:
    """An id that turned out to be known has cost nobody anything."""
    waiting = Waiting()
    assert waiting.holds(7)
    waiting.grace.known(7)
    waiting.now += GRACE
    assert not waiting.holds(7, recorded=waiting.now - GRACE)
    assert waiting.holds(8)


def test_ids_of_broken_records_take_no_memory() -> None:
    """However many ids are waited for, the latest are kept in mind."""
    waiting = Waiting()
    for schema_id in range(3 * MOST_IDS):
        assert waiting.holds(schema_id)
    assert len(waiting.grace._began) == MOST_IDS
