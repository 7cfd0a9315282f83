"""The order of classes, which production and the reference must have in common."""

import numpy as np
import pytest
from sklearn.preprocessing import LabelEncoder

from driftline.core.class_order import accept_classes, order_classes
from driftline.core.schema import Task


@pytest.mark.parametrize(
    ("known", "positive", "classes"),
    [
        ([], None, ("0", "1")),
        (["1"], None, ("0", "1")),
        (["1", "0"], None, ("0", "1")),
        (["0", "1"], "0", ("1", "0")),
        (["0", "1"], "true", ("0", "1")),
        (["0", "1"], "false", ("1", "0")),
        (["yes", "no"], None, ("no", "yes")),
        (["yes"], None, ("not yes", "yes")),
        (["good"], "bad", ("good", "bad")),
        (["a", "b", "c"], "b", ("not b", "b")),
        (["2", "10"], None, ("2", "10")),
        (["0", "1", "unknown"], None, ("not 1", "1")),
    ],
)
def test_the_positive_class_is_the_one_that_is_named_or_the_last(
    known: list[str], positive: str | None, classes: tuple[str, str]
) -> None:
    found, position = order_classes(known, Task.BINARY, positive)
    assert found == classes
    assert position[:-1].tolist() == [float(name == classes[1]) for name in known]
    assert np.isnan(position[-1])


@pytest.mark.parametrize("values", [[10, 9, 100], [0.5, -1.0], ["b", "a", "B"]])
def test_several_classes_are_sorted_as_scikit_learn_does(values: list[float] | list[str]) -> None:
    expected = LabelEncoder().fit(values)
    known = [str(value) for value in values]
    found, position = order_classes(known, Task.MULTICLASS)
    assert found == tuple(str(value) for value in expected.classes_.tolist())
    assert position[:-1].tolist() == expected.transform(values).tolist()


@pytest.mark.parametrize(
    ("names", "known", "accepted"),
    [
        ([], set(), []),
        (["b", "a", "c"], set(), ["b", "a"]),
        (["unknown", "1", "0"], set(), ["1", "0"]),
        (["unknown"], {"0"}, []),
        (["0"], {"good"}, ["0"]),
        (["fraud", "unknown"], {"good", "fraud"}, ["fraud"]),
        (["c", "d"], {"a", "b", "c"}, ["c"]),
    ],
)
def test_a_binary_model_has_two_classes(names: list[str], known: set[str], accepted: list[str]) -> None:
    assert accept_classes(names, known) == accepted
