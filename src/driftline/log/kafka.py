"""The log on Kafka, as every log gives it."""

import threading
import time
from collections.abc import Sequence

from confluent_kafka.admin import AdminClient
from psycopg import Connection

from driftline.log.errors import LogUnavailable, UnknownTopic
from driftline.log.kafka_cluster import Cluster
from driftline.log.kafka_offsets import count_partitions, read_ends
from driftline.log.kafka_producer import Appender
from driftline.log.kafka_reader import KafkaReader
from driftline.log.kafka_relay import KafkaRelay
from driftline.log.record import NewRecord
from driftline.log.topics import TOPICS

_KNOWN_S = 60.0  # partitions that are added are used within a minute


class KafkaLog:
    """The log in topics of a Kafka cluster, which `driftline kafka init` has made."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._admin: AdminClient = cluster.open_admin()
        self._appender: Appender | None = None
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, float]] = {}

    def prepare(self, partitions: int) -> None:
        """See that the topics are there; `partitions` is for logs that make them. Raises UnknownTopic."""
        missing = [self._cluster.name(topic) for topic in TOPICS if not self.count_partitions(topic)]
        if missing:
            raise UnknownTopic(
                f"kafka at {self._cluster.servers} has no topic {', '.join(missing)}; run `driftline kafka init`"
            )

    def count_partitions(self, topic: str) -> int:
        """Count the partitions of a topic; 0 when it does not exist."""
        return count_partitions(self._admin, self._cluster.name(topic))

    def append(self, conn: Connection, topic: str, records: Sequence[NewRecord]) -> None:
        """Append records and wait until they are durable; the caller's transaction has no part in it."""
        if records:
            self._open_appender().append(self._cluster.name(topic), self._partitions(topic), records)

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Give for each partition the offset that the next record will get."""
        return read_ends(self._admin, self._cluster.name(topic), range(self.count_partitions(topic)))

    def reader(self, consumer: str, topic: str) -> KafkaReader:
        """Take part in consuming a topic: the consumer's group shares its partitions."""
        return KafkaReader(self._cluster, self._admin, consumer, topic)

    def relay(self, consumer: str, source: str, target: str) -> KafkaRelay:
        """Take part in consuming one topic into another."""
        return KafkaRelay(self._cluster, self._admin, consumer, source, target, self._partitions)

    def close(self) -> None:
        """Deliver what is under way and close the connections."""
        with self._lock:
            if self._appender is not None:
                self._appender.close()
                self._appender = None

    def _open_appender(self) -> Appender:
        with self._lock:
            if self._appender is not None and self._appender.is_broken:
                self._appender.close()
                self._appender = None
            if self._appender is None:
                self._appender = Appender(self._cluster)
            return self._appender

    def _partitions(self, topic: str) -> int:
        """Count the partitions to append to, asking the broker once a minute. Raises UnknownTopic."""
        count, asked = self._known.get(topic, (0, 0.0))
        if not count or time.monotonic() - asked > _KNOWN_S:
            self._known[topic] = count, time.monotonic()  # others go on with what was known
            try:
                count = self.count_partitions(topic)
            except LogUnavailable:
                if not count:
                    raise
            self._known[topic] = count, time.monotonic()
        if not count:
            raise UnknownTopic(
                f"kafka at {self._cluster.servers} has no topic {self._cluster.name(topic)};"
                " run `driftline kafka init`"
            )
        return count
