"""Reads a batch file as strictly as Adobe documents it; bytes in, rows out; pure.

Cells stay percent-encoded until somebody looks at them, so that a file of half a
million rows is read in a second or two.
"""

import dataclasses
import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from consumer.sandbox.target.options import TargetOptions

ID_KINDS: Final = ("thirdPartyId", "pcId")
_UNRESERVED: Final = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
_BAD_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NON_ASCII: Final = re.compile(rb"(?:%[89A-Fa-f][0-9A-Fa-f])+")
_LONG_ID: Final = 128  # characters: Target warns
_LONGEST_ID: Final = 256  # characters: Target refuses
_LONGEST_NAME: Final = 128
_LONGEST_VALUE: Final = 256

Row = tuple[str, bytes]  # the visitor, and the row's other cells as they came


class BatchRefused(Exception):  # noqa: N818  # an answer, not an error
    """The file is not taken as a whole; the argument is the message of the answer."""

    def __init__(self, answer: str, detail: str = "", *, http: int = 200) -> None:
        """Answer `answer` with HTTP status `http`; `detail` is for the journal."""
        super().__init__(answer, detail)
        self.answer = f"{answer} ({detail})" if detail else answer
        self.http = http


@dataclasses.dataclass(frozen=True, slots=True)
class BatchFile:
    """A file that was taken."""

    id_kind: str
    names: tuple[str, ...]
    rows: list[Row]  # without those that failed or were skipped
    failed: tuple[str, ...]  # visitors whose rows cannot be stored
    skipped: int  # rows with nothing but empty values
    violations: tuple[str, ...]  # of the contract, one for each failed row
    warnings: tuple[str, ...]
    size: int  # bytes
    batch_size: int  # rows that count: stored or failed


def cells_of(encoded: bytes) -> list[str]:
    """Decode a row's cells; empty cells are empty strings."""
    return [_cell(cell) for cell in encoded.split(b",")]


@lru_cache(maxsize=100_000)  # dates, stores and small numbers come again and again
def _cell(cell: bytes) -> str:
    return unquote_to_bytes(cell).decode()


def read_batch(body: bytes, options: TargetOptions) -> BatchFile:
    """Read a whole file, or raise `BatchRefused` with what Target answers."""
    if not body:
        raise BatchRefused("Batch is empty")
    if len(body) >= options.max_bytes:
        raise BatchRefused("Batch is too large", f"{len(body)} bytes", http=413)
    head, _, rest = body.partition(b"\n")
    id_kind, names = _header(head)
    _check_encoding(rest)
    lines = rest.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise BatchRefused("Batch is empty")
    if len(lines) > options.max_rows:
        raise BatchRefused("Batch has too many rows", f"{len(lines)} rows")
    return _rows(id_kind, names, lines, len(body), options)


def _header(head: bytes) -> tuple[str, tuple[str, ...]]:
    mark, _, columns = head.partition(b"=")
    if mark != b"batch":
        raise _malformed("line 1: must begin with batch=")
    _check_encoding(columns, number=1)
    id_kind, *names = cells_of(columns)
    if id_kind not in ID_KINDS:
        raise _malformed("line 1: the first column must be thirdPartyId or pcId")
    if not names or not all(names):
        raise _malformed("line 1: attribute names must not be missing or empty")
    if len(set(names)) < len(names):
        raise _malformed("line 1: an attribute occurs twice")
    if any(name.startswith("profile.") for name in names):
        raise _malformed("line 1: names carry no profile. prefix")
    return id_kind, tuple(names)


def _check_encoding(text: bytes, number: int = 2) -> None:
    """Refuse what is not percent-encoded UTF-8; `number` is the first line's."""
    stray = set(text.translate(None, _UNRESERVED + b"%,\n"))
    # A raw + or / in an id fails that row only: see _rows. Elsewhere it is malformed.
    for match in re.finditer(rb"[+/]", text) if stray & set(b"+/") else ():
        line_start = text.rfind(b"\n", 0, match.start()) + 1
        if b"," in text[line_start : match.start()]:
            raise _not_encoded(text, match.start(), number)
    if stray - set(b"+/"):
        signs = re.escape(bytes(stray - set(b"+/")))
        first = re.search(b"[" + signs + b"]", text)
        raise _not_encoded(text, first.start() if first else 0, number)
    bad = _BAD_PERCENT.search(text)
    if bad:
        raise _not_encoded(text, bad.start(), number)
    for run in {match.group() for match in _NON_ASCII.finditer(text)}:
        try:
            unquote_to_bytes(run).decode()
        except UnicodeDecodeError:
            raise _not_encoded(text, text.find(run), number) from None


def _not_encoded(text: bytes, at: int, number: int) -> BatchRefused:
    line = text.count(b"\n", 0, at) + number
    return _malformed(f"line {line}: not percent-encoded UTF-8: {text[at : at + 12]!r}")


def _malformed(detail: str) -> BatchRefused:
    return BatchRefused("Unexpected Error", detail)


def _rows(
    id_kind: str,
    names: tuple[str, ...],
    lines: list[bytes],
    size: int,
    options: TargetOptions,
) -> BatchFile:
    rows: list[Row] = []
    failed: list[str] = []
    violations: list[str] = []
    warnings = [f"attribute {n}: long name" for n in names if len(n) > _LONGEST_NAME]
    skipped = 0
    columns = len(names)
    keep = rows.append
    for number, line in enumerate(lines, 2):
        if not line:
            raise _malformed(f"line {number}: empty line")
        id_cell, _, cells = line.partition(b",")
        if cells.count(b",") >= columns:
            raise _malformed(f"line {number}: more cells than the header names")
        if b"%" in id_cell:
            visitor = unquote_to_bytes(id_cell).decode()
        else:
            visitor = id_cell.decode()
        problem = _id_problem(visitor)
        if not problem and len(cells) > _LONGEST_VALUE:
            problem = _size_problem(number, names, cells, options, warnings)
        if problem:
            failed.append(visitor)
            violations.append(f"line {number}: {problem}")
        elif not cells.strip(b","):
            skipped += 1
        else:
            keep((visitor, cells))
            if len(visitor) > _LONG_ID:
                warnings.append(f"line {number}: long {id_kind}")
    return BatchFile(
        id_kind,
        names,
        rows,
        tuple(failed),
        skipped,
        tuple(violations),
        tuple(warnings),
        size,
        len(rows) + len(failed),
    )


def _id_problem(visitor: str) -> str:
    if not visitor:
        return "empty id"
    if "+" in visitor or "/" in visitor:
        return "id with + or /"
    return "id too long" if len(visitor) > _LONGEST_ID else ""


def _size_problem(
    number: int,
    names: tuple[str, ...],
    cells: bytes,
    options: TargetOptions,
    warnings: list[str],
) -> str:
    """Look closely at a long row; say why it cannot be stored, or nothing."""
    values = cells_of(cells)
    warnings.extend(
        f"line {number}: {name}: long value"
        for name, value in zip(names, values, strict=False)
        if len(value) > _LONGEST_VALUE
    )
    held = [n + v for n, v in zip(names, values, strict=False) if v]
    stored = sum(len(text.encode()) for text in held)
    return "profile too large" if stored > options.max_profile_bytes else ""
