"""A transactional producer that is not the service's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import Producer

if TYPE_CHECKING:
    from tests.faults.arena import Arena


def rival(arena: Arena, transactional_id: str, timeout: int) -> Producer:
    """Make another transactional producer, which fences whoever has this id."""
    made = Producer(
        {
            "bootstrap.servers": arena.bootstrap,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": timeout * 1_000,
            "log_level": 2,
        }
    )
    made.init_transactions(30)
    return made
