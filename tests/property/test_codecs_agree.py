"""Random schemas and broken bytes: the codecs agree, and nothing goes down."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import SchemaError
from consumer.events.codecs import Codec
from consumer.events.columns import Columns
from consumer.events.framing import FRAME
from consumer.events.layout import NotLaidOut
from consumer.packed import Packed
from tests.fuzz.agreement import Tally
from tests.fuzz.avro_schemas import SCHEMAS, broken, whole
from tests.property.budget import examples


@examples(30)
@given(schema=SCHEMAS, seed=st.integers(0, 2**32))
def test_fast_and_safe_decode_alike(schema: str, seed: int) -> None:
    """What becomes of a record depends on its bytes alone; `make fuzz` tries a million.

    Neither which codec read it, nor what stood beside it, makes a difference.
    """
    tally = Tally()
    tally.add(schema, 300, seed)
    assert not tally.disagreements


@examples(30)
@given(schema=SCHEMAS, seed=st.integers(0, 2**32))
def test_the_kernel_takes_what_the_strict_reader_takes(schema: str, seed: int) -> None:
    """Byte for byte: it takes nothing else, and leaves nothing that is a record."""
    try:
        codec = Codec(schema)
        columns = Columns(codec.type, FRAME)
    except (SchemaError, NotLaidOut):
        return
    draw = random.Random(seed)
    sound = [whole(codec.avro, place) for place in range(20)]
    records = [*sound, *(broken(sound, draw) for _ in range(200))]
    fits, found = columns.decode(Packed.of(records))
    safe = codec._decode_safe(records, np.arange(len(records)))
    assert np.flatnonzero(fits).tolist() == safe.rows.tolist()
    assert pl.DataFrame(found).equals(pl.DataFrame(safe.columns))
