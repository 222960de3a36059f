"""What needs Debian's packages: left out unless asked for (`make test-observe`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.sandbox.debian import ALERTMANAGER, PROMETHEUS, unpacked
from consumer.sandbox.kafka import prepare

_HERE = Path(__file__).parent
RUN_SECONDS = 600


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say how long the service has to stay healthy."""
    parser.addoption("--healthy-minutes", type=float, default=1.0)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Mark what is in this folder; leave it out unless asked for."""
    chosen = "observe" in config.option.markexpr or any(
        "observe" in argument for argument in config.args
    )
    ours = [item for item in items if _HERE in item.path.parents]
    limit = RUN_SECONDS + 60 * config.getoption("--healthy-minutes", 1.0)
    for item in ours:
        item.add_marker(pytest.mark.observe)
        item.add_marker(pytest.mark.timeout(limit))
    if ours and not chosen:
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch what is needed, once per user, outside of any test's time limit.

    Ends the run with one sentence where this machine cannot.
    """
    chosen = any(_HERE in item.path.parents for item in session.items)
    if chosen and not session.config.option.collectonly:
        unpacked(PROMETHEUS)
        unpacked(ALERTMANAGER)
        prepare()
