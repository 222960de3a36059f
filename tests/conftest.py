"""What every test has: an environment and a temporary folder of its own."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# The clock of a shared machine is no property of the code.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out of the tests."""
    for name in os.environ:
        if name.startswith("POS_CONSUMER_"):
            monkeypatch.delenv(name)
