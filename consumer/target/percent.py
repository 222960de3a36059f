"""Percent-encoding of a whole Arrow column at once.

A column of text enters, the same column with every cell percent-encoded leaves. Each
cell equals `urllib.parse.quote(cell, safe="")`: the unreserved characters of RFC 3986
stay, every other byte of the UTF-8 becomes `%XX`.
"""

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

UNRESERVED: Final = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
)
_DIGITS: Final = np.frombuffer(b"0123456789ABCDEF", np.uint8)
_ESCAPED: Final = bytes(byte not in UNRESERVED for byte in range(256))
_HIGH: Final = _DIGITS[np.arange(256) >> 4]
_LOW: Final = _DIGITS[np.arange(256) & 15]
_SAMPLE: Final = 4_096  # cells looked at to judge how often values repeat
_FEW: Final = (
    16  # reserved bytes of a column up to which replacing them one by one pays
)
_REPEATS: Final = 8  # cells per distinct value from which a dictionary pays


def encode(column: pa.Array) -> pa.LargeBinaryArray:
    """Percent-encode a `string` or `large_string` column; null becomes empty.

    Columns without reserved characters are passed through, columns whose values repeat
    are encoded once per distinct value; in the others few reserved bytes are replaced
    one after the other, many are scattered.
    """
    cells = column.cast(pa.large_string())
    if cells.null_count:
        cells = cells.fill_null("")
    offsets, data = _buffers(cells)
    # bytes.translate looks up a table four times as fast as numpy does
    escaped = np.frombuffer(data.tobytes().translate(_ESCAPED), np.bool_)
    if not escaped.any():
        return _from_buffers(offsets, data)
    if len(cells) > _SAMPLE:
        sample = cells.slice(0, _SAMPLE).unique()
        if len(sample) * _REPEATS <= _SAMPLE:
            encoded = cells.dictionary_encode()
            return encode(encoded.dictionary).take(encoded.indices)
    source = np.flatnonzero(escaped)
    bounds = offsets + 2 * np.searchsorted(source, offsets)
    reserved = set(data[source[:_SAMPLE]].tolist())
    if len(reserved) <= _FEW:
        found = sum(int(np.count_nonzero(data == byte)) for byte in reserved)
        if found == len(source):  # there are no others beyond the sample
            return _from_buffers(bounds, _replaced(data.tobytes(), reserved))
    return _from_buffers(bounds, _scattered(data, source))


def _replaced(data: bytes, reserved: set[int]) -> NDArray[np.uint8]:
    """Replace one byte after the other, `%` first, since it stands in every `%XX`."""
    for byte in sorted(reserved, key=lambda byte: byte != ord("%")):
        data = data.replace(bytes((byte,)), b"%%%02X" % byte)
    return np.frombuffer(data, np.uint8)


def _scattered(data: NDArray[np.uint8], source: NDArray[Any]) -> NDArray[np.uint8]:
    """Copy the kept bytes to their new places and write `%XX` into the gaps."""
    target = source + 2 * np.arange(len(source))
    total = len(data) + 2 * len(source)
    kept = np.ones(total, np.bool_)
    kept[target + 1] = False
    kept[target + 2] = False
    result = np.empty(total, np.uint8)
    result[kept] = data
    values = data[source]
    result[target] = ord("%")
    result[target + 1] = _HIGH[values]
    result[target + 2] = _LOW[values]
    return result


def _buffers(cells: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the offsets, starting at 0, and the bytes of a column without nulls."""
    _, offsets, data = cells.buffers()
    every = np.frombuffer(offsets, np.int64)[cells.offset :][: len(cells) + 1]
    if data is None:  # Arrow leaves the buffer out where no cell holds a byte
        return np.zeros(len(cells) + 1, np.int64), np.empty(0, np.uint8)
    content = np.frombuffer(data, np.uint8)[every[0] : every[-1]]
    return every - every[0], content


def _from_buffers(
    offsets: NDArray[np.int64], data: NDArray[Any]
) -> pa.LargeBinaryArray:
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(),
        len(offsets) - 1,
        [None, pa.py_buffer(offsets), pa.py_buffer(data)],
    )
