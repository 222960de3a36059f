"""Upload: profile records to the encoded rows of a batch file, without a call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bench.check import latest
from bench.meter import Meter, cpu_seconds
from consumer.loading import load_plan
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.rows import RowRenderer
from consumer.target.batch_file import body, encode_rows

if TYPE_CHECKING:
    from bench.job import Run

AT_ONCE: Final = 20_000  # rows, about what the stage takes at once
LEAST_ROWS: Final = 1_000_000
GIGABYTE: Final = 1e9
MEGABYTE: Final = 1e6


def main(run: Run) -> None:
    """Render and encode the profiles of `run.application`, again and again."""
    settings = run.settings()
    plan, _ = load_plan(settings)
    renderer = RowRenderer(plan.attributes, ProfileCodec(ProfileSchema.of(plan)))
    records = list(latest(run.bootstrap, settings.topics.profiles).values())
    parts = [records[at : at + AT_ONCE] for at in range(0, len(records), AT_ONCE)]
    encode_rows(renderer.rows(parts[0]))  # what the libraries load at first use
    meter, done, size = Meter(), 0, 0
    meter.begin()
    began, used = time.monotonic(), cpu_seconds()
    while done < LEAST_ROWS:
        for part in parts:
            encoded = encode_rows(renderer.rows(part))
            done += len(encoded.kept)
            size += len(body(b"", encoded.rows)[1])
            meter.at(done)
    wall, cpu = time.monotonic() - began, cpu_seconds() - used
    detail = {
        "mb_per_s": size / MEGABYTE / wall,
        "cpu_s_per_gb": cpu / (size / GIGABYTE),
        "bytes_per_row": size / done,
    }
    meter.measured(detail).report()
