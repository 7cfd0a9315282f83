"""Asking Kafka about topics: how many partitions they have, and where those end."""

import time
from collections import deque
from collections.abc import Iterable, Sequence

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from driftline.core.window import MICROSECONDS
from driftline.log.errors import LogError, UnknownTopic
from driftline.log.kafka_cluster import ANSWER_S, explain, refuse

ALLOWANCE = 2 * MICROSECONDS
"""How far a broker's clock may lag behind ours, and a record behind its append on the way to the replicas."""
_ASK_S = 0.25
_REMEMBERED = 256
_MOVED = (
    KafkaError._NOENT,  # no leaders found: nor will they be, until it looks
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
)


def count_partitions(admin: AdminClient, name: str) -> int:
    """Count the partitions of a topic; 0 when it does not exist. Never makes it."""
    answer = admin.describe_topics(TopicCollection([name]), request_timeout=ANSWER_S)[name]
    try:
        return len(answer.result().partitions)
    except KafkaException as error:
        refusal = explain(error.args[0], f"look at topic {name}")
        if isinstance(refusal, UnknownTopic):
            return 0
        raise refusal from None


def read_ends(
    admin: AdminClient, name: str, partitions: Iterable[int], *, within_s: float = ANSWER_S
) -> dict[int, int]:
    """Ask for the offset that the next record of each partition will get, open transactions included."""
    end = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    return _read_offsets(admin, [TopicPartition(name, partition) for partition in partitions], end, within_s)


def read_start(admin: AdminClient, name: str, partition: int) -> int:
    """Ask for the offset of a partition's oldest record, or its end when it has none.

    A consumer that were asked would wait for what it is fetching first, on the same connection.
    """
    start = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
    return _read_offsets(admin, [TopicPartition(name, partition)], start, ANSWER_S)[partition]


def _read_offsets(
    admin: AdminClient, wanted: Sequence[TopicPartition], which: OffsetSpec, within_s: float
) -> dict[int, int]:
    if not wanted:
        return {}
    doing = f"ask where topic {wanted[0].topic} begins or ends"
    try:
        return _ask_offsets(admin, wanted, which, within_s)
    except KafkaException as error:
        if error.args[0].code() not in _MOVED:
            raise explain(error.args[0], doing) from None
    with refuse(doing):
        # A client asks the leader it remembers until it is told to look.
        admin.list_topics(wanted[0].topic, timeout=within_s)
        return _ask_offsets(admin, wanted, which, within_s)


def _ask_offsets(
    admin: AdminClient, wanted: Sequence[TopicPartition], which: OffsetSpec, within_s: float
) -> dict[int, int]:
    answers = admin.list_offsets(
        dict.fromkeys(wanted, which), isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=within_s
    )
    return {place.partition: answer.result().offset for place, answer in answers.items()}


class Ends:
    """Remembers when the partitions of a topic ended where.

    A consumer that has all below an offset has all that was appended before the partition was seen to end there.
    The end counts records of open transactions: they were appended already, and are not readable yet.
    """

    def __init__(self, admin: AdminClient, name: str) -> None:
        self._admin, self._name = admin, name
        self._seen: deque[tuple[int, dict[int, int]]] = deque(maxlen=_REMEMBERED)
        self._due = 0.0

    def ask(self, partitions: Iterable[int]) -> None:
        """See where partitions end now, a few times a second at most, and less often while the broker is away."""
        if time.monotonic() < self._due:
            return
        now = time.time_ns() // 1000
        try:
            self._seen.append((now - ALLOWANCE, read_ends(self._admin, self._name, partitions, within_s=1.0)))
        except LogError:
            self._due = time.monotonic() + ANSWER_S
        else:
            self._due = time.monotonic() + _ASK_S

    def appended_before(self, partition: int, position: int) -> int:
        """Give a time such that all that was appended until then lies below the position; 0 when none is known."""
        return next((at for at, ends in reversed(self._seen) if ends.get(partition, position + 1) <= position), 0)
