"""Dashboards and alerts as code: `python -m dashboards` writes the JSON and YAML."""
