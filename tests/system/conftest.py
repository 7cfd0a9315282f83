"""The same tests on each log: a table in PostgreSQL, a broker from a wheel, and Apache Kafka."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

from driftline.api.app import create_app
from driftline.api.server import serve
from driftline.log.choice import open_log
from driftline.log.kafka import KafkaLog
from driftline.log.log import Log
from driftline.log.postgres_log import PostgresLog
from driftline.settings import Settings
from driftline.store.database import Database, open_pool
from tests.log.conftest import apache, make_cluster, tansu
from tests.system.crew import Crew
from tests.system.shop import Shop
from tests.system.site import Site
from tests.workers.plant import Plant, make_reference

__all__ = ["apache", "tansu"]

IMPATIENT = {"session.timeout.ms": 3000, "max.poll.interval.ms": 3000, "heartbeat.interval.ms": 500}
"""A worker that is silent for three seconds is given up."""


@pytest.fixture(
    params=[
        "postgres",
        pytest.param("tansu", marks=pytest.mark.slow),
        pytest.param("apache", marks=pytest.mark.kafka),
    ]
)
def log(request: pytest.FixtureRequest, database: Database) -> Iterator[Log]:
    """Each log, with topics of one partition."""
    opened: Log
    if request.param == "postgres":
        opened = PostgresLog(database)
    else:
        opened = KafkaLog(make_cluster(request.getfixturevalue(request.param), 1, IMPATIENT))
    with closing(opened):
        yield opened


@pytest.fixture
def site(database: Database, log: Log, tmp_path: Path) -> Iterator[Site]:
    """A plant with the model `fraud`, its version 3, hourly windows and a reference."""
    plant = Plant(database, tmp_path / "samples", log=log)
    plant.register()
    plant.refer(make_reference())
    with closing(Site(plant)) as made:
        yield made


QUICK = {
    "flush_interval_s": 0.2,
    "allowed_lateness_s": 1,
    "idle_close_s": 2,
    "sampler_slice_rows": 10_000,
    "log_partitions": 4,
    "log_level": "warning",
}

OpenShop = Callable[[str, Sequence[str]], AbstractContextManager[Shop]]


@pytest.fixture(params=["postgres", "tansu", pytest.param("apache", marks=pytest.mark.kafka)])
def kind(request: pytest.FixtureRequest) -> str:
    """Each log."""
    name: str = request.param
    return name


@pytest.fixture
def open_shop(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> OpenShop:
    """Opens a driftline on a database: workers of these names in processes of their own, the API in this one."""
    chosen: dict[str, object] = {**QUICK, "data_dir": tmp_path}
    if kind != "postgres":
        cluster = make_cluster(request.getfixturevalue(kind), QUICK["log_partitions"], IMPATIENT)
        chosen |= {
            "kafka_servers": cluster.servers,
            "kafka": dict(cluster.properties),
            "kafka_prefix": cluster.prefix,
        }

    @contextmanager
    def opened(database: str, names: Sequence[str]) -> Iterator[Shop]:
        url = f"postgresql:///?{urlencode(conninfo_to_dict(database))}"
        settings = Settings(**chosen, database_url=url)
        with (
            open_pool(url) as opened_database,
            closing(open_log(settings, opened_database)) as log,
            serve(create_app(opened_database, log, settings), "127.0.0.1", 0) as address,
            httpx.Client(base_url=address, timeout=60) as client,
            Crew(names, _environment(chosen, url), tmp_path / "workers") as crew,
        ):
            yield Shop(client, opened_database, log, crew)

    return opened


def _environment(settings: dict[str, object], url: str) -> dict[str, str]:
    named = {
        f"DRIFTLINE_{name.upper()}": json.dumps(value) if isinstance(value, dict) else str(value)
        for name, value in settings.items()
    }
    return {"DATABASE_URL": url, **named}
