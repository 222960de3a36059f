"""What `[aggregate] memory` is divided into: a bound for each thing that grows.

Enters: the setting, in bytes. Leaves: `MemoryShares`, whose parts and `PROCESS` add up
to no more than the setting. Whoever holds much memory asks here how much it may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

# Measured, on the reference job: what it maps of the files of interpreter and libraries
# (LLVM alone is 80 MB); objects, compiled code, allocators' reserves; what the flush
# of one partition takes for as long as it lasts.
CODE: Final = 200_000_000
PROCESS: Final = CODE + 280_000_000
# Of what is left, in per cent.
FETCHED: Final = 10
RESPONSE: Final = 4
BATCH: Final = 30
PRODUCED: Final = 4
CACHED: Final = 44
MAPPED: Final = 8
# librdkafka counts the bytes of a record, and not the object that it keeps beside.
RECORD_OBJECT: Final = 500
# A broker's answer is unpacked beside the queue, usually to less than so many times.
UNPACKED: Final = 3
# Measured on the reference job, which writes 2.2 bytes of profiles for one of records:
# what a record's bytes become, all steps of a batch together, and what a profile's do.
TIMES_A_RECORD: Final = 9
TIMES_A_PROFILE: Final = 4


@dataclass(frozen=True, slots=True)
class MemoryShares:
    """Bounds in bytes; `fetched_records` in records.

    `fetched` and `fetched_records` bound what the client has read ahead, `response` one
    answer of a broker; `batch` all that is made of one batch; `produced` what
    waits to be sent; `cached` the profiles in memory of all partitions; `mapped` the
    pages of files that the process has mapped, its code's and the local stores'.
    """

    fetched: int
    fetched_records: int
    response: int
    batch: int
    produced: int
    cached: int
    mapped: int

    def records_at_once(self, records: int, size: int, profiles: int) -> int:
        """Give how many records a batch may have, by those of a batch before.

        That many `records` had `size` bytes, and those of the profiles that they
        changed were `profiles`.
        """
        taken = TIMES_A_RECORD * size + TIMES_A_PROFILE * profiles
        return max(1, self.batch * records // max(1, taken))

    @classmethod
    def of(cls, memory: int) -> Self:
        """Divide the memory of a process."""
        left = memory - PROCESS
        fetched = left * FETCHED // 100
        return cls(
            fetched=fetched // 2,
            fetched_records=fetched // 2 // RECORD_OBJECT,
            response=left * RESPONSE // 100 // UNPACKED,
            batch=left * BATCH // 100,
            produced=left * PRODUCED // 100,
            cached=left * CACHED // 100,
            mapped=CODE + left * MAPPED // 100,
        )
