"""SQL expressions: what is let in, what is kept out, and what the error says."""

from __future__ import annotations

import polars as pl
import pytest

from consumer.errors import ConfigurationError
from consumer.plan.expressions import Expression, check_row_wise, parse, paths
from consumer.plan.fields import written

FRAME = pl.DataFrame(
    {
        "a": [1, 2, 3],
        "b": [6, 4, 5],
        "f": [0.5, None, 2.5],
        "s": ["x", "y", None],
        "t": pl.Series([0, 1, None]).cast(pl.Datetime("ms")),
        "l": [[1], [2, 3], []],
    }
)
ALLOWED = {
    "CASE WHEN a > 1 THEN a ELSE -a END": pl.Int64,
    "a BETWEEN 1 AND 2 OR s IN ('x', 'y')": pl.Boolean,
    "COALESCE(s, 'none') || '!'": pl.String,
    "UPPER(TRIM(s))": pl.String,
    "CAST(a AS DECIMAL(18, 2))": pl.Decimal(18, 2),
    "EXTRACT(YEAR FROM t)": pl.Int32,
    "STRFTIME(t, '%Y')": pl.String,
    "CAST(t AS DATE)": pl.Date,
    "t > TIMESTAMP '1970-01-01 00:00:00'": pl.Boolean,
    "GREATEST(a, b) % 2": pl.Int64,
    "ABS(a) + ROUND(f, 1)": pl.Float64,
    "a IS NOT NULL AND NOT (b = 4)": pl.Boolean,
    "s LIKE 'x%' AND REGEXP_LIKE(s, '^x')": pl.Boolean,
    "a IS DISTINCT FROM b": pl.Boolean,
    "17": pl.Int32,
    "TRUE": pl.Boolean,
    # Words in quotes are no functions.
    "s = 'select now() from random()'": pl.Boolean,
    "s <> 'it''s CURRENT_TIMESTAMP'": pl.Boolean,
    "s = 'SUM(a) OVER ()'": pl.Boolean,
}
REFUSED = [
    "SUM(a)",
    "a / SUM(a)",
    "COUNT(a)",
    "COUNT(*)",
    "a + COUNT(*)",
    "AVG(a)",
    "MAX(a)",
    "FIRST(a)",
    "MEDIAN(a)",
    "STDDEV(a)",
    "ARRAY_AGG(a)",
    "STRING_AGG(s)",
    "CORR(a, b)",
    "CASE WHEN a > AVG(a) THEN 1 ELSE 0 END",
    "COALESCE(a, MIN(b))",
    "ROW_NUMBER() OVER ()",
    "SUM(a) OVER (PARTITION BY s)",
    "LAG(a) OVER (ORDER BY b)",
    "DENSE_RANK() OVER (ORDER BY a)",
    "NOW()",
    "t < now()",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "current_timestamp",
    "LOCALTIMESTAMP",
    "RANDOM()",
    "RAND()",
    "UUID()",
    "UNNEST(l)",
    "EXPLODE(l)",
    "a IN (SELECT b)",
    "(SELECT a)",
    "EXISTS (SELECT 1)",
    "*",
    "COLUMNS('a')",
    "a, b",
    "",
    "a +",
    "UNKNOWN_FUNCTION(a)",
]


@pytest.mark.parametrize("sql", ALLOWED)
def test_row_wise_expressions_are_allowed(sql: str) -> None:
    """What maps one row to one value is let in, with the type it gives."""
    assert check_row_wise(parse("key", sql), FRAME) == ALLOWED[sql]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_not_row_wise_and_pure_is_refused(sql: str) -> None:
    """The error names the key and the text, and says what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        check_row_wise(parse("attributes.x.of", sql), FRAME)
    assert caught.value.key == "attributes.x.of"
    assert caught.value.value == sql
    assert "row-wise, pure SQL expression" in caught.value.allowed


OTHER_ROWS = {
    "a sum": pl.col("a").sum(),
    "a share": pl.col("a") / pl.col("a").sum(),
    "a shift": pl.col("a").shift(1),
    "a running sum": pl.col("a").cum_sum(),
    "a rank": pl.col("b").rank(),
    "a difference": pl.col("a").diff(),
    "a fill": pl.col("f").forward_fill(),
    "reversed": pl.col("a").reverse(),
    "distinct": pl.col("a").unique(),
    "filtered": pl.col("a").filter(pl.col("a") > 1),
    "a length": pl.col("a") + pl.len(),
    "the number of rows": pl.len(),
    "sorted": pl.col("b").sort(),
}


@pytest.mark.parametrize("kind", OTHER_ROWS)
def test_a_value_that_depends_on_other_rows_is_found_by_trying(kind: str) -> None:
    """The sample finds what an open allowlist would let through."""
    expr = OTHER_ROWS[kind]
    reads = frozenset(expr.meta.root_names())
    expression = Expression("key", kind, expr, reads, frozenset())
    with pytest.raises(ConfigurationError, match="depends on other rows"):
        check_row_wise(expression, FRAME)


def test_missing_columns_are_named_with_those_there_are() -> None:
    """The error lists what is missing and what there is."""
    with pytest.raises(ConfigurationError) as caught:
        check_row_wise(parse("key", "a + totl + zz"), FRAME)
    assert "there is no totl, zz" in caught.value.allowed
    assert "a, b, f, l, s, t" in caught.value.allowed


NESTED = pl.DataFrame(
    {
        "store": ["S"],
        "customer": [{"card": "1", "home": {"city": "X"}}],
        "lines": [[{"sku": "a"}]],
    }
)
NO_FIELDS = {
    "LOWER(customer.crad)": "fields of customer (card, home); there is no crad",
    "customer.home.zip": "fields of customer.home (city); there is no zip",
    "lines.sku": 'no field of a list: lines is one; from = "items" reads its items',
    "store.city": "a field of a record: store is String, and has no city",
}


@pytest.mark.parametrize("sql", NO_FIELDS)
def test_missing_fields_are_named_with_those_there_are(sql: str) -> None:
    """The error says of which record, or that it is none."""
    with pytest.raises(ConfigurationError) as caught:
        check_row_wise(parse("key", sql), NESTED)
    assert caught.value.allowed == f"expected {NO_FIELDS[sql]}"


REMEDIES = {
    "SUM(a)": "SUM takes several events together, which is what `aggregate` says",
    "l[1]": "a key of a map is read as a field: tags.tier",
}


@pytest.mark.parametrize("sql", REMEDIES)
def test_what_is_often_tried_is_refused_with_what_to_do(sql: str) -> None:
    """An aggregate, and a key in brackets."""
    with pytest.raises(ConfigurationError) as caught:
        parse("key", sql)
    assert REMEDIES[sql] in caught.value.allowed


NOT_UNDERSTOOD = {
    "group": "group is a word of SQL; a field of that name is written in double quotes",
    "user": "user is a word of SQL",
    "loyalty->cardNo": "is read with a dot",
    "SUM(gross)": "SUM takes several events together",
    "gross / MAX(gross)": "MAX takes several events together",
    "ROW_NUMBER() OVER ()": "OVER looks at other rows",
    "FOO(gross)": "unsupported function 'foo'",
}


@pytest.mark.parametrize("sql", NOT_UNDERSTOOD)
def test_what_is_not_understood_is_said_in_words_of_sql(sql: str) -> None:
    """No name of the parser's own insides shows, and the remedy is there."""
    with pytest.raises(ConfigurationError) as caught:
        parse("key", sql)
    assert NOT_UNDERSTOOD[sql] in caught.value.allowed
    assert "Ident" not in caught.value.allowed
    assert "Agg" not in caught.value.allowed


@pytest.mark.parametrize("name", ["group", "a.order", "user", "end", "my-id", "gross"])
def test_a_field_is_written_so_that_it_is_read(name: str) -> None:
    """Quoted where SQL would take the name for a word of its own, and only there."""
    assert paths(parse("key", written(name)).expr) == {tuple(name.split("."))}
    assert ('"' in written(name)) == (name != "gross")


def test_types_that_do_not_fit_are_an_error() -> None:
    """Arithmetic on text is refused before any event comes."""
    with pytest.raises(ConfigurationError):
        check_row_wise(parse("key", "UPPER(a)"), FRAME)


def test_a_cast_that_fails_on_made_up_values_is_no_error() -> None:
    """Sample values are made up: the type counts, not whether they convert."""
    expression = parse("key", "CAST(s AS BIGINT)")
    assert check_row_wise(expression, FRAME) == pl.Int64


def test_the_columns_and_outer_fields_read_are_known() -> None:
    """`event.x` in an item's expression reaches the event's x."""
    expression = parse("key", "CASE WHEN event.kind = 'A' THEN q ELSE event.n END")
    assert expression.outer == {"kind", "n"}
    assert expression.columns == {"event", "q"}
