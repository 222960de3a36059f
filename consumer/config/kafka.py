"""`[kafka]`: librdkafka's own options, by librdkafka's own names.

Enters a table of options, with `[kafka.consumer]` and `[kafka.producer]` over it;
leaves one dict of texts for each kind of client, as confluent_kafka takes it.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, PlainValidator, field_validator, model_validator

from consumer.config.group import Group, setting
from consumer.config.values import Secret, is_sensitive, parse_secret

REFUSED_OPTIONS: Final = {
    "group.id": "the groups are `<application>-aggregate` and `<application>-upload`; "
    "set `application` instead",
    "transactional.id": "it is made from an id kept in aggregate.state_dir, so that "
    "no two processes share one",
    "enable.auto.commit": "offsets are committed in the transaction that writes "
    "their profiles, or after Target accepted them, and at no other time",
    "isolation.level": "aborted profiles must never be read: it is read_committed",
    "auto.offset.reset": "skipping records in silence would lose purchases; where "
    "there is no state yet, purchases.start says where to begin",
    "enable.idempotence": "transactions need it: it is always on",
}
AN_OPTION: Final = 'a number, true, false, a text or { file = "path" }'


def _known_name(name: str) -> str:
    if reason := REFUSED_OPTIONS.get(name):
        raise ValueError(reason)
    return name


def _option(value: object) -> str | Secret:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return value
        case Mapping() | Secret():
            return parse_secret(value)
        case _:
            message = f"expected {AN_OPTION}"
            raise ValueError(message)


OptionName = Annotated[str, AfterValidator(_known_name)]
OptionValue = Annotated[str | Secret, PlainValidator(_option)]
Options = dict[OptionName, OptionValue]


def _flattened(table: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Join the nested tables that TOML makes of unquoted dotted keys."""
    flat: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, Mapping) and set(value) != {"file"}:
            flat |= _flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


class KafkaSettings(Group):
    """Options for all our clients; each method returns those of one kind of client."""

    common: Options = setting(
        lambda: {"bootstrap.servers": "localhost:9092"},
        about="Any librdkafka option, for every client, by its own name.",
        allowed=AN_OPTION,
    )
    consumer: Options = setting(
        dict,
        about="librdkafka options for consumers only, over those of `[kafka]`.",
        allowed=AN_OPTION,
    )
    producer: Options = setting(
        dict,
        about="librdkafka options for producers only, over those of `[kafka]`.",
        allowed=AN_OPTION,
    )

    @model_validator(mode="before")
    @classmethod
    def _split(cls, table: object) -> object:
        if not isinstance(table, Mapping):
            return table
        split: dict[str, object] = {}
        for name in ("consumer", "producer"):
            own = table.get(name, {})
            split[name] = _flattened(own) if isinstance(own, Mapping) else own
        rest = {k: v for k, v in table.items() if k not in split}
        split["common"] = {"bootstrap.servers": "localhost:9092"} | _flattened(rest)
        return split

    @field_validator("common", "consumer", "producer")
    @classmethod
    def _mask(cls, options: dict[str, str | Secret]) -> dict[str, str | Secret]:
        return {
            name: Secret(text=value)
            if isinstance(value, str) and is_sensitive(name)
            else value
            for name, value in options.items()
        }

    @property
    def bootstrap_servers(self) -> str:
        """The brokers' addresses, for messages."""
        return str(self.common["bootstrap.servers"])

    def for_consumer(self) -> dict[str, str]:
        """Return the options of a consumer, secrets read now."""
        return _read(self.common | self.consumer)

    def for_producer(self) -> dict[str, str]:
        """Return the options of a producer, secrets read now."""
        return _read(self.common | self.producer)

    def for_admin(self) -> dict[str, str]:
        """Return the options of an admin client, secrets read now."""
        return _read(self.common)


def _read(options: Mapping[str, str | Secret]) -> dict[str, str]:
    return {
        name: value.read(f'kafka."{name}"') if isinstance(value, Secret) else value
        for name, value in options.items()
    }
