"""GET /models/{model_id}/labels/status."""

from pathlib import Path

import httpx
import numpy as np
import pytest

from driftline.store.database import Database
from driftline.workers.catalog import Catalog
from driftline.workers.performance import Curves, compute_due
from tests.workers.plant import HOUR, Plant, at
from tests.workers.registry import Registry


@pytest.fixture
def registry(database: Database, tmp_path: Path) -> Registry:
    made = Registry(Plant(database, tmp_path / "samples"))
    made.register()
    return made


def test_nothing_has_come_yet(client: httpx.Client, registry: Registry) -> None:
    said = client.get("/models/loans/labels/status").json()
    assert said["predictions"] == {"kept": 0, "labeled": 0, "pending": 0, "expired": 0}
    assert (said["coverage"], said["label_on_expiry"], said["max_label_delay_s"]) == (None, None, 30 * 86_400)
    assert said["delays"] == {"status": "too_few", "horizon_s": 0, "until": []}
    assert (said["oldest_window"], said["newest_window"]) == (None, None)


def test_counts(client: httpx.Client, registry: Registry) -> None:
    """Half of the predictions get their label after two hours, and a label comes that is nobody's."""
    plant = registry.plant
    plant.execute('UPDATE models SET settings = \'{"max_label_delay_s": 86400, "label_on_expiry": 0}\'')
    rows = 200
    for hour in range(3):
        times = at(hour) + np.arange(rows) * (HOUR // rows)
        ids = [f"{hour}-{i}" for i in range(rows)]
        registry.predict(ids, times, weight=2)
        for i in range(0, rows, 2):
            registry.label([ids[i]], [1], int(times[i]) + 2 * HOUR)
    registry.label(["nobody"], [1], at(5))
    registry.join()
    compute_due(plant.database, Catalog(), Curves(), plant.settings, lambda: at(100), plant.stop)
    plant.execute("UPDATE performance_windows SET expired_at = now() WHERE window_start = '2026-01-05'")
    said = client.get("/models/loans/labels/status").json()
    assert said["predictions"] == {"kept": 600, "labeled": 300, "pending": 200, "expired": 100}
    assert (said["coverage"], said["label_on_expiry"], said["max_label_delay_s"]) == (0.5, 0, 86_400)
    assert (said["labels"]["joined"], said["labels"]["waiting"]) == (300, 1)
    assert (said["oldest_window"], said["newest_window"]) == ("2026-01-05T00:00:00Z", "2026-01-05T02:00:00Z")


def test_the_delay_curve(client: httpx.Client, registry: Registry) -> None:
    plant = registry.plant
    plant.execute("UPDATE models SET settings = '{\"max_label_delay_s\": 86400}'")
    delays = np.random.default_rng(0).exponential(2 * HOUR, 400).astype(np.int64)
    ids = [str(i) for i in range(len(delays))]
    registry.predict(ids, at(0) + np.arange(len(delays)))
    registry.label(ids, [1] * len(ids), at(0) + np.arange(len(ids)) + delays)
    registry.join()
    compute_due(plant.database, Catalog(), Curves(), plant.settings, lambda: at(100), plant.stop)
    said = client.get("/models/loans/labels/status").json()["delays"]
    assert (said["status"], said["horizon_s"]) == ("ok", 86_400)
    known = {each["share"]: each["delay_s"] for each in said["until"]}
    assert known[0.5] == pytest.approx(2 * 3600 * np.log(2), rel=0.2)
    assert known[0.9] == pytest.approx(2 * 3600 * np.log(10), rel=0.2)
    assert sorted(known.values()) == list(known.values())


def test_an_unknown_model(client: httpx.Client) -> None:
    assert client.get("/models/nothing/labels/status").status_code == 404
