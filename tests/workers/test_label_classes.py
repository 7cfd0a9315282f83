"""Which classes labels may have: of a binary model two, of others so many as a reference may have."""

from collections.abc import Sequence

import numpy as np
import pytest

from driftline.core.batch import Batch
from driftline.core.class_order import MAX_CLASSES
from driftline.core.columns import Columns
from driftline.core.schema import Feature, Kind, Schema, Task
from driftline.store.baselines import StoredBaseline, store_baselines
from driftline.store.label_counts import LabelCounts
from driftline.store.labeled import WindowPredictions, read_window_predictions
from driftline.store.references import StoredReference, store_reference
from driftline.workers.label_expiry import expire_labels
from tests.workers.plant import HOUR, Plant, at, record_of
from tests.workers.registry import Registry

BINARY = Schema((Feature("amount", Kind.NUMERIC),), Task.BINARY)
MULTICLASS = Schema((Feature("amount", Kind.NUMERIC),), Task.MULTICLASS)


def predict(registry: Registry, ids: Sequence[str], classes: Sequence[str]) -> None:
    rows = len(ids)
    columns = Columns(
        np.ones((rows, 1), np.float32),
        np.full((rows, 1), 0.5),
        np.arange(rows, dtype=np.int32)[:, None],
        (tuple(classes),),
    )
    batch = Batch("loans", "1", registry.schema.schema_id, "", tuple(ids), np.full(rows, at(0.5)), columns)
    registry.plant.append(record_of(batch, registry.schema))


def refer(registry: Registry, negative: str, positive: str) -> None:
    """Give the model a reference whose baseline has these classes."""
    numbers = (np.array([0.8]), np.array([0.7]), np.array([0.9]))
    with registry.plant.database.transaction() as conn:
        store_reference(conn, StoredReference("loans", "1", "g", b"", 1_000, 1, 0), [])
        names = (("roc_auc",), *numbers, ("ok",), 1)
        store_baselines(conn, [StoredBaseline("loans", "1", "g", "", 900, 900.0, (negative, positive), *names)])


def classes_of(registry: Registry) -> list[str]:
    return [name for (name,) in registry.plant.execute("SELECT class FROM class_codes ORDER BY class")]


def reasons(registry: Registry) -> list[str]:
    letters = registry.plant.letters()
    assert {letter.reason_code for letter in letters} <= {"invalid_value"}
    return [letter.reason for letter in letters]


def read(registry: Registry) -> WindowPredictions:
    with registry.plant.database.transaction() as conn:
        return read_window_predictions(conn, registry.windows())


@pytest.fixture
def binary(bare: Plant) -> Registry:
    made = Registry(bare, BINARY)
    made.register()
    return made


def test_a_binary_model_refuses_a_third_class(binary: Registry) -> None:
    predict(binary, ["a", "b"], ["0", "1"])
    binary.label(["a", "b"], ["1", "1"], at(1))
    binary.label(["a", "stray"], ["unknown", "?"], at(2))
    binary.join()
    binary.close()
    assert binary.counts() == LabelCounts(joined=2, refused=2)
    assert classes_of(binary) == ["0", "1"]
    (reason,) = reasons(binary)
    assert "'unknown', '?' is no class of model 'loans', which is binary and has '0', '1'; correct it" in reason
    rows = read(binary)
    assert rows.classes == ("0", "1")
    assert rows.truth.tolist() == [1, 1]


def test_the_others_of_a_record_go_through(binary: Registry) -> None:
    """Also when nothing is known yet: who has 0 or 1 has the other."""
    binary.label(["a", "b", "c"], ["unknown", "0", None], at(1))
    binary.join()
    binary.close()
    assert binary.counts() == LabelCounts(waiting=2, refused=1)
    assert classes_of(binary) == ["0"]


def test_the_first_two_texts_are_the_classes(binary: Registry) -> None:
    predict(binary, ["a"], ["good"])
    binary.label(["a", "b", "c"], ["fraud", "good", "unknown"], at(1))
    binary.join()
    binary.close()
    assert binary.counts() == LabelCounts(joined=1, waiting=1, refused=1)
    assert classes_of(binary) == ["fraud", "good"]


@pytest.mark.parametrize("value", ["good", "fraud"])
def test_the_classes_of_the_baseline_are_known(binary: Registry, value: str) -> None:
    refer(binary, "good", "fraud")
    binary.label(["a", "b"], ["unknown", value], at(1))
    binary.join()
    binary.close()
    assert binary.counts() == LabelCounts(waiting=1, refused=1)
    assert classes_of(binary) == [value]
    assert "'fraud', 'good'" in reasons(binary)[0]


def test_a_baseline_of_more_classes_takes_them_all_for_negative(binary: Registry) -> None:
    refer(binary, "not fraud", "fraud")
    binary.label(["a", "b", "c"], ["good", "fraud", "doubtful"], at(1))
    binary.join()
    binary.close()
    assert binary.counts() == LabelCounts(waiting=3)


def test_the_classes_that_settings_name_are_known(bare: Plant) -> None:
    registry = Registry(bare, BINARY)
    registry.register(positive_class="fraud", label_on_expiry="good")
    registry.label(["a", "b"], ["unknown", "good"], at(1))
    registry.join()
    registry.close()
    assert registry.counts() == LabelCounts(waiting=1, refused=1)
    assert classes_of(registry) == ["good"]


def test_a_label_that_is_refused_for_its_weight_makes_no_class(binary: Registry) -> None:
    binary.label(["a", "b"], ["good", "fraud"], at(1), weights=[0.0, 1.0])
    binary.join()
    binary.close()
    assert classes_of(binary) == ["fraud"]
    assert "weight" in reasons(binary)[0]


def test_a_model_has_so_many_classes_and_no_more(bare: Plant) -> None:
    registry = Registry(bare, MULTICLASS)
    registry.register()
    predict(registry, ["a", "b"], ["cat", "dog"])
    numbers = [i + 0.5 for i in range(MAX_CLASSES)]
    registry.label([f"n-{i}" for i in range(MAX_CLASSES)], numbers, at(1))
    registry.join()
    predict(registry, ["c", "d"], ["cow", "cat"])
    registry.label(["c", "d"], ["sheep", "dog"], at(2))
    registry.join()
    registry.close()
    assert len(classes_of(registry)) == MAX_CLASSES
    assert registry.counts() == LabelCounts(joined=1, waiting=MAX_CLASSES - 2, refused=3)
    assert all("1,000 already" in reason for reason in reasons(registry))
    rows = read(registry)
    assert np.isnan(rows.prediction).sum() == 1
    assert rows.outcomes().rows == 1


def test_an_expiry_label_beyond_the_limit_is_none(bare: Plant) -> None:
    registry = Registry(bare, MULTICLASS)
    registry.register(max_label_delay_s=3_600, label_on_expiry="late")
    predict(registry, [f"{i}" for i in range(MAX_CLASSES)], [f"{i}" for i in range(MAX_CLASSES)])
    registry.join()
    registry.close()
    expire_labels(registry.plant.database, registry.plant.now + 100 * HOUR)
    (window,) = registry.windows()
    assert (window.expired_at is None, read(registry).labeled.any()) == (False, False)


def test_a_class_may_be_called_anything(bare: Plant) -> None:
    registry = Registry(bare, MULTICLASS)
    registry.register()
    registry.label(["a", "b"], ["cat\x00", "cat"], at(1))
    registry.join()
    registry.close()
    assert registry.counts() == LabelCounts(waiting=2)
    assert len(classes_of(registry)) == 2
