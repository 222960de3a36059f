"""Whether Target has everything up to an offset: asked beside, answered later."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

from consumer.config import Settings
from consumer.errors import BrokerUnreachable
from consumer.kafka.delivered import Delivered

PATIENCE: Final = 10.0
SETTINGS: Final = Settings.model_validate(
    {
        "purchases": {"topic": "purchases"},
        "target": {"client": "acme"},
        "attributes": {"orders": {"aggregate": "count"}},
    }
)


class Answers(Delivered):
    """Has its answers in a list, in place of a broker."""

    def __init__(self, answers: list[bool | None]) -> None:
        """Take them in their order; None is no answer."""
        super().__init__(SETTINGS)
        self.left = answers

    def _ask(self, partition: int, offset: int) -> bool:
        assert (partition, offset) == (1, 7)
        answer = self.left.pop(0)
        if answer is None:
            raise BrokerUnreachable("No broker.")
        return answer


def told(delivered: Answers, *, left: int) -> bool:
    """Wait until only so many answers are left, and say what is told then."""
    deadline = time.monotonic() + PATIENCE
    while len(delivered.left) > left:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.05)  # until what was answered is done
    return delivered(1, 7)


def test_it_goes_on_asking_until_the_answer_is_yes() -> None:
    """A no, or no answer, has it ask at once anew; a yes is told once."""
    with closing(Answers([False, None, True, False])) as delivered:
        assert not delivered(1, 7)
        assert not told(delivered, left=3)
        assert not told(delivered, left=2)
        assert told(delivered, left=1)
        assert not delivered(1, 7)  # another question
        assert not told(delivered, left=0)
