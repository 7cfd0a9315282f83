"""`driftline reference`: built where the data lie, shown, and used in place of the data."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from driftline.core.reference import decode_reference
from tests.report.conftest import make_frame


@pytest.fixture
def built(run, files, tmp_path):
    out = tmp_path / "fraud.driftline"
    result = run("reference", "build", files / "train.parquet", "--out", out)
    assert result.code == 0
    return out


def test_a_reference_is_built_and_compared_with(run, files, built):
    reference = decode_reference(built.read_bytes())
    assert reference.profile.rows == 5000
    report = json.loads(run("compare", built, files / "drifted.parquet", "--json", "-").out)
    with_data = json.loads(run("compare", files / "train.parquet", files / "drifted.parquet", "--json", "-").out)
    assert report["reference"] == "fraud.driftline"
    assert [(f["feature_name"], f["psi_score"]) for f in report["features"]] == [
        (f["feature_name"], f["psi_score"]) for f in with_data["features"]
    ]


def test_it_says_what_was_built_and_what_to_do_next(run, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_frame(300).to_csv("small.csv", index=False)
    result = run("reference", "build", "small.csv")
    assert result.out.startswith("small.driftline (")
    assert "5 features of 300 rows" in result.out
    assert "Next: driftline compare small.driftline CURRENT" in result.out
    assert (tmp_path / "small.driftline").exists()


def test_timestamps_give_natural_variation(run, tmp_path):
    frame = make_frame(8000)
    frame["when"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(range(8000), unit="min")
    frame.to_parquet(tmp_path / "train.parquet")
    arguments = ("reference", "build", tmp_path / "train.parquet", "--window", "6h", "--timestamp", "when")
    assert "natural variation of 6h windows known" in run(*arguments).out
    reference = decode_reference((tmp_path / "train.driftline").read_bytes())
    assert reference.natural is not None
    assert reference.schema.timestamp == "when"
    assert reference.bins.count == 20  # about 360 rows a window


def test_window_rows_and_segments(run, files, tmp_path):
    out = tmp_path / "x.driftline"
    run(
        "reference", "build", files / "train.parquet", "--out", out, "--window-rows", 150, "--segment", "country",
        "--task", "regression", "--exclude", "member",
    )  # fmt: skip
    reference = decode_reference(out.read_bytes())
    assert reference.bins.count == 10
    assert reference.schema.segments == ("country",)
    assert reference.schema.task == "regression"
    assert "member" not in reference.names


def test_show(run, built):
    result = run("reference", "show", built)
    assert result.code == 0
    assert result.out.startswith("Reference of 5,000 rows")
    for name in ("amount", "age", "country", "member", "signed_up"):
        assert name in result.out
    assert "__prediction__" not in result.out


def test_the_shown_schema_can_be_edited_and_used(run, files, built, tmp_path):
    content = json.loads(run("reference", "show", built, "--json", "-").out)
    assert [feature["feature_name"] for feature in content["features"]][:2] == ["amount", "age"]
    content["schema"]["features"] = [f for f in content["schema"]["features"] if f["name"] != "age"]
    (tmp_path / "schema.json").write_text(json.dumps(content["schema"]))
    out = tmp_path / "edited.driftline"
    result = run("reference", "build", files / "train.parquet", "--schema", tmp_path / "schema.json", "--out", out)
    assert result.code == 0
    assert "age" not in decode_reference(out.read_bytes()).names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "train.parquet"], "is not a reference; make one of data with `driftline reference build"),
        (["show", "nothing.driftline"], "there is no such file"),
        (["build", "nothing.csv"], "there is no such file"),
        (["build", "train.parquet", "--window", "7m"], "window '7m' does not divide a day"),
        (["build", "train.parquet", "--segment", "contry"], "did you mean 'country'?"),
        (["build", "train.parquet", "--out", "no/such/folder"], "No such file or directory"),
    ],
)
def test_errors_say_the_fix(run, files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    result = run("reference", *arguments)
    assert result.code == 2
    assert message in result.err


def make_labelled(rows: int = 2000) -> pd.DataFrame:
    frame = make_frame(rows)
    rng = np.random.default_rng(1)
    return frame.assign(
        score=rng.random(rows),
        prediction=lambda f: np.where(f["score"] > 0.5, "bad", "good"),
        late=lambda f: np.where(rng.random(rows) < f["score"], "bad", "good"),
    )


def test_labels_give_a_baseline(run, tmp_path):
    frame = make_labelled()
    frame.loc[:99, "late"] = None
    frame.to_parquet(tmp_path / "train.parquet")
    out = tmp_path / "x.driftline"
    arguments = ("reference", "build", tmp_path / "train.parquet", "--out", out, "--label", "late")
    result = run(*arguments, "--positive-class", "bad", "--segment", "country")
    known = frame[100:]
    auc = roc_auc_score(known["late"] == "bad", known["score"])
    assert f"Baseline on 1,900 labelled rows: roc_auc {auc:.4g}".rstrip("0") in result.out
    assert "; class 'bad' is the positive one." in result.out
    reference = decode_reference(out.read_bytes())
    assert reference.schema.label == "late"
    assert "late" not in reference.names
    shown = run("reference", "show", out)
    assert "Baseline on 1,900 labelled rows: roc_auc" in shown.out
    baseline = json.loads(run("reference", "show", out, "--json", "-").out)["baseline"]
    assert (baseline["status"], baseline["classes"]) == ("ok", ["good", "bad"])
    assert [each["segment"] for each in baseline["segments"]][:2] == ["", "country=DE"]
    metrics = {each["metric"]: each for each in baseline["segments"][0]["metrics"]}
    assert metrics["roc_auc"]["value"] == pytest.approx(auc, abs=1e-9)
    assert metrics["roc_auc"]["lower"] < auc < metrics["roc_auc"]["upper"]


def test_without_positive_class_it_is_the_last_one(run, tmp_path):
    make_labelled().rename(columns={"late": "label"}).to_csv(tmp_path / "train.csv", index=False)
    result = run("reference", "build", tmp_path / "train.csv")
    assert "roc_auc 0.1" in result.out
    assert "; class 'good' is the positive one." in result.out


@pytest.mark.parametrize(
    ("dropped", "arguments", "message"),
    [
        (["late"], (), "No baseline: the data have no labels in column 'label'; add what came true, of rows"),
        ([], (), "No baseline: the data have no labels in column 'label'"),
        (["prediction"], ("--label", "late"), "No baseline: the data have no predictions in column 'prediction'"),
        (
            ["prediction"],
            ("--label", "late", "--prediction", "age"),
            "No baseline: it is not known what the model",
        ),
    ],
)
def test_it_says_why_there_is_no_baseline(run, tmp_path, dropped, arguments, message):
    make_labelled(300).drop(columns=dropped).to_parquet(tmp_path / "train.parquet")
    result = run("reference", "build", tmp_path / "train.parquet", *arguments)
    assert result.code == 0
    assert message in result.out
    shown = run("reference", "show", tmp_path / "train.driftline")
    assert message in " ".join(shown.out.split())


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, ("--label", "lat"), "`label`: train.parquet has no column 'lat'; did you mean 'late'?"),
        ({}, ("--label", "late", "--positive-class", "worst"), "'worst' is none of the classes 'bad', 'good'"),
        ({"late": [0, 1] * 150}, ("--label", "late"), "the labels in column 'late' are '0', '1', the predictions"),
        ({"prediction": 0.5}, ("--label", "late", "--task", "regression"), "column 'late' holds no numbers"),
        ({"late": [[1]] * 300}, ("--label", "late"), "column 'late' holds list"),
        ({}, ("--label", "score"), "label 'score' is a feature, a segment or an output as well"),
    ],
)
def test_labels_of_no_use_say_the_fix(run, tmp_path, changes, arguments, message):
    make_labelled(300).assign(**changes).to_parquet(tmp_path / "train.parquet")
    result = run("reference", "build", tmp_path / "train.parquet", *arguments)
    assert result.code == 2
    assert message in " ".join(result.err.split())
