"""Reading one Kafka topic into another: output and consumed offsets in one Kafka transaction (KIP-447)."""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg import Connection

from driftline.log.errors import LogUnavailable, OffsetConflict
from driftline.log.kafka_cluster import ANSWER_S, Cluster, explain, refuse
from driftline.log.kafka_producer import Deliveries, produce
from driftline.log.kafka_reader import KafkaReader
from driftline.log.record import NewRecord

TRANSACTION_S = 15
"""How long a transaction of an instance that died keeps readers from what comes after it."""

_FENCED = (
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
)


class KafkaRelay(KafkaReader):
    """Reads a topic in a consumer's group and hands over to another topic.

    The group's generation goes into every transaction, so the broker refuses an instance that was replaced.
    """

    def __init__(
        self,
        cluster: Cluster,
        admin: AdminClient,
        consumer: str,
        source: str,
        target: str,
        count_partitions: Callable[[str], int],
    ) -> None:
        super().__init__(cluster, admin, consumer, source)
        self._cluster, self._target, self._count = cluster, target, count_partitions
        self._instance = f"driftline-{consumer}-{uuid.uuid4()}"
        self._producer: Producer | None = None
        self._ours: set[int] = set()
        """Partitions whose committed offset was asked for since they were assigned."""

    def committed(self, partition: int) -> int:
        """Give the offset up to which the input has been consumed; 0 when nothing has been.

        Waits for a transaction of the instance that had the partition before.
        """
        place = TopicPartition(self._name, partition)
        with refuse(f"ask how far {self._name}/{partition} has been consumed"):
            [found] = self._consumer.committed([place], timeout=TRANSACTION_S + ANSWER_S)
        if found.error is not None:
            raise explain(found.error, f"ask how far {self._name}/{partition} has been consumed")
        if partition in self._buffers:
            self._ours.add(partition)
        return max(0, found.offset)

    def hand_over(self, conn: Connection, records: Sequence[NewRecord], offsets: Mapping[int, int]) -> int | None:
        """Append records and advance offsets in one transaction of Kafka's, committed when this returns.

        After an error, ask `committed` again: offsets are where they were, unless only the answer to the commit
        was lost.
        """
        if not offsets.keys() <= self._ours:
            raise OffsetConflict(f"partitions of {self._name} were given to another worker before the hand-over")
        deliveries = Deliveries(len(records))
        try:
            self._transact(records, offsets, deliveries)
        except KafkaException as error:
            self._give_up()
            raise _explain(error.args[0], self._name) from None
        except BaseException:
            self._give_up()
            raise
        return deliveries.newest

    def close(self) -> None:
        """Leave the group."""
        self._producer = None
        super().close()

    def _transact(self, records: Sequence[NewRecord], offsets: Mapping[int, int], deliveries: Deliveries) -> None:
        producer = self._producer = self._producer or self._open_producer()
        producer.begin_transaction()
        if records:
            produce(
                producer,
                self._cluster.name(self._target),
                self._count(self._target),
                records,
                deliveries,
                producer.poll,
            )
        places = [TopicPartition(self._name, partition, offset) for partition, offset in offsets.items()]
        self._send_offsets(producer, places)
        producer.commit_transaction(TRANSACTION_S)

    def _send_offsets(self, producer: Producer, places: list[TopicPartition]) -> None:
        """Add offsets to the transaction, from a thread that may be left behind.

        Since librdkafka 2.10 the call can wait for ever, whatever its timeout, when the broker that coordinates
        the group was gone for a moment: https://github.com/confluentinc/librdkafka/issues/5511.
        """
        group, sent = self._consumer.consumer_group_metadata(), Future[None]()

        def send() -> None:
            try:
                producer.send_offsets_to_transaction(places, group, ANSWER_S)
            except BaseException as error:
                sent.set_exception(error)
            else:
                sent.set_result(None)

        threading.Thread(target=send, name="kafka-offsets", daemon=True).start()
        try:
            sent.result(2 * ANSWER_S)
        except TimeoutError:
            self._producer = None  # it answers no other call either; the broker aborts when its time is over
            raise LogUnavailable(f"kafka: the offsets of {self._name} were not taken in time") from None

    def _open_producer(self) -> Producer:
        producer = self._cluster.open_producer(
            transactional_id=self._cluster.name(self._instance), transaction_timeout_ms=TRANSACTION_S * 1000
        )
        producer.init_transactions(TRANSACTION_S)
        return producer

    def _give_up(self) -> None:
        """Abort the transaction, if there is one; the next hand-over begins with a producer of its own."""
        self._ours.clear()
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.abort_transaction(ANSWER_S)
        except KafkaException:
            producer.purge()  # the broker aborts it when its time is over

    def _take(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self._ours -= {place.partition for place in places}
        super()._take(consumer, places)

    def _drop(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self._ours -= {place.partition for place in places}
        super()._drop(consumer, places)


def _explain(error: KafkaError, name: str) -> Exception:
    if error.code() in _FENCED:
        return OffsetConflict(f"partitions of {name} were given to another worker: {error.str()}")
    return explain(error, f"hand over what was read of {name}")
