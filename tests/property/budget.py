"""How many examples a property is tried on.

`EXAMPLES_TIMES=50 pytest tests/property` tries fifty times as many.
"""

from __future__ import annotations

import os

from hypothesis import settings

TIMES = int(os.environ.get("EXAMPLES_TIMES", "1"))


def examples(count: int) -> settings:
    """Try `count` examples, or more where the environment asks for it."""
    return settings(max_examples=count * TIMES)
