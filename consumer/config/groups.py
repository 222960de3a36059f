"""`[purchases]`, `[aggregate]`, `[http]`, `[log]` and the names of our topics."""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from consumer.config.group import Group, setting
from consumer.config.memory import MemoryShares
from consumer.config.records import (
    A_COLUMN,
    HEADER,
    SOURCES,
    Columns,
    RegistrySettings,
)
from consumer.config.values import (
    A_DURATION,
    A_SECRET,
    A_SIZE,
    Duration,
    SecretText,
    Size,
    http_address,
)

DAY_SECONDS: Final = 86_400
LONGEST_TOPIC: Final = 249  # Kafka's own limit
A_TOPIC: Final = (
    f"letters, digits, `.`, `_` and `-`, at most {LONGEST_TOPIC} characters"
)
A_START: Final = '"earliest", "latest" or a time with its offset: "2026-01-31T00:00Z"'
AN_EXPRESSION: Final = "a field of your events or an SQL expression over them"
_TOPIC: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{LONGEST_TOPIC}}}")


def _topic_name(name: str) -> str:
    if not _TOPIC.fullmatch(name) or name in (".", ".."):
        message = f"expected {A_TOPIC}"
        raise ValueError(message)
    return name


TopicName = Annotated[str, AfterValidator(_topic_name)]


def _start(value: object) -> object:
    if isinstance(value, str) and value not in ("earliest", "latest"):
        value = _time(value)
    if isinstance(value, datetime) and value.tzinfo is None:
        value = None
    if not isinstance(value, str | datetime):
        message = f"expected {A_START}"
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueError only
    return value


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


Start = Annotated[Literal["earliest", "latest"] | datetime, BeforeValidator(_start)]


class FieldsSettings(Group):
    """`[purchases.fields]`: where your events keep what every event needs."""

    event_id: str = setting(
        "event_id",
        about="The id by which repeats are known.",
        allowed=AN_EXPRESSION,
        min_length=1,
    )
    visitor_id: str = setting(
        "visitor_id",
        about="The visitor that the purchase belongs to.",
        allowed=AN_EXPRESSION,
        min_length=1,
    )
    event_time: str = setting(
        "occurred_at",
        about="When the purchase happened; orders first, last and recent.",
        allowed=AN_EXPRESSION,
        min_length=1,
    )
    event_time_unit: Literal["s", "ms", "us"] | None = setting(
        None,
        about="What a number in event_time counts since 1970; a timestamp, a date or "
        "an ISO 8601 text needs none.",
        allowed='"s", "ms" or "us"',
    )
    items: str = setting(
        "items",
        about='The list of line items, for attributes with from = "items".',
        allowed="a field of your events that holds a list of records",
        min_length=1,
    )


class PurchasesSettings(Group):
    """`[purchases]`: the topic of purchase events and how to read it."""

    topic: TopicName = setting(
        about="The topic with the purchase events.", allowed=A_TOPIC
    )
    key: Literal["visitor", "other"] = setting(
        "visitor",
        about='What records are keyed by. With "visitor", a record whose key is not '
        'its visitor halts its partition. With "other" (a store, a till, a receipt, '
        "nothing) the stage `rekey` writes them to `[rekeyed] topic` by visitor first.",
        allowed='"visitor" or "other"',
    )
    key_expression: str | None = setting(
        None,
        about="What the record key must equal, where it is not the visitor's id. Each "
        "visitor must have one key: check refuses what cannot be told to be so.",
        allowed=AN_EXPRESSION + ', and `key = "visitor"`',
        min_length=1,
    )
    pseudonym_key: SecretText | None = setting(
        None,
        about="Replace visitor ids by their HMAC-SHA-256 under this key, in "
        "hexadecimal: profiles, logs and Target see only that. It can never be "
        "changed: another key halts all partitions.",
        allowed=A_SECRET + ", at least 32 characters",
    )
    where: str | None = setting(
        None,
        about="Which events count at all; the others are `filtered`.",
        allowed="a row-wise SQL condition over the event's fields",
        min_length=1,
    )
    without_visitor: Literal["dead_letter", "filter"] = setting(
        "dead_letter",
        about="What becomes of an event whose visitor is null or empty: a sale without "
        "a card is no mistake everywhere.",
        allowed='"dead_letter" or "filter"',
    )
    start: Start = setting(
        "earliest",
        about="Where to begin where there is no state yet. Latest is where the topic "
        "ended when the application was first started, by whichever replica; "
        "partitions added later are read whole.",
        allowed=A_START,
    )
    max_ahead: Duration = setting(
        86_400.0,
        about="How far an event's time may lie after its record's timestamp; further "
        "is a wrong clock or time zone, and a dead letter, since it would stay the "
        "last purchase for good.",
        allowed=A_DURATION + ", from 1m to 3650d",
        ge=60,
        le=3_650 * 86_400,
    )
    format: Literal["avro", "json"] = setting(
        "avro",
        about="How a record's value is written.",
        allowed='"avro", or "json" with [purchases.columns]',
    )
    columns: Columns = setting(
        dict,
        about="The fields of JSON records that are read, by name, with their types.",
        allowed=A_COLUMN,
    )
    schema_id: Literal["prefix", "header"] = setting(
        "prefix",
        about="Where an Avro record says its schema: in its first five bytes, or in "
        f"its header `{HEADER}` as an id or a GUID, and without it in its first bytes.",
        allowed='"prefix" or "header"',
    )
    schema_file: Path | None = setting(
        None,
        about="The one Avro schema of records that name none: plain Avro.",
        allowed="a file, and neither `schemas` nor `schema_registry` beside it",
    )
    schemas: Path = setting(
        Path("schemas"),
        about="A folder of Avro schemas, named by schema id: `1.avsc`.",
        allowed="a folder, or schema_registry in its place",
    )
    schema_registry: str | None = setting(
        None,
        about="A Confluent-compatible schema registry in place of the folder. "
        "Expressions are checked against the latest schema of `<topic>-value`; what "
        "was fetched is kept in `state_dir`.",
        allowed="an http or https address, and no `schemas` beside it",
    )
    registry: RegistrySettings = setting(
        RegistrySettings, about="How the registry is reached.", allowed="a table"
    )
    schema_grace: Duration = setting(
        300.0,
        about="How long a record waits, from its timestamp on, for a schema that the "
        "registry does not know yet; then it is a dead letter.",
        allowed=A_DURATION + ", at most 1d",
        le=86_400,
    )
    fields: FieldsSettings = setting(
        FieldsSettings, about="Where your events keep things.", allowed="a table"
    )

    @field_validator("key_expression")
    @classmethod
    def _keyed_by_visitor(
        cls, expression: str | None, info: ValidationInfo
    ) -> str | None:
        if expression is not None and info.data.get("key") == "other":
            message = 'expected none with `key = "other"`, which asks for no key'
            raise ValueError(message)
        return expression

    @model_validator(mode="before")
    @classmethod
    def _schemas_have_one_source(cls, table: object) -> object:
        if isinstance(table, Mapping) and len(SOURCES & {*table}) > 1:
            return {**table, "schemas": None}  # refused below, under its own name
        return table

    @field_validator("columns")
    @classmethod
    def _columns_are_of_json(cls, columns: Columns, info: ValidationInfo) -> Columns:
        if columns and info.data.get("format") == "avro":
            message = 'expected none: an Avro schema has types; or `format = "json"`'
            raise ValueError(message)
        if not columns and info.data.get("format") == "json":
            message = 'expected the fields that `format = "json"` reads, with types'
            raise ValueError(message)
        return columns

    @field_validator("schemas", mode="before")
    @classmethod
    def _folder_is_named(cls, folder: object) -> object:
        if folder is None:
            message = (
                "schemas come from this folder, from schema_registry or from "
                "schema_file; name one of them"
            )
            raise ValueError(message)
        return folder

    @field_validator("schema_registry")
    @classmethod
    def _is_an_address(cls, address: str | None) -> str | None:
        return None if address is None else http_address(address)

    @property
    def subject(self) -> str:
        """The registry's subject of the topic's values."""
        return self.registry.subject or f"{self.topic}-value"


class AggregateSettings(Group):
    """`[aggregate]`: the stage that folds purchases into profiles."""

    state_dir: Path = setting(
        Path("state"),
        about="The folder of the local store; on a disk of this machine.",
        allowed="a writable folder, made when absent",
    )
    commit_interval: Duration = setting(
        1.0,
        about="How long events may gather before their transaction commits.",
        allowed=A_DURATION + ", from 10ms to 60s",
        ge=0.01,
        le=60,
    )
    deduplicate: Duration = setting(
        86_400.0,
        about="How long an event id is remembered; `0s` turns deduplication off.",
        allowed=A_DURATION + ", at most 365d",
        le=365 * 86_400,
    )
    memory: Size = setting(
        1_000_000_000,
        about="What a process with the aggregate stage may use: its resident memory.",
        allowed=A_SIZE + ", at least 600MB",
        ge=600_000_000,
    )
    max_batch: int = setting(
        50_000,
        about="The most records that are decoded and folded at once, if `memory` "
        "allows as many.",
        allowed="a whole number from 1 to 1,000,000",
        ge=1,
        le=1_000_000,
    )

    @property
    def shares(self) -> MemoryShares:
        """What `memory` is divided into."""
        return MemoryShares.of(self.memory)


class TopicSettings(Group):
    """`[profiles]`, `[state]`, …: one of our own topics."""

    topic: TopicName | None = setting(None, about="The topic's name.", allowed=A_TOPIC)


class DeadLettersSettings(TopicSettings):
    """`[dead_letters]`: their topic, and when they are too many to go on."""

    max_in_a_row: int = setting(
        1_000,
        about="How many records of a partition may become dead letters one behind the "
        "other; the next one halts it. 0 is no limit.",
        allowed="a whole number from 0 to 1,000,000,000",
        ge=0,
        le=1_000_000_000,
    )
    max_ratio: float = setting(
        0.5,
        about="The share of a partition's records, by windows, that may become dead "
        "letters; one more halts it. 1 is no limit.",
        allowed="a number from 0 to 1",
        ge=0,
        le=1,
    )
    ratio_over: int = setting(
        10_000,
        about="The records of such a window.",
        allowed="a whole number from 100 to 1,000,000,000",
        ge=100,
        le=1_000_000_000,
    )


class RekeyedSettings(TopicSettings):
    """`[rekeyed]`: the topic that the stage `rekey` writes."""

    partitions: int | None = setting(
        None,
        about="How many partitions `topics create` gives it; as many as the purchases "
        "have without it. It can never be changed later, whatever becomes of those.",
        allowed="a whole number from 1 to 10,000",
        ge=1,
        le=10_000,
    )


class ProfilesSettings(TopicSettings):
    """`[profiles]`: the topic of profiles, and what time does to them."""

    tick_over: Duration = setting(
        3_600.0,
        about="Over how long after midnight windows slide, visitor by visitor.",
        allowed=A_DURATION + ", from 1s to 20h",
        ge=1,
        le=72_000,
    )
    expire_after: Duration | None = setting(
        None,
        about="After how long without an event a profile is deleted; never without it. "
        "Target gets nothing of it: its own profiles end by themselves.",
        allowed='whole days such as "400d", from 1d to 3650d',
        ge=DAY_SECONDS,
        le=3_650 * DAY_SECONDS,
        multiple_of=DAY_SECONDS,
    )

    keep_erased: Duration = setting(
        30 * DAY_SECONDS,
        about="How long an erased visitor is remembered, by a hash, so that no replay "
        "brings back what had happened by then; longer than purchases are kept.",
        allowed=A_DURATION + ", from 1d to 3650d",
        ge=DAY_SECONDS,
        le=3_650 * DAY_SECONDS,
    )

    @property
    def expire_days(self) -> int | None:
        """`expire_after` in days."""
        return (
            None if self.expire_after is None else int(self.expire_after) // DAY_SECONDS
        )


class HttpSettings(Group):
    """`[http]`: the internal endpoints /metrics, /livez, /readyz and /."""

    host: str = setting(
        "0.0.0.0",  # noqa: S104 - scraped from other machines, on an internal port
        about="The address to listen on.",
        allowed="a host name or address of this machine",
        min_length=1,
    )
    port: int = setting(
        9464,
        about="The port to listen on; 0 takes a free one.",
        allowed="a whole number from 0 to 65535",
        ge=0,
        le=65_535,
    )


class LogSettings(Group):
    """`[log]`: what is logged and how."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        about="The least that is logged.",
        allowed='"debug", "info", "warning" or "error"',
    )
    format: Literal["auto", "human", "json"] = setting(
        "auto",
        about="How lines look; auto is human on a terminal and JSON elsewhere.",
        allowed='"auto", "human" or "json"',
    )
