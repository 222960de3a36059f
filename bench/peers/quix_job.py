"""The reference job on Quix Streams, run by the Python of its own environment.

Started as `python quix_job.py JSON`, with the repository on the path for `bench.meter`
alone. As a user of that library would write it: one function over one event and the
visitor's state, exactly-once, RocksDB with a changelog, a commit a second.
"""

# mypy: ignore-errors
# The libraries are those of the peer's environment.

from __future__ import annotations

import io
import itertools
import json
import sys
from typing import Any, Final

import fastavro
from quixstreams import Application, State
from quixstreams.models.serializers.base import Deserializer

from bench.meter import Meter

FRAME: Final = 5
LATEST: Final = 5
LOOK: Final = 1_000  # records between two samples of the course

Values = dict[str, Any]


class Framed(Deserializer):
    """Avro behind five bytes of framing."""

    def __init__(self, schema: str) -> None:
        """Parse the writer's schema."""
        super().__init__()
        self._schema = fastavro.parse_schema(json.loads(schema))

    def __call__(self, value: bytes, ctx: object) -> Values:  # noqa: ARG002 - its caller names it
        """Decode a record; times stay as milliseconds."""
        stream = io.BytesIO(value)
        stream.seek(FRAME)
        return fastavro.schemaless_reader(stream, self._schema, None)


def fold(event: Values, state: State) -> Values:
    """Add an event to its visitor's profile and give the profile."""
    profile = state.get("profile") or {
        "orders": 0,
        "returns": 0,
        "revenue": 0,
        "last": [0, ""],
        "last_store": "",
        "largest_order": 0,
        "units": {},
        "skus": [],
    }
    total, place = event["total_minor"], [event["occurred_at"], event["event_id"]]
    if event["event_type"] == "SALE":
        profile["orders"] += 1
        profile["revenue"] += total
    else:
        profile["returns"] += 1
        profile["revenue"] -= total
    if place > profile["last"]:
        profile["last"], profile["last_store"] = place, event["store_id"]
    profile["largest_order"] = max(profile["largest_order"], total)
    units = profile["units"]
    for index, item in enumerate(event["items"]):
        category = item["category"]
        units[category] = units.get(category, 0) + item["quantity"]
        profile["skus"].append([*place, index, item["sku"]])
    profile["skus"] = sorted(profile["skus"], reverse=True)[:LATEST]
    state.set("profile", profile)
    return profile


def main(words: str) -> None:
    """Fold the whole topic and report."""
    run = json.loads(words)
    meter, seen = Meter(), itertools.count(1)
    reached: dict[int, int] = {}

    def processed(_: str, partition: int, offset: int) -> None:
        meter.begin()
        reached[partition] = offset + 1
        if next(seen) % LOOK == 0 or offset + 1 == run["ends"][str(partition)]:
            done = sum(reached.values())
            meter.at(done)
            if done == run["records"]:
                app.stop()

    app = Application(
        run["bootstrap"],
        consumer_group=run["application"],
        processing_guarantee="exactly-once",
        commit_interval=run["commit_seconds"],
        auto_offset_reset="earliest",
        state_dir=run["folder"],
        producer_extra_config={"compression.type": "lz4", "linger.ms": 20},
        on_message_processed=processed,
        loglevel="WARNING",
    )
    purchases = app.topic(run["topic"], value_deserializer=Framed(run["schema"]))
    profiles = app.topic(f"{run['application']}.profiles", value_serializer="json")
    frame = app.dataframe(purchases).apply(fold, stateful=True)
    frame.to_topic(profiles)
    app.run(frame)
    meter.measured().report()


if __name__ == "__main__":
    main(sys.argv[1])
