"""The three logs: each test that asks for `open_log` runs on all of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from itertools import count

import pytest
from tests.brokers import ApacheKafka, Broker, Tansu

from driftline.log.kafka import KafkaLog
from driftline.log.kafka_cluster import Cluster
from driftline.log.kafka_topics import apply_differences, compare_topics, plan_topics
from driftline.log.log import Log
from driftline.log.postgres_log import PostgresLog
from driftline.store.database import Database

PARTITIONS = 2
FAST = {"reconnect.backoff.max.ms": 500, "fetch.error.backoff.ms": 50}

_prefixes = count(1)


@pytest.fixture(scope="session")
def tansu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tansu]:
    with Tansu(tmp_path_factory.mktemp("tansu")) as broker:
        yield broker


@pytest.fixture(scope="session")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    with ApacheKafka(tmp_path_factory.mktemp("kafka") / "broker") as broker:
        yield broker


def make_cluster(
    broker: Broker, partitions: int = PARTITIONS, properties: Mapping[str, str | int] | None = None
) -> Cluster:
    """A cluster with topics of this test's own."""
    prefix = f"test{next(_prefixes)}-"
    cluster = Cluster(broker.servers, {**FAST, **broker.properties, **(properties or {})}, prefix)
    admin = cluster.open_admin()
    planned = plan_topics(cluster, admin, partitions=partitions, replication=1, retention_days=7)
    apply_differences(admin, planned, compare_topics(admin, planned))
    return cluster


@pytest.fixture
def cluster(apache: ApacheKafka) -> Cluster:
    """Topics on Apache Kafka."""
    return make_cluster(apache)


@pytest.fixture(params=["postgres", "tansu", pytest.param("apache", marks=pytest.mark.kafka)])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def open_log(kind: str, request: pytest.FixtureRequest, database: Database) -> Iterator[Callable[[], Log]]:
    """Opens the log as one process after another would; all are closed at the end."""
    opened = ExitStack()
    if kind == "postgres":
        make: Callable[[], Log] = lambda: PostgresLog(database)  # noqa: E731  it stands beside the other
    else:
        cluster = make_cluster(request.getfixturevalue(kind))
        make = lambda: KafkaLog(cluster)  # noqa: E731
    with opened:
        yield lambda: opened.enter_context(closing(make()))


@pytest.fixture
def log(open_log: Callable[[], Log]) -> Log:
    """One log, with its topics."""
    opened = open_log()
    opened.prepare(PARTITIONS)
    return opened
