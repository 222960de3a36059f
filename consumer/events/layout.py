"""Where the values of a type stand in memory, and the program that writes them there.

Enters: a type. Leaves: its columns as a tree, and what `events.columns_kernel` reads.
Columns belong to a group, which has one number of rows: the records are one, the items
of each list or map another. A group's columns stand behind each other in the order of
the tree, so what is below a value are its column and some behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from consumer.compiled import sealed
from consumer.events import columns_kernel as kernel
from consumer.events.avro_types import least_bytes
from consumer.events.strict import RANGES
from consumer.events.views import VIEWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from consumer.events.avro_types import Type

RECORDS: Final = 0  # their group
NONE: Final = 0  # stands for a column where an operation has none
HALF: Final = 2**64


class NotLaidOut(Exception):  # noqa: N818 - a verdict about a schema
    """Branches of a union share a column, but not how it is written."""


@dataclass(slots=True)
class Node:
    """A column, `first` of those at and below it; `behind` is the one after them.

    Nulls alone are no column. `is_uuid` says whether the kernel leaves 16 bytes where
    the column has a text; that is known when the program is made.
    """

    arrow: pa.DataType
    group: int
    kind: int
    items: int = 0
    inner: list[Node] = field(default_factory=list)
    is_uuid: bool | None = None
    first: int = 0
    behind: int = 0


class Layout:
    """The columns of a type, and its program."""

    def __init__(self, of: Type) -> None:
        """Lay out a record; raises `NotLaidOut` where that cannot be."""
        self._groups: list[list[Node]] = [[]]
        self._symbols: list[str] = []
        self.root = self._node(of.arrow, RECORDS)
        starts = [0, *accumulate(map(len, self._groups))]
        _move(self.root, starts)
        words = [*self._code(of, self.root), kernel.END, NONE]
        self.program = sealed(np.array(words, np.uint64).view(np.int64))
        self.columns = [*chain.from_iterable(self._groups)]
        about = [(one.kind, one.group, one.items) for one in self.columns]
        self.table = sealed(np.array(about, np.int64).reshape(-1, 3))
        self.groups = len(self._groups)
        self.symbols, self.views = _viewed(self._symbols)

    def _node(self, arrow: pa.DataType, group: int) -> Node:
        """Make a column and those below it, numbered in their group."""
        columns = self._groups[group]
        made = Node(arrow, group, _kind(arrow), first=len(columns))
        if not pa.types.is_null(arrow):
            columns.append(made)
        if made.kind == kernel.OFFSET:
            made.items = len(self._groups)
            self._groups.append([])
            made.inner = [self._node(one, made.items) for one in _items(arrow)]
        elif pa.types.is_struct(arrow):
            made.inner = [self._node(one.type, group) for one in arrow]
        made.behind = len(columns)
        return made

    def _code(self, of: Type, node: Node) -> list[int]:  # noqa: C901, PLR0911 - a kind each
        """Give the words that read a value of the type into a column."""
        at = node.first
        match of.kind:
            case "record":
                fields = zip(of.fields, node.inner, strict=True)
                return [w for one, inner in fields for w in self._code(one.type, inner)]
            case "union":
                return self._union(of, node)
            case "array" | "map":
                return self._list(of, node)
            case "null":
                return []
            case "bytes" | "fixed" if of.logical == "decimal":
                most = divmod(10**of.arrow.precision, HALF)
                if of.kind == "bytes":
                    return [kernel.DECIMAL, at, *most]
                return [kernel.FIXED_DECIMAL, at, *most, of.size]
            case "float":
                widened = node.arrow == pa.float64()
                return [kernel.WIDENED if widened else kernel.FLOAT, at]
            case "int" | "long" if of.logical in RANGES:
                bounds = [bound % HALF for bound in RANGES[of.logical]]
                return [kernel.RANGE, at, *bounds]
            case "string" | "enum" | "fixed" if of.arrow == pa.string():
                return self._text(of, node)
            case "fixed":
                return [kernel.FIXED, at, of.size]
            case kind:
                return [PLAIN[kind], at]

    def _text(self, of: Type, node: Node) -> list[int]:
        is_uuid = of.kind == "fixed"
        if node.is_uuid is not None and node.is_uuid != is_uuid:
            raise NotLaidOut
        node.is_uuid = is_uuid
        if of.kind == "enum":
            begin = len(self._symbols)
            self._symbols += of.symbols
            return [kernel.SYMBOL, node.first, len(of.symbols), begin]
        return [kernel.UUID if is_uuid else kernel.TEXT, node.first]

    def _list(self, of: Type, node: Node) -> list[int]:
        """Begin, and for each item come back to `ITEM`."""
        (part,) = of.parts
        least = least_bytes(part)
        body: list[int] = []
        if of.kind == "map":
            least += 1
            body += [kernel.TEXT, node.inner[0].first]
        body += self._code(part, node.inner[-1])
        item = [kernel.ITEM, NONE, node.group, least, len(body) + len(NEXT)]
        back = len(item) + len(body) + len(NEXT)
        begin = [kernel.LIST, node.first, node.items]
        return [*begin, *item, *body, *NEXT[:-1], back]

    def _union(self, of: Type, node: Node) -> list[int]:
        """Write a branch, and null in the columns of the others."""
        null = _nulls(node.first, node.behind)
        bodies, place = [], 0
        for part in of.parts:
            if part.kind == "null":
                bodies.append(null)
            elif not of.is_struct_of_branches:
                bodies.append(self._code(part, node))
            else:
                inner = node.inner[place]
                place += 1
                others = _nulls(node.first + 1, inner.first)
                others += _nulls(inner.behind, node.behind)
                bodies.append(others + self._code(part, inner))
        values = [place for place, body in enumerate(bodies) if body is not null]
        if len(values) == 1 and len(bodies) == 2:  # noqa: PLR2004 - a value, or null
            (value,) = values
            absent = [*null, *_jump(len(bodies[value]))]
            return [kernel.OPTIONAL, NONE, value, len(absent), *absent, *bodies[value]]
        begins = [0, *accumulate(len(body) + len(JUMP) for body in bodies)]
        words = [kernel.UNION, NONE, len(bodies), *begins[:-1]]
        for body, behind in zip(bodies, begins[1:], strict=True):
            words += [*body, *_jump(begins[-1] - behind)]
        return words


JUMP: Final = [kernel.JUMP, NONE, 0]
NEXT: Final = [kernel.NEXT, NONE, 0]
PLAIN: Final = {
    "boolean": kernel.BOOLEAN,
    "int": kernel.NUMBER,
    "long": kernel.NUMBER,
    "double": kernel.DOUBLE,
    "bytes": kernel.BYTES,
}


def _jump(distance: int) -> list[int]:
    return [*JUMP[:-1], distance]


def _nulls(first: int, behind: int) -> list[int]:
    return [kernel.NULL, first, behind - first] if behind > first else []


def _kind(arrow: pa.DataType) -> int:
    if pa.types.is_list(arrow) or pa.types.is_map(arrow):
        return kernel.OFFSET
    if pa.types.is_struct(arrow) or pa.types.is_null(arrow):
        return kernel.FLAG
    wide = arrow in VIEWS or pa.types.is_decimal(arrow)
    return kernel.VIEW if wide else kernel.WORD


def _items(arrow: pa.DataType) -> list[pa.DataType]:
    if pa.types.is_map(arrow):
        return [arrow.key_type, arrow.item_type]
    return [arrow.value_type]


def _move(node: Node, starts: list[int]) -> None:
    """Make numbers in a group to numbers among all columns."""
    node.first += starts[node.group]
    node.behind += starts[node.group]
    for one in node.inner:
        _move(one, starts)


def _viewed(texts: list[str]) -> tuple[bytes, NDArray[np.uint64]]:
    """Put texts behind each other, with Arrow's view of each."""
    made = [text.encode() for text in texts]
    views = np.zeros((len(made), 2), np.uint64)
    at = 0
    for row, text in enumerate(made):
        size = len(text).to_bytes(4, "little")
        rest = text.ljust(kernel.INLINE, b"\0")
        if len(text) > kernel.INLINE:
            rest = text[:4] + b"".join(
                n.to_bytes(4, "little") for n in (kernel.SYMBOLS, at)
            )
        views[row] = np.frombuffer(size + rest, "<u8")
        at += len(text)
    return b"".join(made), sealed(views)
