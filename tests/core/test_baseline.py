"""The baseline: measured on the labelled rows of a reference, kept inside it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, ndcg_score, roc_auc_score

from driftline.core import labelled_sample
from driftline.core.baseline import Baseline, build_baseline
from driftline.core.baseline_payload import decode_baseline, encode_baseline
from driftline.core.errors import InvalidInput, InvalidPayload
from driftline.core.estimate import Outputs, estimate_performance
from driftline.core.frame import pack_frame
from driftline.core.labelled import LabelledRows, read_labelled
from driftline.core.labelled_sample import sample_labelled
from driftline.core.metric import MetricStatus
from driftline.core.reference import build_reference, decode_reference, encode_reference
from driftline.core.schema import JoinKey, Schema, Task
from driftline.core.segment import EVERYTHING, SegmentColumn
from driftline.core.window import DAY
from tests.core.outcome_samples import by_name, status_of

COUNTRIES = SegmentColumn("country", ("DE", "FR"))
SEGMENTED = Schema((), Task.BINARY, segments=("country",))
HOUR = DAY // 24


def make_frame(rows: int = 3_000, *, seed: int = 0) -> pd.DataFrame:
    """A calibrated model; the last country has no segment of its own."""
    rng = np.random.default_rng(seed)
    score = rng.random(rows)
    return pd.DataFrame(
        {
            "score": score,
            "prediction": (score > 0.5).astype(int),
            "label": (rng.random(rows) < score).astype(int),
            "country": rng.choice(["DE", "FR", "IT", None], rows),
        }
    )


def parts_of(frame: pd.DataFrame, schema: Schema, rows: int = 700) -> Iterator[LabelledRows]:
    for start in range(0, len(frame), rows):
        part = read_labelled(frame.iloc[start : start + rows], schema)
        assert part is not None
        yield part


def build(frame: pd.DataFrame, schema: Schema, *, part_rows: int = 700, **options: Any) -> Baseline | None:
    options = {
        "segments": [COUNTRIES] if schema.segments else [],
        "window_length": HOUR,
        "window_rows": 300,
        "positive_class": None,
        "rng": np.random.default_rng(1),
    } | options
    return build_baseline(parts_of(frame, schema, part_rows), schema, **options)


def measure(frame: pd.DataFrame, schema: Schema, **options: Any) -> Baseline:
    baseline = build(frame, schema, **options)
    assert baseline is not None
    return baseline


def test_the_whole_and_every_segment_are_measured() -> None:
    frame = make_frame()
    baseline = measure(frame, SEGMENTED)
    chosen = {
        EVERYTHING: np.ones(len(frame), bool),
        "country=DE": frame["country"] == "DE",
        "country=FR": frame["country"] == "FR",
        "country=__other__": ~frame["country"].isin(["DE", "FR"]),
    }
    assert baseline.performances.keys() == chosen.keys()
    for key, rows in chosen.items():
        part, found = frame[rows], baseline.performances[key]
        assert (found.n, found.n_eff) == (len(part), len(part))
        assert by_name(found)["roc_auc"] == pytest.approx(roc_auc_score(part["label"], part["score"]), abs=1e-9)
        assert by_name(found)["accuracy"] == pytest.approx(accuracy_score(part["label"], part["prediction"]))
        assert set(found.status) == {MetricStatus.OK}
    assert (baseline.classes, baseline.positive_class) == (("0", "1"), None)


def test_it_teaches_what_windows_without_labels_are_worth() -> None:
    baseline = measure(make_frame(20_000), SEGMENTED)
    window = make_frame(4_000, seed=5)
    outputs = Outputs(window["prediction"].to_numpy(), window["score"].to_numpy(), np.ones(4_000))
    estimate = by_name(estimate_performance(baseline.estimator, outputs))["roc_auc"]
    assert estimate == pytest.approx(roc_auc_score(window["label"], window["score"]), abs=0.03)
    assert baseline.bands.drawn
    assert baseline.bands.rows == pytest.approx(300, abs=5)
    assert (baseline.bands.deviations > 0).all()


def test_bands_are_of_windows_of_time_where_there_are_times() -> None:
    frame = make_frame(6_000)
    frame["timestamp"] = pd.date_range(datetime(2026, 1, 1), periods=6_000, freq="15s")
    bands = measure(frame, SEGMENTED).bands
    assert (bands.drawn, bands.windows, bands.rows) == (False, 25, 240)
    frame.loc[:2_999, "timestamp"] = None
    bands = measure(frame, SEGMENTED).bands
    assert (bands.drawn, bands.windows, bands.rows) == (False, 13, 240)
    frame["timestamp"] = pd.NaT
    assert measure(frame, SEGMENTED).bands.drawn


def test_windows_beyond_two_hundred_are_drawn_from() -> None:
    frame = make_frame(26_000)
    frame["timestamp"] = pd.date_range(datetime(2026, 1, 1), periods=26_000, freq="36s")
    bands = measure(frame, SEGMENTED).bands
    assert (bands.drawn, bands.windows, bands.rows) == (False, 200, 100)


@pytest.mark.parametrize("part_rows", [3, 17, 3_000])
def test_the_parts_in_which_rows_come_do_not_matter(part_rows: int) -> None:
    frame = make_frame(500)
    expected = measure(frame, SEGMENTED, most=200)
    assert encode_baseline(measure(frame, SEGMENTED, most=200, part_rows=part_rows)) == encode_baseline(expected)
    assert expected.performances[EVERYTHING].n == 200


def test_of_many_rows_a_uniform_sample_is_used() -> None:
    frame = make_frame(60_000)
    frame["score"] = np.linspace(0, 1, 60_000)
    sample = sample_labelled(
        parts_of(frame, SEGMENTED, 5_000), SEGMENTED, [COUNTRIES], np.random.default_rng(3), 500
    )
    assert sample.rows == 500
    assert (np.diff(sample.scores) > 0).all()
    assert np.abs(np.sort(sample.scores) - np.arange(500) / 500).max() < 1.63 / np.sqrt(500)  # Kolmogorov, 1 %
    baseline = measure(frame.assign(score=make_frame(60_000)["score"]), SEGMENTED, most=20_000)
    assert baseline.performances[EVERYTHING].n == 20_000


def test_rows_without_label_prediction_or_score_are_left_out() -> None:
    frame = make_frame(900).astype({"label": float, "prediction": float})
    frame.loc[:99, "label"] = np.nan
    frame.loc[100:199, "prediction"] = np.nan
    frame.loc[200:299, "score"] = np.nan
    found = measure(frame, SEGMENTED).performances[EVERYTHING]
    assert found.n == 600
    assert by_name(found)["roc_auc"] == pytest.approx(roc_auc_score(frame["label"][300:], frame["score"][300:]))
    without_scores = measure(frame.drop(columns="score"), SEGMENTED).performances[EVERYTHING]
    assert without_scores.n == 700
    assert status_of(without_scores)["roc_auc"] == MetricStatus.NO_SCORES


@pytest.mark.parametrize("changes", [{"label": None}, {"prediction": None}], ids=["labels", "predictions"])
def test_without_any_there_is_no_baseline(changes: dict[str, None]) -> None:
    assert build(make_frame(300).assign(**changes), SEGMENTED) is None


def test_few_rows_have_a_status_and_no_numbers() -> None:
    baseline = measure(make_frame(5), SEGMENTED)
    assert set(baseline.performances[EVERYTHING].status) == {MetricStatus.TOO_FEW}
    assert baseline.estimator.status is MetricStatus.TOO_FEW
    assert np.isnan(baseline.bands.estimated_means).all()


def test_the_positive_class_is_the_one_that_is_asked_for() -> None:
    frame = make_frame()
    named = frame.replace({"label": {0: "good", 1: "bad"}, "prediction": {0: "good", 1: "bad"}})
    assert by_name(measure(named, SEGMENTED).performances[EVERYTHING])["roc_auc"] < 0.3  # 'good' is last
    asked = measure(named, SEGMENTED, positive_class="bad")
    assert (asked.classes, asked.positive_class) == (("good", "bad"), "bad")
    expected = measure(frame, SEGMENTED).performances[EVERYTHING]
    np.testing.assert_array_equal(asked.performances[EVERYTHING].values, expected.values)


def test_several_classes_against_one() -> None:
    frame = make_frame()
    frame["label"] = frame["label"].map({0: "a", 1: "b"}).where(np.arange(len(frame)) % 3 > 0, "c")
    frame["prediction"] = frame["prediction"].map({0: "a", 1: "b"})
    baseline = measure(frame, SEGMENTED, positive_class="b")
    assert baseline.classes == ("not b", "b")
    expected = roc_auc_score(frame["label"] == "b", frame["score"])
    assert by_name(baseline.performances[EVERYTHING])["roc_auc"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "options", "field", "message"),
    [
        (
            {"label": ["no", "yes"] * 50},
            {},
            "label",
            "labels in column 'label' are 'no', 'yes', the predictions in column 'prediction' are '0', '1'; write",
        ),
        ({"label": ["0", "1", "2", "3"] * 25}, {}, "label", "have 4 classes, '0', '1', '2', '3', but the task is"),
        ({}, {"positive_class": "yes"}, "positive_class", "'yes' is none of the classes '0', '1'"),
    ],
    ids=["nothing in common", "too many", "no such class"],
)
def test_labels_that_are_not_those_of_the_model_say_the_fix(
    changes: dict[str, Any], options: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        build(make_frame(100).assign(**changes), SEGMENTED, **options)
    assert caught.value.field == field


def test_numbers_taken_for_classes_say_the_fix() -> None:
    frame = make_frame(1_500).assign(label=np.arange(1_500) / 7, prediction=np.arange(1_500))
    with pytest.raises(InvalidInput, match="have more than 1,000 classes; if they are numbers, say"):
        build(frame, Schema((), Task.MULTICLASS))


def test_only_binary_models_have_a_positive_class() -> None:
    with pytest.raises(InvalidInput, match="a model with the task regression has no positive class"):
        build(make_frame(), Schema((), Task.REGRESSION), positive_class="1")


def test_a_class_that_never_came_may_be_the_positive_one() -> None:
    frame = make_frame(200).assign(label="good", prediction="good")
    baseline = measure(frame, SEGMENTED, positive_class="bad")
    assert baseline.classes == ("good", "bad")
    assert status_of(baseline.performances[EVERYTHING])["roc_auc"] == MetricStatus.ONE_CLASS


def test_regression() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"label": rng.gamma(4, 1, 2_000)})
    frame["prediction"] = frame["label"] + rng.normal(0, 1, 2_000)
    baseline = measure(frame, Schema((), Task.REGRESSION))
    found = by_name(baseline.performances[EVERYTHING])
    assert found["mae"] == pytest.approx(mean_absolute_error(frame["label"], frame["prediction"]))
    assert baseline.classes == ()
    assert baseline.estimator.trees is not None


def test_several_classes_in_their_order() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"label": rng.choice(["10", "9", "b"], 500)})
    frame["prediction"] = frame["label"].where(rng.random(500) < 0.7, "9")
    baseline = measure(frame, Schema((), Task.MULTICLASS))
    assert baseline.classes == ("9", "10", "b")
    found = by_name(baseline.performances[EVERYTHING])
    assert found["accuracy"] == pytest.approx(accuracy_score(frame["label"], frame["prediction"]))
    assert found["recall[9]"] == 1


def make_classes(rows: int, classes: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(classes), rows)
    drawn = (rng.random((rows, 1)) > scores.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return pd.DataFrame(
        {"label": drawn, "prediction": scores.argmax(axis=1), "score": list(scores), "s": scores[:, 0]}
    )


def test_several_classes_have_scores_of_their_own() -> None:
    frame, schema = make_classes(2_000), Schema((), Task.MULTICLASS)
    baseline = measure(frame, schema, part_rows=300)
    scores = np.stack(frame["score"].to_list())
    found = by_name(baseline.performances[EVERYTHING])
    expected = roc_auc_score(frame["label"], scores, multi_class="ovr")
    assert found["roc_auc_ovr"] == pytest.approx(expected, abs=1e-9)
    assert found["log_loss"] == pytest.approx(log_loss(frame["label"], scores), abs=1e-9)
    assert len(baseline.estimator.curves) == 3
    estimate = estimate_performance(
        baseline.estimator, Outputs(frame["prediction"].to_numpy(), scores, np.ones(2_000))
    )
    assert set(estimate.status) == {MetricStatus.OK}


def test_scores_of_more_classes_than_there_are_do_not_count() -> None:
    frame = make_classes(1_000)
    baseline = measure(frame[frame["label"].lt(2) & frame["prediction"].lt(2)], Schema((), Task.MULTICLASS))
    assert status_of(baseline.performances[EVERYTHING])["log_loss"] == MetricStatus.INVALID_SCORES


def test_of_many_scores_fewer_rows_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled_sample, "MAX_SCORES", 900)
    baseline = measure(make_classes(1_000), Schema((), Task.MULTICLASS))
    assert baseline.performances[EVERYTHING].n == 300


def test_scores_of_different_numbers_of_classes_are_refused() -> None:
    frame = pd.concat([make_classes(700), make_classes(700, 4)])
    with pytest.raises(InvalidInput, match="some rows have scores for 3 classes, others for 4"):
        build(frame, Schema((), Task.MULTICLASS))


def test_a_ranking_is_measured_by_whole_lists() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"group_id": np.repeat([f"q{i}" for i in range(200)], 5)})
    frame["score"] = rng.random(1_000)
    frame["label"] = rng.integers(0, 3, 1_000)
    schema = Schema((), Task.RANKING)
    found = by_name(measure(frame, schema).performances[EVERYTHING])
    relevance, scores = (frame[name].to_numpy().reshape(200, 5) for name in ("label", "score"))
    expected = [
        ndcg_score(one[None], other[None]) if one.any() else 0
        for one, other in zip(relevance, scores, strict=True)
    ]
    assert found["ndcg@10"] == pytest.approx(np.mean(expected), abs=1e-9)
    some = measure(frame, schema, most=333, part_rows=7)
    assert some.performances[EVERYTHING].n == 330
    assert some.performances[EVERYTHING].n_eff == 66
    assert some.estimator.status is MetricStatus.NOT_ESTIMATED
    alone = measure(frame.drop(columns="group_id"), schema)
    assert status_of(alone.performances[EVERYTHING])["mrr"] == MetricStatus.NO_GROUPS


def test_rows_of_one_entity_count_as_one_and_those_of_none_alone() -> None:
    schema = replace(SEGMENTED, join_key=JoinKey.ENTITY_ID)
    frame = make_frame(1_000)
    frame["entity_id"] = [None if i < 200 else i // 4 for i in range(1_000)]
    found = measure(frame, schema, part_rows=90).performances[EVERYTHING]
    assert found.n_eff == pytest.approx(1_000**2 / (200 + 200 * 16))


def test_what_is_written_is_read() -> None:
    frames = {
        SEGMENTED: make_frame(),
        Schema((), Task.REGRESSION): make_frame(500),
        Schema((), Task.MULTICLASS): make_frame(500),
        Schema((), Task.RANKING): make_frame(500).assign(group_id=lambda f: f.index // 5),
        replace(SEGMENTED, label="none"): make_frame(4).rename(columns={"label": "none"}),
    }
    for schema, frame in frames.items():
        baseline = measure(frame, schema, positive_class="1" if schema is SEGMENTED else None)
        payload = encode_baseline(baseline)
        read = decode_baseline(payload, schema.task, COUNTRIES.keys)
        assert encode_baseline(read) == payload
        assert (read.classes, read.positive_class) == (baseline.classes, baseline.positive_class)
        assert read.performances.keys() == baseline.performances.keys()
        for key, found in read.performances.items():
            expected = baseline.performances[key]
            assert (found.names, found.status, found.n, found.n_eff) == (
                expected.names,
                expected.status,
                expected.n,
                expected.n_eff,
            )
            for name in ("values", "lower", "upper"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_reference_carries_it() -> None:
    frame, schema = make_frame(), replace(SEGMENTED, label="late")
    frame = frame.rename(columns={"label": "late"})
    packed = pack_frame(frame, schema)
    reference = build_reference(lambda: [(packed.columns, None)], schema, window_length=HOUR, window_rows=300)
    assert decode_reference(encode_reference(reference)).baseline is None
    baseline = build(frame, schema, segments=reference.segments)
    read = decode_reference(encode_reference(replace(reference, baseline=baseline))).baseline
    assert baseline is not None
    assert read is not None
    assert encode_baseline(read) == encode_baseline(baseline)


WRITTEN = encode_baseline(measure(make_frame(300), SEGMENTED))


@pytest.mark.parametrize(
    ("task", "segments"),
    [(None, COUNTRIES.keys), (Task.MULTICLASS, COUNTRIES.keys), (Task.REGRESSION, ()), (Task.BINARY, ())],
)
def test_a_baseline_of_another_model_is_refused(task: Task | None, segments: tuple[str, ...]) -> None:
    with pytest.raises(InvalidPayload, match="its parts do not fit together"):
        decode_baseline(WRITTEN, task, segments)


@given(st.data())
@settings(max_examples=50)
def test_changed_bytes_are_an_invalid_payload_or_a_whole_baseline(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(WRITTEN) - 1))
    changed = bytearray(WRITTEN)
    changed[place] ^= data.draw(st.integers(1, 255))
    for payload in (bytes(changed), WRITTEN[:place]):
        try:
            baseline = decode_baseline(payload, Task.BINARY, COUNTRIES.keys)
        except InvalidPayload:
            continue
        assert EVERYTHING in baseline.performances
