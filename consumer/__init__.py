"""Purchases from Kafka, folded per visitor, delivered to Adobe Target."""

__version__ = "0.1.0"
