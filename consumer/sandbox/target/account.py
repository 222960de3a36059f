"""One account at Target: everything that is known of it, and what people do to it.

The HTTP handlers and tests share it. It reads the clock only to settle what is due.
"""

import dataclasses
from collections.abc import Iterator
from typing import Final

from consumer.clock import Clock
from consumer.sandbox.target.batches import Batch, Batches
from consumer.sandbox.target.batchfile import ID_KINDS, BatchFile
from consumer.sandbox.target.faults import Endpoint, Fault, FaultKind, FaultOrders
from consumer.sandbox.target.journal import Journal, Meter, Violation
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.profiles import Profile, Profiles

DAY: Final = 86_400.0  # seconds


class Account:
    """Profiles, batches, limits, token, faults on order and the journal."""

    def __init__(self, options: TargetOptions, clock: Clock) -> None:
        """Start empty, with the token that `options` names."""
        self.options: Final = options
        self.clock: Final = clock
        self.faults: Final = FaultOrders()
        self.journal: Final = Journal(options.journal_rows)
        self.single_updates: Final = Meter(options.single_updates_per_day, DAY)
        self._meter: Final = Meter(options.calls_per_minute)
        self._profiles: Final = Profiles(
            options.profile_lifetime, uploads_are_activity=options.uploads_are_activity
        )
        self._batches: Final = Batches(
            options.client, self._profiles, options.status_lifetime
        )
        self._token = options.token
        self._expired: set[str] = set()

    def allow_call(self) -> bool:
        """Count one metered call; False if the minute has no room for it."""
        return self._meter.allow(self.clock.now())

    def spend(self, calls: int) -> None:
        """Let other users of the account make `calls` calls now."""
        for _ in range(calls):
            self._meter.allow(self.clock.now())

    def refusal(self, authorization: str | None) -> int:
        """Return 0 if the header lets a call in, else 401 or 403."""
        if self._token is None:
            return 0
        given = (authorization or "").removeprefix("Bearer ")
        if authorization == f"Bearer {self._token}":
            return 0
        return 403 if given in self._expired else 401

    def fault(self, endpoint: Endpoint, file: BatchFile | None = None) -> Fault | None:
        """Return what is ordered to go wrong with a call, or with a file now read."""
        now = self.clock.now()
        if file is None:
            return self.faults.take(endpoint, now)
        if not any(fault.visitor for fault, _ in self.faults.open()):
            return None
        return self.faults.take(endpoint, now, {visitor for visitor, _ in file.rows})

    @property
    def token(self) -> str | None:
        """Return the profile token that calls must carry, None if they need none."""
        return self._token

    def new_token(self, token: str | None) -> None:
        """Replace the token; the former one is refused from now on."""
        if self._token is not None:
            self._expired.add(self._token)
        self._token = token
        self._expired.discard(token or "")

    def take(self, file: BatchFile, *, v2: bool, fault: Fault | None) -> Batch:
        """Take a batch file, with what `fault` does to its way."""
        now = self.clock.now()
        kind = fault.kind if fault else None
        delay = self.options.processing_time
        if fault and kind is FaultKind.SLOW:
            delay = fault.seconds
        if fault and kind is FaultKind.NO_ANSWER:
            delay = fault.seconds or delay
        batch = self._batches.submit(
            file,
            now,
            now + delay,
            v2=v2,
            gets_stuck=kind is FaultKind.STUCK,
            rows_to_fail=fault.rows
            if fault and kind is FaultKind.FAILED_UPDATES
            else 0,
            rows_to_lose=fault.rows if fault and kind is FaultKind.SWALLOWED else 0,
        )
        self.journal.uploaded(batch)
        for rule in file.violations:
            self.violated(Endpoint.SUBMIT, rule)
        self.journal.warnings.update(file.warnings)
        return batch

    def violated(self, endpoint: Endpoint, rule: str) -> None:
        """Note that a call broke a rule of the contract."""
        self.journal.violations.append(Violation(self.clock.now(), endpoint, rule))

    def batch(self, batch_id: str) -> Batch | None:
        """Return a batch as it stands now, None if unknown or forgotten."""
        return self._batches.find(batch_id, self.clock.now())

    def batches(self) -> Iterator[Batch]:
        """Yield every batch as it stands now, in order of submission."""
        self._batches.settle(self.clock.now())
        return iter(self._batches)

    def unstick(self, batch_id: str) -> bool:
        """Let a stuck batch through; return whether there was one."""
        return self._batches.unstick(batch_id, self.clock.now())

    def profile(
        self, visitor: str, id_kind: str = ID_KINDS[0]
    ) -> dict[str, str] | None:
        """Return a visitor's attributes as they stand now, None without a profile."""
        found = self.stored(visitor, id_kind)
        return None if found is None else found.values()

    def stored(self, visitor: str, id_kind: str = ID_KINDS[0]) -> Profile | None:
        """Return a visitor's profile with its times."""
        self._batches.settle(self.clock.now())
        return self._profiles.get(id_kind, visitor)

    def profiles(self, id_kind: str = ID_KINDS[0]) -> Iterator[tuple[str, Profile]]:
        """Yield every profile as it stands now."""
        self._batches.settle(self.clock.now())
        return self._profiles.all(id_kind)

    def forget(self, visitor: str | None = None) -> None:
        """Forget a visitor's profile, or everybody's, as when profiles expire."""
        self._batches.settle(self.clock.now())
        self._profiles.forget(visitor)

    def page_call(self, visitor: str, id_kind: str = ID_KINDS[0]) -> None:
        """Let a visitor call a page: it has a profile, and the next upload merges."""
        self._batches.settle(self.clock.now())
        self._profiles.page_call(id_kind, visitor, self.clock.now())

    def update(self, visitor: str, id_kind: str, values: dict[str, str]) -> bool:
        """Merge values into one profile at once; False if there is none."""
        self._batches.settle(self.clock.now())
        return self._profiles.update(id_kind, visitor, values, self.clock.now())

    def summary(self) -> dict[str, object]:
        """Return the journal in short, ready for JSON."""
        journal = self.journal
        return {
            "calls": len(journal.calls),
            "calls_by_endpoint": {e.value: journal.count(e) for e in Endpoint},
            "busiest_minute": journal.busiest_minute(),
            "calls_per_minute": self.options.calls_per_minute,
            "violations": [dataclasses.asdict(v) for v in journal.violations],
            "warnings": dict(journal.warnings.most_common(100)),
            "batches": [
                {
                    "id": batch.id,
                    "status": batch.status,
                    "submitted_at": batch.submitted_at,
                    "bytes": batch.file.size,
                    "rows": batch.file.batch_size,
                    "skipped": batch.file.skipped,
                    "successful": batch.successful,
                    "not_found": batch.not_found,
                    "failed": len(batch.failed),
                }
                for batch in self.batches()
            ],
            "faults": [
                {**dataclasses.asdict(fault), "calls": left}
                for fault, left in self.faults.open()
            ],
        }
