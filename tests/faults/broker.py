"""One broker for all runs, with a second listener behind a wire that can fail.

Nothing is compacted while a run lasts, so that the oracle finds every version, and
sessions and abandoned transactions end soon.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from consumer.sandbox.kafka import EmbeddedKafka
from consumer.sandbox.ports import HOST, free_port
from tests.faults.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.loop import Loop

SESSION_SECONDS: Final = 6
SETTINGS: Final = {
    "log.cleaner.min.compaction.lag.ms": "86400000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    # KIP-848 has its sessions on the broker.
    "group.consumer.session.timeout.ms": f"{SESSION_SECONDS}000",
    "group.consumer.min.session.timeout.ms": f"{SESSION_SECONDS}000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
}


@contextmanager
def broker_with_wire(loop: Loop) -> Iterator[tuple[EmbeddedKafka, Wire]]:
    """Start both; the wire lets everything through until it is told otherwise."""
    port, controller, behind = free_port(), free_port(), free_port()
    wire = Wire((HOST, behind))
    with loop.entered(wire):
        names = ("PLAINTEXT", "WIRED", "CONTROLLER")
        listeners = {
            "listeners": f"PLAINTEXT://{HOST}:{port},WIRED://{HOST}:{behind},"
            f"CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{port},"
            f"WIRED://{HOST}:{wire.port}",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "listener.security.protocol.map": ",".join(f"{n}:PLAINTEXT" for n in names),
            "inter.broker.listener.name": "PLAINTEXT",
        }
        with EmbeddedKafka(port=port, settings=SETTINGS | listeners) as kafka:
            yield kafka, wire
