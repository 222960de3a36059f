"""SQL expressions of the configuration: parsed, and held to be row-wise and pure.

A text enters, an `Expression` leaves: a polars expression that maps one row to one
value and depends on nothing but that row. Aggregates, windows, clocks, random and
whatever changes the number of rows are refused twice: by an allowlist over the
expression's tree, and by evaluating a sample as one batch, row by row and reversed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars._typing import PolarsDataType

ALLOWED = "expected a row-wise, pure SQL expression over one event"

# polars replaces these by the present time while it parses, so that the tree no
# longer shows a clock: they are found in the text.
CLOCKS = re.compile(
    r"\b(now|today|current_date|current_time|current_timestamp|localtime"
    r"|localtimestamp)\b",
    re.IGNORECASE,
)
# Only for what is said: the tree is what decides.
TOGETHER = re.compile(
    r"\b(sum|count|avg|mean|min|max|first|last|median|stddev\w*|var\w*|array_agg"
    r"|string_agg|quantile\w*|corr|covar\w*)\s*\(",
    re.IGNORECASE,
)
OVER = re.compile(r"\bover\s*\(", re.IGNORECASE)
A_WORD_OF_SQL = re.compile(r"found '(\w+)' clause|unsupported function '(\w+)'")
FOREIGN_NODES = re.compile(r":? \w+\(\w+ \{.*")  # how Rust shows a parsed text
QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")

# Node names of polars' serialised expressions (`Expr.meta.serialize`).
ROW_WISE_NODES = frozenset(
    {"Column", "Literal", "BinaryExpr", "Ternary", "Cast", "Alias", "Function"}
)
ROW_WISE_FUNCTIONS = frozenset(
    {
        "StringExpr",
        "TemporalExpr",
        "StructExpr",
        "Sql",
        "Coalesce",
        "Abs",
        "Negate",
        "Sign",
        "Round",
        "Floor",
        "Ceil",
        "Pow",
        "FillNull",
        "MinHorizontal",
        "MaxHorizontal",
        "ConcatExpr",
    }
)
ROW_WISE_BOOLEANS = frozenset(
    {"IsNull", "IsNotNull", "Not", "IsIn", "IsBetween", "IsNan", "IsNotNan"}
)
NO_EXPRESSIONS = frozenset({"function", "dtype", "Literal", "options"})
CHANGES_LENGTH = frozenset({"ConcatVertical", "Explode", "Split", "ExtractAll"})


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression, the column names it reads, and where it was written.

    `outer` names the fields that an item's expression reads as `event.x`.
    """

    key: str
    sql: str
    expr: pl.Expr
    columns: frozenset[str]
    outer: frozenset[str]


def parse(key: str, sql: str) -> Expression:
    """Parse the SQL text that the configuration has at `key`.

    Raises `ConfigurationError` when it is no expression, or not row-wise and pure.
    """
    bare = QUOTED.sub("''", sql)
    if clock := CLOCKS.search(bare):
        raise _refused(key, sql, f"{clock.group(0)} reads a clock")
    if re.search(r"\bselect\b", bare, re.IGNORECASE):
        raise _refused(key, sql, "SELECT reads more than one row")
    try:
        expr = pl.sql_expr(sql)
        tree = json.loads(expr.meta.serialize(format="json"))
    except (PolarsError, ValueError) as error:
        raise _refused(key, sql, _unreadable(bare, error)) from error
    outer: set[str] = set()
    for node in _walk(tree):
        _check_node(key, sql, node)
        outer |= _outer_field(node)
    return Expression(
        key, sql, expr, frozenset(expr.meta.root_names()), frozenset(outer)
    )


def check_row_wise(expression: Expression, sample: pl.DataFrame) -> pl.DataType:
    """Evaluate on a sample in three ways and return the type of the result.

    `sample` has a few rows of every column that the expression may read. Raises
    `ConfigurationError` naming the columns there are when one is unknown, the types
    when they do not fit, and the difference when a row's value depends on others.
    """
    missing = sorted(expression.columns - set(sample.columns))
    if missing:
        raise ConfigurationError(
            expression.key,
            expression.sql,
            f"expected columns of the event ({', '.join(sorted(sample.columns))}); "
            f"there is no {', '.join(missing)}",
        )
    try:
        dtype = _evaluated(expression, sample.clear()).dtype
    except PolarsError as error:
        for path in sorted(paths(expression.expr)):
            _check_path(expression, path, sample.schema[path[0]])
        raise _refused(expression.key, expression.sql, _first_line(error)) from error
    try:
        whole = _evaluated(expression, sample)
    except PolarsError:
        # A cast may fail on made-up values; the tree has been checked all the same.
        return dtype
    single = pl.concat(
        [_evaluated(expression, sample[row : row + 1]) for row in range(len(sample))]
    )
    turned = _evaluated(expression, sample.reverse()).reverse()
    if len(whole) != len(sample) or not (whole.equals(single) and whole.equals(turned)):
        raise _refused(
            expression.key, expression.sql, "its value depends on other rows"
        )
    return dtype


def _check_path(
    expression: Expression,
    path: tuple[str, ...],
    found: PolarsDataType,
) -> None:
    """Name a field that a record does not have, with those that it has."""
    for place, name in enumerate(path[1:], 1):
        of = ".".join(path[:place])
        if isinstance(found, pl.List):
            allowed = (
                f"expected no field of a list: {of} is one; "
                'from = "items" reads its items'
            )
            raise ConfigurationError(expression.key, expression.sql, allowed)
        if isinstance(found, pl.Map):
            allowed = (
                f"expected either keys of the map {of}, or all of it, in one "
                "configuration"
            )
            raise ConfigurationError(expression.key, expression.sql, allowed)
        if not isinstance(found, pl.Struct):
            allowed = (
                f"expected a field of a record: {of} is {found}, and has no {name}"
            )
            raise ConfigurationError(expression.key, expression.sql, allowed)
        fields = {one.name: one.dtype for one in found.fields}
        if name not in fields:
            there = ", ".join(sorted(fields))
            allowed = f"expected fields of {of} ({there}); there is no {name}"
            raise ConfigurationError(expression.key, expression.sql, allowed)
        found = fields[name]


def evaluate(frame: pl.DataFrame, exprs: list[pl.Expr]) -> pl.DataFrame:
    """Evaluate row-wise expressions on every row, constants too.

    polars computes `x / 3` of a single value, or of a column that it knows to be one
    value repeated, otherwise than of several: the last digit would depend on the
    batch. So columns are written out, and a row alone is evaluated as one of two.
    Without expressions the frame has no column, and as many rows.
    """
    if not exprs:
        return pl.DataFrame(height=len(frame))
    names = [expr.meta.output_name() for expr in exprs]
    return _written_out(frame).with_columns(exprs).select(names)[: len(frame)]


def _written_out(frame: pl.DataFrame) -> pl.DataFrame:
    columns = frame.get_columns()
    if len(frame) == 1:
        columns = [pl.concat([column, column]).rechunk() for column in columns]
    return pl.DataFrame(columns)


def _evaluated(expression: Expression, frame: pl.DataFrame) -> pl.Series:
    """Evaluate as `evaluate` does, but so that a changed number of rows shows."""
    expr = expression.expr.alias("value")
    if not expression.columns:
        # A constant: one value, which every row has.
        return evaluate(frame, [expr])["value"]
    found = _written_out(frame).select(expr)["value"]
    return found[:1] if len(frame) == 1 else found


def _walk(node: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - parsed JSON
    """Yield every expression node (a mapping with one name) below and including."""
    if isinstance(node, list):
        for child in node:
            yield from _walk(child)
    elif isinstance(node, dict):
        yield node
        for name, child in node.items():
            if name not in NO_EXPRESSIONS:
                yield from _walk(child)


def paths(expr: pl.Expr) -> frozenset[tuple[str, ...]]:
    """Give what an expression reads: columns, and fields of structs below them."""
    try:
        tree = json.loads(expr.meta.serialize(format="json"))
    except PolarsError:  # a function of ours: what it is given is read
        return frozenset[tuple[str, ...]]().union(*map(paths, expr.meta.pop()))
    return frozenset(_paths(tree))


def _paths(node: Any) -> set[tuple[str, ...]]:  # noqa: ANN401 - parsed JSON
    if isinstance(node, list):
        return set[tuple[str, ...]]().union(*map(_paths, node))
    if not isinstance(node, dict):
        return set()
    if isinstance(node.get("Column"), str):
        return {(node["Column"],)}
    below = [value for name, value in node.items() if name not in NO_EXPRESSIONS]
    found = set[tuple[str, ...]]().union(*map(_paths, below))
    called = node.get("function")
    if isinstance(called, dict) and isinstance(called.get("StructExpr"), dict):
        field = called["StructExpr"].get("FieldByName")
        return {(*path, field) for path in found} if field else found
    return found


def _check_node(key: str, sql: str, node: dict[str, Any]) -> None:
    if len(node) != 1:
        return
    (name,) = node
    if not name[:1].isupper() or name in ROW_WISE_NODES - {"Function"}:
        return
    if name != "Function":
        raise _refused(key, sql, _several_rows(sql) or f"{name} is not row-wise")
    function = node["Function"]["function"]
    family, member = (
        next(iter(function.items())) if isinstance(function, dict) else (function, None)
    )
    if isinstance(member, dict):
        member = next(iter(member), None)
    if family == "Boolean":
        allowed = member in ROW_WISE_BOOLEANS
    else:
        allowed = family in ROW_WISE_FUNCTIONS and member not in CHANGES_LENGTH
    if not allowed:
        if (family, member) == ("ListExpr", "Get"):
            why = "[ ] is not; a key of a map is read as a field: tags.tier"
            raise _refused(key, sql, why)
        called = family if member is None else f"{family}.{member}"
        why = f"{called} is not among the row-wise functions"
        raise _refused(key, sql, _several_rows(sql) or why)


def _outer_field(node: dict[str, Any]) -> set[str]:
    function = node.get("Function")
    if not isinstance(function, dict):
        return set()
    called = function["function"]
    if not (isinstance(called, dict) and isinstance(called.get("StructExpr"), dict)):
        return set()
    of_event = function["input"] == [{"Column": "event"}]
    return {called["StructExpr"]["FieldByName"]} if of_event else set()


def _refused(key: str, sql: str, why: str) -> ConfigurationError:
    return ConfigurationError(key, sql, f"{ALLOWED}: {why}")


def _several_rows(sql: str) -> str:
    """Say which part of a text takes several rows together; empty where none does."""
    bare = QUOTED.sub("''", sql)
    if OVER.search(bare):
        return "OVER looks at other rows"
    if called := TOGETHER.search(bare):
        name = called.group(1).upper()
        return (
            f"{name} takes several events together, which is what `aggregate` says; "
            "write what one event gives to it"
        )
    return ""


def _unreadable(bare: str, error: Exception) -> str:
    """Say why polars reads no expression, with the remedy where it is known."""
    said = _first_line(error)
    if found := A_WORD_OF_SQL.search(said):
        word = found.group(1) or found.group(2)
        if not re.search(rf"\b{word}\s*\(", bare, re.IGNORECASE):
            return (
                f"{word} is a word of SQL; a field of that name is written in double "
                f"quotes, in TOML '\"{word}\"'"
            )
    if "->" in bare:
        return "a field of a record is read with a dot, as in record.field, not by ->"
    return FOREIGN_NODES.sub("", said)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
