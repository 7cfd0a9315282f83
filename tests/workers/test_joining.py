"""Labels find their predictions: each case has one outcome."""

import uuid
from collections.abc import Iterator

import pytest

from driftline.core.join_keys import make_keys
from driftline.store.label_counts import LabelCounts
from driftline.store.labeled import read_window_predictions
from tests.workers.plant import HOUR, MONDAY, Plant, at
from tests.workers.registry import Registry


@pytest.fixture
def registry(bare: Plant) -> Iterator[Registry]:
    """The model `loans` with version 1."""
    made = Registry(bare)
    made.register()
    yield made
    made.close()


def key_of(text: str) -> str:
    """The key as SQL shows it."""
    return str(uuid.UUID(bytes=make_keys([text]).tobytes()))


def pairs_of(**labels: str) -> dict[str, str]:
    return {key_of(name): label for name, label in labels.items()}


def test_a_label_joins_its_prediction(registry: Registry) -> None:
    registry.predict(["a", "b"], at(0.5), weight=7)
    registry.label(["a"], [True], at(2), weights=0.5)
    registry.join()
    assert registry.pairs() == pairs_of(a="1")
    assert registry.counts() == LabelCounts(joined=1)
    (window,) = registry.windows()
    assert (window.window_start, window.window_end) == (MONDAY, MONDAY + HOUR)
    assert (window.row_count, window.weight, window.labeled_count, window.labeled_weight) == (2, 14, 1, 7)
    assert window.seq == 1
    with registry.plant.database.transaction() as conn:
        rows = read_window_predictions(conn, [window])
        outcomes = rows.outcomes()
    assert (rows.classes, rows.labeled.sum(), rows.segments) == (("0", "1"), 1, {0: ("DE",)})
    assert rows.in_segment(0, ["DE"]).all()
    assert (outcomes.truth.tolist(), outcomes.prediction.tolist()) == ([1], [1])
    assert (outcomes.weights.tolist(), outcomes.groups) == ([3.5], None)
    assert outcomes.scores is not None
    assert outcomes.scores.tolist() == [0.75]


def test_a_label_before_its_prediction_waits_for_it(registry: Registry) -> None:
    registry.label(["a", "b"], ["1", "0"], at(1))
    registry.join()
    assert (registry.pairs(), registry.counts()) == ({}, LabelCounts(waiting=2))
    registry.predict(["a"], at(0.5))
    registry.join()
    assert registry.pairs() == pairs_of(a="1")
    assert registry.counts() == LabelCounts(joined=1, waiting=1)
    assert registry.windows()[0].seq == 1
