"""The shop's vocabulary as Arrow columns: articles, stores, visitors, event ids.

Numbers in, strings out; no randomness but the catalogue's own fixed one.
"""

import dataclasses
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints: TypeAlias = npt.NDArray[np.int64]

ARTICLES: Final = 5_000
# As printed for people, so with what batch files must encode.
CATEGORIES: Final = (
    "bakery",
    "books & magazines",
    "cheese, sliced",
    "confectionery",
    "dairy",
    "deli",
    "drinks",
    "electronics",
    "fruit/vegetables",
    "frozen food",
    "garden",
    "household",
    "Käse & Wurst",
    "pets",
    "toys 0+",
    "wine 100%",
)
PAYMENTS: Final = ("CARD", "CASH", "WALLET", "GIFT_CARD")
CURRENCY: Final = "EUR"
_UNUSUAL: Final = 97  # every so many visitors has an id that must be percent-encoded
_EAN_DIGITS: Final = 13
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_UUID_LENGTH: Final = 36
_DASHES: Final = (8, 13, 18, 23)


@dataclasses.dataclass(frozen=True, slots=True)
class Catalogue:
    """The articles, one row each."""

    sku: pa.StringArray
    category: pa.StringArray
    price_minor: Ints


def catalogue() -> Catalogue:
    """Return the same articles every time."""
    rng = np.random.default_rng(4006381)
    codes = rng.choice(10**9, ARTICLES, replace=False)
    prices = np.maximum(29, (rng.lognormal(5.8, 0.9, ARTICLES)).astype(np.int64))
    departments = rng.integers(0, len(CATEGORIES), ARTICLES)
    return Catalogue(
        pa.array([_ean(f"400{code:09d}") for code in codes.tolist()], pa.string()),
        pa.array(CATEGORIES, pa.string()).take(pa.array(departments)),
        prices // 10 * 10 + 9,
    )


def _ean(digits: str) -> str:
    """Append the check digit to the first twelve digits of an EAN-13."""
    total = sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits))
    return f"{digits}{-total % 10}"


def numbered(prefix: str, numbers: Ints, width: int = 0) -> pa.StringArray:
    """Return `prefix` and each number, padded with zeros to `width`."""
    digits = pc.cast(pa.array(numbers), pa.string())
    if width:
        digits = pc.utf8_lpad(digits, width, "0")
    return joined(prefix, digits)


def joined(*parts: str | pa.StringArray) -> pa.StringArray:
    """Concatenate columns and constants row by row."""
    return pc.binary_join_element_wise(*parts, "")


def visitor_ids(ranks: Ints) -> pa.StringArray:
    """Return the loyalty id of each visitor; some are addresses full of signs."""
    digits = pc.utf8_lpad(pc.cast(pa.array(ranks), pa.string()), 8, "0")
    unusual = joined("jörg & söhne, 100% =", digits, "@example.com")
    return pc.if_else(
        pa.array(ranks % _UNUSUAL == _UNUSUAL - 1), unusual, joined("loyalty-", digits)
    )


def event_ids(seed: int, numbers: Ints) -> pa.StringArray:
    """Return a UUID for each number: distinct for distinct numbers of one seed.

    Always 36 ASCII characters, which `poison` relies on.
    """
    mixed = np.empty((len(numbers), 2), ">u8")
    salt = np.uint64((seed * 0x9E3779B97F4A7C15 + 1) % 2**64)
    mixed[:, 0] = _mix(numbers.astype(np.uint64) ^ salt)
    mixed[:, 1] = _mix(mixed[:, 0].astype(np.uint64) + salt)
    octets = mixed.view(np.uint8).reshape(-1, 16)
    digits = np.empty((len(numbers), 32), np.uint8)
    digits[:, 0::2] = _HEX[octets >> 4]
    digits[:, 1::2] = _HEX[octets & 15]
    text = np.full((len(numbers), _UUID_LENGTH), ord("-"), np.uint8)
    text[:, [i for i in range(_UUID_LENGTH) if i not in _DASHES]] = digits
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * _UUID_LENGTH
    return pa.StringArray.from_buffers(
        len(numbers), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(text))
    )


def _mix(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit words reversibly: splitmix64's finaliser."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
