"""What every test has: an environment and a temporary folder of its own."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

# The clock of a shared machine is no property of the code.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")
SHRINK_SECONDS = 400  # hypothesis makes a failing example smaller for five minutes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a property that fails say so, before its time limit ends the process."""
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.timeout(SHRINK_SECONDS))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out of the tests."""
    for name in os.environ:
        if name.startswith("POS_CONSUMER_"):
            monkeypatch.delenv(name)
