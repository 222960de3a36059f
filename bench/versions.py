"""What decoding costs where a batch mixes versions of its schema.

The reference events, written by four versions of the reference schema: an older one
(another name for the amount, fields and line items that lack one), the reference, and
two newer ones (fields added and made nullable, a number promoted). Batches of one
version and of two to four, drawn anew for each record, take turns in one process;
decoded and mapped in CPU time, without a broker.

    python -m bench.versions            # --events 10000 --rounds 15
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import fastavro
import numpy as np

from bench.generate import VARIANTS, generate
from bench.job import SCHEMA, SCHEMA_ID, Run
from consumer.events.decode import Decoder
from consumer.events.mapping import Mapper
from consumer.frames import Records, Verdicts
from consumer.loading import load_plan

if TYPE_CHECKING:
    from consumer.config import Settings

OLDEST: Final = SCHEMA_ID
MIXES: Final[tuple[tuple[int, ...], ...]] = (
    (1,),
    (2,),
    (3,),
    (4,),
    (3, 4),
    (2, 3, 4),
    (1, 2, 3, 4),
)
AT_ONCE: Final = 40_000  # events a turn, so that a turn is long enough to be measured


def versions() -> dict[int, dict[str, Any]]:
    """Give the schemas by id, the newest last."""
    reference = json.loads(SCHEMA)
    _field(reference, "total_minor")["aliases"] = ["total"]
    oldest, newer = copy.deepcopy(reference), copy.deepcopy(reference)
    _field(oldest, "total_minor").update(name="total", type="int", aliases=[])
    oldest["fields"].remove(_field(oldest, "campaign"))
    del _lines(oldest)[-1]
    added = {"name": "channel", "type": ["null", "string"], "default": None}
    newer["fields"].insert(3, added)
    _field(newer, "store_id")["type"] = ["null", "string"]
    _lines(newer)[2]["type"] = "long"
    newest = copy.deepcopy(newer)
    newest["fields"].append({"name": "till", "type": "string", "default": ""})
    return dict(enumerate((oldest, reference, newer, newest), OLDEST))


def _field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(f for f in schema["fields"] if f["name"] == name)
    return found


def _lines(schema: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _field(schema, "items")["type"]["items"]["fields"]
    return found


def written(schema: dict[str, Any], schema_id: int, rows: list[Any]) -> list[bytes]:
    """Write the events by one version."""
    parsed, records = fastavro.parse_schema(copy.deepcopy(schema)), []
    for row in rows:
        out = io.BytesIO(b"\0" + schema_id.to_bytes(4, "big"))
        out.seek(0, io.SEEK_END)
        more = {"total": row["total_minor"], "channel": "web", "till": "4"}
        fastavro.schemaless_writer(out, parsed, row | more)
        records.append(out.getvalue())
    return records


def batches(events: int) -> dict[tuple[int, ...], Records]:
    """Make a batch for each mix; its values lie in memory as they follow each other."""
    part = next(generate(VARIANTS["uniform"], events))
    rows, count = part.sound.to_pylist(), len(part.values)
    by = {one: written(schema, one, rows) for one, schema in versions().items()}
    draw = np.random.default_rng(1)
    made: dict[tuple[int, ...], Records] = {}
    for mix in MIXES:
        drawn = draw.choice(mix, count).tolist()
        values = [bytes(bytearray(by[one][n])) for n, one in enumerate(drawn)]
        numbers = np.arange(count)
        partitions = np.zeros(count, np.int32)
        made[mix] = Records(partitions, numbers, numbers, [*part.keys], [*values])
    return made


def decoder(settings: Settings, folder: Path) -> Decoder:
    """Make the job's decoder with all the versions."""
    for number, schema in versions().items():
        (folder / f"{number}.avsc").write_text(json.dumps(schema), "utf-8")
    plan, schemas = load_plan(settings)
    return Decoder(schemas, Mapper(plan))


def measure(events: int, rounds: int) -> dict[tuple[int, ...], float]:
    """Give the CPU microseconds an event of each mix, medians of the rounds."""
    with tempfile.TemporaryDirectory() as name:
        run = Run(name, "127.0.0.1:9", "purchases", "bench")
        decoding = decoder(run.settings(), Path(name) / "schemas")
        return _turns(decoding, batches(events), rounds)


def _turns(
    decoding: Decoder, mixes: dict[tuple[int, ...], Records], rounds: int
) -> dict[tuple[int, ...], float]:
    spent = {mix: list[float]() for mix in mixes}
    for _ in range(rounds + 1):
        for mix, records in mixes.items():
            turns = max(1, AT_ONCE // len(records))
            begun = time.process_time()
            for _ in range(turns):
                found = decoding.decode(records, Verdicts.of(len(records)))
                assert found is not None
                assert len(found) == len(records)
            took = time.process_time() - begun
            spent[mix].append(took / turns / len(records) * 1e6)
    return {mix: statistics.median(some[1:]) for mix, some in spent.items()}


def main() -> None:
    """Print a line for each mix."""
    parser = argparse.ArgumentParser(prog="python -m bench.versions")
    parser.add_argument("--events", type=int, default=10_000, help="a batch")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    found = measure(options.events, options.rounds)
    alone = statistics.mean(cost for mix, cost in found.items() if len(mix) == 1)
    for mix, cost in found.items():
        named = f"version {mix[0]} alone" if len(mix) == 1 else f"{len(mix)} versions"
        print(f"{named:<16} {cost:.2f} CPU us an event, {cost / alone:.2f} of one")


if __name__ == "__main__":
    main()
