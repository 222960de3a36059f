"""Quix Streams as a peer: its environment, its run, and the profiles that it left."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bench.check import ends, latest
from bench.job import COMMIT_SECONDS, SCHEMA
from bench.peers import PeerUnavailable
from bench.processes import ROOT, report_of
from bench.recount import COLUMNS
from consumer.sandbox.jars import cache_folder

if TYPE_CHECKING:
    from bench.job import Run
    from bench.meter import Measured

REQUIREMENTS: Final = Path(__file__).with_name("quix-requirements.txt")
JOB: Final = Path(__file__).with_name("quix_job.py")
PLACE: Final = 3  # of the sku in an entry of the latest ones


def environment() -> Path:
    """Give the Python of the peer's environment, made first if it is not there.

    Raises `PeerUnavailable` with the end of what pip said.
    """
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:8]
    folder = cache_folder() / "bench" / f"quix-{digest}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if ready.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), *install, "--requirement", str(REQUIREMENTS)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise PeerUnavailable(
                f"Quix Streams' environment cannot be made: {' '.join(said)}"
            )
    ready.touch()
    return python


def measure_quix(run: Run) -> Measured:
    """Run the job to the end of the topic."""
    words = {
        "bootstrap": run.bootstrap,
        "application": run.application,
        "topic": run.topic,
        "records": run.records,
        "ends": ends(run.bootstrap, run.topic),
        "folder": run.folder,
        "schema": plain(SCHEMA),
        "commit_seconds": COMMIT_SECONDS,
    }
    command = [str(environment()), str(JOB), json.dumps(words)]
    return report_of(command, "quix", environ={**os.environ, "PYTHONPATH": str(ROOT)})


def plain(schema: str) -> str:
    """Drop logical types: times are then read as milliseconds, which is cheaper."""
    found = json.loads(schema)
    for field in found["fields"]:
        if isinstance(field["type"], dict):
            field["type"].pop("logicalType", None)
    return json.dumps(found)


def quix_profiles(run: Run) -> pl.DataFrame:
    """Read the profiles that a run left, in the recount's columns."""
    found = latest(run.bootstrap, f"{run.application}.profiles")
    rows = [_row(key.decode(), json.loads(value)) for key, value in found.items()]
    return pl.DataFrame(rows, schema=COLUMNS)


def _row(visitor: str, profile: dict[str, Any]) -> dict[str, Any]:
    units = sorted(profile["units"].items())
    return {
        "visitor": visitor,
        "orders": profile["orders"],
        "returns": profile["returns"],
        "revenue": profile["revenue"],
        "last_purchase": profile["last"][0],
        "last_store": profile["last_store"],
        "largest_order": profile["largest_order"],
        "units": ",".join(f"{category}:{count}" for category, count in units),
        "skus": ",".join(entry[PLACE] for entry in profile["skus"]),
    }
