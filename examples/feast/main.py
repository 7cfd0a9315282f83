"""Feast: the reference is built of historical features, and online features are logged under the same names."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64, Int64

import driftline
from driftline.sdk.integrations.feast import feast_features

MODEL, VERSION = "feast", "1"
FEATURES = ["driver_stats:conv_rate", "driver_stats:trips"]


def accept(features: dict[str, float]) -> float:
    """The model: whether the driver will take the trip."""
    return 1 / (1 + np.exp(-4 * features["driver_stats__conv_rate"] + 2))


def make_store(folder: Path, stats: pd.DataFrame) -> FeatureStore:
    """Make a feature store of one view of drivers, in a folder."""
    stats.to_parquet(folder / "stats.parquet")
    store = FeatureStore(
        config=RepoConfig(
            project="demo",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )
    driver = Entity(name="driver", join_keys=["driver_id"])
    view = FeatureView(
        name="driver_stats",
        entities=[driver],
        schema=[Field(name="conv_rate", dtype=Float64), Field(name="trips", dtype=Int64)],
        source=FileSource(path=str(folder / "stats.parquet"), timestamp_field="event_timestamp"),
        ttl=timedelta(days=7),
    )
    store.apply([driver, view])
    return store


rng = np.random.default_rng(0)
now = datetime.now(UTC)
stats = pd.DataFrame(
    {
        "driver_id": range(200),
        "event_timestamp": now - timedelta(hours=1),
        "conv_rate": rng.random(200),
        "trips": rng.poisson(20, 200),
    }
)
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    store = make_store(folder, stats)

    # Training: full feature names, without the entity and the time.
    asked = pd.DataFrame({"driver_id": range(200), "event_timestamp": now})
    train = store.get_historical_features(asked, FEATURES, full_feature_names=True).to_df()
    features = train.drop(columns=["driver_id", "event_timestamp"])
    scores = [accept(row) for row in features.to_dict("records")]
    features.assign(prediction=[int(score > 0.5) for score in scores]).to_csv(folder / "train.csv", index=False)
    driftline.upload_reference(MODEL, VERSION, folder / "train.csv", task="binary", window="1h")

    # Serving: the same names.
    store.materialize_incremental(now)
    with driftline.Monitor(MODEL, VERSION) as monitor:
        for start in range(0, 100, 10):
            drivers = [{"driver_id": driver} for driver in range(start, start + 10)]
            online = store.get_online_features(FEATURES, drivers, full_feature_names=True)
            for row, driver in zip(feast_features(online, entities=["driver_id"]), drivers, strict=True):
                score = accept(row)
                monitor.log(row, prediction=int(score > 0.5), score=score, entity_id=driver["driver_id"])
    print(monitor.counts)
