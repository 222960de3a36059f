"""What to generate: `Spec` in, and what became of each record by intent: `Kind`."""

import dataclasses
from enum import StrEnum
from typing import Final

from consumer.errors import ConfigurationError

HOUR_MS: Final = 3_600_000


class Kind(StrEnum):
    """What a record was made to be."""

    SALE = "sale"
    RETURN = "return"
    VOID = "void"
    DUPLICATE = "duplicate"  # an earlier record again, byte for byte
    CONFLICT = "conflict"  # an earlier event id with other contents
    TOMBSTONE = "tombstone"  # no value at all
    EMPTY = "empty"
    BAD_MAGIC = "bad_magic"
    UNKNOWN_SCHEMA = "unknown_schema"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    WRONG_TYPE = "wrong_type"
    MISSING_VISITOR = "missing_visitor"
    INVALID_VISITOR = "invalid_visitor"


POISON: Final = (
    Kind.EMPTY,
    Kind.BAD_MAGIC,
    Kind.UNKNOWN_SCHEMA,
    Kind.TRUNCATED,
    Kind.TRAILING_BYTES,
    Kind.WRONG_TYPE,
    Kind.MISSING_VISITOR,
    Kind.INVALID_VISITOR,
)

# What the service is to make of each kind: the outcome, and the dead letter's reason.
# Repeats count as duplicates as long as they lie within its horizon.
EXPECTED: Final[dict[Kind, tuple[str, str]]] = {
    Kind.SALE: ("folded", ""),
    Kind.RETURN: ("folded", ""),
    Kind.VOID: ("folded", ""),
    Kind.DUPLICATE: ("duplicate", ""),
    Kind.CONFLICT: ("duplicate", ""),
    Kind.TOMBSTONE: ("filtered", ""),
    Kind.EMPTY: ("dead_lettered", "empty"),
    Kind.BAD_MAGIC: ("dead_lettered", "bad_magic"),
    Kind.UNKNOWN_SCHEMA: ("dead_lettered", "unknown_schema"),
    Kind.TRUNCATED: ("dead_lettered", "undecodable"),
    Kind.TRAILING_BYTES: ("dead_lettered", "trailing_bytes"),
    Kind.WRONG_TYPE: ("dead_lettered", "undecodable"),
    Kind.MISSING_VISITOR: ("dead_lettered", "missing_visitor"),
    Kind.INVALID_VISITOR: ("dead_lettered", "invalid_visitor"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    """A stream of purchases; equal specs give equal bytes.

    Shares are parts of all records (0 to 1). The rest are sales.
    """

    events: int = 200_000  # records of every kind together
    visitors: int = 20_000
    seed: int = 1
    skew: float = 1.2  # exponent of the zipf law over visitors; 0 is uniform
    stores: int = 120
    returns: float = 0.06
    voids: float = 0.01
    duplicates: float = 0.02
    conflicts: float = 0.001
    poison: float = 0.01  # spread evenly over the kinds in POISON
    tombstones: float = 0.001
    late_by_minutes: float = 0.05  # reported 1 to 60 minutes after they occurred
    late_by_days: float = 0.005  # reported 1 to 5 days after they occurred
    start_ms: int = 1_767_225_600_000  # the first record's timestamp: 2026-01-01 UTC
    span_ms: int = 12 * HOUR_MS  # from the first to the last record's timestamp
    schema_id: int = 1
    batch: int = 50_000  # records drawn together; a return's sale lies in its batch

    def __post_init__(self) -> None:
        """Refuse what cannot be generated, with a `ConfigurationError`."""
        for name in ("events", "seed", "span_ms", "skew"):
            self._check(name, getattr(self, name) >= 0, "must not be negative")
        for name in ("visitors", "stores", "batch"):
            self._check(name, getattr(self, name) >= 1, "must be at least 1")
        for name in (*_SHARES, "late_by_minutes", "late_by_days"):
            self._check(name, 0 <= getattr(self, name) <= 1, "must be from 0 to 1")
        taken = sum(getattr(self, name) for name in _SHARES)
        together = f"{', '.join(_SHARES)} together must not be more than 1"
        self._check("poison", taken <= 1, together)

    def _check(self, name: str, good: bool, allowed: str) -> None:  # noqa: FBT001
        if not good:
            raise ConfigurationError(name, getattr(self, name), allowed)

    def shares(self) -> dict[Kind, float]:
        """Return the share of each kind; together they are 1."""
        shares = {
            Kind.RETURN: self.returns,
            Kind.VOID: self.voids,
            Kind.DUPLICATE: self.duplicates,
            Kind.CONFLICT: self.conflicts,
            Kind.TOMBSTONE: self.tombstones,
            **{kind: self.poison / len(POISON) for kind in POISON},
        }
        return {Kind.SALE: max(0.0, 1.0 - sum(shares.values())), **shares}


_SHARES: Final = (
    "returns",
    "voids",
    "duplicates",
    "conflicts",
    "poison",
    "tombstones",
)
