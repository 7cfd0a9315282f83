"""Appending to Kafka from many threads: durable when `append` returns."""

import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from driftline.log.errors import LogError, LogUnavailable
from driftline.log.kafka_cluster import ANSWER_S, Cluster, explain
from driftline.log.kafka_silence import Silence
from driftline.log.partitioning import partition_of
from driftline.log.record import NewRecord

APPEND_S = 30.0
"""How long records may take to be on all replicas."""
SILENT_S = 5.0
"""After so long without any answer one caller waits for the brokers, and others need not."""
_POLL_S = 0.1
_LOOK_S = 1.0


class Deliveries:
    """What became of records that were given to a producer: counted as the broker answers."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self._changed = threading.Condition()
        self.error: KafkaError | None = None
        self.newest: int | None = None
        """The append time (microseconds) of the newest that arrived."""

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Take note of one record; called by the producer."""
        with self._changed:
            self._missing -= 1
            if error is not None:
                self.error = self.error or error
            else:
                self.newest = max(self.newest or 0, message.timestamp()[1] * 1000)
            self._changed.notify_all()

    def wait_for_room(self, seconds: float) -> None:
        """Wait until some record has been dealt with."""
        with self._changed:
            self._changed.wait(seconds)

    def wait(self, seconds: float) -> bool:
        """Wait until all have been dealt with; False when they have not been in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._missing <= 0, seconds)


def produce(
    producer: Producer,
    name: str,
    partitions: int,
    records: Sequence[NewRecord],
    deliveries: Deliveries,
    wait_for_room: Callable[[float], object],
) -> None:
    """Give records to a producer, each for the partition of its key; waits while its queue is full."""
    deadline = time.monotonic() + APPEND_S
    for record in records:
        while True:
            try:
                producer.produce(
                    name,
                    record.payload,
                    record.key,
                    partition=partition_of(record.key, partitions),
                    headers=[(header, value.encode()) for header, value in record.headers.items()],
                    on_delivery=deliveries.report,
                )
            except BufferError:
                if time.monotonic() > deadline:
                    raise LogUnavailable(
                        f"kafka: topic {name} does not take records as fast as they come"
                    ) from None
                wait_for_room(_POLL_S)
            else:
                break


class Appender:
    """A producer that threads share; one thread of its own hears what the brokers answer.

    `is_broken` tells that it takes no record any more, whatever the brokers do: open another one.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._producer = cluster.open_producer(delivery_timeout_ms=round(APPEND_S * 1000))
        self._silence = Silence(SILENT_S)
        self.is_broken = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="kafka-deliveries", daemon=True)
        self._thread.start()

    def append(self, name: str, partitions: int, records: Sequence[NewRecord]) -> None:
        """Append records to a topic and wait until they are durable.

        Raises LogUnavailable when they may not be, LogError when they never can be, e.g. since one is too large.
        """
        deliveries = Deliveries(len(records))
        if not self._silence.admit():
            raise _unanswered(name)
        stays = True
        try:
            produce(self._producer, name, partitions, records, deliveries, deliveries.wait_for_room)
            stays = self._wait(deliveries)
        except KafkaException as error:
            raise self._explain(error.args[0], name) from None
        finally:
            if stays:
                self._silence.leave(answered=deliveries.newest is not None)
        if not deliveries.wait(0):
            raise _unanswered(name)
        if deliveries.error is not None:
            raise self._explain(deliveries.error, name)

    def close(self) -> None:
        """Deliver what is under way, and stop."""
        self._producer.flush(ANSWER_S)
        self._stop.set()
        self._thread.join()

    def _wait(self, deliveries: Deliveries) -> bool:
        """Wait for what became of records; False when others are left to wait for the brokers."""
        deadline = time.monotonic() + APPEND_S + 5
        while not deliveries.wait(_LOOK_S) and time.monotonic() < deadline:
            if self._silence.dismiss():
                return False
        return True

    def _explain(self, error: KafkaError, name: str) -> LogError:
        self.is_broken = self.is_broken or error.fatal()
        return explain(error, f"append to topic {name}")

    def _listen(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(_POLL_S)


def _unanswered(name: str) -> LogUnavailable:
    return LogUnavailable(f"kafka: topic {name} did not take the records in time; send them again")
