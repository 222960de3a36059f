"""Rendering and encoding alone: profile records to the rows of a batch file, no broker.

`measure` makes profiles of the reference job as the fold would leave them, encodes them
as records, and then times what the upload stage does with each: decode, render, encode.
Adobe's whole limit, 50 files of 50 MB a minute, is 2.5 GB; under half a core for it
means at most 12 CPU seconds a GB.

    python -m bench.upload_limit
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from bench.job import CATEGORIES, LATEST_SKUS, Run
from bench.meter import cpu_seconds
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.rows import RowRenderer
from consumer.service import load_plan
from consumer.target.batch_file import encode_rows

if TYPE_CHECKING:
    from consumer.plan.compile import Plan

AT_ONCE: Final = 10_000  # records, as one call of the reader gives
VISITORS: Final = 200_000
LIMIT_GB: Final = 2.5  # a minute
MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Limit:
    """What it costs; `cores` is the share of one core that the whole limit takes."""

    rows: int
    bytes_per_row: float
    decode_us: float
    render_us: float
    encode_us: float
    cpu_s_per_gb: float
    cores: float


def measure(rows: int = 2_000_000) -> Limit:
    """Render and encode so many rows; times are CPU microseconds a row."""
    with tempfile.TemporaryDirectory() as folder:
        plan, _ = load_plan(Run(folder, "nowhere:1", "purchases", "bench").settings())
    codec = ProfileCodec(ProfileSchema.of(plan))
    renderer = RowRenderer(plan.attributes, codec)
    records = codec.encode(profiles(plan, codec, VISITORS))
    parts = [records[at : at + AT_ONCE] for at in range(0, VISITORS, AT_ONCE)]
    encode_rows(renderer.rows(parts[0]))  # what the libraries load at first use
    spent = np.zeros(3)
    done = size = 0
    while done < rows:
        for part in parts:
            began = cpu_seconds()
            decoded = codec.decode(part)
            first = cpu_seconds()
            rendered = renderer.render(decoded)
            second = cpu_seconds()
            encoded = encode_rows(rendered)
            spent += (first - began, second - first, cpu_seconds() - second)
            done += len(encoded.kept)
            size += encoded.rows.nbytes - 8 * len(encoded.rows)
    decode, render, encode = (spent / done * 1e6).tolist()
    per_gb = float(spent.sum()) / (size / 1e9)
    return Limit(
        done, size / done, decode, render, encode, per_gb, per_gb * LIMIT_GB / MINUTE
    )


def profiles(plan: Plan, codec: ProfileCodec, count: int, seed: int = 1) -> pa.Array:
    """Make profiles of visitors with some twenty purchases each."""
    chance = np.random.default_rng(seed)
    header = {
        "visitor": pa.array([f"visitor-{number:07d}" for number in range(count)]),
        "version": pa.array(chance.integers(1, 40, count)),
        "generation": pa.array(np.ones(count, np.int32)),
        "source_partition": pa.array(np.zeros(count, np.int32)),
        "source_offset": pa.array(np.arange(count)),
        "as_of_day": pa.array(np.zeros(count, np.int32)),
        "active_day": pa.array(np.zeros(count, np.int32)),
        "erased_at": pa.array(np.zeros(count, np.int64)),
    }
    made = {plan_.name: plan_ for plan_ in plan.attributes}
    columns = []
    for field in codec.schema:
        if field.name in header:
            columns.append(header[field.name].cast(field.type))
        else:
            assert field.name in made
            columns.append(_filled(field.type, count, chance, field.name))
    return pa.RecordBatch.from_arrays(columns, schema=codec.schema)


def _filled(
    kind: pa.DataType, count: int, chance: np.random.Generator, name: str
) -> pa.Array:
    """Fill a column of any type that a profile record has."""
    if pa.types.is_struct(kind):
        parts = [_filled(f.type, count, chance, f"{name}.{f.name}") for f in kind]
        return pa.StructArray.from_arrays(parts, fields=list(kind))
    if pa.types.is_list(kind):
        most = len(CATEGORIES) if "category" in name else LATEST_SKUS
        lengths = chance.integers(min(5, most), most + 1, count)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        inner = _filled(kind.value_type, int(offsets[-1]), chance, name)
        return pa.ListArray.from_arrays(pa.array(offsets), inner, type=kind)
    if pa.types.is_string(kind):
        if "category" in name:
            return pa.array(CATEGORIES).take(chance.integers(0, 12, count))
        stores = [f"S {number:04d}" for number in range(5_000)]
        return pa.array(stores).take(chance.integers(0, 5_000, count))
    if "last_purchase" in name and pa.types.is_int64(kind):
        numbers = 1_700_000_000_000_000 + chance.integers(0, 10**13, count)
        return pa.array(numbers).cast(kind)
    return pa.array(chance.integers(1, 50_000, count)).cast(kind)


def main() -> None:
    """Print one measure as JSON."""
    print(json.dumps(asdict(measure()), indent=2))


if __name__ == "__main__":
    main()
