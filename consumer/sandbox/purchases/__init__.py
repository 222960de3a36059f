"""Purchases that a retailer's tills could have sent, good and bad, from a seed."""

from consumer.sandbox.purchases.generate import Batch, generate
from consumer.sandbox.purchases.schema import SCHEMA, write_schema_folder
from consumer.sandbox.purchases.spec import EXPECTED, POISON, Kind, Spec

__all__ = [
    "EXPECTED",
    "POISON",
    "SCHEMA",
    "Batch",
    "Kind",
    "Spec",
    "generate",
    "write_schema_folder",
]
