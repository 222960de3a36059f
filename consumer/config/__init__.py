"""The configuration: one TOML file, the environment over it, flags over that.

Validated once, at start: `load_settings` returns frozen `Settings` or raises one
`ConfigurationError` that names every wrong key, its value and what is allowed.
"""

from consumer.config.attributes import (
    RESERVED_NAMES,
    Aggregate,
    AttributeFormat,
    AttributeSettings,
)
from consumer.config.groups import (
    AggregateSettings,
    FieldsSettings,
    HttpSettings,
    LogSettings,
    PurchasesSettings,
)
from consumer.config.kafka import REFUSED_OPTIONS, KafkaSettings
from consumer.config.settings import OWN_TOPICS, Settings, Topics
from consumer.config.sources import (
    DEFAULT_CONFIG_FILE,
    environment_name,
    load_settings,
    partial,
)
from consumer.config.target import (
    BatchSettings,
    BudgetSettings,
    DeliverySettings,
    TargetSettings,
)
from consumer.config.values import Secret

__all__ = [
    "DEFAULT_CONFIG_FILE",
    "OWN_TOPICS",
    "REFUSED_OPTIONS",
    "RESERVED_NAMES",
    "Aggregate",
    "AggregateSettings",
    "AttributeFormat",
    "AttributeSettings",
    "BatchSettings",
    "BudgetSettings",
    "DeliverySettings",
    "FieldsSettings",
    "HttpSettings",
    "KafkaSettings",
    "LogSettings",
    "PurchasesSettings",
    "Secret",
    "Settings",
    "TargetSettings",
    "Topics",
    "environment_name",
    "load_settings",
    "partial",
]
