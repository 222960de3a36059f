"""The broker's edge: the only importer of confluent_kafka."""
