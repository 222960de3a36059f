"""Adobe's whole documented limit from one process: 50 files of nearly 50 MB a minute.

Profiles of the reference job, as the fold would leave them, are decoded, rendered,
encoded, laid out as files and posted by the service's client to a receiver in another
process: no broker, no reserve and no status calls, so this is the ceiling of the work
and not of the budget. Under half a core for rendering and encoding 2.5 GB a minute
means at most 12 CPU seconds a GB.

    python -m bench.upload_limit            # JSON; --files 50
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import uvloop

from bench.job import CATEGORIES, LATEST_SKUS, Run
from bench.meter import cpu_seconds
from bench.target import receiver
from consumer.errors import SandboxError
from consumer.loading import load_plan
from consumer.profiles.record import ProfileCodec, ProfileSchema
from consumer.profiles.rows import RowRenderer
from consumer.target.batch_file import MOST_BYTES, body, encode_rows, header
from consumer.target.client import TargetClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.plan.compile import Plan

AT_ONCE: Final = 10_000  # records, as one call of the reader gives
VISITORS: Final = 200_000
FILES: Final = 50
GOOD: Final = 200
LIMIT_GB: Final = 2.5  # a minute
MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Limit:
    """What it costs: CPU microseconds a row, CPU seconds a GB, and the wall time.

    At the whole limit, `render_encode_cores` is the share of one core that rendering
    and encoding take, `cores` that with decoding, `post_cores` what laying out and
    sending take. A minute is enough if `wall_s` is below 60.
    """

    files: int
    rows: int
    bytes: int
    bytes_per_row: float
    decode_us: float
    render_us: float
    encode_us: float
    render_encode_cores: float
    cpu_s_per_gb: float
    cores: float
    post_cpu_s_per_gb: float
    post_cores: float
    wall_s: float
    mb_per_s: float


async def measure(endpoint: str, files: int) -> Limit:
    """Make and post so many files."""
    with tempfile.TemporaryDirectory() as folder:
        plan, _ = load_plan(Run(folder, "nowhere:1", "purchases", "bench").settings())
    codec = ProfileCodec(ProfileSchema.of(plan))
    renderer = RowRenderer(plan.attributes, codec)
    records = codec.encode(profiles(plan, codec, VISITORS))
    parts = [records[at : at + AT_ONCE] for at in range(0, VISITORS, AT_ONCE)]
    encode_rows(renderer.rows(parts[0]))  # what the libraries load at first use
    first_line = header("thirdPartyId", renderer.attributes)
    spent = np.zeros(4)
    rows = size = 0
    async with TargetClient(endpoint, "acme") as client:
        began = time.monotonic()
        source = itertools.cycle(parts)
        held: list[pa.LargeBinaryArray] = []
        for _ in range(files):
            while sum(one.nbytes - 8 * len(one) for one in held) < MOST_BYTES:
                held.append(_worked(next(source), codec, renderer, spent))
            used = cpu_seconds()
            file, held = _filled_up(held, MOST_BYTES - len(first_line) - 1)
            parts_of_file = body(first_line, file)
            reply = await client.submit(parts_of_file, "")
            if reply.status != GOOD:
                raise SandboxError(f"The receiver answers {reply.status}.")
            spent[3] += cpu_seconds() - used
            rows += len(file)
            size += sum(map(len, parts_of_file))
        wall = time.monotonic() - began
    made = rows + sum(map(len, held))
    decode, render, encode = (spent[:3] / made * 1e6).tolist()
    whole = size / 1e9
    per_gb = float(spent[:3].sum()) / made * rows / whole
    after_decoding = float(spent[1:3].sum()) / made * rows / whole
    post = float(spent[3]) / whole
    return Limit(
        files=files,
        rows=rows,
        bytes=size,
        bytes_per_row=size / rows,
        decode_us=decode,
        render_us=render,
        encode_us=encode,
        render_encode_cores=after_decoding * LIMIT_GB / MINUTE,
        cpu_s_per_gb=per_gb,
        cores=per_gb * LIMIT_GB / MINUTE,
        post_cpu_s_per_gb=post,
        post_cores=post * LIMIT_GB / MINUTE,
        wall_s=wall,
        mb_per_s=size / 1e6 / wall,
    )


def _worked(
    part: Sequence[bytes],
    codec: ProfileCodec,
    renderer: RowRenderer,
    spent: NDArray[np.float64],
) -> pa.LargeBinaryArray:
    """Decode, render and encode one part, adding up what each step spends."""
    began = cpu_seconds()
    decoded = codec.decode(part)
    first = cpu_seconds()
    rendered = renderer.render(decoded)
    second = cpu_seconds()
    encoded = encode_rows(rendered)
    spent[:3] += (first - began, second - first, cpu_seconds() - second)
    return encoded.rows


def _filled_up(
    held: list[pa.LargeBinaryArray], room: int
) -> tuple[pa.LargeBinaryArray, list[pa.LargeBinaryArray]]:
    """Cut off as many rows as fit; return them and what is left."""
    rows = pa.concat_arrays(held)
    ends = np.cumsum(pc.binary_length(rows).to_numpy())
    count = int(np.searchsorted(ends, room, side="right"))
    # copied, as the stage does: a slice would be sent with its whole buffer's offsets
    return pa.concat_arrays([rows.slice(0, count)]), [rows.slice(count)]


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
    parser = argparse.ArgumentParser(prog="python -m bench.upload_limit")
    parser.add_argument("--files", type=int, default=FILES)
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder, receiver(Path(folder)) as endpoint:
        print(json.dumps(asdict(uvloop.run(measure(endpoint, files))), indent=2))


if __name__ == "__main__":
    main()
