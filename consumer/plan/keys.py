"""Whether each visitor has one record key, told from the two expressions. Pure.

A visitor's events must lie in one partition, so two keys must never stand for one
visitor. That holds where the key is computed from the visitor's expression and nothing
else, or the visitor from the key's in a way that keeps different keys different: a
fixed text before or behind it. Anything else (a lowered or trimmed key, the first of
two that is there, another column) may map two keys to one visitor.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    import polars as pl

    from consumer.plan.expressions import Expression

KEY: Final = "purchases.key_expression"


def check_one_key(visitor: Expression, key: Expression) -> None:
    """Raise `ConfigurationError` where two keys may stand for one visitor."""
    of_visitor, of_key = _tree(visitor.expr), _tree(key.expr)
    if _computed_from(of_key, of_visitor) or _prefixed(of_visitor, of_key):
        return
    raise ConfigurationError(
        KEY,
        key.sql,
        "expected the visitor_id, an expression over it and nothing else, or the one "
        f"that visitor_id puts a fixed text to; {visitor.sql!r} may be one for two "
        'keys, and its events in two partitions. Use `key = "other"`',
    )


def _tree(expr: pl.Expr) -> Any:  # noqa: ANN401 - parsed JSON
    return _bare(json.loads(expr.meta.serialize(format="json")))


def _computed_from(tree: Any, source: Any) -> bool:  # noqa: ANN401 - parsed JSON
    """Whether an expression reads no column but through `source`."""
    if tree == source:
        return True
    if isinstance(tree, dict):
        return "Column" not in tree and all(
            _computed_from(child, source) for child in tree.values()
        )
    if isinstance(tree, list):
        return all(_computed_from(child, source) for child in tree)
    return True


def _prefixed(tree: Any, source: Any) -> bool:  # noqa: ANN401 - parsed JSON
    """Whether an expression is `source` with fixed texts around it."""
    tree = _bare(tree)
    if tree == _bare(source):
        return True
    match tree:
        case {"BinaryExpr": {"op": "Plus", "left": left, "right": right}}:
            parts = [left, right]
        case {"Function": {"function": {"StringExpr": {"ConcatHorizontal": _}}}}:
            parts = tree["Function"]["input"]
        case _:
            return False
    varying = [one for one in parts if "Literal" not in _bare(one)]
    return len(varying) == 1 and _prefixed(varying[0], source)


def _bare(tree: Any) -> Any:  # noqa: ANN401 - parsed JSON
    """Take casts to text off: ids are texts and integers, which stay distinct."""
    while isinstance(tree, dict) and "Cast" in tree:
        if tree["Cast"]["dtype"] != {"Literal": "String"}:
            break
        tree = tree["Cast"]["expr"]
    return tree
