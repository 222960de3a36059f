"""Faults ordered from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.errors import ConfigurationError
from consumer.sandbox.target import Endpoint, Fault, FaultKind
from consumer.sandbox.target.orders import read_orders

if TYPE_CHECKING:
    from pathlib import Path


def test_orders_are_read_with_their_times_from_the_start(tmp_path: Path) -> None:
    """What a file orders is what HTTP orders, but for times."""
    path = tmp_path / "faults.toml"
    path.write_text(
        """
        [[fault]]
        kind = "http_503"
        probability = 0.1
        calls = 0
        since = 600
        until = 1200.5
        [[fault]]
        kind = "forgotten"
        on = "status"
        """
    )
    assert read_orders(path, 1_000.0) == [
        Fault(FaultKind.HTTP_503, calls=0, probability=0.1, since=1_600, until=2_200.5),
        Fault(FaultKind.FORGOTTEN, on=Endpoint.STATUS),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fault", "TOML"),
        ("other = 1", r"\[\[fault\]\]"),
        ("fault = 1", r"\[\[fault\]\]"),
        ("[[fault]]\nprobability = 1", "kind"),
        ('[[fault]]\nkind = "odd"', "odd"),
        ('[[fault]]\nkind = "lost"\n[[fault]]\nkind = "lost"\nsince = "x"', "fault 2"),
        ('[[fault]]\nkind = "lost"\nodd = 1', "odd"),
        ('[[fault]]\nkind = "lost"\nprobability = 2', "probability"),
    ],
)
def test_a_wrong_file_is_said_so(text: str, said: str, tmp_path: Path) -> None:
    """With what is wrong, and where."""
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_orders(path, 0.0)
