"""The page on the call budget: what is measured, and what is drawn."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench import budget
from bench.lines import Panel, draw


@pytest.mark.timeout(120)
async def test_a_light_load_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files a minute, whose rows wait for half of their age in the middle."""
    monkeypatch.setattr(budget, "WARM_UP", 1)
    monkeypatch.setattr(budget, "MINUTES", 3)
    found = await budget.measure(0.01)
    assert found.submits == pytest.approx(2, abs=0.7)
    assert 10 < found.p50_s < 25
    assert found.p50_s < found.p99_s < 45
    assert 20 < found.rows_per_file < 60


def test_the_picture_holds_every_line_and_its_name() -> None:
    """Well-formed, with a point for each load, within its borders."""
    svg = draw(
        "load",
        [0.1, 1.0, 10.0],
        [
            Panel("seconds & more", {"p50": [1.0, 20.0, 300.0]}, log=True),
            Panel("calls", {"files": [0.0, 2.0, 7.0], "statuses": [1.0, 4.0, 9.0]}),
        ],
    )
    root = ET.fromstring(svg)  # noqa: S314 - our own
    width, height = map(int, root.attrib["viewBox"].split()[2:])
    lines = [one for one in root.iter() if one.tag.endswith("polyline")]
    assert len(lines) == 3
    for line in lines:
        points = [
            tuple(map(float, p.split(","))) for p in line.attrib["points"].split()
        ]
        assert len(points) == 3
        assert all(0 < x < width and 0 < y < height for x, y in points)
    words = {one.text for one in root.iter() if one.tag.endswith("text")}
    assert {"p50", "files", "statuses", "load", "seconds & more"} <= words
