"""Writes the sandbox's locks: files with versions and checksums (`make lock`)."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext
from jgo.parse import Coordinate

from consumer.sandbox.jars import LOCK_FILE, REGISTRY_LOCK

ROOTS = (
    ("org.apache.kafka", "kafka_2.13", "4.4.0"),
    # Kafka logs through slf4j 1.7; this is its smallest and fastest back end.
    ("org.slf4j", "slf4j-simple", "1.7.36"),
)
REGISTRY = ("io.apicurio", "apicurio-registry-app", "3.3.3", "tar.gz", "all")


def main() -> None:
    """Resolve the roots with all that they need and write the lock."""
    with tempfile.TemporaryDirectory() as repository:
        mirrors = {"central": MAVEN_CENTRAL_URL} | GlobalSettings.load().repositories
        maven = MavenContext(repo_cache=Path(repository), remote_repos=mirrors)
        roots = [
            maven.create_dependency(Coordinate(*root, scope="compile"))
            for root in ROOTS
        ]
        inputs, transitive = maven.resolver.resolve(roots)
        needed = [item for item in transitive if item.scope in {"compile", "runtime"}]
        lines = ["# Kafka's jars: sha256, bytes, coordinate. Written by `make lock`."]
        for artifact in (item.artifact for item in [*inputs, *needed]):
            content = artifact.resolve().read_bytes()
            checksum = hashlib.sha256(content).hexdigest()
            name = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            lines.append(f"{checksum} {len(content)} {name}")
        LOCK_FILE.write_text("\n".join(lines) + "\n", "utf-8")
        group, name, version, kind, classifier = REGISTRY
        component = maven.project(group, name).at_version(version)
        found = component.artifact(classifier=classifier, packaging=kind).resolve()
        content = found.read_bytes()
        checksum = hashlib.sha256(content).hexdigest()
        lines = [
            "# Apicurio Registry: sha256, bytes, coordinate. Written by `make lock`.",
            f"{checksum} {len(content)} {':'.join(REGISTRY)}",
        ]
        REGISTRY_LOCK.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
