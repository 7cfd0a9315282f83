"""scikit-learn estimators that log what they predict."""

import copy
import logging
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_classifier, is_regressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from driftline.sdk.integrations.sklearn import MonitoredEstimator, monitored
from tests.sdk.integrations.conftest import Recorder

_rng = np.random.default_rng(0)
FRAME = pd.DataFrame({"amount": _rng.normal(size=60), "age": _rng.normal(size=60)})
TWO = np.where(FRAME["amount"] > 0, "bad", "good")
THREE = np.digitize(FRAME["amount"], [-0.5, 0.5])


def watch(estimator: Any, recorder: Recorder) -> MonitoredEstimator:
    return monitored(estimator, recorder)  # type: ignore[arg-type]


def test_predictions_of_a_frame(recorder: Recorder) -> None:
    model = LinearRegression().fit(FRAME, FRAME["amount"] * 2)
    entities = [f"c-{row}" for row in FRAME.index]
    predicted = watch(model, recorder).predict(FRAME, prediction_ids=FRAME.index, entity_ids=entities)
    np.testing.assert_array_equal(predicted, model.predict(FRAME))
    (logged,) = recorder.batches
    assert logged.features is FRAME
    assert logged.prediction is predicted
    assert logged.score is None
    assert logged.prediction_ids is FRAME.index
    assert logged.entity_ids is entities


def test_of_two_classes_the_score_is_that_of_the_second(recorder: Recorder) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TWO)
    scores = watch(model, recorder).predict_proba(FRAME)
    (logged,) = recorder.batches
    np.testing.assert_array_equal(logged.prediction, model.predict(FRAME))
    np.testing.assert_array_equal(logged.score, scores[:, 1])


def test_of_more_classes_the_scores_are_one_each(recorder: Recorder) -> None:
    model = LogisticRegression().fit(FRAME, THREE)
    scores = watch(model, recorder).predict_proba(FRAME)
    (logged,) = recorder.batches
    np.testing.assert_array_equal(logged.prediction, model.predict(FRAME))
    assert logged.score is scores


def test_arrays_get_the_names_of_the_frame_that_was_fitted(recorder: Recorder) -> None:
    model = LinearRegression().fit(FRAME, FRAME["amount"])
    with pytest.warns(UserWarning, match="feature names"):  # scikit-learn's
        watch(model, recorder).predict(FRAME.to_numpy())
    (logged,) = recorder.batches
    assert list(logged.features) == ["amount", "age"]
    np.testing.assert_array_equal(logged.features["age"], FRAME["age"])


def test_arrays_without_names_stay_arrays(recorder: Recorder) -> None:
    rows = FRAME.to_numpy()
    watch(LinearRegression().fit(rows, rows[:, 0]), recorder).predict(rows)
    assert recorder.batches[0].features is rows


def test_it_is_the_estimator_in_everything_else(recorder: Recorder) -> None:
    model = LogisticRegression(C=0.5).fit(FRAME, TWO)
    watched = watch(model, recorder)
    assert watched.C == 0.5
    assert watched.score(FRAME, TWO) == model.score(FRAME, TWO)
    assert is_classifier(watched)
    assert not is_regressor(watched)
    with pytest.raises(AttributeError, match="no attribute 'transform'"):
        _ = watched.transform
    assert copy.copy(watched).C == 0.5
    assert recorder.batches == []


def test_the_estimator_itself_can_be_pickled(recorder: Recorder) -> None:
    model = LinearRegression().fit(FRAME, FRAME["amount"])
    watch(model, recorder).predict(FRAME)
    assert pickle.loads(pickle.dumps(model)).coef_.tolist() == model.coef_.tolist()


def test_the_estimators_errors_are_the_callers(recorder: Recorder) -> None:
    with pytest.raises(ValueError, match="NaN"):
        watch(LinearRegression().fit(FRAME, FRAME["amount"]), recorder).predict(FRAME * np.nan)
    assert recorder.batches == []


def test_what_cannot_be_read_is_warned_of_once(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    model = MultiOutputClassifier(LogisticRegression()).fit(FRAME, np.column_stack([THREE, THREE]))
    watched = watch(model, recorder)
    with caplog.at_level(logging.WARNING, "driftline"):
        assert len(watched.predict_proba(FRAME)) == len(watched.predict_proba(FRAME)) == 2
    (record,) = caplog.records
    assert "MultiOutputClassifier cannot be read" in record.getMessage()
