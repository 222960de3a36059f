"""Random schemas and broken bytes: the codecs agree, and nothing goes down."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import SchemaError
from consumer.events.codecs import Codec
from consumer.events.framing import FRAME
from consumer.events.screen import Screen
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
def test_the_screen_flags_what_the_strict_reader_reads(schema: str, seed: int) -> None:
    """It lets nothing through that does not fit, and holds back nothing that does.

    But for decimals of more bytes than a column holds, which may yet be small numbers.
    """
    try:
        codec = Codec(schema)
    except SchemaError:
        return
    draw = random.Random(seed)
    sound = [whole(codec.avro, place) for place in range(20)]
    records = [*sound, *(broken(sound, draw) for _ in range(200))]
    flags = Screen(codec.type, FRAME).fitting(Packed.of(records))
    safe = codec._decode_safe(records, np.arange(len(records)))
    read = np.zeros(len(records), bool)
    read[safe.rows] = True
    assert not (flags & ~read).any()
    assert "decimal" in schema or not (read & ~flags).any()
