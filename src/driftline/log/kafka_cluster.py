"""A Kafka cluster as the settings name it: clients for it, and what its errors mean."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from driftline.log.errors import LogError, LogUnavailable, UnknownTopic

ANSWER_S = 5.0
"""How long a broker may take to answer a question."""
MAX_RECORD_BYTES = 16 << 20
"""The largest record that our producers send; the topic of samples takes it."""
_QUIET_S = 30.0  # the same complaint is logged no more often
_FETCHED_KB = 32 << 10

_UNKNOWN = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
_REFUSED = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)

Client = TypeVar("Client", AdminClient, Consumer, Producer)

logger = structlog.get_logger("driftline.kafka")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the brokers are, librdkafka properties to reach them, and a prefix of all names driftline uses there.

    The properties may hold passwords: they are never shown. What driftline depends on (acknowledgements,
    idempotence, isolation) it sets itself, whatever they say.
    """

    servers: str
    properties: Mapping[str, str | int | float | bool] = field(default_factory=dict, repr=False)
    prefix: str = ""

    def name(self, name: str) -> str:
        """Give the name that a topic, group or transactional id has on the cluster."""
        return self.prefix + name

    def open_admin(self) -> AdminClient:
        """Open a client that asks and changes; its results carry its errors, so it logs nothing."""
        return self._open(AdminClient, {"log_level": 0, "error_cb": lambda _: None})

    def open_consumer(self, consumer: str) -> Consumer:
        """Open a member of a consumer's group: it never commits by itself, and never skips what was deleted."""
        return self._open(
            Consumer,
            {
                "group.id": self.name(f"driftline-{consumer}"),
                "partition.assignment.strategy": "cooperative-sticky",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": _FETCHED_KB,
                "fetch.queue.backoff.ms": 10,  # a full queue waits a second otherwise: so much a second, no more
            },
        )

    def open_producer(self, **own: str | int) -> Producer:
        """Open a producer whose records are on all replicas in sync when they are acknowledged, once each."""
        made = {"acks": "all", "enable.idempotence": True, "message.max.bytes": MAX_RECORD_BYTES}
        return self._open(Producer, {**made, **{name.replace("_", "."): value for name, value in own.items()}})

    def _open(self, kind: Callable[[dict[str, Any]], Client], own: Mapping[str, Any]) -> Client:
        given = {name: str(v).lower() if isinstance(v, bool) else v for name, v in self.properties.items()}
        # Log level 2: all properties go to producers and consumers, and each would complain of the other's.
        defaults = {"client.id": "driftline", "compression.type": "lz4", "linger.ms": 5, "log_level": 2}
        ours = {
            "bootstrap.servers": self.servers,
            "error_cb": Complaints(self.servers),
        }
        try:
            return kind({**defaults, **given, **ours, **own})
        except KafkaException as error:
            raise LogError(f"the setting kafka cannot be used: {error.args[0].str()}") from None


class Complaints:
    """Logs what a client complains of: the same once in half a minute, for it tries again many times a second."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._said: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, error: KafkaError) -> None:
        """Log an error unless it was logged a moment ago."""
        now = time.monotonic()
        with self._lock:
            if now - self._said.get(error.name(), -_QUIET_S) < _QUIET_S:
                return
            self._said[error.name()] = now
        logger.warning("kafka does not answer", servers=self._servers, reason=error.str())


@contextmanager
def refuse(doing: str) -> Iterator[None]:
    """Turn Kafka's errors into the log's: UnknownTopic, LogUnavailable, or LogError where patience is no help."""
    try:
        yield
    except KafkaException as error:
        raise explain(error.args[0], doing) from None


def explain(error: KafkaError, doing: str) -> LogError:
    """Say what could not be done, and why."""
    said = f"kafka: cannot {doing}: {error.str()}"
    if error.code() in _UNKNOWN:
        return UnknownTopic(f"{said}; run `driftline kafka init`, which makes the topics")
    return LogError(said) if error.code() in _REFUSED else LogUnavailable(said)
