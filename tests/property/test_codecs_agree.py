"""Random schemas and broken bytes: the codecs agree, and nothing goes down."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import SchemaError
from consumer.events.codecs import TAIL, Codec
from consumer.events.framing import FRAME
from consumer.events.screen import fitting
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
def test_the_screen_lets_nothing_through_that_does_not_fit(
    schema: str, seed: int
) -> None:
    """What it flags as fitting, the safe codec reads to its end."""
    try:
        codec = Codec(schema)
    except SchemaError:
        return
    draw = random.Random(seed)
    sound = [whole(codec.avro, place) for place in range(20)]
    records = [broken(sound, draw) for _ in range(200)]
    flags = fitting(codec.type, [one + TAIL for one in records], FRAME, len(TAIL))
    safe = codec._decode_safe(records, np.arange(len(records)))
    beyond = set(np.flatnonzero(flags).tolist()) - set(safe.rows.tolist())
    assert not [one for one in safe.refusals if one.row in beyond and not _digits(one)]
    # Few records that are sound are left to the safe codec: else it serves no purpose.
    assert flags[safe.rows].mean() > 0.5 if len(safe.rows) > 100 else True


def _digits(refusal: object) -> bool:
    """Too many digits are found when decimals are made of their bytes."""
    return "digits" in str(refusal)
