"""The Target sandbox beside the service, in a process of its own, and what it holds."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import polars as pl

from consumer.errors import SandboxError
from consumer.sandbox.ports import free_port
from consumer.sandbox.supervised import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse
    from pathlib import Path

START_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 60.0
NAMES: Final = ("orders", "returns", "revenue", "last_store", "largest_order")


@contextmanager
def target_sandbox(folder: Path) -> Iterator[str]:
    """Run the sandbox and give its endpoint."""
    command = ["-m", "consumer", "sandbox", "target", "--port"]
    with _served(folder, command) as endpoint:
        yield endpoint


@contextmanager
def receiver(folder: Path) -> Iterator[str]:
    """Run what takes every file and keeps none, and give its endpoint."""
    with _served(folder, ["-m", "bench.receiver"]) as endpoint:
        yield endpoint


@contextmanager
def _served(folder: Path, words: list[str]) -> Iterator[str]:
    """Run a server whose last argument is its port, until it is left."""
    port = free_port()
    log = folder / "target.log"
    command = [sys.executable, *words, str(port)]
    with SupervisedProcess(command, log=log) as process:
        process.start()
        endpoint = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        while not _answers(endpoint):
            if time.monotonic() > deadline or not process.running:
                said = log.read_text("utf-8", "replace")
                raise SandboxError(f"Target's stand-in does not start: {said}")
            time.sleep(0.1)
        yield endpoint


def require_delivered(endpoint: str, expected: pl.DataFrame) -> None:
    """Raise `SandboxError` where Target's profiles are not those of the recount."""
    with _asked(f"{endpoint}/sandbox/profiles") as answer:
        found = {
            one["id"]: one["attributes"] for one in map(json.loads, answer.readlines())
        }
    if len(found) != len(expected):
        raise SandboxError(
            f"Target has {len(found):,} profiles instead of {len(expected):,}."
        )
    for row in shown(expected).iter_rows(named=True):
        got = found.get(row["visitor"], {})
        for name, value in row.items():
            if name != "visitor" and got.get(name) != value:
                raise SandboxError(
                    f"At Target {row['visitor']} has {name} {got.get(name)!r} instead "
                    f"of {value!r}."
                )


def shown(expected: pl.DataFrame) -> pl.DataFrame:
    """Give a recount as Target is to show it; a count of nothing is not sent."""
    counts = [
        pl.when(pl.col(name) != 0).then(pl.col(name).cast(pl.String)).alias(name)
        for name in ("orders", "returns")
    ]
    return expected.select("visitor", *NAMES, latest_skus="skus").with_columns(
        *counts,
        pl.col("revenue", "largest_order").cast(pl.String),
    )


def _answers(endpoint: str) -> bool:
    try:
        _asked(f"{endpoint}/sandbox/journal").close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def _asked(address: str) -> HTTPResponse:
    answer: HTTPResponse = urllib.request.urlopen(  # noqa: S310 - loopback, made above
        address, timeout=ANSWER_SECONDS
    )
    return answer
