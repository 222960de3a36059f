"""Which records of a batch fit their schema: found without decoding them.

Enters: records of one type. Leaves: a flag for each. The fast codec fails a whole batch
for one bad record, does not say which, and takes some that are none. So what it is
given has been walked before, by `events.screen_kernel` with a program for the type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from consumer.events import screen_kernel as kernel
from consumer.events.avro_types import DEEPEST_REPEATED, PLAIN, Type
from consumer.events.strict import RANGES
from consumer.packed import Packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZES: Final = {"null": 0, "float": 4, "double": 8}
HALF: Final = 2**64


class Screen:
    """Walks records of one type, with `before` bytes in front of each."""

    def __init__(self, of: Type, before: int) -> None:
        """Make the program."""
        self._before = before
        words = [*_program(of, 0), kernel.END]
        self._program = np.array(words, np.uint64).view(np.int64)
        self.fitting(Packed.of([]))  # compiles it, seconds before the first batch

    def fitting(self, records: Packed) -> NDArray[np.bool_]:
        """Flag the records that hold one value of the type, whole."""
        fits = np.empty(len(records), bool)
        starts = records.starts + self._before
        # Its own at each call: stages walk at the same time, without Python's lock.
        counts = np.zeros(DEEPEST_REPEATED, np.int64)
        kernel.screen(self._program, records.data, starts, records.ends, counts, fits)
        return fits


def warm() -> None:
    """Compile the walk before it is needed: seconds, the first time on a machine."""
    Screen(Type("null", PLAIN["null"]), 0)


def _program(of: Type, at: int) -> list[int]:  # noqa: C901, PLR0911, PLR0912 - a kind each
    """Give the words that walk a value of the type, to be placed `at` in a program."""
    match of.kind:
        case "record":
            words: list[int] = []
            for one in of.fields:
                words += _program(one.type, at + len(words))
            return words
        case "union":
            return _union(of, at)
        case "array" | "map":
            begin = at + 1
            body = [kernel.TEXT] if of.kind == "map" else []
            body += _program(of.parts[0], begin + 2 + len(body))
            behind = begin + 2 + len(body) + 2
            return [kernel.LIST, kernel.ITEM, behind, *body, kernel.JUMP, begin]
        case "bytes" | "fixed" if of.logical == "decimal":
            most = divmod(10**of.arrow.precision, HALF)
            if of.kind == "bytes":
                return [kernel.DECIMAL, *most]
            return [kernel.FIXED_DECIMAL, of.size, *most]
        case "boolean":
            return [kernel.BOOLEAN]
        case "string":
            return [kernel.TEXT]
        case "bytes":
            return [kernel.BYTES]
        case "enum":
            return [kernel.RANGE, 0, len(of.symbols)]
        case "int" | "long":
            if of.logical not in RANGES:
                return [kernel.NUMBER]
            return [kernel.RANGE, *(bound % HALF for bound in RANGES[of.logical])]
        case kind:
            return [kernel.SKIP, SIZES.get(kind, of.size)]


def _union(of: Type, at: int) -> list[int]:
    """Branch to where a part begins; from its end jump behind them all."""
    begins: list[int] = []
    bodies: list[list[int]] = []
    begin = at + 2 + len(of.parts)
    for part in of.parts:
        begins.append(begin)
        bodies.append(_program(part, begin))
        begin += len(bodies[-1]) + 2
    words = [kernel.UNION, len(of.parts), *begins]
    for body in bodies:
        words += [*body, kernel.JUMP, begin]
    return words
