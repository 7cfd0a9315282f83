"""The topics on Kafka: what they should be, how they differ from it, and making them so.

What driftline's results depend on is set: append times by the broker's clock, nothing compacted, records of the
largest size taken, at least so many partitions. How long and how safely records are kept is set when a topic is
made, and is the operator's from then on: a difference is shown and left.

Nothing is compacted, labels neither: a key of `labels` is a model and a prediction, or an *entity*, which has one
label for each time, and corrections are history that is kept. Compaction would delete all but the newest.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

from driftline.core.window import DAY, MICROSECONDS
from driftline.log.errors import LogUnavailable
from driftline.log.kafka_cluster import ANSWER_S, MAX_RECORD_BYTES, Cluster, refuse
from driftline.log.kafka_offsets import count_partitions
from driftline.log.topics import PREDICTION_LOGS, PREDICTION_SAMPLES, TOPICS

_DAY_MS = DAY * 1000 // MICROSECONDS
_REQUIRED = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"}
_REPLICATION = 3
_LOOK_S = 0.1

Action = Literal["create", "raise", "set", "leave"]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should be, under its name on the cluster."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What of a topic is not as it should be, and what is done: `leave` is for what the operator decides."""

    topic: str
    what: str
    found: str
    wanted: str
    action: Action


def plan_topics(
    cluster: Cluster, admin: AdminClient, *, partitions: int, replication: int | None, retention_days: int
) -> list[Topic]:
    """Say what the topics should be.

    Without a replication, three copies or as many as there are brokers. Every prediction is kept for a day at
    most: the sampler is minutes behind at worst, and they are a hundred times as many as the samples.
    """
    if replication is None:
        with refuse("count the brokers"):
            replication = min(_REPLICATION, len(admin.list_topics(timeout=ANSWER_S).brokers))
    in_sync = {"min.insync.replicas": str(max(1, replication - 1))}
    planned = []
    for topic in TOPICS:
        days = min(retention_days, 1) if topic == PREDICTION_LOGS else retention_days
        config = {**_REQUIRED, "retention.ms": str(days * _DAY_MS), **in_sync}
        if topic == PREDICTION_SAMPLES:
            config["max.message.bytes"] = str(MAX_RECORD_BYTES)
        planned.append(Topic(cluster.name(topic), partitions, replication, config))
    return planned


def compare_topics(admin: AdminClient, planned: Sequence[Topic]) -> list[Difference]:
    """Look at the cluster: how its topics differ from the plan."""
    return [difference for topic in planned for difference in _compare(admin, topic)]


def apply_differences(admin: AdminClient, planned: Sequence[Topic], differences: Sequence[Difference]) -> None:
    """Make and change what the differences say."""
    by_name = {topic.name: topic for topic in planned}
    for difference in differences:
        with refuse(f"{difference.action} {difference.what} of topic {difference.topic}"):
            for answer in _apply(admin, by_name[difference.topic], difference):
                answer.result()
        if difference.action in ("create", "raise"):
            _await_partitions(admin, by_name[difference.topic])


def _await_partitions(admin: AdminClient, topic: Topic) -> None:
    """Wait until the brokers have heard of a change: they answer before all of them know."""
    deadline = time.monotonic() + 2 * ANSWER_S
    while count_partitions(admin, topic.name) < topic.partitions:
        if time.monotonic() > deadline:
            raise LogUnavailable(f"kafka: topic {topic.name} does not appear; run `driftline kafka init` again")
        time.sleep(_LOOK_S)


def _apply(admin: AdminClient, topic: Topic, difference: Difference) -> Iterable[Future[Any]]:
    match difference.action:
        case "create":
            new = NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.config))
            return admin.create_topics([new], operation_timeout=ANSWER_S).values()
        case "raise":
            return admin.create_partitions([NewPartitions(topic.name, topic.partitions)]).values()
        case "set":
            entry = ConfigEntry(difference.what, difference.wanted, incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ConfigResource.Type.TOPIC, topic.name, incremental_configs=[entry])
            return admin.incremental_alter_configs([resource]).values()
        case "leave":
            return ()


def _compare(admin: AdminClient, topic: Topic) -> list[Difference]:
    partitions = count_partitions(admin, topic.name)
    if not partitions:
        wanted = f"{topic.partitions} partitions, {topic.replication} copies"
        return [Difference(topic.name, "topic", "none", wanted, "create")]
    differences = []
    if partitions < topic.partitions:
        differences.append(Difference(topic.name, "partitions", str(partitions), str(topic.partitions), "raise"))
    found = _read_config(admin, topic.name)
    for name, wanted in topic.config.items():
        value = found.get(name, "")
        if name == "max.message.bytes" and value.isdigit() and int(value) >= int(wanted):
            continue
        if value != wanted:
            action: Action = "set" if name in _REQUIRED or name == "max.message.bytes" else "leave"
            differences.append(Difference(topic.name, name, value, wanted, action))
    return differences


def _read_config(admin: AdminClient, name: str) -> dict[str, str]:
    [answer] = admin.describe_configs(
        [ConfigResource(ConfigResource.Type.TOPIC, name)], request_timeout=ANSWER_S
    ).values()
    with refuse(f"look at the settings of topic {name}"):
        return {entry.name: entry.value for entry in answer.result().values() if entry.value is not None}
