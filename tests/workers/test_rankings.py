"""Rankings of windows: only rows that are in a list are measured."""

import numpy as np
import pytest

from driftline.core.batch import Batch
from driftline.core.columns import Columns
from driftline.core.performance import Performance, measure_performance
from driftline.core.schema import Feature, Kind, Schema, Task
from driftline.store.labeled import read_window_predictions
from tests.workers.plant import HOUR, Plant, at, record_of
from tests.workers.registry import Registry

RANKING = Schema((Feature("amount", Kind.NUMERIC),), Task.RANKING)


@pytest.fixture
def registry(bare: Plant) -> Registry:
    made = Registry(bare, RANKING)
    made.register()
    return made


def send(registry: Registry, hour: int, *, lists: int, alone: int) -> None:
    """Send lists of ten, the same in every hour, and rows of no list; all are labelled."""
    rng = np.random.default_rng(1)
    rows = lists * 10 + alone
    scores, relevance = rng.random(3_000)[:rows], rng.integers(0, 3, 3_000)[:rows]
    ids = tuple(f"{hour}-{i}" for i in range(rows))
    numbers = np.column_stack([np.full(rows, np.nan), scores])
    batch = Batch(
        "loans",
        "1",
        RANKING.schema_id,
        "",
        ids,
        at(hour) + np.arange(rows) * (HOUR // rows),
        Columns(np.ones((rows, 1), np.float32), numbers, np.zeros((rows, 0), np.int32), ()),
        group_ids=tuple(f"list-{i // 10}" if i < lists * 10 else None for i in range(rows)),
    )
    registry.plant.append(record_of(batch, RANKING))
    registry.label(ids, relevance.tolist(), at(hour + 1))


def measure(registry: Registry) -> list[Performance]:
    registry.join()
    registry.close()
    with registry.plant.database.transaction() as conn:
        read = [read_window_predictions(conn, [window]) for window in registry.windows()]
    return [measure_performance(Task.RANKING, rows.outcomes()) for rows in read]


def test_rows_of_no_list_are_not_ranked(registry: Registry) -> None:
    send(registry, 0, lists=100, alone=0)
    send(registry, 1, lists=100, alone=2_000)
    listed, mixed = measure(registry)
    assert set(mixed.status) == {"ok"}
    assert (mixed.n, mixed.n_eff) == (1_000, 100)
    assert mixed.values.tolist() == pytest.approx(listed.values.tolist())


def test_without_any_list_nothing_is_ranked(registry: Registry) -> None:
    send(registry, 0, lists=0, alone=200)
    (performance,) = measure(registry)
    assert set(performance.status) == {"no_groups"}


def test_labels_of_rows_of_no_list_alone_rank_nothing(registry: Registry) -> None:
    """The lists have no labels yet."""
    send(registry, 0, lists=20, alone=200)
    registry.join()
    registry.label([f"0-{i}" for i in range(200)], [None] * 200, at(3))
    (performance,) = measure(registry)
    assert set(performance.status) == {"no_groups"}
