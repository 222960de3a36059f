"""A real Apache Kafka in a process of its own: one node, broker and controller.

`EmbeddedKafka` is a context manager; entering it returns when the broker answers, and
leaving it, or the end of this process for whatever reason, ends the broker and removes
its data (unless a `data` folder was given, which is kept and can be opened again).
"""

from __future__ import annotations

import base64
import re
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console

from consumer.errors import AddressInUse, SandboxError
from consumer.sandbox.jars import kafka_jars
from consumer.sandbox.java import KafkaJava
from consumer.sandbox.ports import HOST, free_port, is_free
from consumer.sandbox.supervised import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_START_ATTEMPTS = 5  # each with new ports, when somebody was faster to bind
_POLL_SECONDS = 0.02
_STOP_SECONDS = 10.0
_TRAINING_STOP_SECONDS = 120.0  # the JVM writes its class cache when it ends
_BROKER_SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A killed broker can register again only when its last session has expired.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "33554432",  # of the 512 MB heap, not 128 MB
}


class EmbeddedKafka:
    """One broker on 127.0.0.1, addressed by `bootstrap`.

    Arguments: `port`: a fixed one, else a free one; `data`: a folder to keep, else a
    temporary one; `heap`: as in `-Xmx`; `settings`: broker settings over the defaults;
    `log_level`: of the broker's own log (`log_path`); `java_options`: for the JVM, in
    place of the class cache.

    Raises, on entry: SandboxError with the end of the broker's log; AddressInUse.
    """

    def __init__(  # noqa: PLR0913 - all by keyword, all with a default that runs
        self,
        *,
        port: int | None = None,
        data: Path | None = None,
        heap: str = "512m",
        settings: Mapping[str, str] | None = None,
        log_level: str = "warn",
        start_timeout: float = 60.0,
        java_options: tuple[str, ...] = (),
    ) -> None:
        self.port = port or 0
        self._port_is_free_choice = port is None
        self._data = data
        self._heap = heap
        self._settings = dict(settings or {})
        self._log_level = log_level
        self._start_timeout = start_timeout
        self._java_options = java_options
        self._cluster_id = ""
        self._folder = Path()
        self._cleanup = ExitStack()
        self._process: SupervisedProcess | None = None

    def __enter__(self) -> Self:
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._open()
            on_failure.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def bootstrap(self) -> str:
        """The broker's address, for `bootstrap.servers`."""
        return f"{HOST}:{self.port}"

    @property
    def folder(self) -> Path:
        """Where the broker keeps its data, its settings and its log."""
        return self._folder

    @property
    def log_path(self) -> Path:
        """The file with the broker's own log."""
        return self._folder / "broker.log"

    @property
    def pid(self) -> int | None:
        """The broker's process id, None while it does not run."""
        return self._running.pid if self._running.running else None

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the broker's log."""
        text = self.log_path.read_text("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def require_running(self) -> None:
        """Raise SandboxError, with the end of the log, if the broker has ended."""
        if self.pid is None:
            raise self._failure("Kafka has ended")

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """End the broker in order (SIGTERM), then with SIGKILL; its data stays."""
        self._running.send_signal(signal.SIGCONT)  # a paused one cannot end
        self._running.send_signal(signal.SIGTERM)
        if self._running.wait(timeout) is None:
            self.kill()

    def kill(self) -> None:
        """End the broker with SIGKILL; its data stays."""
        self._running.send_signal(signal.SIGKILL)
        self._running.wait(_STOP_SECONDS)

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): connections stay open, nothing answers."""
        self._running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused broker go on (SIGCONT)."""
        self._running.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start again on the same data and ports, stopping it first if it runs."""
        if self._running.running:
            self.stop()
        self._running.start()
        self._wait_until_ready()

    def close(self) -> None:
        """End the broker and remove its data, unless the folder was given."""
        if self._process is not None:
            if self._data is not None:
                self.stop()
            self._process.close()
            self._process = None
        self._cleanup.close()

    @property
    def _running(self) -> SupervisedProcess:
        if self._process is None:
            raise SandboxError("This embedded Kafka is not open.", "Enter it first.")
        return self._process

    def _open(self) -> None:
        if not self._port_is_free_choice and not is_free(self.port):
            raise AddressInUse(
                f"Port {self.port} of {HOST} is taken.",
                "Choose another --port, or end who listens there.",
            )
        java = KafkaJava(kafka_jars()) if self._java_options else prepare()
        if self._data is None:
            prefix = "pos-consumer-kafka-"
            self._folder = Path(
                self._cleanup.enter_context(
                    tempfile.TemporaryDirectory(
                        prefix=prefix, ignore_cleanup_errors=True
                    )
                )
            )
        else:
            self._folder = self._data.absolute()
            self._folder.mkdir(parents=True, exist_ok=True)
        properties = self._folder / "server.properties"
        self._process = SupervisedProcess(
            java.command(
                *("kafka.Kafka", str(properties)),
                heap=self._heap,
                log_level=self._log_level,
                options=self._java_options,
            ),
            log=self.log_path,
            remove=self._folder if self._data is None else None,
        )
        for attempts_left in reversed(range(_START_ATTEMPTS)):
            self._write_settings(properties)
            self._format(java, properties)
            self._process.start()
            if self._wait_until_ready(may_retry=attempts_left > 0):
                return

    def _write_settings(self, properties: Path) -> None:
        if self._port_is_free_choice:
            self.port = free_port()
        controller = f"{HOST}:{free_port()}"
        settings = _BROKER_SETTINGS | {
            "log.dirs": str(self._folder / "log"),
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@{controller}",
        }
        lines = (f"{key}={value}" for key, value in (settings | self._settings).items())
        properties.write_text("\n".join(lines) + "\n", "utf-8")

    def _format(self, java: KafkaJava, properties: Path) -> None:
        """Format the data folder, or read the cluster's id where it is formatted."""
        identity = self._folder / "log" / "meta.properties"
        if not identity.exists():
            # The first byte is kept small: an id that starts with '-' is not taken.
            number = bytes([uuid.uuid4().bytes[0] & 0x7F]) + uuid.uuid4().bytes[1:]
            cluster_id = base64.urlsafe_b64encode(number).decode().rstrip("=")
            command = java.command(
                *("kafka.tools.StorageTool", "format"),
                *("-t", cluster_id, "-c", str(properties)),
            )
            with self.log_path.open("ab") as log:
                done = subprocess.run(command, stdout=log, stderr=log, check=False)
            if done.returncode:
                raise self._failure("Kafka could not format its data folder")
        written = identity.read_text("utf-8")
        found = re.search(r"^cluster\.id=(.+)$", written, re.MULTILINE)
        self._cluster_id = found[1] if found else ""

    def _wait_until_ready(self, *, may_retry: bool = False) -> bool:
        """Return True when this very broker answers, False to try other ports."""
        written = self.log_path.stat().st_size
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            self._running.wait(_POLL_SECONDS)
            if not self._running.running:
                log = self.log_path.read_bytes()[written:].decode("utf-8", "replace")
                if may_retry and "Address already in use" in log:
                    return False
                raise self._failure("Kafka ended while it started")
            if self._answers():
                return True
        raise self._failure(f"Kafka did not answer within {self._start_timeout:g} s")

    def _answers(self) -> bool:
        """Whether this cluster, not another one that took the port, has its broker."""
        try:  # a Kafka client that is refused would wait before it tries again
            socket.create_connection((HOST, self.port), timeout=1.0).close()
        except OSError:
            return False
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            answer = admin.list_topics(timeout=2.0)
        except KafkaException:
            return False
        return bool(answer.brokers) and answer.cluster_id == self._cluster_id

    def _failure(self, what: str) -> SandboxError:
        return SandboxError(f"{what}. The end of its log:\n{self.log_tail()}")


def prepare() -> KafkaJava:
    """Do what a user's first start has to do: fetch the jars, train the JVM."""
    java = KafkaJava(kafka_jars())
    java.train(_run_once)
    return java


def _run_once(java_options: tuple[str, ...]) -> None:
    """Start a broker with JVM options and end it in order: it trains the JVM."""
    doing = "Preparing Apache Kafka for fast starts (once)"
    with (
        Console(stderr=True).status(doing),
        EmbeddedKafka(java_options=java_options) as kafka,
    ):
        kafka.stop(_TRAINING_STOP_SECONDS)
