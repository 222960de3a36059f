"""The profiles that Target holds, and how uploads change them.

Pure; times are handed in.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Final

from consumer.sandbox.target.batchfile import Row, cells_of

Attributes = dict[str, tuple[str, float]]  # name to value and when it was set


class Profile:
    """One visitor's external attributes, decoded when they are first looked at."""

    __slots__ = (
        "_attributes",
        "_cells",
        "_names",
        "active_at",
        "modified_at",
        "overridable",
    )

    def __init__(self, attributes: Attributes, at: float) -> None:
        """Hold `attributes`, as of `at`; no upload has been made yet."""
        self._attributes: Attributes | None = attributes
        self._names: tuple[str, ...] = ()
        self._cells = b""
        self.modified_at = at
        self.active_at = at  # a profile lives for a time after this
        # Set by a v2 upload, cleared by a page call: the next v2 upload overrides.
        self.overridable = False

    def replace(self, names: tuple[str, ...], cells: bytes, at: float) -> None:
        """Hold these cells and nothing else."""
        self._attributes = None
        self._names = names
        self._cells = cells
        self.modified_at = at

    def hold(self, attributes: Attributes, at: float) -> None:
        """Hold these attributes and nothing else."""
        self._attributes = attributes
        self.modified_at = at

    def attributes(self) -> Attributes:
        """Return the attributes held; empty cells are none."""
        if self._attributes is None:
            named = zip(self._names, cells_of(self._cells), strict=False)
            self._attributes = {n: (v, self.modified_at) for n, v in named if v}
        return self._attributes

    def values(self) -> dict[str, str]:
        """Return the values held by name."""
        return {name: value for name, (value, _) in self.attributes().items()}


@dataclasses.dataclass(slots=True)
class Applied:
    """What an upload did."""

    successful: int = 0
    not_found: int = 0


class Profiles:
    """All profiles of one account, by kind of id and id."""

    def __init__(
        self, lifetime: float = float("inf"), *, uploads_are_activity: bool = True
    ) -> None:
        """Start with none; each lives so many seconds after its last activity."""
        self._by_kind: Final[dict[str, dict[str, Profile]]] = {}
        self._lifetime = lifetime
        self._uploads_are_activity = uploads_are_activity
        self._expire_at = float("-inf")

    def expire(self, now: float) -> None:
        """Forget profiles whose time has passed, to a thousandth of it."""
        if now < self._expire_at:
            return
        self._expire_at = now + self._lifetime / 1_000
        for held in self._by_kind.values():
            gone = [v for v, p in held.items() if now - p.active_at > self._lifetime]
            for visitor in gone:
                del held[visitor]

    def forget(self, visitor: str | None) -> None:
        """Forget a visitor, or all, as when profiles expire."""
        for held in self._by_kind.values():
            if visitor is None:
                held.clear()
            else:
                held.pop(visitor, None)

    def get(self, id_kind: str, visitor: str) -> Profile | None:
        """Return a visitor's profile, None if there is none."""
        return self._by_kind.get(id_kind, {}).get(visitor)

    def all(self, id_kind: str = "thirdPartyId") -> Iterator[tuple[str, Profile]]:
        """Yield each visitor's profile."""
        yield from self._by_kind.get(id_kind, {}).items()

    def page_call(self, id_kind: str, visitor: str, at: float) -> None:
        """Note that the visitor was on the site; it has a profile from then on.

        The next v2 upload merges instead of overriding.
        """
        found = self._by_kind.setdefault(id_kind, {}).setdefault(
            visitor, Profile({}, at)
        )
        found.overridable = False
        found.active_at = at

    def update(
        self, id_kind: str, visitor: str, values: Mapping[str, str], at: float
    ) -> bool:
        """Merge values into an existing profile; return whether there was one."""
        found = self.get(id_kind, visitor)
        if found is None:
            return False
        new = {name: (value, at) for name, value in values.items() if value}
        found.hold({**found.attributes(), **new}, at)
        return True

    def upload(
        self,
        id_kind: str,
        names: tuple[str, ...],
        rows: list[Row],
        at: float,
        *,
        v2: bool,
    ) -> Applied:
        """Apply rows in their order.

        v1 merges into profiles that exist. v2 creates what it does not find, and
        overrides what an earlier v2 upload stored: attributes that its header does not
        name are gone. An empty cell never clears a value.
        """
        applied = Applied()
        held = self._by_kind.setdefault(id_kind, {})
        full = len(names) - 1
        for visitor, cells in rows:
            found = held.get(visitor)
            if found is None:
                if not v2:
                    applied.not_found += 1
                    continue
                found = held[visitor] = Profile({}, at)
                found.replace(names, cells, at)
            elif found.overridable and v2 and _no_empty_cell(cells, full):
                found.replace(names, cells, at)
            else:
                new = zip(names, cells_of(cells), strict=False)
                kept = found.attributes()
                if found.overridable and v2:
                    kept = {name: kept[name] for name in names if name in kept}
                found.hold({**kept, **{n: (v, at) for n, v in new if v}}, at)
            found.overridable = found.overridable or v2
            if self._uploads_are_activity:
                found.active_at = at
            applied.successful += 1
        return applied


def _no_empty_cell(cells: bytes, commas: int) -> bool:
    return (
        cells.count(b",") == commas
        and b",," not in cells
        and not cells.startswith(b",")
        and not cells.endswith(b",")
    )
