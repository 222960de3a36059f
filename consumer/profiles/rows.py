"""Profile records rendered to what Target gets.

Enters: profile records as bytes, of any number of visitors. Leaves: a batch of
strings, one row a visitor and one column an attribute. A row is always the absolute
snapshot of all attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from polars.exceptions import PanicException, PolarsError

from consumer.errors import ConfigurationError
from consumer.plan.expressions import evaluate
from consumer.profiles import columns as cols
from consumer.profiles.algebra.catalogue import aggregate_for
from consumer.profiles.algebra.windowed import windowed
from consumer.profiles.record import newer_generation
from consumer.profiles.values import is_listed, state_entries, state_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.plan.attributes import AttributePlan
    from consumer.profiles.record import ProfileCodec


# polars scales a float to decimals as a float: beyond this that has no exact cents.
EXACT_IN_TWELVE_DIGITS = 9_000.0
ISO = "%Y-%m-%dT%H:%M:%SZ"
# From here on polars writes exponents, and floats have hardly a fraction.
WHOLE = 1e15


SAMPLES: dict[str, list[Any]] = {
    "long": [0, 1, -1, 12_345, None],
    "double": [0.0, 1.0, -1.5, 1e9, None],
    "string": ["text", "", "1", "2026-01-31", None],
}


class RowRenderer:
    """Renders profile records by the plan's `render` and `format`."""

    def __init__(
        self, attributes: Sequence[AttributePlan], codec: ProfileCodec
    ) -> None:
        """Render these attributes, in this order, of records that `codec` reads."""
        self._attributes = tuple(attributes)
        self._codec = codec

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attribute names sent, in column order."""
        return tuple(plan.name for plan in self._attributes)

    def rows(self, values: Sequence[bytes]) -> pa.RecordBatch:
        """Render records in order.

        Columns: `visitor` string, `version` int64, `generation` int32, then one
        nullable string an attribute; null: there is nothing to send. Raises
        `PartitionHalt` where a profile is of a later generation than ours: it may have
        attributes that we would leave out, and nobody would send them after us.
        """
        profiles = self._codec.decode(values)
        if (newest := _newest(profiles)) > self._codec.generation > 0:
            raise newer_generation(newest, self._codec.generation)
        return self.render(profiles)

    def render(self, profiles: pa.RecordBatch) -> pa.RecordBatch:
        """Render decoded profiles; the same columns as `rows`.

        A profile that was written before an attribute began says nothing about it, not
        even its sentinel.
        """
        columns = [profiles.column(n) for n in ("visitor", "version", "generation")]
        as_of = profiles.column("as_of_day").fill_null(0).to_numpy().astype(np.int64)
        for plan in self._attributes:
            text = render_attribute(plan, profiles.column(plan.name), as_of)
            if plan.sentinel is not None:
                before = self._codec.foreign(plan.name, profiles.column("generation"))
                nothing = pa.scalar(None, text.type)
                text = pc.if_else(pa.array(before), nothing, text)
            columns.append(text)
        names = ["visitor", "version", "generation", *self.attributes]
        return pa.RecordBatch.from_arrays(columns, names=names)


def _newest(profiles: pa.RecordBatch) -> int:
    return pc.max(profiles.column("generation")).as_py() or 0


def check_rendering(plan: AttributePlan) -> None:
    """Render a few values; raise `ConfigurationError` where that fails.

    What fails on these would fail on some visitor, and keep the rows of everybody
    else from Target.
    """
    try:
        _text(plan, pl.Series(SAMPLES[plan.shown.storage]))
    except (PolarsError, PanicException) as error:
        why = str(error).strip().splitlines()[0]
        part = "format" if plan.render is None else "render"
        raise ConfigurationError(
            f"attributes.{plan.name}.{part}",
            plan.summary,
            f"expected something that fits every {plan.shown.logical} value, such as "
            f"TRY_CAST in place of CAST: {why}",
        ) from error


def render_attribute(
    plan: AttributePlan, states: pa.Array, as_of: NDArray[np.int64]
) -> pa.StringArray:
    """Render one attribute's column of profile records to strings.

    `as_of` has the day that each row's window ends with.
    """
    state = present_state(plan, states, as_of)
    if not is_listed(plan):
        return _strings(_text(plan, state_values(plan, state)))
    values, lengths = state_entries(plan, state)
    text = cols.to_arrow(values)
    if plan.render is not None or not pa.types.is_string(text.type):
        text = _strings(_text(plan, pl.Series("value", text)))
    joined = _joined(text, lengths, plan.format.separator)
    return joined if plan.sentinel is None else joined.fill_null(plan.sentinel)


def present_state(
    plan: AttributePlan, states: pa.Array, as_of: NDArray[np.int64]
) -> Any:  # noqa: ANN401 - each monoid has its own
    """Read states, of those with a window the days that lie in it as of a day."""
    aggregate = aggregate_for(plan)
    state = aggregate.from_arrow(states)
    if plan.window is None:
        return state
    return windowed(aggregate).within(state, as_of - (plan.window - 1))


def _joined(
    text: pa.StringArray, lengths: NDArray[np.integer], separator: str
) -> pa.StringArray:
    """Join each row's texts; null where it has none, nulls between others left out."""
    present = lengths > 0
    if text.null_count:
        valid = text.is_valid().to_numpy(zero_copy_only=False)
        counted = np.concatenate([[0], np.cumsum(valid)])
        bounds = counted[np.concatenate([[0], np.cumsum(lengths)])]
        text = text.drop_null()
    else:
        bounds = np.concatenate([[0], np.cumsum(lengths)])
    lists = pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), text)
    joined = pc.binary_join(lists, separator)
    if present.all():
        return joined
    return pc.if_else(pa.array(present), joined, pa.scalar(None, pa.string()))


def _text(plan: AttributePlan, values: pl.Series) -> pl.Series:
    """Apply `render` and `format` to single values in storage form."""
    loaded = plan.shown.load(pl.col("value").cast(plan.shown.dtype)).alias("value")
    frame = values.alias("value").to_frame().select(loaded)
    if plan.render is not None:
        frame = evaluate(frame, [plan.render.alias("value")])
    text = frame.select(_formatted(plan, frame.schema["value"]).alias("value"))["value"]
    return text if is_listed(plan) else _sentinel(plan, text)


def _formatted(  # noqa: PLR0911 - one return a format
    plan: AttributePlan, dtype: pl.DataType
) -> pl.Expr:
    value = pl.col("value")
    match plan.format.kind:
        case "decimal":
            scale = max(plan.format.scale, 12)
            wide = value.cast(pl.Decimal(38, scale), strict=False)
            fixed = wide.round(plan.format.scale, mode="half_away_from_zero")
            return fixed.cast(pl.Decimal(38, plan.format.scale)).cast(pl.String)
        case "integer":
            return value.cast(pl.Int64).cast(pl.String)
        case "date":
            return value.cast(pl.Date).dt.to_string("%Y-%m-%d")
        case "datetime":
            return value.cast(pl.Datetime("us")).dt.to_string(ISO)
        case "boolean":
            truth = value.cast(pl.Boolean)
            return (
                pl.when(truth).then(pl.lit("true")).when(~truth).then(pl.lit("false"))
            )
        case _:
            if dtype.is_float():
                return _digits(value)
            if isinstance(dtype, pl.Datetime):
                return value.dt.to_string(ISO)
            return value.cast(pl.String)


def _digits(value: pl.Expr) -> pl.Expr:
    """Write floats in digits alone: Target's audiences compare no exponents."""
    small = value.cast(pl.Decimal(38, 12), strict=False).cast(pl.String)
    large = value.round_sig_figs(15).cast(pl.String)
    written = pl.when(value.abs() < EXACT_IN_TWELVE_DIGITS).then(small).otherwise(large)
    trimmed = (
        pl.when(written.str.contains(".", literal=True))
        .then(written.str.strip_chars_end("0").str.strip_chars_end("."))
        .otherwise(written)
    )
    whole = value.cast(pl.Int128, strict=False).cast(pl.String)
    return (
        pl.when(value.abs() >= WHOLE).then(whole).when(value.is_finite()).then(trimmed)
    )


def _sentinel(plan: AttributePlan, text: pl.Series) -> pl.Series:
    return text if plan.sentinel is None else text.fill_null(plan.sentinel)


def _strings(series: pl.Series) -> pa.StringArray:
    return series.to_arrow().cast(pa.string())
