"""The heaviest entries of each row of a ragged list, compiled."""

# ruff: noqa: ANN401
from __future__ import annotations

from typing import Any

from consumer.compiled import compiled


@compiled(entry=True)
def heaviest(offsets: Any, weights: Any, most: int, picked: Any, lengths: Any) -> int:
    """Pick up to `most` entries of positive weight a row; gives how many in all.

    `picked` gets the places of a row's entries, heaviest first, ties in their order,
    one row after the other; `lengths` how many each row has.
    """
    first = 0
    for row in range(len(lengths)):
        end = first
        for entry in range(offsets[row], offsets[row + 1]):
            weight = weights[entry]
            if weight <= 0:
                continue
            if end - first < most:
                at = end
                end += 1
            elif weight > weights[picked[end - 1]]:
                at = end - 1
            else:
                continue
            while at > first and weights[picked[at - 1]] < weight:
                picked[at] = picked[at - 1]
                at -= 1
            picked[at] = entry
        lengths[row] = end - first
        first = end
    return first
