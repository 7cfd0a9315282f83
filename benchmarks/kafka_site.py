"""A driftline on Apache Kafka and an embedded PostgreSQL, for benchmarks: those of the tests."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from driftline.core.columns import Columns
from driftline.core.reference import build_reference
from driftline.core.schema import Feature, Kind, Schema, Task
from driftline.log.kafka import KafkaLog
from driftline.log.kafka_cluster import Cluster
from driftline.log.kafka_topics import apply_differences, compare_topics, plan_topics
from driftline.settings import Settings
from driftline.store.database import open_database
from driftline.store.sampling import announce_n

sys.path.append(str(Path(__file__).parents[1]))  # the tests' folder is not installed
from tests.brokers import ApacheKafka
from tests.system.crew import Crew
from tests.workers.plant import HOUR, Plant

__all__ = ["VERSION", "Crew", "Plant", "Site", "draw_columns", "make_schema", "open_site", "register"]

VERSION = "1"
REFERENCE_ROWS = 5_000
WINDOW_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Site:
    """A running broker, and a plant on its topics; `cluster` is how driftline reaches it."""

    broker: ApacheKafka
    cluster: Cluster
    plant: Plant
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the plant, for workers in processes of their own."""
        settings = self.plant.settings
        chosen = {f"DRIFTLINE_{name.upper()}": getattr(settings, name) for name in settings.model_fields_set}
        url = chosen.pop("DRIFTLINE_DATABASE_URL")
        return {"DATABASE_URL": url} | {name: str(value) for name, value in chosen.items()}


@contextmanager
def open_site(
    partitions: int, broker_settings: Mapping[str, str | int] | None = None, **settings: object
) -> Iterator[Site]:
    """Run a broker, with lines of its server.properties, and a database; and make topics and a plant on them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        embedded = Settings(database_url=None, data_dir=folder / "data", log_level="error")
        with (
            open_database(embedded) as database,
            ApacheKafka(folder / "broker", broker_settings) as broker,
            closing(KafkaLog(cluster := make_topics(broker, partitions))) as log,
        ):
            chosen = Settings(
                database_url=database.url,
                samples_url=f"file://{folder / 'samples'}",
                kafka_servers=broker.servers,
                **settings,  # type: ignore[arg-type]
            )
            plant = Plant(database, folder / "samples", partitions, chosen, log=log)
            yield Site(broker, cluster, plant, folder)


def make_topics(broker: ApacheKafka, partitions: int) -> Cluster:
    """Make the topics, as `driftline kafka init` does."""
    cluster = Cluster(broker.servers)
    admin = cluster.open_admin()
    planned = plan_topics(cluster, admin, partitions=partitions, replication=1, retention_days=7)
    apply_differences(admin, planned, compare_topics(admin, planned))
    return cluster


def make_schema(features: int) -> Schema:
    """Make the schema of a binary classifier with so many numeric features."""
    return Schema(tuple(Feature(f"f{i}", Kind.NUMERIC) for i in range(features)), Task.BINARY)


def draw_columns(rows: int, features: int, seed: int) -> Columns:
    """Draw rows of normal values, with a class and a score."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, features), np.float32)
    return Columns(values, rng.random((rows, 1)), rng.integers(0, 2, (rows, 1), np.int32), (("0", "1"),))


def register(plant: Plant, model_id: str, schema: Schema, *, n: int = 1, window: int = HOUR) -> None:
    """Register a model of which one prediction in `n` is kept, with a reference."""
    plant.register(model_id, VERSION, window=window, schema=schema, sampling_n=n)
    columns = draw_columns(REFERENCE_ROWS, len(schema.features), 0)
    reference = build_reference(lambda: [(columns, None)], schema, window_length=window, window_rows=WINDOW_ROWS)
    plant.refer(reference, model_id, VERSION)
    with plant.database.transaction() as conn:
        announce_n(conn, model_id, VERSION, n)
    plant.execute(
        "DELETE FROM sampling_rates WHERE model_id = %s AND n <> %s", model_id, n
    )  # the rate it was registered with would be in force for the first slice
