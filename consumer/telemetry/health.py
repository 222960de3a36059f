"""Health as the components report it; pure: the caller brings the time.

A component is one loop or part of the service. It beats when it moves, says what it
still waits for, and what of it is degraded. Reports may come from any thread: each one
replaces a single attribute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(slots=True)
class Component:
    """One part's last report. `waiting_for` is empty once the part is ready."""

    name: str
    stalled_after: float | None
    waiting_for: str
    degraded: Mapping[str, str] = field(default_factory=dict)
    moved: float | None = None

    def beat(self, monotonic: float) -> None:
        """Say that the loop has just moved."""
        self.moved = monotonic

    def ready(self) -> None:
        """Say that the part does its work."""
        self.waiting_for = ""

    def wait(self, reason: str) -> None:
        """Say that the part cannot work yet, or no longer, and why."""
        self.waiting_for = reason

    def degrade(self, halted: Mapping[str, str]) -> None:
        """Replace what is halted: from its name ("partition 3") to the reason."""
        self.degraded = dict(halted)

    def stop_watching(self) -> None:
        """Say that the loop has ended as it should: it no longer has to move."""
        self.moved = None


@dataclass(frozen=True, slots=True)
class Liveness:
    """Whether every watched loop moves; `stalled` maps those that do not to seconds."""

    stalled: Mapping[str, float]

    @property
    def alive(self) -> bool:
        """Whether the process should be left running."""
        return not self.stalled


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is waited for and what is halted, each with its reason, by name."""

    waiting: Mapping[str, str]
    degraded: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Whether the service works; it may still be degraded."""
        return not self.waiting

    @property
    def word(self) -> str:
        """The state in one word."""
        if not self.ready:
            return "not ready"
        return "degraded" if self.degraded else "ready"


class Health:
    """All components' reports, and the two answers that are made from them."""

    def __init__(self) -> None:
        """Start without components: alive and ready."""
        self._components: dict[str, Component] = {}

    def component(self, name: str, *, stalled_after: float | None = None) -> Component:
        """Add a component that is not ready yet.

        With `stalled_after`, it counts as stalled when, after its first beat, it has
        not beaten for that many seconds. An existing one of that name is replaced.
        """
        component = Component(name, stalled_after, "it is starting")
        self._components[name] = component
        return component

    @property
    def components(self) -> tuple[Component, ...]:
        """All components, in the order in which they were added."""
        return tuple(self._components.values())

    def heartbeats(self) -> dict[str, float]:
        """Return when each loop last moved, on the monotonic clock."""
        return {c.name: c.moved for c in self.components if c.moved is not None}

    def liveness(self, monotonic: float) -> Liveness:
        """Judge whether loops move; brokers and Target have no say in it."""
        return Liveness(
            {
                c.name: monotonic - c.moved
                for c in self.components
                if c.stalled_after is not None
                and c.moved is not None
                and monotonic - c.moved > c.stalled_after
            }
        )

    def readiness(self) -> Readiness:
        """Collect what is waited for and what is halted."""
        return Readiness(
            {c.name: c.waiting_for for c in self.components if c.waiting_for},
            {
                f"{c.name}: {name}": reason
                for c in self.components
                for name, reason in c.degraded.items()
            },
        )
