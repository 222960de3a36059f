# ruff: noqa: T201 - prints its figures
"""`make fuzz`: a million broken payloads over hundreds of random schemas.

Prints what was tried and ends with 1 where fast and safe codec disagree. A crash of the
process, a schema or payload that takes minutes, or one that wants more than the memory
allowed, ends it by itself.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
import time

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.agreement import Tally
from tests.fuzz.avro_schemas import SCHEMAS

HANGS_AFTER = 120.0
MEMORY = 3_000_000_000


def main() -> int:
    """Run as many payloads as asked for, and say how it went."""
    options = argparse.ArgumentParser(prog="make fuzz")
    options.add_argument("--payloads", type=int, default=1_000_000)
    options.add_argument("--schemas", type=int, default=600)
    options.add_argument("--seed", type=int, default=1)
    given_by = options.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    tally, began = Tally(), time.monotonic()
    each = -(-given_by.payloads // given_by.schemas)

    @seed(given_by.seed)
    @settings(
        max_examples=given_by.schemas * 2,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(schema=SCHEMAS)
    def one(schema: str) -> None:
        if tally.payloads < given_by.payloads:
            faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
            tally.add(schema, each, tally.schemas)

    one()
    faulthandler.cancel_dump_traceback_later()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    seconds = time.monotonic() - began
    print(
        f"{tally.payloads:,} payloads over {tally.schemas} schemas ({tally.fast} of "
        f"them fast, {tally.refused} more refused): {tally.decoded:,} decoded, "
        f"{tally.dead:,} dead letters, {len(tally.disagreements)} disagreements; "
        f"{peak:,.0f} MB at most, {seconds:,.0f} s."
    )
    for line in tally.disagreements[:10]:
        print(line)
    return 1 if tally.disagreements or tally.payloads < given_by.payloads else 0


if __name__ == "__main__":
    sys.exit(main())
