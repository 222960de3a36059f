"""Profiles: the algebra of aggregates, the fold, the record format, the local store."""
