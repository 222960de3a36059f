"""How long to wait before trying again: full jitter over a doubling ceiling.

See https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
"""

from collections.abc import Callable

FIRST = 1.0
LONGEST = 60.0


def full_jitter(
    attempt: int,
    chance: Callable[[], float],
    *,
    first: float = FIRST,
    longest: float = LONGEST,
) -> float:
    """Return seconds to wait after failed attempt number `attempt`, counted from 1.

    `chance` draws from 0 to 1; the wait is that share of a ceiling which starts at
    `first`, doubles with each attempt and never exceeds `longest`.
    """
    doublings = min(attempt - 1, 32)  # far beyond `longest`, short of overflow
    return chance() * min(longest, first * 2.0**doublings)
