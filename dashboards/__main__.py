"""Writes every dashboard, the alerts and their tables to their files.

With an address, `python -m dashboards https://wiki.example/runbook`, prints the alerts
with links to the runbook there instead.
"""

import sys

from dashboards.generate import write
from dashboards.rules import as_yaml

if sys.argv[1:]:
    sys.stdout.write(as_yaml(sys.argv[1]))
else:
    write()
