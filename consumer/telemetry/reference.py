"""Makes docs/metrics.md's tables of the catalogue.

`python -m consumer.telemetry.reference docs/metrics.md` makes them anew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from consumer.telemetry.catalogue import GROUPS
from consumer.telemetry.labels import STAGE_OF, STEPS

if TYPE_CHECKING:
    from consumer.telemetry.catalogue import Declared


def metrics() -> str:
    """Return the tables of all metrics, a section a group."""
    return "\n".join(
        "\n".join(
            (
                f"### {title}\n",
                "| metric | kind | labels | across replicas | what it is |",
                "|---|---|---|---|---|",
                *map(_row, declared),
                "",
            )
        )
        for title, declared in GROUPS.items()
    )


def steps() -> str:
    """Return the table of the loops' steps."""
    rows = [
        f"| {STAGE_OF[loop]} | {loop} | `{step}` | {about} |"
        for loop, named in STEPS.items()
        for step, about in named.items()
    ]
    head = ("| stage | loop | step | what happens |", "|---|---|---|---|")
    return "\n".join([*head, *rows, ""])


def filled(page: str) -> str:
    """Return the page with its generated parts made anew, between their marks."""
    for mark, text in (("metrics", metrics()), ("steps", steps())):
        before, opening, rest = page.partition(f"<!-- {mark} -->\n")
        _, closing, after = rest.partition(f"<!-- /{mark} -->")
        page = f"{before}{opening}\n{text}\n{closing}{after}"
    return page


def _row(declared: Declared) -> str:
    labels = "; ".join(
        f"`{name}`: {values if isinstance(values, str) else ', '.join(values)}"
        for name, values in declared.labels.items()
    )
    return (
        f"| `{declared.full_name}` | {declared.kind} | {labels} | {declared.across} "
        f"| {declared.about} |"
    )


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(filled(document.read_text("utf-8")), "utf-8")
