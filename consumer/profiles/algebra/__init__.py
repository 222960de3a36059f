"""The aggregates as commutative monoids over columns, one file a kind."""
