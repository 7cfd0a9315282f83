"""N follows the traffic of windows that close, unless the model fixes it; lower weights are noted."""

from itertools import count

import pytest

from driftline.core.sampling import TARGET_ROWS
from driftline.store.models import update_model
from driftline.store.sampling import list_rates, read_label_n
from driftline.store.versions import create_version
from driftline.workers.up import read_clock
from tests.workers.plant import Plant, at, make_batch

ids = count()


def send(plant: Plant, hour: float, rows: int, *, weight: int = 1) -> None:
    """Let predictions of an hour come; the windows before it close."""
    plant.send(make_batch((f"p{next(ids)}" for _ in range(rows)), at(hour), weight=weight))
    plant.drain()
    plant.cycle()


def rates(plant: Plant, version: str = "3") -> list[int]:
    with plant.database.transaction() as conn:
        return [rate.n for rate in list_rates(conn, "fraud", version)]


def test_up_with_traffic_and_down_with_quiet(plant: Plant) -> None:
    send(plant, 0.5, 500, weight=60)
    assert rates(plant) == [1]  # an open window changes nothing
    send(plant, 1.5, 900, weight=30)
    assert rates(plant) == [1, 30]
    send(plant, 2.5, 1_200, weight=100)
    assert rates(plant) == [1, 30]  # 27,000 rows: 900 at N = 30, near enough
    send(plant, 3.5, 10, weight=100)
    assert rates(plant) == [1, 30, 120]
    send(plant, 4.5, 1)
    assert rates(plant) == [1, 30, 120, 1]
    assert plant.execute("SELECT sampling_n FROM model_versions") == [(1,)]


def test_a_window_brings_about_a_thousand_rows(plant: Plant) -> None:
    send(plant, 0.5, 1_000, weight=400)
    send(plant, 1.5, 1)
    assert 400_000 // rates(plant)[-1] == pytest.approx(TARGET_ROWS, rel=0.01)


def test_a_fixed_n_wins(plant: Plant) -> None:
    with plant.database.transaction() as conn:
        update_model(conn, "fraud", {"settings": {"sampling_n": 7}})
    for hour in range(4):
        send(plant, hour + 0.5, 1_000, weight=50 * (1 + hour))
    assert rates(plant) == [1, 7]


def test_late_rows_and_replays_change_nothing(plant: Plant) -> None:
    send(plant, 100.5, 1_000, weight=50)
    send(plant, 101.5, 1)
    assert rates(plant) == [1, 50]
    send(plant, 100.6, 1_000, weight=50)  # the closed window grows
    assert plant.windows()[at(100)].weight == 100_000
    assert rates(plant) == [1, 50]
    for hour in range(4):  # an older day is replayed, and its windows close
        send(plant, hour + 0.5, 20)
    assert all(plant.windows()[at(hour)].closed_at is not None for hour in range(4))
    assert rates(plant) == [1, 50]


def test_versions_adapt_apart(plant: Plant) -> None:
    with plant.database.transaction() as conn:
        create_version(conn, "fraud", "4", sampling_n=9)
    send(plant, 0.5, 1_000, weight=50)
    send(plant, 1.5, 1)
    assert (rates(plant), rates(plant, "4")) == ([1, 50], [9])


def test_a_flush_notes_weights_below_n(plant: Plant) -> None:
    """Kafka's producers do not pass the API: what they send counts once it is consumed."""
    plant.execute("UPDATE model_versions SET sampling_n = 50")
    plant.execute("UPDATE sampling_rates SET n = 50")
    send(plant, 0.5, 20, weight=60)
    assert plant.execute("SELECT weight FROM sampling_weights") == []
    plant.send(make_batch(["a"], at(0.5), weight=20), make_batch(["b"], at(0.5), weight=5))
    plant.drain()
    assert plant.execute("SELECT weight FROM sampling_weights") == [(5,)]
    with plant.database.transaction() as conn:
        assert read_label_n(conn, "fraud", "3", read_clock()) == 5
