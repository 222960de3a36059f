"""All files that are made of code: dashboards, alerts, and the tables about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from dashboards.aggregate import AGGREGATE
from dashboards.draw import draw
from dashboards.overview import OVERVIEW
from dashboards.process import PROCESS
from dashboards.reference import filled
from dashboards.rule_tests import as_yaml as rule_tests
from dashboards.rules import as_yaml
from dashboards.upload import UPLOAD

if TYPE_CHECKING:
    from dashboards.panels import Page

FOLDER: Final = Path(__file__).parent
PAGE: Final = FOLDER.parent / "docs" / "observe.md"
PAGES: Final[tuple[Page, ...]] = (OVERVIEW, AGGREGATE, UPLOAD, PROCESS)


def files() -> dict[Path, str]:
    """Return what each file must hold."""
    made = {FOLDER / f"{page.uid}.json": draw(page) for page in PAGES}
    alerts = FOLDER / "alerts"
    return {
        **made,
        PAGE: filled(PAGE.read_text("utf-8"), PAGES),
        alerts / "pos-consumer.yml": as_yaml(),
        alerts / "tests" / "pos-consumer.yml": rule_tests(every=1),
        alerts / "tests" / "pos-consumer-days.yml": rule_tests(every=10),
    }


def write() -> None:
    """Write them."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
