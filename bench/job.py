"""The reference job: the events' schema, the attributes, and the service's settings.

12 fields and 3 line items an event, about 225 bytes. Every part of the bench, the
peers included, does this job on the same topics.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consumer.config import Settings, load_settings

SCHEMA_ID: Final = 1
PARTITIONS: Final = 8
VISITORS: Final = 200_000
ITEMS: Final = 3
LATEST_SKUS: Final = 5
COMMIT_SECONDS: Final = 1.0

CATEGORIES: Final = (
    "bakery",
    "books and magazines",
    "confectionery",
    "dairy products",
    "delicatessen",
    "drinks",
    "electronics",
    "frozen food",
    "fruit and vegetables",
    "garden and flowers",
    "household",
    "pet supplies",
)
PAYMENTS: Final = ("CARD", "CASH", "WALLET", "GIFT_CARD")

_ITEM: Final = {
    "type": "record",
    "name": "Item",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "category", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "unit_price_minor", "type": "long"},
    ],
}
SCHEMA: Final = json.dumps(
    {
        "type": "record",
        "name": "Purchase",
        "namespace": "pos.bench",
        "fields": [
            {"name": "event_id", "type": "string"},
            {
                "name": "event_type",
                "type": {
                    "type": "enum",
                    "name": "EventType",
                    "symbols": ["SALE", "RETURN"],
                },
            },
            {"name": "visitor_id", "type": "string"},
            {"name": "store_id", "type": "string"},
            {"name": "register_id", "type": "int"},
            {"name": "receipt_id", "type": "string"},
            {
                "name": "occurred_at",
                "type": {"type": "long", "logicalType": "timestamp-millis"},
            },
            {"name": "currency", "type": "string"},
            {"name": "total_minor", "type": "long"},
            {"name": "payment_method", "type": "string"},
            {"name": "campaign", "type": ["null", "string"], "default": None},
            {"name": "items", "type": {"type": "array", "items": _ITEM}},
        ],
    }
)

CONFIGURATION: Final = f"""\
application = "@application@"

[kafka]
"bootstrap.servers" = "@bootstrap@"

[purchases]
topic = "@topic@"
schemas = "schemas"

[aggregate]
state_dir = "state"
commit_interval = "@commit_interval@"
memory = "@memory@"
deduplicate = "@deduplicate@"

[attributes.orders]
aggregate = "count"
where = "event_type = 'SALE'"

[attributes.returns]
aggregate = "count"
where = "event_type = 'RETURN'"

[attributes.revenue]
aggregate = "sum"
of = "CASE WHEN event_type = 'SALE' THEN total_minor ELSE -total_minor END"

[attributes.last_purchase]
aggregate = "last"
of = "occurred_at"

[attributes.last_store]
aggregate = "last"
of = "store_id"

[attributes.largest_order]
aggregate = "max"
of = "total_minor"

[attributes.units_by_category]
aggregate = "top"
from = "items"
of = "category"
by = "quantity"
n = {len(CATEGORIES)}

[attributes.latest_skus]
aggregate = "recent"
from = "items"
of = "sku"
n = {LATEST_SKUS}

[target]
client = "acme"
endpoint = "@endpoint@"
[target.batch]
max_age = "@max_age@"                # a bench does not wait for full files
[target.budget]
calls_per_minute = 50
reserve = 2
[target.delivery]
first_poll = "1s"                    # Adobe takes minutes, the sandbox a second

[http]
host = "127.0.0.1"
port = 0

[log]
level = "warning"
format = "json"
"""


WRITTEN: Final = (
    "application",
    "bootstrap",
    "topic",
    "deduplicate",
    "commit_interval",
    "memory",
    "max_age",
    "endpoint",
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the service: its folder, names, and what differs from the job."""

    folder: str
    bootstrap: str
    topic: str
    application: str
    records: int = 0  # how many the topic holds
    deduplicate: str = "0s"
    commit_interval: str = f"{COMMIT_SECONDS:g}s"
    memory: str = "1GB"
    max_age: str = "2s"
    attributes: int = 0  # how many; 0: those of the job
    endpoint: str = "http://127.0.0.1:9"  # the port of `discard`: nobody is asked

    def settings(self) -> Settings:
        """Write the configuration to the folder and load it, as a user's would be."""
        folder = Path(self.folder)
        (folder / "schemas").mkdir(parents=True, exist_ok=True)
        schema = folder / "schemas" / f"{SCHEMA_ID}.avsc"
        schema.write_text(SCHEMA, "utf-8")
        text = CONFIGURATION
        for name in WRITTEN:
            text = text.replace(f"@{name}@", getattr(self, name))
        if self.attributes:
            text = _with_attributes(text, self.attributes)
        config = folder / "pos-consumer.toml"
        config.write_text(text, "utf-8")
        return load_settings(config)


def _with_attributes(text: str, count: int) -> str:
    """Put `count` attributes in place of the job's: its own, again and again."""
    before, rest = text.split("[attributes.", 1)
    block, after = rest.split("[target]", 1)
    own = [part.split("]", 1) for part in block.split("[attributes.")]
    made = [
        f"[attributes.{own[n % len(own)][0]}_{n}]{own[n % len(own)][1]}"
        for n in range(count)
    ]
    return f"{before}{''.join(made)}[target]{after}"
