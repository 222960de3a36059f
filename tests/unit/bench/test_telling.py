"""What telling costs is counted once, and found among noise."""

from __future__ import annotations

import time
from random import Random

from bench.measured.switched import differences
from bench.measured.telling import TELLING, Telling


def burn(seconds: float) -> None:
    """Use the thread's CPU for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_what_is_called_within_a_timed_call_counts_once() -> None:
    """And what has to be done anyway does not count at all."""
    telling = Telling()
    inner = telling.timed(burn)
    anyway = telling.spared(burn)

    def work() -> None:
        burn(0.02)
        inner(0.02)
        anyway(0.05)

    telling.timed(work)()
    assert 0.04 <= telling.seconds < 0.05


def test_a_call_that_fails_is_counted_too() -> None:
    """The next one is timed as ever."""
    telling = Telling()

    def broken() -> None:
        burn(0.01)
        raise LookupError

    for _ in range(2):
        try:
            telling.timed(broken)()
        except LookupError:
            continue
    assert 0.02 <= telling.seconds < 0.03


def test_everything_that_is_listened_to_is_there() -> None:
    """A function that was renamed would be missed in silence."""
    for place, names in TELLING:
        for name in names:
            assert callable(getattr(place, name)), name


def test_the_difference_is_found_in_noise_and_drift() -> None:
    """A batch that costs ever more hides nothing, and neither does a rare dear one."""
    random = Random(7)
    batches, on = [], True
    for number in range(2_000):
        on = not on if number % 2 else random.random() < 1 / 2
        spent = 0.010 + number * 1e-5 + on * 0.0005 + random.gauss(0, 0.001)
        spent += 0.1 if random.random() < 0.05 else 0.0
        batches.append((on, spent, 0.0004 if on else 0.0))
    found = differences(batches)
    least, most = found["difference_least_us"], found["difference_most_us"]
    assert least < 500 < most < least + 250
    assert least < found["difference_us"] < most
    assert round(found["timed_us"]) == 400
    assert found["pairs"] == 1_000
