"""Multiclass metrics: those of scikit-learn, and a status where there is none."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from driftline.core.outcomes import Outcomes
from driftline.core.performance import measure_performance, metric_names
from driftline.core.schema import Task
from tests.core.outcome_samples import (
    CLASSES,
    by_name,
    column,
    draw_multiclass,
    make_outcomes,
    status_of,
    tied_score,
    weight,
)

ROWS = 40
NAMES = metric_names(Task.MULTICLASS, CLASSES)
RECALLS = ("recall[ant]", "recall[bee]", "recall[cat]")
CODES = (0, 1, 2)


def expect_recall(code: int) -> Callable[[Outcomes], float]:
    return lambda o: float(metrics.recall_score(o.truth == code, o.prediction == code, sample_weight=o.weights))


EXPECTED: dict[str, Callable[[Outcomes], float]] = {
    "accuracy": lambda o: metrics.accuracy_score(o.truth, o.prediction, sample_weight=o.weights),
    "f1_macro": lambda o: metrics.f1_score(o.truth, o.prediction, average="macro", sample_weight=o.weights),
    "f1_weighted": lambda o: metrics.f1_score(o.truth, o.prediction, average="weighted", sample_weight=o.weights),
    "log_loss": lambda o: metrics.log_loss(o.truth, o.scores, labels=CODES, sample_weight=o.weights),
    "roc_auc_ovr": lambda o: metrics.roc_auc_score(
        o.truth, o.scores, multi_class="ovr", labels=CODES, sample_weight=o.weights
    ),
    **{name: expect_recall(code) for code, name in enumerate(RECALLS)},
}


@st.composite
def any_classes(draw: st.DrawFn) -> Outcomes:
    codes = column(ROWS, st.integers(0, draw(st.integers(0, 2))), np.intp)
    scores = draw(column(ROWS * 3, tied_score)).reshape(ROWS, 3) + 0.125
    weights = draw(st.one_of(st.just(np.ones(ROWS)), column(ROWS, weight)))
    return make_outcomes(
        draw(codes), draw(codes), scores / scores.sum(axis=1)[:, None], weights=weights, classes=CLASSES
    )


@settings(deadline=None, max_examples=50)
@given(any_classes())
def test_values_are_those_of_scikit_learn(outcomes: Outcomes) -> None:
    found = measure_performance(Task.MULTICLASS, outcomes)
    assert found.names == tuple(EXPECTED) == NAMES
    for name, value, lower, upper, status in zip(
        found.names, found.values, found.lower, found.upper, found.status, strict=True
    ):
        if status == "ok":
            assert value == pytest.approx(EXPECTED[name](outcomes), abs=1e-9), name
            assert 0 <= lower <= value <= upper, name
        else:
            allowed = {"roc_auc_ovr": {"missing_class", "one_class"}}.get(name, {"no_positives"})
            assert status in allowed | {"too_few"}


GOOD = draw_multiclass(np.random.default_rng(1), 60)
SCORES = GOOD.scores
assert SCORES is not None
OF_SCORES = ("log_loss", "roc_auc_ovr")
OF_CLASSES = tuple(name for name in NAMES if name not in OF_SCORES)

DEGENERATE: dict[str, tuple[Outcomes, dict[str, str]]] = {
    "nothing wrong": (GOOD, {}),
    "no row": (GOOD.take(np.empty(0, np.intp)), dict.fromkeys(NAMES, "too_few")),
    "a class without labels": (
        replace(GOOD, truth=GOOD.truth % 2),
        {"recall[cat]": "no_positives", "roc_auc_ovr": "missing_class"},
    ),
    "one class": (
        replace(GOOD, truth=np.zeros(60, np.intp)),
        {"recall[bee]": "no_positives", "recall[cat]": "no_positives", "roc_auc_ovr": "one_class"},
    ),
    "a class with one label": (
        replace(GOOD, truth=np.where(np.arange(60) == 5, 2, GOOD.truth % 2)),
        {"roc_auc_ovr": "too_few"},
    ),
    "no scores": (replace(GOOD, scores=None), dict.fromkeys(OF_SCORES, "no_scores")),
    "a NaN score": (
        replace(GOOD, scores=np.where(np.arange(180).reshape(60, 3) == 7, np.nan, SCORES)),
        dict.fromkeys(OF_SCORES, "invalid_scores"),
    ),
    "scores of two classes": (replace(GOOD, scores=SCORES[:, :2]), dict.fromkeys(OF_SCORES, "invalid_scores")),
    "margins": (replace(GOOD, scores=SCORES - 0.5), {"log_loss": "not_probabilities"}),
    "an unknown label": (replace(GOOD, truth=GOOD.truth + 1), dict.fromkeys(NAMES, "invalid_truth")),
    "an unknown prediction": (
        replace(GOOD, prediction=GOOD.prediction - 1),
        dict.fromkeys(OF_CLASSES, "invalid_predictions"),
    ),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_what_cannot_be_measured_has_a_status(case: str) -> None:
    outcomes, expected = DEGENERATE[case]
    found = measure_performance(Task.MULTICLASS, outcomes)
    assert status_of(found) == dict.fromkeys(NAMES, "ok") | expected
    for numbers in (found.values, found.lower, found.upper):
        assert [bool(np.isnan(x)) for x in numbers] == [status != "ok" for status in found.status]


def test_rounded_probabilities_will_do() -> None:
    found = measure_performance(Task.MULTICLASS, replace(GOOD, scores=SCORES.round(2)))
    assert status_of(found)["log_loss"] == "ok"


def test_two_classes_are_a_binary_model() -> None:
    rng = np.random.default_rng(2)
    scores = rng.random(50)
    truth, prediction = (rng.random(50) < scores).astype(np.intp), (scores > 0.5).astype(np.intp)
    two = make_outcomes(truth, prediction, np.stack([1 - scores, scores], axis=1), classes=("no", "yes"))
    found = by_name(measure_performance(Task.MULTICLASS, two))
    binary = by_name(measure_performance(Task.BINARY, replace(two, scores=scores)))
    assert found["roc_auc_ovr"] == pytest.approx(binary["roc_auc"], abs=1e-12)
    for multiclass, name in (("accuracy",) * 2, ("log_loss",) * 2, ("recall[yes]", "recall")):
        assert found[multiclass] == pytest.approx(binary[name], abs=1e-12)
