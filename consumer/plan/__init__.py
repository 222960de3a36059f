"""From configuration to a checked plan of column operations."""
