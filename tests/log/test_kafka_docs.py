"""docs/kafka.md: its settings are taken, its topics are those that are made, its permissions suffice."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from tests.brokers import ApacheKafka, find_free_port
from tests.log.conftest import FAST
from tests.log.test_logs import append, claim, hand_over, take

from driftline.log.choice import choose_cluster
from driftline.log.errors import LogError
from driftline.log.kafka import KafkaLog
from driftline.log.kafka_cluster import Cluster
from driftline.log.kafka_topics import apply_differences, compare_topics, plan_topics
from driftline.log.topics import LABELS, PREDICTION_LOGS, PREDICTION_SAMPLES, TOPICS
from driftline.sdk.options import Options
from driftline.sdk.parcel import Content, Parcel
from driftline.sdk.transports.kafka import KafkaTransport
from driftline.settings import load_settings
from driftline.store.database import Database

PAGE = (Path(__file__).parents[2] / "docs" / "kafka.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def read_table(header: str) -> list[list[str]]:
    """Give the cells of a table of the page, its header left out."""
    _, _, rest = PAGE.partition(f"{header}\n")
    rows = rest.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("example", EXAMPLES, ids=["scram", "certificate", "oauth"])
def test_examples_are_settings(example: str, tmp_path: Path) -> None:
    file = tmp_path / "driftline.toml"
    file.write_text(example)
    cluster = choose_cluster(load_settings(file).model_copy(update={"kafka_servers": "127.0.0.1:1"}))
    assert cluster.properties
    missing = [value for value in cluster.properties.values() if str(value).startswith("/etc/")]
    for _ in missing:
        with pytest.raises(LogError, match=r"ssl\.\w+\.location failed"):  # it looks for the files at once
            cluster.open_producer()
    there = {name: value for name, value in cluster.properties.items() if value not in missing}
    replace(cluster, properties=there).open_producer()


def test_the_topics_are_those_that_are_made() -> None:
    rows = {
        name.strip("` *"): cells
        for name, *cells in read_table("| | `prediction_logs` | `prediction_samples` | `labels` |")
    }
    planned = plan_topics(Cluster("", {}), AdminClient({}), partitions=4, replication=3, retention_days=7)
    assert [topic.name for topic in planned] == [PREDICTION_LOGS, PREDICTION_SAMPLES, LABELS]
    properties = {name for topic in planned for name in topic.config}
    assert properties == {name.removesuffix("` (at least)") for name in rows} - {"partitions (at least)", "copies"}
    said = {"LogAppendTime": "LogAppendTime", "delete": "delete", "a day at most": "86400000"}
    said |= {"`retention_log_days`": "604800000", "16 MiB": "16777216", "copies − 1, at least 1": "2"}
    for name, cells in rows.items():
        if name.removesuffix("` (at least)") in properties:
            found = [topic.config.get(name.removesuffix("` (at least)")) for topic in planned]
            assert found == [said.get(cell) for cell in cells]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where users reach a broker that lets them do what the page says, and nothing else."""
    inside, outside, controller = find_free_port(), find_free_port(), find_free_port()
    users = " ".join(f'user_{name}="secret"' for name in (*ROLES, "nobody"))
    settings = {
        "listeners": f"PLAINTEXT://127.0.0.1:{inside},SASL_PLAINTEXT://127.0.0.1:{outside},"
        f"CONTROLLER://127.0.0.1:{controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain"
        f".PlainLoginModule required {users};",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    broker = ApacheKafka(tmp_path_factory.mktemp("guarded") / "broker", settings)
    broker.servers = f"127.0.0.1:{inside}"
    with broker:
        admin = Cluster(broker.servers, FAST).open_admin()
        _, *planned = plan_topics(Cluster("", {}), admin, partitions=1, replication=1, retention_days=7)
        wrong = [replace(topic, config={"cleanup.policy": "compact"}) for topic in planned]
        apply_differences(admin, wrong, compare_topics(admin, wrong))
        for answer in admin.create_acls([acl for role in ROLES for acl in _acls(role)]).values():
            answer.result()
        yield f"127.0.0.1:{outside}"


def _acls(role: str) -> Iterator[AclBinding]:
    for who, operations, where in read_table("| who | operations | on |"):
        if re.sub(r"\W+", "_", who).strip("_") != role:
            continue
        kind, name = (where.split("`")[0].strip(), where.split("`")[1]) if "`" in where else (where, "")
        resources = {
            "all topics": [(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL) for topic in TOPICS],
            "topic": [(ResourceType.TOPIC, name, ResourcePatternType.LITERAL)],
            "group": [(ResourceType.GROUP, name, ResourcePatternType.LITERAL)],
            "transactional ids that begin with": [
                (ResourceType.TRANSACTIONAL_ID, name, ResourcePatternType.PREFIXED)
            ],
        }[kind]
        for operation in operations.split(", "):
            allowed = AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()]
            for resource in resources:
                yield AclBinding(*resource, f"User:{role}", "*", allowed, AclPermissionType.ALLOW)


def _init(cluster: Cluster, _: Database) -> None:
    """Make a topic, change another, add a partition."""
    admin = cluster.open_admin()
    planned = plan_topics(cluster, admin, partitions=2, replication=1, retention_days=7)
    differences = compare_topics(admin, planned)
    assert {difference.action for difference in differences} == {"create", "raise", "set"}
    apply_differences(admin, planned, differences)


def _look(cluster: Cluster, _: Database) -> None:
    admin = cluster.open_admin()
    assert compare_topics(admin, plan_topics(cluster, admin, partitions=2, replication=1, retention_days=7)) == []


def _serve(cluster: Cluster, database: Database) -> None:
    with closing(KafkaLog(cluster)) as log:
        log.prepare(1)
        for topic in TOPICS:
            append(log, database, b"x", topic=topic)
            assert sum(log.end_offsets(topic).values()) == 1


def _sample(cluster: Cluster, database: Database) -> None:
    with closing(KafkaLog(cluster)) as log:
        log.prepare(1)
        with closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as relay:
            claim(relay)
            assert (relay.first_offset(0), relay.committed(0)) == (0, 0)
            take(relay, 0, 0, 1)
            hand_over(relay, database, b"sample", offsets={0: 1})
            relay.appended_before(0, 1)


def _profile(cluster: Cluster, _: Database) -> None:
    with closing(KafkaLog(cluster)) as log:
        log.prepare(1)
        with closing(log.reader("profiler", PREDICTION_SAMPLES)) as reader:
            claim(reader)
            take(reader, 0, reader.first_offset(0), 2)
            deadline = time.monotonic() + 30
            while not reader.appended_before(0, reader.skip_gap(0, 2)):
                assert time.monotonic() < deadline
                reader.wait({}, 0.1)


def _join(cluster: Cluster, _: Database) -> None:
    with closing(KafkaLog(cluster)) as log:
        log.prepare(1)
        for topic, records in ((PREDICTION_SAMPLES, 2), (LABELS, 1)):
            with closing(log.reader(f"joiner-{topic}", topic)) as reader:
                claim(reader)
                take(reader, 0, reader.first_offset(0), records)


def _monitor(cluster: Cluster, _: Database) -> None:
    with closing(KafkaLog(cluster)) as log:
        log.prepare(1)
        assert log.count_partitions(PREDICTION_SAMPLES) == len(log.end_offsets(PREDICTION_LOGS)) == 2


def _watch(cluster: Cluster, _: Database) -> None:
    with closing(KafkaLog(cluster)) as log:
        log.prepare(1)
        assert log.count_partitions(PREDICTION_SAMPLES) == 2
        assert all(len(log.end_offsets(topic)) == 2 for topic in (PREDICTION_LOGS, PREDICTION_SAMPLES, LABELS))


def _maintain(cluster: Cluster, _: Database) -> None:
    with closing(KafkaLog(cluster)) as log:
        log.prepare(1)


def _send(cluster: Cluster, _: Database) -> None:
    options = Options(
        kafka_servers=cluster.servers, kafka_prefix=cluster.prefix, kafka=cluster.properties, timeout_s=20
    )
    with closing(KafkaTransport("fraud", "3", options)) as transport:
        assert transport.send(Parcel("1", Content.PREDICTIONS, 1, b"batch")) == 0
        assert transport.send(Parcel("2", Content.LABELS, 1, b'{"prediction_id": "p", "value": 1}')) == 0


def _log(cluster: Cluster, database: Database) -> None:
    with closing(KafkaLog(cluster)) as log:
        append(log, database, b"{}", topic=PREDICTION_LOGS)


ROLES: dict[str, Callable[[Cluster, Database], None]] = {
    "driftline_kafka_init": _init,
    "driftline_kafka_init_dry_run": _look,
    "the_API": _serve,
    "sampler": _sample,
    "profiler": _profile,
    "joiner": _join,
    "monitor": _monitor,
    "watch": _watch,
    "maintenance": _maintain,
    "driftline_Monitor": _send,
    "producers_that_log_everything": _log,
}


@pytest.mark.kafka
def test_permissions_suffice(guarded: str, database: Database) -> None:
    named = [re.sub(r"\W+", "_", who).strip("_") for who, _, _ in read_table("| who | operations | on |")]
    assert list(dict.fromkeys(named)) == list(ROLES)

    def log_in(user: str) -> Cluster:
        sasl = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
        return Cluster(guarded, {**FAST, **sasl, "sasl.username": user, "sasl.password": "secret"})

    with closing(KafkaLog(log_in("nobody"))) as log, pytest.raises(LogError, match="uthoriz"):
        log.prepare(1)
    for role, act in ROLES.items():
        act(log_in(role), database)
