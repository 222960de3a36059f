"""`Settings`: the whole configuration, validated, with the names made from it."""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationInfo, field_validator

from consumer.config.attributes import A_NAME, Attributes
from consumer.config.group import Group, setting
from consumer.config.groups import (
    AggregateSettings,
    DeadLettersSettings,
    HttpSettings,
    LogSettings,
    ProfilesSettings,
    PurchasesSettings,
    RekeyedSettings,
    TopicSettings,
)
from consumer.config.kafka import KafkaSettings
from consumer.config.target import TargetSettings
from consumer.config.values import A_DURATION, Duration

OWN_TOPICS: Final = (
    "rekeyed",
    "rekey_state",
    "profiles",
    "state",
    "uploads",
    "control",
    "dead_letters",
    "rejected_rows",
)


@dataclass(frozen=True, slots=True)
class Topics:
    """The resolved name of each topic.

    `source` is the topic that is configured; `purchases` the one that the aggregate
    stage reads, keyed by visitor: `rekeyed` where the source is keyed otherwise.
    """

    source: str
    purchases: str
    rekeyed: str
    rekey_state: str
    profiles: str
    state: str
    uploads: str
    control: str
    dead_letters: str
    rejected_rows: str


def _own(topic: str, group: type[TopicSettings] = TopicSettings) -> Any:  # noqa: ANN401 - a field
    default = f"`<application>.{topic.replace('_', '-')}` without it."
    result: TopicSettings = setting(
        group,
        about=f"Our topic; {default}",
        allowed="a table",
        validate_default=True,
    )
    return result


def _resolved(application: str, topic: str, own: TopicSettings) -> str:
    return own.topic or f"{application}.{topic.replace('_', '-')}"


class Settings(Group):
    """Everything that can be configured; made by `load_settings`, never changed."""

    application: str = setting(
        "pos-consumer",
        about="Prefix of our topics, consumer groups and transactional ids.",
        allowed="letters, digits, `.`, `_` and `-`, at most 100 characters",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
    )
    drain_timeout: Duration = setting(
        25.0,
        about="How long a stop may take before it becomes abrupt; keep it below the "
        "30 s that Kubernetes gives.",
        allowed=A_DURATION + ", at most 1h",
        le=3_600,
    )
    startup_timeout: Duration = setting(
        300.0,
        about="How long to try an unreachable broker at start.",
        allowed=A_DURATION + ", at most 1d",
        le=86_400,
    )
    kafka: KafkaSettings = setting(
        KafkaSettings, about="librdkafka's options.", allowed="a table"
    )
    purchases: PurchasesSettings = setting(
        about="The topic of purchases.",
        allowed="a table [purchases] with at least `topic`",
    )
    aggregate: AggregateSettings = setting(
        AggregateSettings, about="The aggregate stage.", allowed="a table"
    )
    attributes: Attributes = setting(
        about="The attributes that Target gets, by name.",
        allowed=f"at least one table [attributes.<name>], each with {A_NAME}",
    )
    rekeyed: RekeyedSettings = _own("rekeyed", RekeyedSettings)
    rekey_state: TopicSettings = _own("rekey_state")
    profiles: ProfilesSettings = _own("profiles", ProfilesSettings)
    state: TopicSettings = _own("state")
    uploads: TopicSettings = _own("uploads")
    control: TopicSettings = _own("control")
    dead_letters: DeadLettersSettings = setting(
        DeadLettersSettings,
        about="Records that are no events, and how many there may be.",
        allowed="a table",
        validate_default=True,
    )
    rejected_rows: TopicSettings = _own("rejected_rows")
    target: TargetSettings = setting(
        about="The Adobe Target account.",
        allowed="a table [target] with at least `client`",
    )
    http: HttpSettings = setting(
        HttpSettings, about="The internal HTTP endpoints.", allowed="a table"
    )
    log: LogSettings = setting(LogSettings, about="Logging.", allowed="a table")

    @field_validator(*OWN_TOPICS)
    @classmethod
    def _is_a_topic_of_its_own(
        cls, own: TopicSettings, info: ValidationInfo
    ) -> TopicSettings:
        data = info.data
        if info.field_name is None or not {"application", "purchases"} <= data.keys():
            return own  # said elsewhere
        name = _resolved(data["application"], info.field_name, own)
        taken = {data["purchases"].topic: "purchases"} | {
            _resolved(data["application"], other, data[other]): other
            for other in OWN_TOPICS
            if other in data
        }
        if name in taken:
            message = f'its topic "{name}" is the topic of `{taken[name]}` already'
            raise ValueError(message)
        return own

    @property
    def topics(self) -> Topics:
        """The name of each topic, as configured or made from `application`."""
        own = {
            name: _resolved(self.application, name, getattr(self, name))
            for name in OWN_TOPICS
        }
        source = self.purchases.topic
        purchases = own["rekeyed"] if self.rekeys else source
        return Topics(source=source, purchases=purchases, **own)

    @property
    def rekeys(self) -> bool:
        """Whether purchases are keyed anew before they are aggregated."""
        return self.purchases.key == "other"

    @property
    def rekey_group(self) -> str:
        """The consumer group that reads purchases that are keyed otherwise."""
        return f"{self.application}-rekey"

    @property
    def aggregate_group(self) -> str:
        """The consumer group that reads purchases."""
        return f"{self.application}-aggregate"

    @property
    def upload_group(self) -> str:
        """The consumer group that reads profiles."""
        return f"{self.application}-upload"
