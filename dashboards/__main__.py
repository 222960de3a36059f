"""Writes every dashboard and the alerts to their files."""

from dashboards.generate import write

write()
