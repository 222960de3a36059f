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
import uuid
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console

from consumer.sandbox.embedded import Embedded
from consumer.sandbox.jars import kafka_jars
from consumer.sandbox.java import KafkaJava
from consumer.sandbox.ports import HOST, free_port
from consumer.sandbox.supervised import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_START_ATTEMPTS = 5  # each with new ports, when somebody was faster to bind
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


class EmbeddedKafka(Embedded):
    """One broker on 127.0.0.1, addressed by `bootstrap`.

    Arguments: `port`: a fixed one, else a free one; `data`: a folder to keep, else a
    temporary one; `heap`: as in `-Xmx`; `settings`: broker settings over the defaults;
    `log_level`: of the broker's own log (`log_path`); `java_options`: for the JVM, in
    place of the class cache.
    """

    name = "Kafka"
    log_name = "broker.log"

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
        super().__init__(port)
        self._data = data
        self._heap = heap
        self._settings = dict(settings or {})
        self._log_level = log_level
        self._start_timeout = start_timeout
        self._java_options = java_options
        self._cluster_id = ""

    @property
    def bootstrap(self) -> str:
        """The broker's address, for `bootstrap.servers`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id, None while it does not run."""
        return self._running.pid if self._running.running else None

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

    def restart(self) -> None:
        """Start again on the same data and ports, stopping it first if it runs."""
        if self._running.running:
            self.stop()
        self._running.start()
        self._wait_until_ready(self._start_timeout)

    def close(self) -> None:
        """End the broker and remove its data, unless the folder was given."""
        if self._process is not None and self._data is not None:
            self.stop()
        super().close()

    def _open(self) -> None:
        java = KafkaJava(kafka_jars()) if self._java_options else prepare()
        if self._data is None:
            self._folder = self._temporary_folder("kafka")
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
            retry = attempts_left > 0
            if self._wait_until_ready(self._start_timeout, may_retry=retry):
                return

    def _write_settings(self, properties: Path) -> None:
        if self._wanted is None:
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
