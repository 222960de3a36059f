"""A small shop: purchases written by hand, a service beside them, and its commands."""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from confluent_kafka import Producer

from consumer.cli import main
from consumer.sandbox.demo.service_process import ServiceProcess, run_command
from consumer.sandbox.demo.work import Work
from consumer.sandbox.ports import free_port

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from consumer.sandbox.kafka import EmbeddedKafka

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "schemas" / "purchase.avsc").read_text(encoding="utf-8"))
PARSED = fastavro.parse_schema(SCHEMA)
PATIENCE = 120.0
NOON = 1_772_452_800_000  # 2026-03-02T12:00Z
CONFIG = """
application = "{topic}"
[kafka]
"bootstrap.servers" = "{bootstrap}"
[purchases]
topic = "{topic}"
[attributes.orders]
aggregate = "count"
where = "event_type = 'SALE'"
[attributes.net_revenue]
aggregate = "sum"
of = "CASE event_type WHEN 'SALE' THEN total_minor WHEN 'RETURN' THEN -total_minor END"
render = "value / 100.0"
format = "decimal(2)"
[attributes.last_store]
aggregate = "last"
of = "store_id"
where = "event_type = 'SALE'"
[attributes.categories]
aggregate = "top"
from = "items"
of = "category"
by = "quantity"
n = 2
max_keys = 4
format = "list(;)"
[target]
client = "acme"
endpoint = "{endpoint}"
[target.batch]
max_age = "200ms"
[http]
port = {port}
"""


def purchase(number: int, visitor: str | None = "ann", **changes: Any) -> bytes:  # noqa: ANN401 - an Avro record
    """Write a framed purchase; `changes` are fields."""
    event = {
        "event_id": f"e{number}",
        "event_type": "SALE",
        "visitor_id": visitor,
        "store_id": "S0001",
        "register_id": "R1",
        "receipt_id": f"r{number}",
        "refers_to": None,
        "occurred_at": NOON + 60_000 * number,
        "currency": "EUR",
        "total_minor": 1_000 * number,
        "payment_method": "CARD",
        "items": [item("Coffee", 1)],
        **changes,
    }
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED, event)
    return b"\0\0\0\0\x01" + out.getvalue()


def item(category: str, quantity: int) -> dict[str, Any]:
    """Make a line item."""
    common = {"sku": "1", "unit_price_minor": 100}
    return {**common, "category": category, "quantity": quantity}


@dataclass
class Shop:
    """A topic with purchases and a configuration that reads it."""

    kafka: EmbeddedKafka
    topic: str
    work: Work
    sent: int = field(default=0)

    @property
    def config(self) -> Path:
        """The configuration's file."""
        return self.work.config

    def send(self, *values: bytes | None, key: str = "ann", partition: int = 0) -> None:
        """Produce records, each a minute after the one before."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "log_level": 3})
        for value in values:
            at = NOON + 60_000 * self.sent
            producer.produce(self.topic, value, key.encode(), partition, timestamp=at)
            self.sent += 1
        assert producer.flush(10) == 0
        producer.close()

    def running(self, *arguments: str) -> AbstractContextManager[ServiceProcess]:
        """Run the service in a process of its own."""
        return ServiceProcess(self.work, *arguments)

    def change(self, before: str, after: str) -> None:
        """Change the configuration."""
        text = self.config.read_text(encoding="utf-8")
        assert before in text
        self.config.write_text(text.replace(before, after), encoding="utf-8")


def wait_for(service: ServiceProcess, name: str, least: float, **labels: str) -> None:
    """Wait until a metric has reached a value."""
    deadline = time.monotonic() + PATIENCE
    while service.metrics().total(name, **labels) < least:
        service.require_running()
        assert time.monotonic() < deadline, f"{name} did not reach {least}"
        time.sleep(0.1)


def open_shop(kafka: EmbeddedKafka, topic: str, folder: Path) -> Shop:
    """Open a shop on an empty topic; ours are made."""
    work = Work(folder, folder / "pos-consumer.toml", free_port())
    (folder / "schemas").mkdir()
    text = json.dumps(SCHEMA)
    (folder / "schemas" / "1.avsc").write_text(text, encoding="utf-8")
    config = CONFIG.format(
        topic=topic,
        bootstrap=kafka.bootstrap,
        endpoint="http://127.0.0.1:9",
        port=work.port,
    )
    work.config.write_text(config, encoding="utf-8")
    run_command(work.config, "topics", "create")
    return Shop(kafka, topic, work)


def ask(
    capsys: pytest.CaptureFixture[str], config: Path, *arguments: str
) -> tuple[int, str, str]:
    """Run a command and return its exit code, output and errors."""
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(config), *arguments])
    captured = capsys.readouterr()
    code = ended.value.code
    return code if isinstance(code, int) else 0, captured.out, captured.err
