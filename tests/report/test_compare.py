"""`driftline.compare`: what it finds, from which frames and files, and what it answers to bad input."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pytest
from scipy.stats import ks_2samp

import driftline
from driftline.core.errors import InvalidInput
from driftline.core.reference import encode_reference
from driftline.core.schema import Feature, Kind, Schema
from driftline.core.window import parse_length
from driftline.report import dataset as dataset_module
from driftline.report.basis import build_from, choose_schema
from driftline.report.change import describe_change
from driftline.report.dataset import Dataset

NAMES = {"amount", "age", "country", "member", "signed_up"}


def names(features) -> list[str]:
    return [feature.feature_name for feature in features]


def problems(report) -> set[tuple[str, str]]:
    return {(finding.column, finding.problem) for finding in report.findings}


def build(frame: pd.DataFrame, window: str = "1d", window_rows: int | None = None):
    dataset = Dataset(frame, "training")
    schema = choose_schema(dataset)
    return build_from(dataset, schema, window_length=parse_length(window), window_rows=window_rows)


def test_nothing_changed_nothing_drifted(reference, same):
    report = driftline.compare(reference, same)
    assert set(names(report.features)) == NAMES
    assert not report.drifted
    assert not report.moderate
    assert report.verdict == "No drift in 5 features."
    assert report.counts == {"features": 5, "drifted": 0, "moderate": 0, "stable": 5, "no_verdict": 0}


def test_what_changed_is_ranked_first(reference, drifted):
    report = driftline.compare(reference, drifted)
    assert set(names(report.drifted)) == {"amount", "country", "age"}
    effects = [feature.effect for feature in report.features]
    assert effects == sorted(effects, reverse=True)
    assert report.verdict.startswith("3 of 5 features drifted: ")
    assert report["country"].new_values == {"PL": int((drifted["country"] == "PL").sum())}
    assert report["age"].missing_rate == drifted["age"].isna().mean()


def test_numbers_are_those_of_scipy_and_pandas(reference, drifted):
    amount = driftline.compare(reference, drifted)["amount"]
    exact = ks_2samp(reference["amount"], drifted["amount"]).statistic
    assert exact - 0.006 <= amount.ks_statistic <= exact + 1e-9
    assert amount.reference.mean == pytest.approx(reference["amount"].mean(), rel=1e-5)
    assert amount.current.std == pytest.approx(drifted["amount"].std(ddof=0), rel=1e-5)
    assert amount.current.max == pytest.approx(drifted["amount"].max(), rel=1e-6)
    assert amount.reference.median == pytest.approx(reference["amount"].median(), rel=0.02)
    assert amount.sample_count == len(drifted)


def test_every_kind_of_frame_gives_the_same(reference, drifted):
    expected = driftline.compare(reference, drifted)
    frames = {
        "polars": pl.from_pandas,
        "arrow": pa.Table.from_pandas,
        "batch": pa.RecordBatch.from_pandas,
    }
    for kind, convert in frames.items():
        report = driftline.compare(convert(reference), convert(drifted))
        assert names(report.features) == names(expected.features), kind
        for feature in report.features:
            assert feature.psi_score == pytest.approx(expected[feature.feature_name].psi_score, abs=1e-9), kind


@pytest.mark.parametrize("suffix", ["parquet", "csv", "feather"])
def test_files_give_what_frames_give(reference, drifted, tmp_path, suffix):
    write = {
        "parquet": lambda frame, path: frame.to_parquet(path),
        "csv": lambda frame, path: frame.to_csv(path),
        "feather": lambda frame, path: pyarrow.feather.write_feather(pa.Table.from_pandas(frame), str(path)),
    }[suffix]
    paths = [tmp_path / f"{name}.{suffix}" for name in ("train", "today")]
    for frame, path in zip((reference, drifted), paths, strict=True):
        write(frame, path)
    report = driftline.compare(paths[0], str(paths[1]))
    expected = driftline.compare(reference, drifted)
    assert report.reference == f"train.{suffix}"
    assert (report.reference_rows, report.current_rows) == (5000, 2000)
    assert names(report.features) == names(expected.features)
    assert report["amount"].psi_score == pytest.approx(expected["amount"].psi_score, abs=0.01)


def test_a_file_too_large_to_keep_is_read_again_with_the_same_result(reference, drifted, tmp_path, monkeypatch):
    for frame, name in ((reference, "a.parquet"), (drifted, "b.parquet")):
        frame.to_parquet(tmp_path / name)
    once = driftline.compare(tmp_path / "a.parquet", tmp_path / "b.parquet")
    reads = []
    read = dataset_module.read_chunks
    monkeypatch.setattr(
        dataset_module, "read_chunks", lambda path: reads.append(path.name) or read(path, rows=700)
    )
    monkeypatch.setattr(dataset_module, "KEPT_VALUES", 1000)
    report = driftline.compare(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert reads.count("b.parquet") == 2
    assert reads.count("a.parquet") == 2
    for feature in report.features:
        assert feature.psi_score == pytest.approx(once[feature.feature_name].psi_score, abs=1e-9)


def test_progress_tells_the_rows_of_each_dataset(reference, same, tmp_path):
    reference.to_parquet(tmp_path / "a.parquet")
    told = {}
    driftline.compare(tmp_path / "a.parquet", same, progress=lambda name, rows: told.update({name: rows}))
    assert told == {"a.parquet": 5000, "current": 2000}


def test_model_outputs_are_there_when_the_reference_has_them(make):
    rng = np.random.default_rng(5)
    before = make(3000).assign(prediction=rng.integers(0, 2, 3000), score=rng.random(3000))
    after = make(2000, seed=1).assign(prediction=rng.integers(0, 2, 2000), score=rng.random(2000) ** 3)
    report = driftline.compare(before, after)
    assert set(names(report.features)) == NAMES | {"__prediction__", "__score__"}
    assert report["__prediction__"].kind is Kind.CATEGORICAL
    assert names(report.drifted) == ["__score__"]
    without = driftline.compare(make(3000), after)
    assert set(names(without.features)) == NAMES
    assert {("prediction", "extra_column"), ("score", "extra_column")} <= problems(without)


def test_an_output_that_is_gone_is_an_error_of_quality(make):
    report = driftline.compare(make(3000).assign(prediction=1.5), make(2000, seed=1))
    assert ("__prediction__", "missing_column") in problems(report)
    assert names(report.drifted) == ["__prediction__"]


LOST = {
    "gone": lambda frame: frame.drop(columns=["amount"]),
    "null": lambda frame: frame.assign(amount=np.nan),
    "infinite": lambda frame: frame.assign(amount=RNG.choice([-np.inf, np.inf], len(frame))),
    "text": lambda frame: frame.assign(amount="much"),
}
RNG = np.random.default_rng(9)


@pytest.mark.parametrize("case", LOST)
def test_a_feature_without_values_drifts_most(reference, make, case):
    current = LOST[case](make(2000, seed=8)).assign(country="PL")
    report = driftline.compare(reference, current)
    assert names(report.drifted) == ["amount", "country"]
    assert report["amount"].lost
    assert describe_change(report["amount"])[0] == "no values any more"
    few = driftline.compare(reference, current[:30])
    assert not few.drifted


def test_outputs_and_times_may_have_other_names(make):
    before = make(1000).assign(p=0.5, when=pd.Timestamp("2025-01-01"))
    report = driftline.compare(before, before, score="p", timestamp="when")
    assert set(names(report.features)) == NAMES | {"__score__"}
    assert report.left_out == ("when",)


def test_identifiers_indexes_and_times_are_left_out(make):
    before = make(1000).assign(
        **{"prediction_id": "x", "entity_id": "y", "timestamp": range(1000), "Unnamed: 0": range(1000), "": 1}
    )
    report = driftline.compare(before, before)
    assert set(names(report.features)) == NAMES
    assert set(report.left_out) == {"prediction_id", "entity_id", "timestamp", "Unnamed: 0", ""}


def test_columns_and_exclude_choose_what_is_compared(reference, same):
    assert set(names(driftline.compare(reference, same, columns=["age", "country"]).features)) == {
        "age",
        "country",
    }
    report = driftline.compare(reference, same, exclude=["age"])
    assert set(names(report.features)) == NAMES - {"age"}
    assert not report.findings


def test_categorical_makes_numbers_categories(reference, same):
    report = driftline.compare(reference, same, categorical=["age"])
    assert report["age"].kind is Kind.CATEGORICAL
    assert not report.drifted


def test_a_schema_says_it_all(reference, same):
    content = {
        "features": [{"name": "amount", "kind": "numeric", "unit": "EUR"}, {"name": "age", "kind": "numeric"}]
    }
    report = driftline.compare(reference, same, schema=content)
    assert set(names(report.features)) == {"amount", "age"}
    assert report["amount"].unit == "EUR"
    schema = Schema((Feature("amount", Kind.NUMERIC),))
    assert names(driftline.compare(reference, same, schema=schema, exclude=[]).features) == ["amount"]


def test_bins_follow_the_rows(reference, make):
    for rows, bins in ((2000, 50), (300, 20), (150, 10)):
        report = driftline.compare(reference, make(rows, seed=9))
        assert (report.bins, report.min_samples) == (bins, 10 * bins)
    assert driftline.compare(make(150), make(2000, seed=9)).bins == 10


@pytest.mark.parametrize(("before", "after", "side"), [(5000, 60, "current data"), (60, 5000, "the reference")])
def test_too_few_rows_give_numbers_but_no_verdict(make, before, after, side):
    shifted = make(after, seed=1)
    shifted["amount"] *= 10
    report = driftline.compare(make(before), shifted)
    assert report.verdict == f"No verdict: only 60 rows of {side}, at least 100 are needed."
    assert not report.judged
    assert {feature.status for feature in report.features} == {"too_few"}
    assert report["amount"].ks_statistic > 0.5


def test_no_current_rows(reference, same):
    report = driftline.compare(reference, same[:0])
    assert report.verdict == "No verdict: the current data have no rows."
    assert ("", "no_rows") in problems(report)
    assert not any(problem == "type_changed" for _, problem in problems(report))


def test_a_built_reference_and_its_file_give_the_same(reference, drifted, tmp_path):
    built = build(reference)
    (tmp_path / "fraud.driftline").write_bytes(encode_reference(built))
    (tmp_path / "fraud").write_bytes(encode_reference(built))  # told by content, too
    reports = [
        driftline.compare(built, drifted),
        driftline.compare(tmp_path / "fraud.driftline", drifted),
        driftline.compare(tmp_path / "fraud", drifted),
        driftline.compare(reference, drifted),
    ]
    for report in reports:
        assert {feature.feature_name: feature.psi_score for feature in report.features} == {
            feature.feature_name: feature.psi_score for feature in reports[0].features
        }
    assert reports[1].reference == "fraud.driftline"


def test_a_built_reference_lists_extra_columns(reference, same):
    assert problems(driftline.compare(build(reference), same.assign(new=1))) == {("new", "extra_column")}


def daily(rows_a_day: int, days: int, seed: int) -> pd.DataFrame:
    """A value that swings by two standard deviations from day to day."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows_a_day)
    times = pd.Timestamp("2025-01-01") + pd.to_timedelta(
        day * 86_400 + rng.integers(0, 86_400, len(day)), unit="s"
    )
    swing = np.where(day % 2 == 0, 1.0, -1.0)
    return pd.DataFrame({"x": rng.normal(size=len(day)) + swing, "timestamp": times})


def test_natural_variation_raises_the_thresholds():
    before, day = daily(600, 20, seed=1), daily(600, 1, seed=2)
    assert names(driftline.compare(before, day).drifted) == ["x"]
    report = driftline.compare(before, day, window="1d")
    assert not report.drifted
    assert report.window == "1d"
    assert report["x"].psi_threshold > 0.2
    assert not driftline.compare(build(before), day).drifted
    day["x"] += 5
    assert names(driftline.compare(before, day, window="1d").drifted) == ["x"]


def test_a_window_that_few_rows_fall_in_gives_no_natural_variation():
    before = daily(60, 10, seed=1)
    report = driftline.compare(before, before, window="1h")
    assert report.window is None
    assert ("", "few_windows") in problems(report)
    more = daily(300, 10, seed=1)  # pooled, as in production
    assert driftline.compare(more, before, window="1h").window == "1h"


def test_data_longer_than_the_windows_are_told():
    before, day = daily(6000, 4, seed=1), daily(6000, 1, seed=2)
    (found,) = driftline.compare(before, day, window="1h").findings
    assert (found.problem, found.severity) == ("long_span", "warning")
    assert "choose a window of 1d" in found.message
    assert ("", "long_span") in problems(driftline.compare(build(before, "1h"), day))
    morning = day[day["timestamp"].dt.hour < 5]
    (found,) = driftline.compare(before, morning, window="2h").findings
    assert "choose a window of 6h" in found.message
    assert driftline.compare(before, morning, window="4h").findings == ()
    assert driftline.compare(before, before, window="1d").findings == ()


def test_rows_without_a_time_count_nevertheless():
    before = daily(600, 10, seed=1)
    before.loc[::7, "timestamp"] = pd.NaT
    report = driftline.compare(before, daily(600, 1, seed=2), window="1d")
    assert report.reference_rows == 6000
    assert ("timestamp", "no_timestamp") in problems(report)
    assert not report.drifted


def test_hours_of_the_week_have_variation_of_their_own():
    """Where the reference knows each hour of the week, the current rows are judged by theirs."""
    rng = np.random.default_rng(0)
    hours = np.repeat(np.arange(24 * 7 * 14), 120)
    times = pd.Timestamp("2025-01-06") + pd.to_timedelta(hours * 3600 + 5, unit="s")
    night = hours % 24 < 6
    before = pd.DataFrame({"x": rng.normal(size=len(hours)) + 1.5 * night, "timestamp": times})
    built = build(before, "1h")
    assert built.natural is not None
    assert len(built.natural.psi) == 168
    at_night = before[(hours % 24 == 3) & (hours >= 24 * 7 * 13)]
    at_noon = at_night.assign(timestamp=at_night["timestamp"] + pd.Timedelta(hours=9))
    assert not driftline.compare(built, at_night).drifted
    assert names(driftline.compare(built, at_noon).drifted) == ["x"]
    assert not driftline.compare(built, at_noon.drop(columns="timestamp")).drifted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": ["amuont"]}, r"`exclude`: reference has no column 'amuont'; did you mean 'amount'\?"),
        ({"columns": ["zzz"]}, r"`columns`: reference has no column 'zzz'; it has 'amount'"),
        ({"categorical": ["Age"]}, r"`categorical`: reference has no column 'Age'; did you mean 'age'\?"),
        ({"score": "p"}, r"`score`: reference has no column 'p'"),
        ({"task": "banary"}, r"task is 'banary'; use binary, multiclass, regression, ranking"),
        ({"window": "1d"}, r"`window` needs timestamps, and reference has no column 'timestamp'"),
        ({"window": "7m"}, r"window '7m' does not divide a day"),
        ({"schema": {"features": []}, "task": "binary"}, r"`task` is part of the schema"),
        ({"schema": {"features": [{"name": "y", "kind": "numeric"}]}}, r"no column 'y'"),
        ({"exclude": sorted(NAMES)}, r"no column that can be compared"),
    ],
)
def test_wrong_options_name_the_fix(reference, same, options, message):
    with pytest.raises(InvalidInput, match=message):
        driftline.compare(reference, same, **options)


def test_unusable_data_name_the_fix(reference, same, tmp_path):
    cases = [
        (reference[:0], same, "reference has no rows"),
        (same.set_axis(["a", "a", "b", "c", "d"], axis=1), same, "column 'a' is there twice"),
        (reference, {"amount": 1}, "dict: give a pandas, Polars or Arrow frame"),
        (pl.from_pandas(reference).lazy(), same, "collect"),
        (tmp_path / "nothing.parquet", same, "there is no such file"),
        (tmp_path / "nothing.driftline", same, "there is no such file"),
        (tmp_path, same, "is a directory"),
    ]
    (tmp_path / "broken.driftline").write_bytes(b"rubbish")
    cases.append((tmp_path / "broken.driftline", same, "not a driftline reference"))
    for before, after, message in cases:
        with pytest.raises(InvalidInput, match=message):
            driftline.compare(before, after)


def test_a_built_reference_takes_no_options(reference, same):
    with pytest.raises(InvalidInput, match=r"built before, so `task` cannot change"):
        driftline.compare(build(reference), same, task="binary")


def test_timestamps_of_unknown_unit_matter_only_with_a_window(make):
    before = make(1000).assign(timestamp=range(1000))
    assert not driftline.compare(before, before).findings
    with pytest.raises(InvalidInput, match="numbers of unknown unit"):
        driftline.compare(before, before, window="1d")


@pytest.mark.parametrize("largest", [1.7e308, 1e307, 1e-40, 1e-300])
def test_numbers_at_the_ends_of_what_a_float64_holds(largest):
    rng = np.random.default_rng(6)
    before, after = (pd.DataFrame({"x": rng.choice([-1, 1, 0.5], 2000) * largest}) for _ in range(2))
    spread = [pd.DataFrame({"x": rng.uniform(-1, 1, 2000) * largest}) for _ in range(2)]
    for pair in ((before, after), spread):
        report = driftline.compare(*pair)
        assert report.verdict == "No drift in the one feature."
        report.to_html()
        str(report)
        json.dumps(report.to_dict(), allow_nan=False)
    assert driftline.compare(spread[0], spread[1] * 0.2)["x"].drifted


def late_range(rng, rows):
    return np.where(np.arange(rows) < rows // 2, rng.integers(0, 1000, rows), 10**9 + rng.integers(0, 60, rows))


def late_junk(rng, rows):
    numbers, junk = rng.normal(size=rows).round(3).astype(str), rng.choice(["a", "b", "c"], rows)
    return np.where((np.arange(rows) < rows // 2) & (np.arange(rows) > 0), numbers, junk)


@pytest.mark.parametrize("values", [late_range, late_junk])
@pytest.mark.parametrize("kept", [0, 10**9])
def test_a_file_is_what_it_is_as_a_whole(tmp_path, monkeypatch, values, kept):
    read = dataset_module.read_chunks
    monkeypatch.setattr(dataset_module, "read_chunks", lambda path: read(path, rows=500))
    monkeypatch.setattr(dataset_module, "KEPT_BYTES", kept)
    rng = np.random.default_rng(7)
    before, after = (pd.DataFrame({"x": values(rng, rows)}) for rows in (4000, 2000))
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for frame, path in zip((before, after), paths, strict=True):
        frame.to_parquet(path)
    expected, report = driftline.compare(before, after), driftline.compare(*paths)
    for name in ("psi_score", "ks_statistic", "level"):
        assert getattr(report["x"], name) == pytest.approx(getattr(expected["x"], name), nan_ok=True)
    assert report["x"].kind is expected["x"].kind
    assert report["x"].current.std == pytest.approx(expected["x"].current.std, nan_ok=True)
    assert report.findings == expected.findings
    assert (report.reference_rows, report.current_rows) == (4000, 2000)
