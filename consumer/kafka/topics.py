"""Our topics: which there must be, how they must be set, and what differs.

`plan_topics` and `differences` are pure; `TopicAdmin` reads the cluster and creates.
The service itself never creates a topic: it would hide a wrong name for ever.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented there
    ConfigResource,
    NewTopic,
    ResourceType,
)

from consumer.errors import BrokerUnreachable, TopicAbsent
from consumer.kafka.clients import admin_client, broker_error, kafka_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal, Self

    from consumer.config import Settings, Topics

REQUEST_SECONDS: Final = 30.0
LOOKS: Final = 100
SECONDS_BETWEEN_LOOKS: Final = 0.1
MAX_RECORD_BYTES: Final = 1_048_588  # Kafka's default, made explicit
RECORD_OVERHEAD: Final = 2_048  # of it kept free for key, headers and the frame
REKEYING_BYTES: Final = 4_096  # what a key and an origin may add to a record
_LARGEST_LONG: Final = 2**63 - 1
_DAY_MS: Final = 86_400_000
_CLEANUP: Final = "cleanup.policy"
_LARGEST: Final = "max.message.bytes"
_RETENTION: Final = ("retention.ms", "retention.bytes")
_TIME_BOUNDS: Final = (
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
)
# A position a second and partition is read whole at each start: let it be compacted.
_ROLLED_SOON: Final = {"segment.ms": "600000"}
# A store that was away for half of this must be rebuilt, since it may have missed
# tombstones: a week lets a replica be away over a weekend.
_TOMBSTONES: Final = "delete.retention.ms"
_KEEP_TOMBSTONES: Final = {_TOMBSTONES: str(7 * _DAY_MS)}
_LAG: Final = "min.compaction.lag.ms"
# Who takes an upload over reads its offsets again to learn whose rows are under way. A
# record compacted away by then has a newer one, which would not be held back; Target
# answers for a batch for a day, so the older one stays that long.
_KEEP_UPLOADED: Final = {_LAG: str(_DAY_MS)}
# What was erased is gone a week later even from a topic where little happens.
_ERASED_SOON: Final = {"max.compaction.lag.ms": str(7 * _DAY_MS)}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it must be; the replication factor is the broker's default."""

    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic as the cluster has it."""

    name: str
    topic_id: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the stages must know of topics: ids, partitions, the largest record.

    `tombstones` has for how many seconds each topic keeps them, once compacted.
    """

    topic_ids: Mapping[str, str]
    partitions: Mapping[str, int]
    largest_records: Mapping[str, int]
    tombstones: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, states: Mapping[str, TopicState]) -> Self:
        """Take it from the states as the cluster has them."""
        return cls(
            {name: state.topic_id for name, state in states.items()},
            {name: state.partitions for name, state in states.items()},
            {
                name: int(state.config.get(_LARGEST, MAX_RECORD_BYTES))
                for name, state in states.items()
            },
            {
                name: int(state.config.get(_TOMBSTONES, _DAY_MS)) / 1000
                for name, state in states.items()
            },
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a topic is not as it must be.

    `command` is what an administrator can run, or empty where none mends it.
    """

    topic: str
    kind: Literal["missing", "partitions", "cleanup", "size", "lag"]
    what: str
    remedy: str
    command: str = ""


def plan_topics(
    settings: Settings, partitions: int, source: Mapping[str, str] | None = None
) -> list[TopicSpec]:
    """Return our topics for a topic of `partitions` that the aggregate stage reads.

    That is the topic of purchases, or the one that they are rekeyed to; then the first
    that is returned is that one, which keeps records as long as `source` is configured
    to, and `partitions` is how many it shall have or has.
    """
    topics = settings.topics
    compact = {_CLEANUP: "compact", _LARGEST: str(MAX_RECORD_BYTES)}
    delete = {_CLEANUP: "delete", _LARGEST: str(MAX_RECORD_BYTES)}
    two_weeks = {"retention.ms": str(14 * _DAY_MS)}
    rekeyed = _rekeyed(topics, partitions, source or {}) if settings.rekeys else []
    return [
        *rekeyed,
        TopicSpec(
            topics.profiles,
            partitions,
            compact | _KEEP_TOMBSTONES | _KEEP_UPLOADED | _ERASED_SOON,
        ),
        TopicSpec(topics.state, partitions, compact | _KEEP_TOMBSTONES),
        TopicSpec(topics.uploads, partitions, compact),
        TopicSpec(topics.control, 1, compact | _ERASED_SOON),
        TopicSpec(topics.dead_letters, partitions, delete | two_weeks),
        TopicSpec(topics.rejected_rows, partitions, compact | _ERASED_SOON),
    ]


def _rekeyed(
    topics: Topics, partitions: int, source: Mapping[str, str]
) -> list[TopicSpec]:
    largest = int(source.get(_LARGEST, MAX_RECORD_BYTES)) + REKEYING_BYTES
    # Records keep their timestamps, however old, or wrong.
    any_time = dict.fromkeys(_TIME_BOUNDS, str(_LARGEST_LONG))
    kept = {name: source[name] for name in _RETENTION if name in source}
    return [
        TopicSpec(
            topics.rekeyed,
            partitions,
            {_CLEANUP: "delete", _LARGEST: str(largest)} | any_time | kept,
        ),
        TopicSpec(
            topics.rekey_state,
            partitions,
            {_CLEANUP: "compact", _LARGEST: str(MAX_RECORD_BYTES)} | _ROLLED_SOON,
        ),
    ]


def differences(
    specs: Sequence[TopicSpec], states: Mapping[str, TopicState], servers: str
) -> list[Difference]:
    """Compare; retention and the like may differ, what correctness needs may not."""
    return [
        difference
        for spec in specs
        for difference in _compare(spec, states.get(spec.name), servers)
    ]


def _compare(
    spec: TopicSpec, state: TopicState | None, servers: str
) -> list[Difference]:
    if state is None:
        what = f"The topic {spec.name} does not exist."
        remedy = "Create it with `pos-consumer topics create`."
        command = create_command(spec, servers)
        return [Difference(spec.name, "missing", what, remedy, command)]
    found = []
    if state.partitions != spec.partitions:
        found.append(_partitions_differ(spec, state, servers))
    wanted = spec.config[_CLEANUP]
    if (policy := state.config.get(_CLEANUP)) != wanted:
        what = f"{spec.name} has {_CLEANUP}={policy}, it must be {wanted} alone."
        remedy = "Change it before the broker removes records that must stay."
        command = _configure_command(spec.name, _CLEANUP, wanted, servers)
        found.append(Difference(spec.name, "cleanup", what, remedy, command))
    least = spec.config[_LARGEST]
    if int(state.config.get(_LARGEST, least)) < int(least):
        what = f"{spec.name} has {_LARGEST}={state.config[_LARGEST]}, below {least}."
        remedy = "Raise it, so that large profiles are not refused."
        command = _configure_command(spec.name, _LARGEST, least, servers)
        found.append(Difference(spec.name, "size", what, remedy, command))
    lag = spec.config.get(_LAG, "0")
    if int(state.config.get(_LAG, lag)) < int(lag):
        what = f"{spec.name} has {_LAG}={state.config[_LAG]}, below {lag}."
        remedy = "Raise it, so that a rebalance cannot let an older row land last."
        command = _configure_command(spec.name, _LAG, lag, servers)
        found.append(Difference(spec.name, "lag", what, remedy, command))
    return found


def _partitions_differ(spec: TopicSpec, state: TopicState, servers: str) -> Difference:
    what = (
        f"{spec.name} has {state.partitions} partitions, it must have "
        f"{spec.partitions}."
    )
    if state.partitions > spec.partitions:
        remedy = "Kafka cannot remove partitions: create the topic under another name."
        return Difference(spec.name, "partitions", what, remedy)
    command = shlex.join(
        [
            *("kafka-topics.sh", "--bootstrap-server", servers, "--alter"),
            *("--topic", spec.name, "--partitions", str(spec.partitions)),
        ]
    )
    remedy = "Add the missing ones; what lies in the others stays where it is."
    return Difference(spec.name, "partitions", what, remedy, command)


def create_command(spec: TopicSpec, servers: str) -> str:
    """Return the kafka-topics.sh line that creates a topic."""
    config = [word for k, v in spec.config.items() for word in ("--config", f"{k}={v}")]
    return shlex.join(
        [
            *("kafka-topics.sh", "--bootstrap-server", servers, "--create"),
            *("--if-not-exists", "--topic", spec.name),
            *("--partitions", str(spec.partitions), *config),
        ]
    )


def _configure_command(topic: str, key: str, value: str, servers: str) -> str:
    return shlex.join(
        [
            *("kafka-configs.sh", "--bootstrap-server", servers, "--alter"),
            *("--entity-type", "topics", "--entity-name", topic),
            *("--add-config", f"{key}={value}"),
        ]
    )


class TopicAdmin:
    """Reads and creates topics on the cluster; all calls block, at most 30 s each."""

    def __init__(self, settings: Settings) -> None:
        """Make the client; ConfigurationError if librdkafka refuses an option."""
        self._settings = settings
        self._admin = admin_client(settings)

    def states(self, names: Sequence[str]) -> dict[str, TopicState]:
        """Return the state of each topic that exists."""
        described = self._admin.describe_topics(
            TopicCollection(list(names)), request_timeout=REQUEST_SECONDS
        )
        found = {}
        for name, future in described.items():
            try:
                found[name] = future.result()
            except KafkaException as error:
                if kafka_error(error).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise broker_error(error, f"describing topic {name}") from error
        configs = self._configs(list(found))
        return {
            name: TopicState(
                name, str(topic.topic_id), len(topic.partitions), configs[name]
            )
            for name, topic in found.items()
        }

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        described = self._admin.describe_configs(
            resources, request_timeout=REQUEST_SECONDS
        )
        configs = {}
        for resource, future in described.items():
            try:
                entries = future.result()
            except KafkaException as error:
                doing = f"reading the settings of topic {resource.name}"
                raise broker_error(error, doing) from error
            configs[resource.name] = {
                name: str(entry.value) for name, entry in entries.items()
            }
        return configs

    def source(self) -> TopicState:
        """Return the topic of purchases as it is; TopicAbsent if there is none."""
        name = self._settings.topics.source
        state = self.states([name]).get(name)
        if state is None:
            raise TopicAbsent(
                f"The topic {name} does not exist at "
                f"{self._settings.kafka.bootstrap_servers}.",
                "Check purchases.topic, or create it.",
            )
        return state

    def plan(self) -> tuple[list[TopicSpec], list[Difference]]:
        """Return what must be there and what differs; TopicAbsent without purchases."""
        settings, source = self._settings, self.source()
        partitions = source.partitions
        if settings.rekeys:
            rekeyed = self.states([settings.topics.rekeyed])
            partitions = settings.rekeyed.partitions or next(
                (one.partitions for one in rekeyed.values()), partitions
            )
        specs = plan_topics(settings, partitions, source.config)
        states = self.states([spec.name for spec in specs])
        servers = self._settings.kafka.bootstrap_servers
        return specs, differences(specs, states, servers)

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics and wait until they show; one that exists is left as it is."""
        new = [
            NewTopic(
                spec.name,
                num_partitions=spec.partitions,
                replication_factor=-1,
                config=dict(spec.config),
            )
            for spec in specs
        ]
        if not new:
            return
        created = self._admin.create_topics(new, request_timeout=REQUEST_SECONDS)
        for name, future in created.items():
            try:
                future.result()
            except KafkaException as error:
                if kafka_error(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise broker_error(error, f"creating topic {name}") from error
        self._wait_until_shown([spec.name for spec in specs])

    def delete(self, names: Sequence[str]) -> None:
        """Delete topics; one that does not exist is no matter."""
        if not names:
            return
        deleted = self._admin.delete_topics(
            list(names), request_timeout=REQUEST_SECONDS
        )
        for name, future in deleted.items():
            try:
                future.result()
            except KafkaException as error:
                if kafka_error(error).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise broker_error(error, f"deleting topic {name}") from error

    def _wait_until_shown(self, names: Sequence[str]) -> None:
        """Return when the broker that is asked has heard of what its controller did.

        A broker learns of a new topic a moment after the call that creates it returns:
        who looked at once would find it absent.
        """
        for _ in range(LOOKS):
            hidden = set(names) - self.states(names).keys()
            if not hidden:
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)
        raise BrokerUnreachable(
            f"The brokers do not show these new topics: {', '.join(sorted(hidden))}.",
            "Look again with `pos-consumer topics plan`.",
        )

    def require(self) -> tuple[int, list[Difference]]:
        """Return the partition count and what differs; TopicAbsent if one is missing.

        For the service's start: what differs halts the partitions that it concerns.
        """
        specs, found = self.plan()
        missing = [
            difference.topic for difference in found if difference.kind == "missing"
        ]
        if missing:
            names = ", ".join(missing)
            raise TopicAbsent(
                f"Missing topics: {names}.",
                "Create them with `pos-consumer topics create`.",
            )
        return specs[0].partitions, found
