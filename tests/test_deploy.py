"""`deploy/`: what compose starts is there, agrees with itself and is what driftline needs.

Nothing here needs Docker. Apache Kafka is configured by the code of its image, which is in its jars.
"""

import base64
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from typer.main import get_command

from driftline import __version__
from driftline.cli.app import app
from driftline.log.choice import choose_cluster
from driftline.log.kafka import KafkaLog
from driftline.log.topics import PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.database import Database
from tests.brokers import JARS, await_broker, find_free_port
from tests.log.test_logs import hand_over

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
POM = ROOT / "tests" / "kafka" / "pom.xml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
STEPS = [
    line.split(maxsplit=1)
    for line in (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
SETTINGS = {f"DRIFTLINE_{field.upper()}" for field in Settings.model_fields if field != "database_url"}
SETTINGS |= {"DATABASE_URL"}
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def read_compose(shell: Mapping[str, str] = {}) -> dict[str, Any]:
    """Read compose.yaml as Docker does, with the variables of a shell."""

    def fill(match: re.Match[str]) -> str:
        name, default = match.groups()
        assert default is not None, f"{name} has no default"
        return shell.get(name) or default

    content: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(fill, (DEPLOY / "compose.yaml").read_text()))
    return content


COMPOSE = read_compose()
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
RUNNING = {name: service for name, service in OURS.items() if service["restart"] != "no"}


def parse_command(line: str) -> str:
    """Have the command line read a command without running it; gives its path."""
    name, *arguments = line.split()
    command: Any = get_command(app)
    context = None
    while hasattr(command, "resolve_command"):
        context = command.make_context(name, list(arguments), parent=context)
        name, command, arguments = command.resolve_command(context, arguments)
    return str(command.make_context(name, arguments, parent=context).command_path)


def read_settings(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Read the settings as a process in the container does."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**image_environment(), **environment}.items():
        if name in SETTINGS:
            monkeypatch.setenv(name, value)
    return Settings()


def image_environment() -> dict[str, str]:
    [line] = [rest for step, rest in STEPS if step == "ENV"]
    return dict(pair.split("=", 1) for pair in line.split())


def kafka_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """Make of variables what the image makes of them: KAFKA_NODE_ID is node.id."""
    named = {name.removeprefix("KAFKA_"): value for name, value in environment.items() if name[:6] == "KAFKA_"}
    return {name.lower().replace("_", "."): value for name, value in named.items()}


def listeners(value: str) -> dict[str, str]:
    return dict(each.split("://") for each in value.split(","))


def test_every_image_is_one_version() -> None:
    images = {service["image"] for service in SERVICES.values()}
    images |= {rest.split()[0] for step, rest in STEPS if step == "FROM"}
    assert len(images) == 4
    for image in images:
        assert re.fullmatch(r"[a-z/]+:[0-9]+\.[0-9][\w.-]*", image), image


def test_the_images_are_what_the_tests_run_on() -> None:
    [kafka] = re.findall(r"<artifactId>kafka_2.13</artifactId>\s*<version>([\d.]+)</version>", POM.read_text())
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{kafka}"
    assert {service["image"] for service in OURS.values()} == {f"driftline:{__version__}"}
    [oldest] = re.findall(r">=([\d.]+)", PROJECT["requires-python"])
    bases = [rest.split()[0] for step, rest in STEPS if step == "FROM"]
    assert {base.partition("-")[0] for base in bases} == {f"python:{oldest}"}


def test_ports_are_the_loopbacks() -> None:
    ports = {name: port for name, service in SERVICES.items() for port in service.get("ports", ())}
    assert {name: port.split(":") for name, port in ports.items()} == {
        "kafka": ["127.0.0.1", "9092", "9092"],
        "driftline": ["127.0.0.1", "8420", "8420"],
    }
    assert not any("network_mode" in service for service in SERVICES.values())


def test_volumes_are_declared_and_used() -> None:
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())]
    assert set(mounts) == set(COMPOSE["volumes"])


def test_what_is_waited_for_can_happen() -> None:
    waits = [wait for service in SERVICES.values() for wait in service.get("depends_on", {}).items()]
    assert waits
    for name, wait in waits:
        if wait["condition"] == "service_healthy":
            assert SERVICES[name]["healthcheck"]["test"]
        else:
            assert wait["condition"] == "service_completed_successfully"
            assert SERVICES[name]["restart"] == "no"  # else it is never seen to complete
    assert all(set(service["depends_on"]) == {"migrate", "topics"} for service in RUNNING.values())
    assert all(service["restart"] == "unless-stopped" for service in SERVICES.values() if "build" not in service)


def test_every_command_is_there() -> None:
    commands = {name: parse_command(service["command"]) for name, service in OURS.items()}
    assert commands == {
        "migrate": "driftline migrate",
        "topics": "driftline kafka init",
        "driftline": "driftline up",
        **dict.fromkeys(
            ["sampler", "profiler", "joiner", "monitor", "performance", "deliveries", "watch"], "driftline worker"
        ),
    }
    [command] = [yaml.safe_load(rest) for step, rest in STEPS if step == "CMD"]
    assert parse_command(" ".join(command)) == "driftline up"


@pytest.mark.parametrize("wrong", ["driftline worker smapler", "driftline up --prot 1", "driftline kafka inti"])
def test_a_wrong_command_is_seen(wrong: str) -> None:
    with pytest.raises(Exception, match=r"smapler|--prot|inti"):
        parse_command(wrong)


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    not_ours = {"PATH", "PYTHONUNBUFFERED", "NUMBA_CACHE_DIR"}
    assert {*OURS[name]["environment"], *image_environment()} - not_ours <= SETTINGS
    settings = read_settings(OURS[name]["environment"], monkeypatch)
    _, _, port = SERVICES["driftline"]["ports"][0].split(":")
    assert (settings.host, settings.port) == ("0.0.0.0", int(port))  # of the container; published on the loopback


def test_the_database_is_the_one_that_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in ({}, {"DATABASE_PASSWORD": "secret"}):
        services = read_compose(shell)["services"]
        url = urlsplit(str(read_settings(services["driftline"]["environment"], monkeypatch).database_url))
        made = services["timescaledb"]["environment"]
        assert (url.username, url.password) == (made["POSTGRES_USER"], made["POSTGRES_PASSWORD"])
        assert (url.hostname, url.port, url.path) == ("timescaledb", 5432, "/" + made["POSTGRES_DB"])
    [mount] = SERVICES["timescaledb"]["volumes"]
    assert made["PGDATA"].startswith(mount.split(":")[1] + "/")


def test_samples_are_shared_and_may_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new volume takes the owner that its folder has in the image."""
    [made] = [rest.split() for step, rest in STEPS if step == "RUN" and "--owner driftline" in rest]
    for service in RUNNING.values():
        folder = urlsplit(str(read_settings(service["environment"], monkeypatch).samples_url)).path
        assert service["volumes"] == [f"samples:{folder}"]
        assert folder in made


def test_kafka_is_configured_as_the_log_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in ({}, {"KAFKA_PORT": "29092"}):
        services = read_compose(shell)["services"]
        made = kafka_properties(services["kafka"]["environment"])
        own, advertised = listeners(made["listeners"]), listeners(made["advertised.listeners"])
        protocols = dict(each.split(":") for each in made["listener.security.protocol.map"].split(","))
        assert own.keys() == protocols.keys() == {*advertised, made["controller.listener.names"]}
        assert (
            read_settings(services["driftline"]["environment"], monkeypatch).kafka_servers == advertised["INSIDE"]
        )
        assert advertised["INSIDE"] == "kafka" + own["INSIDE"]
        [port] = services["kafka"]["ports"]
        assert (advertised["HOST"], own["HOST"]) == (f"localhost:{port.split(':')[1]}", f":{port.split(':')[2]}")
    assert made["controller.quorum.voters"] == f"{made['node.id']}@kafka{own['CONTROLLER']}"
    assert made["auto.create.topics.enable"] == "false"  # `driftline kafka init` makes them as they should be
    ones = ("offsets.topic.replication.factor", "transaction.state.log.replication.factor")
    assert {made[name] for name in (*ones, "transaction.state.log.min.isr")} == {"1"}  # there is one broker
    assert len(base64.urlsafe_b64decode(SERVICES["kafka"]["environment"]["CLUSTER_ID"] + "==")) == 16
    assert SERVICES["kafka"]["volumes"] == [f"kafka:{made['log.dirs']}"]


def test_the_image_is_made_of_files_that_are_there() -> None:
    build = OURS["driftline"]["build"]
    context = (DEPLOY / build["context"]).resolve()
    assert (context / build["dockerfile"]).is_file()
    ignored = [line for line in (context / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert ignored[0] == "*"
    sent = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for step, rest in STEPS
        if step == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert all((context / source).exists() for source in copied)
    assert copied == sent
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml"} <= copied  # what a build of it reads


def test_the_image_is_what_the_lock_file_names() -> None:
    [install] = [rest for step, rest in STEPS if step == "RUN" and "pip install" in rest]
    [constraint] = re.findall(r"--constraint (\S+)", install)
    assert (ROOT / constraint).is_file()
    [extras] = re.findall(r"'\.\[([\w,]+)\]'", install)
    assert set(extras.split(",")) == {"server", "kafka"} <= PROJECT["optional-dependencies"].keys()
    [copied] = [rest.split()[1:] for step, rest in STEPS if step == "COPY" and rest.startswith("--from")]
    assert copied == [copied[0], copied[0]]  # an environment works where it was made, and nowhere else
    assert image_environment()["PATH"].startswith(f"{copied[0]}/bin:")
    assert install.startswith(f"python -m venv {copied[0]} ")


def test_the_image_runs_as_a_user() -> None:
    users = [rest for step, rest in STEPS if step == "USER"]
    assert users == ["driftline"]
    assert any("useradd" in rest and rest.split("&&")[0].split()[-1] == "driftline" for _, rest in STEPS)
    last = max(number for number, (step, _) in enumerate(STEPS) if step == "FROM")
    assert [step for step, _ in STEPS[last:]].index("USER") > 0


@contextmanager
def run_broker(folder: Path) -> Iterator[Callable[[str], str]]:
    """Run Apache Kafka as its image would, with compose's variables; gives what moves its addresses to here."""
    ports = {port: find_free_port() for port in ("19092", "9092", "9093")}

    def move(value: str) -> str:
        return re.sub(
            r"(?:kafka|localhost)?:(19092|9092|9093)\b", lambda match: f"127.0.0.1:{ports[match[1]]}", value
        )

    made = {name: move(value) for name, value in SERVICES["kafka"]["environment"].items()}
    made["KAFKA_LOG_DIRS"] = str(folder / "data")
    folders = {letter: folder / letter for letter in "DMF"}  # defaults, mounted, final
    for each in folders.values():
        each.mkdir()
    java = ["java", "-Xmx512m", "-cp", f"{JARS}{os.sep}*"]
    setup = [*java, "kafka.docker.KafkaDockerWrapper", "setup"]
    setup += [word for letter, each in folders.items() for word in (f"-{letter}", str(each))]
    with (folder / "kafka.log").open("wb") as log:
        subprocess.run(setup, env={**os.environ, **made}, stdout=log, stderr=log, check=True)
        start = [*java, "kafka.Kafka", str(folders["F"] / "server.properties")]
        process = subprocess.Popen(start, stdout=log, stderr=log)
    try:
        await_broker(move("kafka:19092"), process, folder / "kafka.log")
        yield move
    finally:
        process.kill()
        process.wait()


@pytest.mark.kafka
def test_the_broker_takes_the_topics_and_transactions(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_broker(tmp_path) as move:
        environment = {name: move(value) for name, value in OURS["topics"]["environment"].items()}
        settings = read_settings(environment, monkeypatch)
        command = [sys.executable, "-m", *OURS["topics"]["command"].split()]
        for arguments, said in ([], "created"), (["--dry-run"], "all topics are as they should be"):
            done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
            assert said in done.stdout
        with (
            closing(KafkaLog(choose_cluster(settings))) as log,
            closing(log.relay("sampler", PREDICTION_LOGS, PREDICTION_SAMPLES)) as relay,
        ):
            log.prepare(settings.log_partitions)
            while len(relay.claim()) < settings.log_partitions:
                relay.wait({}, 0.1)
            committed = relay.committed(0)
            assert hand_over(relay, database, b"", offsets={0: committed + 1})
            assert relay.committed(0) == committed + 1
