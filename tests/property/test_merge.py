"""Profiles merged as bytes are those merged as columns."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.profiles.buffer import Buffer
from tests.property import purchases
from tests.property.budget import examples
from tests.property.test_profiles import UNPRICED, partition
from tests.property.world import World

if TYPE_CHECKING:
    from consumer.profiles.fold import Fold


def never(*_: object) -> Any:  # noqa: ANN401 - it gives nothing
    """Stand for the way of columns, where it must not be taken."""
    raise AssertionError("the batch took the way of columns")


@functools.cache
def worlds() -> tuple[World, World]:
    """Make a world that merges bytes, and one that merges columns."""
    attributes = {
        name: model.settings for name, model in UNPRICED.items() if not model.window
    }
    by_bytes, by_columns = (World(attributes, {1: purchases.SCHEMA}) for _ in range(2))
    fold: Fold = by_bytes.work._fold
    fold.fold = never  # type: ignore[assignment,method-assign]
    by_columns.work._merger._program = None
    return by_bytes, by_columns


@examples(40)
@given(data=st.data())
def test_bytes_and_columns_give_the_same_records(data: st.DataObject) -> None:
    """Every aggregate, batch after batch, to the byte."""
    stream = data.draw(purchases.events())
    splits = data.draw(purchases.splits(len(stream)))
    for made in worlds():
        made.forget()
    for batch in splits:
        for made in worlds():
            made.feed(
                [made.record(one, partition=partition(one)) for one in stream[batch]]
            )
    by_bytes, by_columns = worlds()
    assert by_bytes.content() == by_columns.content()


@examples(40)
@given(data=st.data())
def test_broken_records_are_refused_not_read_on(data: st.DataObject) -> None:
    """Bytes that are no profile raise; nothing outside of the buffer is touched."""
    made, _ = worlds()
    made.forget()
    merger = made.work._merger
    merged = merger._merged
    seen: list[Any] = []
    events = data.draw(purchases.events().filter(bool))

    def noting(*given: Any) -> Any:  # noqa: ANN401 - whatever it is
        seen.append(given)
        return merged(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merger, "_merged", noting)
        made.feed([made.record(one) for one in events])
    program, old, new = seen[-1]
    sound = merged(program, old, new).records.to_list()
    broken = []
    for record in sound:
        cut = data.draw(st.integers(5, len(record)))
        broken.append(record[:cut] + data.draw(st.binary(max_size=20)))
    try:
        found = merged(program, Buffer.of(broken), new)
    except ValueError:
        return
    assert found.records.bounds[-1] <= sum(map(len, broken)) + len(new.data)
