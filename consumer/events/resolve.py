"""A writer's columns as the columns that the configuration was checked against.

Enters: the type of records as they were written, the one expected, and the paths that
expressions read. Leaves: a `Resolution`, made once a schema, or `Unfit` with the field
and why. By Avro's rules (fields by name or alias, defaults, promotions, branches of
unions), for what is read alone: what nobody reads may be of any type, or not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consumer.events.avro_types import ABSENT, Field, Type, branch_name
from consumer.events.strict import DIGITS
from consumer.events.views import without_views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

Paths: TypeAlias = "frozenset[tuple[str, ...]]"
Resolved: TypeAlias = "tuple[pa.Array, NDArray[np.bool_] | None]"
Step: TypeAlias = "Callable[[pa.Array], Resolved]"

ITEM: Final = "[]"
WHOLE: Paths = frozenset({()})
INTEGERS: Final = {"int", "long"}
RAW: Final = {"bytes", "fixed"}


class Unfit(Exception):  # noqa: N818 - a verdict about a schema
    """Why records of this schema cannot be read as the configuration needs them."""

    @classmethod
    def field(cls, path: tuple[str, ...], why: str) -> Unfit:
        """Name the field."""
        return cls(f"has {'.'.join(path)} {why}")


@dataclass(frozen=True, slots=True)
class Resolution:
    """How to make the expected columns; `apply` also flags rows that have no such.

    Whatever was written, the columns are the same ones, of the same types: those of the
    expected type with nothing in them that is not read; texts and bytes may be views.
    """

    steps: tuple[tuple[str, int, Step | None], ...]

    def apply(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, NDArray[Any]]:
        """Give the columns, and a flag for each row whose value cannot be resolved."""
        made, names = [], []
        bad = np.zeros(batch.num_rows, bool)
        for name, place, step in self.steps:
            # Where there is none to read, any column tells how many rows there are.
            column = batch.column(place)
            if step is not None:
                column, wrong = step(column)
                if wrong is not None:
                    bad |= wrong
            made.append(column)
            names.append(name)
        return pa.RecordBatch.from_arrays(made, names=names), bad


def resolution(expected: Type, written: Type, paths: Paths) -> Resolution:
    """Resolve the columns that `paths` begin with; raises `Unfit` with all it lacks."""
    steps, lacking = [], []
    for one in expected.fields:
        if inner := _below(paths, one.name):
            try:
                steps.append((one.name, *_field(one, written, inner, ())))
            except Unfit as why:
                lacking.append(str(why))
    if lacking:
        raise Unfit(" and ".join(lacking))
    return Resolution(tuple(steps))


def _below(paths: Paths, name: str) -> Paths:
    """Give what is read below a name; all of it where the name itself is read."""
    if () in paths:
        return WHOLE
    return frozenset(path[1:] for path in paths if path[0] == name)


def _field(
    one: Field, written: Type, paths: Paths, path: tuple[str, ...]
) -> tuple[int, Step | None]:
    """Find a record's field by name or alias, or use its default."""
    path = (*path, one.name)
    names = {field.name: place for place, field in enumerate(written.fields)}
    found = [names[name] for name in (one.name, *one.aliases) if name in names]
    found += [
        place for place, field in enumerate(written.fields) if one.name in field.aliases
    ]
    if found:
        source = written.fields[found[0]].type
        return found[0], _step(one.type, source, paths, path)
    if one.default is ABSENT or not written.fields:
        why = f"has no field {'.'.join(path)}"
        raise Unfit(why)
    constant = pa.array([_default(one.type, one.default)], pruned(one.type, paths))
    return 0, lambda column: (_repeated(constant, len(column)), None)


def _repeated(constant: pa.Array, rows: int) -> pa.Array:
    return constant.take(pa.array(np.zeros(rows, np.int64)))


def pruned(of: Type, paths: Paths) -> pa.DataType:  # noqa: PLR0911 - a kind each
    """Give the column of what is read of a type."""
    if () in paths or not paths:
        return of.arrow
    if of.kind == "record":
        kept = [
            (f.name, pruned(f.type, _below(paths, f.name))) for f in _read(of, paths)
        ]
        return pa.struct(kept)
    if of.kind == "array" and (inner := _below(paths, ITEM)):
        return pa.list_(pruned(of.parts[0], inner))
    if of.kind == "map":
        keys = sorted({path[0] for path in paths})
        values = [pruned(of.parts[0], _below(paths, key)) for key in keys]
        return pa.struct([*zip(keys, values, strict=True)])
    if of.kind == "union" and not of.is_struct_of_branches:
        first = of.branches[0]
        return pruned(first, paths) if first.arrow == of.arrow else of.arrow
    if of.kind == "union":
        read = {branch_name(b): _below(paths, branch_name(b)) for b in of.branches}
        branches = [b for b in of.branches if read[branch_name(b)]]
        return pa.struct(
            [(branch_name(b), pruned(b, read[branch_name(b)])) for b in branches]
        )
    return of.arrow


def _read(of: Type, paths: Paths) -> Iterable[Field]:
    return [one for one in of.fields if _below(paths, one.name)]


def _step(
    expected: Type, written: Type, paths: Paths, path: tuple[str, ...]
) -> Step | None:
    """Make the step from one type to another; None where there is nothing to do."""
    if expected.arrow == written.arrow:
        kind = pruned(expected, paths)
        if kind == written.arrow:
            return None
        return lambda column: (_narrowed(column, kind), None)
    ours, theirs = expected.branches, written.branches
    if expected.is_struct_of_branches or written.is_struct_of_branches:
        return _branches(expected, written, paths, path)
    return _plain(expected, ours[0], theirs[0], paths, path)


def _narrowed(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Leave out the fields that are not in a type; but of maps, no value is copied."""
    if column.type == kind or not (pa.types.is_struct(kind) or pa.types.is_list(kind)):
        return column
    column = _unsliced(column)
    if pa.types.is_map(column.type):
        column = without_views(column)
        inner = [_narrowed(_at(column, one.name), one.type) for one in kind]
        return pa.StructArray.from_arrays(inner, fields=[*kind], mask=column.is_null())
    if pa.types.is_struct(kind):
        inner = [_narrowed(column.field(one.name), one.type) for one in kind]
        names = [one.name for one in kind]
        made = pa.struct([*zip(names, (one.type for one in inner), strict=True)])
    else:
        inner = [_narrowed(column.values, kind.value_type)]
        made = pa.list_(inner[0].type)
    own = column.buffers()[: 1 if pa.types.is_struct(kind) else 2]
    rows, nulls = len(column), column.null_count
    return pa.Array.from_buffers(made, rows, own, nulls, 0, inner)


def _plain(
    expected: Type, ours: Type, theirs: Type, paths: Paths, path: tuple[str, ...]
) -> Step | None:
    match ours.kind, theirs.kind:
        case "record", "record":
            return _record(ours, theirs, paths, path)
        case "array", "array":
            return _list(ours, theirs, _below(paths, ITEM) or WHOLE, path)
        case "map", "map" if () not in paths:
            return _keyed(ours.parts[0], theirs.parts[0], paths, path)
        case "map", "map":
            step = _step(ours.parts[0], theirs.parts[0], WHOLE, (*path, ITEM))
            return None if step is None else _map_step(ours, step)
    target = expected.arrow
    # A union of float and double has the column of a double, whichever comes first.
    widened = target == pa.float64() and theirs.kind == "float"
    if widened or _promotes(ours, theirs):
        return lambda column: _cast(column, target)
    why = f"as {theirs.arrow} where {ours.arrow} is expected"
    raise Unfit.field(path, why)


def _promotes(ours: Type, theirs: Type) -> bool:
    """Tell whether Avro promotes; a time or an amount is never a plain number."""
    times = pa.types.is_timestamp(ours.arrow) and pa.types.is_timestamp(theirs.arrow)
    if times:
        return True
    if ours.logical == theirs.logical == "decimal":
        return bool(theirs.arrow.scale <= ours.arrow.scale)
    if any(one.logical or pa.types.is_temporal(one.arrow) for one in (ours, theirs)):
        return False
    return (
        (ours.kind in {"float", "double"} and theirs.kind in INTEGERS)
        or (ours.kind == "string" and theirs.kind in RAW)
        or (ours.kind == "bytes" and theirs.kind == "string")
    )


def _cast(column: pa.Array, target: pa.DataType) -> Resolved:
    options = pc.CastOptions(
        target, allow_time_truncate=True, allow_float_truncate=True
    )
    if pa.types.is_floating(target):
        options = pc.CastOptions.unsafe(target)
    try:
        return pc.cast(column, options=options), None
    except pa.ArrowInvalid:
        return _cast_each(column, options)


def _cast_each(column: pa.Array, options: pc.CastOptions) -> Resolved:
    """Cast value by value where some cannot be: which ones they are."""
    column = without_views(column)
    bad = np.zeros(len(column), bool)
    for row in range(len(column)):
        try:
            pc.cast(column[row : row + 1], options=options)
        except pa.ArrowInvalid:
            bad[row] = True
    rows = pa.array(np.arange(len(column)), mask=bad)
    return pc.cast(column.take(rows), options=options), bad


def _record(
    ours: Type, theirs: Type, paths: Paths, path: tuple[str, ...]
) -> Step | None:
    steps = [
        (one.name, *_field(one, theirs, _below(paths, one.name), path))
        for one in _read(ours, paths)
    ]
    names = [name for name, _, _ in steps]
    untouched = all(step is None for _, _, step in steps)
    if untouched and names == [one.name for one in theirs.fields]:
        return None

    def apply(column: pa.Array) -> Resolved:
        column = _unsliced(column)
        made, bad = [], None
        for _, place, step in steps:
            inner = column.field(place)
            if step is not None:
                inner, wrong = step(inner)
                bad = _either(bad, wrong)
            made.append(inner)
        gone = column.is_null()
        return pa.StructArray.from_arrays(made, names=names, mask=gone), bad

    return apply


def _list(ours: Type, theirs: Type, paths: Paths, path: tuple[str, ...]) -> Step | None:
    step = _step(ours.parts[0], theirs.parts[0], paths, (*path, ITEM))
    if step is None:
        return None

    def apply(column: pa.Array) -> Resolved:
        column = _unsliced(column)
        values, wrong = step(column.values)
        made = pa.Array.from_buffers(
            pa.list_(values.type),
            len(column),
            column.buffers()[:2],
            column.null_count,
            0,
            [values],
        )
        return made, _owners(column, wrong)

    return apply


def _keyed(ours: Type, theirs: Type, paths: Paths, path: tuple[str, ...]) -> Step:
    """Make a record of a map's values at the keys that are read."""
    keys = sorted({one[0] for one in paths})
    steps = [
        (key, _step(ours, theirs, _below(paths, key), (*path, key))) for key in keys
    ]

    def apply(column: pa.Array) -> Resolved:
        column = _unsliced(without_views(column))
        made, bad = [], None
        for key, step in steps:
            inner = _at(column, key)
            if step is not None:
                inner, wrong = step(inner)
                bad = _either(bad, wrong)
            made.append(inner)
        return pa.StructArray.from_arrays(made, names=keys, mask=column.is_null()), bad

    return apply


def _at(column: pa.Array, key: str) -> pa.Array:
    """Give each map's value at a key, the last if there are several; or null."""
    owners = np.repeat(np.arange(len(column)), np.diff(column.offsets.to_numpy()))
    found = np.flatnonzero(pc.equal(column.keys, key).to_numpy(zero_copy_only=False))
    place = np.full(len(column), -1)
    place[owners[found]] = found
    return column.items.take(pa.array(place, mask=place < 0))


def _map_step(ours: Type, step: Step) -> Step:
    def apply(column: pa.Array) -> Resolved:
        column = _unsliced(without_views(column))
        values, wrong = step(column.items)
        entries = pa.StructArray.from_arrays(
            [column.keys, values], fields=list(ours.arrow.field(0).type)
        )
        made = pa.Array.from_buffers(
            ours.arrow,
            len(column),
            column.buffers()[:2],
            column.null_count,
            0,
            [entries],
        )
        return made, _owners(column, wrong)

    return apply


def _unsliced(column: pa.Array) -> pa.Array:
    return column.take(pa.array(np.arange(len(column)))) if column.offset else column


def _owners(column: pa.Array, wrong: NDArray[np.bool_] | None) -> NDArray[Any] | None:
    """Flag the lists that hold a flagged item."""
    if wrong is None:
        return None
    offsets = column.offsets.to_numpy()
    before = np.concatenate([[0], np.cumsum(wrong)])
    found: NDArray[Any] = before[offsets[1:]] > before[offsets[:-1]]
    return found


def _branches(
    expected: Type, written: Type, paths: Paths, path: tuple[str, ...]
) -> Step:
    """Resolve unions branch by branch; a branch that is not expected flags its row."""
    theirs = written.branches
    matches = [_match(expected, one, paths, path) for one in theirs]
    if all(place is None for place, _ in matches):
        why = "as another union than is expected"
        raise Unfit.field(path, why)

    def apply(column: pa.Array) -> Resolved:
        column = _unsliced(without_views(column))
        wrapped = written.is_struct_of_branches
        # What is below a null is null; the safe codec's fields alone do not say so.
        branches = column.flatten() if wrapped else [column] * len(matches)
        arms: dict[int, list[pa.Array]] = {}
        bad: NDArray[Any] | None = None
        for number, (place, step) in enumerate(matches):
            arm = branches[number]
            present = ~arm.is_null().to_numpy(zero_copy_only=False)
            if place is None:
                bad = _either(bad, present)
                continue
            if step is not None:
                arm, wrong = step(arm)
                bad = _either(bad, wrong)
            arms.setdefault(place, []).append(arm)
        return _gathered(expected, paths, arms, column), bad

    return apply


def _match(
    expected: Type, theirs: Type, paths: Paths, path: tuple[str, ...]
) -> tuple[int | None, Step | None]:
    """Find the expected branch for one that was written: by name, or by promotion."""
    wrapped = expected.is_struct_of_branches
    ours = list(enumerate(expected.branches))
    ours.sort(key=lambda one: branch_name(one[1]) != branch_name(theirs))
    for place, one in ours:
        below = _below(paths, branch_name(one)) if wrapped else paths
        named = one.kind in {"record", "enum", "fixed"} and theirs.kind == one.kind
        if named and wrapped and branch_name(one) != branch_name(theirs):
            continue
        try:
            return place, _step(one, theirs, below or WHOLE, path)
        except Unfit:
            continue
    return None, None


def _gathered(
    expected: Type, paths: Paths, arms: dict[int, list[pa.Array]], column: pa.Array
) -> pa.Array:
    """Put arms together: in a field each, or the first that has a value."""
    if not expected.is_struct_of_branches:
        alike = [_first(arms[place]) for place in sorted(arms)]
        if pa.types.is_floating(expected.arrow):
            alike = [arm.cast(expected.arrow) for arm in alike]
        return _first(alike)
    inner, names = [], []
    for place, one in enumerate(expected.branches):
        name = branch_name(one)
        if below := _below(paths, name):
            found = arms.get(place)
            absent = pa.nulls(len(column), pruned(one, below))
            inner.append(_first(found) if found else absent)
            names.append(name)
    return pa.StructArray.from_arrays(inner, names=names, mask=column.is_null())


def _first(arms: list[pa.Array]) -> pa.Array:
    """Give each row the value of the first arm that has one."""
    if len(arms) == 1:
        return arms[0]
    rows = len(arms[0])
    picked = np.full(rows, -1)
    for number, arm in reversed(list(enumerate(arms))):
        has = ~arm.is_null().to_numpy(zero_copy_only=False)
        picked[has] = number * rows + np.flatnonzero(has)
    return pa.concat_arrays(arms).take(pa.array(picked, mask=picked < 0))


def _either(
    one: NDArray[Any] | None, other: NDArray[Any] | None
) -> NDArray[Any] | None:
    if one is None or other is None:
        return other if one is None else one
    both: NDArray[Any] = one | other
    return both


def _default(of: Type, value: Any) -> Any:  # noqa: ANN401, PLR0911 - Avro as JSON
    """Read a default as `pyarrow.array` takes it; a union's is of its first branch."""
    match of.kind:
        case "bytes" | "fixed":
            raw = str(value).encode("latin-1", "replace")
            if of.logical == "decimal":
                unscaled = int.from_bytes(raw, "big", signed=True)
                return Decimal(unscaled).scaleb(-of.arrow.scale, DIGITS)
            return raw
        case "record":
            return {
                one.name: _default(one.type, value.get(one.name, one.default))
                for one in of.fields
            }
        case "array":
            return [_default(of.parts[0], one) for one in value]
        case "map":
            return [(key, _default(of.parts[0], one)) for key, one in value.items()]
        case "union":
            first = of.parts[0]
            if value is None or first.kind == "null":
                return None
            found = _default(first, value)
            return {branch_name(first): found} if of.is_struct_of_branches else found
        case _:
            return value
