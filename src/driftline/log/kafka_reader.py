"""A consumer's share of a Kafka topic: partitions come from the group, offsets from the caller.

The group only shares the work. Offsets are kept by the caller with its results and never committed here, so a
partition is sought when it is first read, and again after a failure.
"""

import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from driftline.log.errors import LogError, RecordsLost
from driftline.log.kafka_buffer import Buffer
from driftline.log.kafka_cluster import Cluster, explain, refuse
from driftline.log.kafka_offsets import Ends, read_ends, read_start
from driftline.log.record import LogRecord

READ_RECORDS = 5_000
READ_BYTES = 16 << 20
_AT_ONCE = 200  # more messages than the processor's cache holds take twice as long
_TIMES = 10
_BUFFERED_BYTES = 64 << 20  # of all partitions; more stays with the broker
_PASSING = (
    KafkaError._PARTITION_EOF,  # of a partition that is not ours any more
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError._MAX_POLL_EXCEEDED,  # the group gave the partitions to others, and this reader joins again
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
)


class KafkaReader:
    """Reads a topic in a consumer's group."""

    def __init__(self, cluster: Cluster, admin: AdminClient, consumer: str, topic: str) -> None:
        self.topic = topic
        self._name = cluster.name(topic)
        self._admin = admin
        self._ends = Ends(admin, self._name)
        self._buffers: dict[int, Buffer] = {}
        self._paused: set[int] = set()
        self._consumer = cluster.open_consumer(consumer)
        self._consumer.subscribe([self._name], on_assign=self._take, on_revoke=self._drop, on_lost=self._drop)

    def claim(self) -> frozenset[int]:
        """Take part in the group, and give the partitions that it has assigned to this reader."""
        self._receive()
        return frozenset(self._buffers)

    def read(self, partition: int, offset: int) -> list[LogRecord]:
        """Read the next records from an offset on, from what was fetched ahead if it goes on there.

        Raises RecordsLost when the record at the offset was deleted, LogError when the topic ends before it.
        """
        self._position(partition, offset)
        buffer = self._buffers.get(partition)
        if buffer is None or buffer.find(offset) is None:
            self._receive()
            buffer = self._buffers.get(partition)
        if buffer is None or not buffer.covers(offset):
            return []  # lost to another reader a moment ago
        if buffer.lost:
            self._explain_loss(buffer, offset)
        return buffer.read(offset, READ_RECORDS, READ_BYTES)

    def skip_gap(self, partition: int, offset: int) -> int:
        """Give the first offset from this one on that may be a record's: behind markers of transactions."""
        buffer = self._buffers.get(partition)
        if buffer is None or not buffer.covers(offset):
            return offset
        found = buffer.find(offset)
        return buffer.position if found is None else found.offset

    def first_offset(self, partition: int) -> int:
        """Ask for the offset of the oldest record that is still kept, or the end when none is."""
        return read_start(self._admin, self._name, partition)

    def appended_before(self, partition: int, offset: int) -> int:
        """Give a time such that every record appended at or before it lies below the offset.

        Just before the record at the offset when that was fetched; else when the partition was last seen to end
        at what has been fetched, less two seconds for clocks that differ.
        """
        buffer = self._buffers.get(partition)
        if buffer is None or not buffer.covers(offset):
            return 0
        waiting = buffer.find(offset)
        if waiting is not None:
            return min(buffer.promise(waiting.appended_at - 1), waiting.appended_at - 1)
        self._ends.ask(self._buffers)
        return buffer.promise(self._ends.appended_before(partition, buffer.position))

    def wait(self, offsets: Mapping[int, int], seconds: float) -> None:
        """Wait until a partition has a record at or beyond its offset, or partitions come or go."""
        for partition, offset in offsets.items():
            self._position(partition, offset)
        held = set(self._buffers)
        deadline = time.monotonic() + seconds
        while self._buffers.keys() == held and not self._is_ready(offsets):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return
            self._receive(remaining)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()
        self._buffers.clear()

    def _is_ready(self, offsets: Mapping[int, int]) -> bool:
        held = {partition: self._buffers[partition] for partition in offsets.keys() & self._buffers.keys()}
        return any(buffer.lost or buffer.find(offsets[partition]) for partition, buffer in held.items())

    def _receive(self, seconds: float = 0) -> None:
        """Take what has been fetched, and take part in rebalances; waits so long for the first message."""
        with refuse(f"read topic {self._name}"):
            first = self._consumer.poll(seconds) if seconds else None
        messages = [first] if first else []
        for _ in range(_TIMES):
            with refuse(f"read topic {self._name}"):
                messages += self._consumer.consume(_AT_ONCE, 0)
            for message in messages:
                self._accept(message)
            self._hold_back()
            if len(messages) < _AT_ONCE:
                break
            messages = []

    def _accept(self, message: Message) -> None:
        error, partition = message.error(), message.partition()
        buffer = None if partition is None else self._buffers.get(partition)
        if error is None and buffer is not None:
            buffer.add(message)
        elif error is not None and error.code() == KafkaError._PARTITION_EOF and buffer is not None:
            buffer.reach(message.offset() or 0)
        elif error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET and buffer is not None:
            buffer.lost = True
        elif error is not None and error.code() not in _PASSING:
            raise explain(error, f"read topic {self._name}")

    def _hold_back(self) -> None:
        """Leave with the broker what nobody reads fast enough."""
        share = _BUFFERED_BYTES // max(1, len(self._buffers))
        full = {partition for partition, buffer in self._buffers.items() if buffer.bytes > share}
        drained = {p for p in self._paused if p in self._buffers and self._buffers[p].bytes <= share // 2}
        with refuse(f"read topic {self._name}"):
            if full - self._paused:
                self._consumer.pause(self._places(full - self._paused))
            if drained:
                self._consumer.resume(self._places(drained))
        self._paused = (self._paused | full) - drained

    def _position(self, partition: int, offset: int) -> None:
        """Have the records from an offset on fetched, unless they are already."""
        buffer = self._buffers.get(partition)
        if buffer is None or buffer.covers(offset):
            return
        place = TopicPartition(self._name, partition, offset)
        try:
            self._consumer.seek(place)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                raise explain(error.args[0], f"read {self._name}/{partition} from offset {offset}") from None
            self._fetch_anew(place)
        buffer.seek(offset)

    def _fetch_anew(self, place: TopicPartition) -> None:
        """Begin at an offset also where fetching has not begun, or stopped at one that is not there."""
        with refuse(f"read {place.topic}/{place.partition} from offset {place.offset}"):
            self._consumer.incremental_unassign([place])
            self._assign(self._consumer, [place])

    def _explain_loss(self, buffer: Buffer, offset: int) -> None:
        first = read_start(self._admin, self._name, buffer.partition)
        end = read_ends(self._admin, self._name, [buffer.partition])[buffer.partition]
        place = f"{self._name}/{buffer.partition}"
        if offset < first:
            raise RecordsLost(f"{place}: records {offset} to {first - 1} were deleted before they were read")
        if offset > end:
            raise LogError(
                f"{place} ends at offset {end}, before {offset}, which was to be read next: the topic was made"
                " anew or truncated; delete its rows in consumer_offsets to begin again"
            )
        self._fetch_anew(TopicPartition(self._name, buffer.partition, offset))
        buffer.seek(offset)

    def _take(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        # `read` says from where on. Not at OFFSET_END until then: librdkafka asks the broker where that is, and
        # goes there also when the answer comes after a seek, over records that nobody has read.
        self._assign(consumer, [TopicPartition(p.topic, p.partition, 0) for p in places])
        for place in places:
            self._buffers[place.partition] = Buffer(self.topic, place.partition)

    def _assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Have partitions fetched. Those that were paused when they went would come back paused, for ever."""
        consumer.incremental_assign(places)
        consumer.resume(places)
        self._paused -= {place.partition for place in places}

    def _drop(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        for place in places:
            self._buffers.pop(place.partition, None)
            self._paused.discard(place.partition)

    def _places(self, partitions: set[int]) -> list[TopicPartition]:
        return [TopicPartition(self._name, partition) for partition in partitions]
