"""The bench: the service and its peers on one job, side by side (docs/bench.md)."""
