"""The demo: the whole job on real parts, and a reckoning of what arrived."""
