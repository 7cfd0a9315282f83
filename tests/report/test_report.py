"""The report itself: its JSON form, its frame, what it prints."""

import dataclasses
import io
import json
import math
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from rich.console import Console

import driftline
from driftline.report import report as report_module

PROMISED = {
    "feature_name",
    "kind",
    "psi_score",
    "psi_raw",
    "psi_pvalue",
    "ks_statistic",
    "ks_pvalue",
    "js",
    "wasserstein",
    "missing_rate",
    "sample_count",
    "drifted",
    "status",
}


@pytest.fixture(scope="module")
def report(reference, drifted) -> driftline.Report:
    return driftline.compare(reference, drifted, created_at=datetime(2026, 3, 1, 12, tzinfo=UTC))


def test_json_form(report):
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert content["version"] == driftline.__version__
    assert content["created_at"] == "2026-03-01T12:00:00+00:00"
    assert content["verdict"] == report.verdict
    assert content["rows"] == {"reference": 5000, "current": 2000}
    assert content["bins"] == 50
    assert content["thresholds"]["psi_large"] == 0.2
    assert content["counts"]["drifted"] == 3
    assert {"column", "side", "problem", "severity", "count", "message"} == set(content["findings"][0])
    assert [feature["feature_name"] for feature in content["features"]] == [
        feature.feature_name for feature in report.features
    ]
    for feature in content["features"]:
        assert set(feature) >= PROMISED
        assert {"mean", "std", "p1", "p5", "p25", "p50", "p75", "p95", "p99", "missing_rate"} <= set(
            feature["current"]
        )


def test_numbers_that_do_not_apply_are_none(report):
    country = report["country"].to_dict()
    assert country["ks_statistic"] is None
    assert country["current"]["mean"] is None
    assert country["chi2_statistic"] > 0
    assert report["amount"].to_dict()["chi2_statistic"] is None


def test_json_has_every_number_of_the_record(report):
    """A field added to the record must not be forgotten in its JSON form."""
    content = report["amount"].to_dict()
    assert {field.name for field in dataclasses.fields(report["amount"])} <= set(content)


def test_frame_has_a_row_per_feature(report):
    frame = report.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame["feature_name"].tolist() == [feature.feature_name for feature in report.features]
    assert set(frame.columns) >= PROMISED
    amount = frame.set_index("feature_name").loc["amount"]
    assert amount["current_mean"] == report["amount"].current.mean
    assert amount["drifted"]
    assert not frame.map(lambda value: isinstance(value, dict | list)).any().any()


@pytest.mark.parametrize(("there", "kind"), [({"polars"}, pl.DataFrame), (set(), pa.Table)])
def test_frame_without_pandas(report, monkeypatch, there, kind):
    monkeypatch.setattr(report_module, "find_spec", lambda name: name in there or None)
    frame = report.to_frame()
    assert isinstance(frame, kind)
    assert frame.shape[0] == len(report.features)


def test_a_report_is_frozen_and_finds_features_by_name(report):
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.bins = 7
    assert report["age"].feature_name == "age"
    with pytest.raises(KeyError):
        report["Age"]


def test_it_prints_the_verdict_first(report):
    lines = str(report).splitlines()
    assert lines[0] == report.verdict
    assert repr(report) == f"<Report: {report.verdict}>"
    assert "Data quality" in lines
    for feature in report.features:
        assert any(feature.feature_name in line for line in lines[1:])


@pytest.mark.parametrize("width", [40, 80, 110, 200])
def test_every_width_holds(report, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(report)
    assert max(map(len, console.export_text().splitlines())) <= width


def test_a_terminal_without_unicode_gets_ascii_bars(report):
    from driftline.report.table import draw_report

    console = Console(width=110, record=True, file=io.StringIO())
    console.print(draw_report(report, ascii_only=True))
    assert not set("▁▂▃▄▅▆▇█▲△") & set(console.export_text())


def test_only_the_first_features_when_asked(report):
    from driftline.report.table import draw_report

    console = Console(width=110, record=True, file=io.StringIO())
    console.print(draw_report(report, top=2))
    assert "3 more features" in console.export_text()


def test_names_and_values_cannot_command_the_terminal(make):
    name = "[bold]x[/bold]\x1b[2J\n"
    frame = make(1000).assign(**{name: "a"})
    after = frame.assign(**{name: ["\x1b]0;owned\x07"] * 1000})
    text = str(driftline.compare(frame, after))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]x[/bold]" in text


def test_datetimes_are_seconds_in_numbers_and_dates_in_words(reference, make):
    later = make(2000, seed=5)
    later["signed_up"] += pd.Timedelta(days=400)
    report = driftline.compare(reference, later)
    assert report["signed_up"].drifted
    assert report["signed_up"].current.min == pytest.approx(later["signed_up"].min().timestamp(), abs=1)
    assert "2026-" in str(report)


def test_effect_is_relative_to_the_thresholds(report):
    amount = report["amount"]
    expected = max(amount.psi_score / amount.psi_threshold, amount.ks_statistic / amount.ks_threshold)
    assert amount.effect == expected
    assert math.isnan(report["country"].ks_statistic)
    assert report["country"].effect == report["country"].psi_score / 0.2


def test_five_hundred_features_without_drift_are_silent():
    rng = np.random.default_rng(11)
    columns = [f"f{i}" for i in range(500)]
    before = pd.DataFrame(rng.normal(size=(5000, 500)), columns=columns)
    for rows in (200, 900):
        report = driftline.compare(before, pd.DataFrame(rng.normal(size=(rows, 500)), columns=columns))
        assert not report.drifted
        assert report.verdict == "No drift in 500 features."
