"""`driftline kafka init`: on Apache Kafka, and without any."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from tests.brokers import ApacheKafka, Tansu
from tests.cli.conftest import Run

_prefixes = count(1)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    with ApacheKafka(tmp_path_factory.mktemp("kafka") / "broker") as broker:
        yield broker


@pytest.fixture
def prefix(apache: ApacheKafka, monkeypatch: pytest.MonkeyPatch) -> str:
    prefix = f"init{next(_prefixes)}."
    monkeypatch.setenv("DRIFTLINE_KAFKA_SERVERS", apache.servers)
    monkeypatch.setenv("DRIFTLINE_KAFKA_PREFIX", prefix)
    return prefix


def test_without_kafka(run: Callable[..., Run]) -> None:
    done = run("kafka", "init")
    assert done.code == 2
    assert "set kafka_servers" in done.err


def test_brokers_that_do_not_answer(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_KAFKA_SERVERS", "127.0.0.1:1")
    done = run("kafka", "init")
    assert done.code == 2
    assert "cannot count the brokers" in done.err


def test_a_property_that_there_is_not(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_KAFKA_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("DRIFTLINE_KAFKA", '{"sasl.pasword": "secret"}')
    done = run("kafka", "init")
    assert done.code == 2
    assert 'No such configuration property: "sasl.pasword"' in done.err
    assert "secret" not in done.err


def test_on_the_broker_from_a_wheel(
    run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Tansu(tmp_path) as broker:
        monkeypatch.setenv("DRIFTLINE_KAFKA_SERVERS", broker.servers)
        assert run("kafka", "init", "--dry-run").code == 1
        assert run("kafka", "init").code == 0
        assert run("kafka", "init", "--dry-run").code == 0


@pytest.mark.kafka
def test_topics_are_made_once(run: Callable[..., Run], prefix: str) -> None:
    plan = run("kafka", "init", "--dry-run", "--partitions", "3", "--json", "-")
    assert plan.code == 1
    assert {(each["topic"], each["wanted"], each["action"]) for each in json.loads(plan.out)} == {
        (f"{prefix}{topic}", "3 partitions, 1 copies", "create")
        for topic in ("prediction_logs", "prediction_samples", "labels")
    }
    made = run("kafka", "init", "--partitions", "3")
    assert made.code == 0
    assert made.out.count("created") == 3
    again = run("kafka", "init", "--partitions", "2")
    assert (again.code, again.out) == (0, "all topics are as they should be\n")


@pytest.mark.kafka
def test_what_matters_is_set_and_the_rest_is_the_operators(
    run: Callable[..., Run], prefix: str, apache: ApacheKafka
) -> None:
    assert run("kafka", "init", "--partitions", "1").code == 0
    admin = AdminClient({"bootstrap.servers": apache.servers, "log_level": 0})
    changes = {
        "message.timestamp.type": "CreateTime",
        "cleanup.policy": "compact",
        "max.message.bytes": "1000",
        "retention.ms": "3600000",
    }
    entries = [ConfigEntry(n, v, incremental_operation=AlterConfigOpType.SET) for n, v in changes.items()]
    resource = ConfigResource("topic", f"{prefix}prediction_samples", incremental_configs=entries)
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result()

    changed = run("kafka", "init", "--partitions", "2", "--json", "differences.json")
    assert changed.code == 0
    differences = json.loads(Path("differences.json").read_text())
    found = {(each["what"], each["found"], each["action"]) for each in differences if "samples" in each["topic"]}
    assert found == {
        ("partitions", "1", "raise"),
        ("message.timestamp.type", "CreateTime", "set"),
        ("cleanup.policy", "compact", "set"),
        ("max.message.bytes", "1000", "set"),
        ("retention.ms", "3600000", "leave"),
    }
    after = run("kafka", "init", "--partitions", "2", "--dry-run", "--json", "-")
    assert after.code == 0
    assert [(each["what"], each["action"]) for each in json.loads(after.out)] == [("retention.ms", "leave")]
