"""Training data with labels: a baseline of performance, stored with the reference and shown."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from driftline.api import reference_file
from driftline.core.reference import decode_reference, encode_reference
from driftline.core.schema import Schema
from driftline.report.build import build_reference
from driftline.store.baselines import read_baseline
from driftline.store.database import Database
from driftline.store.references import current_reference
from tests.api.examples import FRAUD, make_frame, to_parquet, upload_reference

PATH = "/models/fraud/versions/3/reference"
BUILT = {"content-type": "application/vnd.driftline.reference"}


def make_labelled(rows: int = 3000, *, seed: int = 0) -> pd.DataFrame:
    """Rows of fraud whose scores mean something."""
    frame = make_frame(rows, seed=seed).drop(columns="timestamp")
    drawn = np.random.default_rng(seed + 100).random(rows)
    return frame.assign(prediction=(frame["score"] > 0.5).astype(int), label=(drawn < frame["score"]).astype(int))


def spell(frame: pd.DataFrame, *classes: str) -> pd.DataFrame:
    names = dict(enumerate(classes))
    return frame.assign(label=frame["label"].map(names), prediction=frame["prediction"].map(names))


def build(frame: pd.DataFrame, **options: Any) -> bytes:
    schema = Schema.from_dict({**FRAUD["schema"], "task": "binary"})
    return encode_reference(build_reference(frame, schema=schema, window="1h", **options))


def put(client: httpx.Client, frame: pd.DataFrame, **query: str) -> httpx.Response:
    return client.put(PATH, content=to_parquet(frame), params=query)


def setting(client: httpx.Client) -> str | None:
    found: str | None = client.get("/models/fraud").json()["settings"]["positive_class"]
    return found


def test_labels_give_a_baseline(fraud: httpx.Client, database: Database) -> None:
    frame = make_labelled()
    said = upload_reference(fraud, frame)
    auc = roc_auc_score(frame["label"], frame["score"])
    baseline = said["baseline"]
    assert (baseline["status"], baseline["rows"], baseline["positive_class"]) == ("ok", 3000, "1")
    assert (baseline["metric"], baseline["metric_status"]) == ("roc_auc", "ok")
    assert baseline["value"] == pytest.approx(auc, abs=1e-6)
    assert baseline["lower"] < auc < baseline["upper"]
    assert (said["findings"], said["left_out"]) == ([], [])
    assert fraud.get("/models/fraud").json()["versions"][0]["baseline"] == baseline
    with database.transaction() as conn:
        german = read_baseline(conn, "fraud", "3", "country=DE")
        stored = current_reference(conn, "fraud", "3")
    assert german is not None
    assert german.rows == (frame["country"] == "DE").sum()
    assert stored is not None
    assert decode_reference(stored.payload).baseline is not None


def test_without_labels_it_is_said_and_no_error(fraud: httpx.Client) -> None:
    said = upload_reference(fraud)
    assert said["baseline"]["status"] == "no_labels"
    assert "have no labels in column 'label'" in said["baseline"]["detail"]
    assert said["findings"] == []
    assert fraud.get("/models/fraud").json()["versions"][0]["baseline"] is None
    assert setting(fraud) is None


def test_without_predictions_or_task_it_is_said(client: httpx.Client) -> None:
    client.post("/models", json={"model_id": "fraud", "version": "3"})
    assert put(client, make_labelled().drop(columns="prediction")).json()["baseline"]["status"] == "no_predictions"
    client.post("/models", json={"model_id": "fraud", "version": "4"})
    body = to_parquet(make_labelled().assign(prediction=0.5))
    answer = client.put("/models/fraud/versions/4/reference", content=body)
    assert answer.json()["baseline"]["status"] == "no_task"


def test_the_column_has_another_name(client: httpx.Client) -> None:
    client.post("/models", json={"model_id": "fraud", "version": "3"})
    frame = make_labelled().rename(columns={"label": "late"})
    said = put(client, frame, label="late").json()
    assert said["baseline"]["status"] == "ok"
    assert said["schema"]["label"] == "late"
    assert "late" not in {feature["name"] for feature in said["schema"]["features"]}
    assert put(client, frame).status_code == 200
    again = put(client, frame, label="late")
    assert (again.status_code, again.json()["field"]) == (409, "label")
    other = {**said["schema"], "label": "bad"}
    answer = client.post("/models", json={"model_id": "fraud", "version": "3", "schema": other})
    assert "label is 'bad', was 'late'" in answer.json()["detail"]


def test_what_was_built_elsewhere_is_the_same(fraud: httpx.Client) -> None:
    frame = make_labelled()
    said = upload_reference(fraud, frame)
    answer = fraud.put(PATH, content=build(frame), headers=BUILT)
    assert (answer.status_code, answer.json()["baseline"]) == (200, said["baseline"])


@pytest.mark.parametrize(
    "change",
    [lambda f: f.drop(columns="label"), lambda f: f.assign(label=1 - f["label"])],
    ids=["none", "others"],
)
def test_other_labels_are_another_reference(fraud: httpx.Client, change: Any) -> None:
    upload_reference(fraud, make_labelled())
    answer = put(fraud, change(make_labelled()))
    assert answer.status_code == 409
    assert "but other rows, timestamps, segments or labels" in answer.json()["detail"]


def test_the_first_reference_decides_which_class_is_positive(fraud: httpx.Client) -> None:
    frame = spell(make_labelled(), "good", "bad")
    assert put(fraud, frame, positive_class="bad").json()["baseline"]["positive_class"] == "bad"
    assert setting(fraud) == "bad"
    fraud.post("/models", json={**FRAUD, "version": "4"})
    said = upload_reference(fraud, spell(make_labelled(seed=1), "good", "bad"), version="4")
    assert said["baseline"]["positive_class"] == "bad"
    assert said["baseline"]["value"] > 0.7


def test_by_default_it_is_the_last_one(fraud: httpx.Client) -> None:
    assert put(fraud, spell(make_labelled(), "good", "bad")).json()["baseline"]["positive_class"] == "good"
    assert setting(fraud) == "good"


def test_it_is_that_of_the_model_where_the_model_has_one(fraud: httpx.Client) -> None:
    fraud.patch("/models/fraud", json={"settings": {"positive_class": "bad"}})
    said = put(fraud, spell(make_labelled(), "good", "bad")).json()
    assert said["baseline"]["positive_class"] == "bad"


def test_true_is_one(fraud: httpx.Client) -> None:
    fraud.patch("/models/fraud", json={"settings": {"positive_class": "true"}})
    frame = make_labelled()
    assert put(fraud, frame.assign(label=frame["label"] == 1)).json()["baseline"]["positive_class"] == "1"
    assert fraud.patch("/models/fraud", json={"settings": {"positive_class": "1"}}).status_code == 200


def test_another_positive_class_than_the_models_is_refused(fraud: httpx.Client) -> None:
    frame = spell(make_labelled(), "good", "bad")
    fraud.patch("/models/fraud", json={"settings": {"positive_class": "bad"}})
    answer = put(fraud, frame, positive_class="good")
    assert (answer.status_code, answer.json()["field"]) == (409, "positive_class")
    assert "positive_class of model 'fraud' is 'bad', not 'good'; leave it out" in answer.json()["detail"]
    answer = fraud.put(PATH, content=build(frame), headers=BUILT)
    assert (answer.status_code, answer.json()["field"]) == (409, "positive_class")
    assert "measured with positive class 'good', the model has 'bad'" in answer.json()["detail"]
    answer = fraud.put(PATH, content=build(frame, positive_class="bad"), headers=BUILT)
    assert answer.status_code == 201


def test_once_measured_it_cannot_change(fraud: httpx.Client) -> None:
    put(fraud, make_labelled())
    answer = fraud.patch("/models/fraud", json={"settings": {"positive_class": "0"}})
    assert (answer.status_code, answer.json()["field"]) == (409, "settings.positive_class")
    assert "its references were measured so; leave it out, or register another model" in answer.json()["detail"]
    assert fraud.patch("/models/fraud", json={"settings": {"positive_class": None}}).status_code == 200
    assert fraud.patch("/models/fraud", json={"settings": {"expected_rows": 500}}).status_code == 200
    assert setting(fraud) == "1"


@pytest.mark.parametrize(
    ("changes", "query", "field", "message"),
    [
        (
            {"label": "maybe"},
            {},
            "label",
            "'maybe', the predictions in column 'prediction' are '0', '1'; write",
        ),
        ({}, {"positive_class": "yes"}, "positive_class", "'yes' is none of the classes '0', '1'; name one"),
    ],
)
def test_labels_of_no_use_say_the_fix(
    fraud: httpx.Client, changes: dict[str, Any], query: dict[str, str], field: str, message: str
) -> None:
    answer = put(fraud, make_labelled(300).assign(**changes), **query)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert message in answer.json()["detail"]


def test_a_class_that_the_model_does_not_have_is_refused(fraud: httpx.Client) -> None:
    fraud.patch("/models/fraud", json={"settings": {"positive_class": "yes"}})
    answer = put(fraud, make_labelled(300))
    assert (answer.status_code, answer.json()["field"]) == (409, "positive_class")
    assert "'yes' is none of the classes '0', '1'" in answer.json()["detail"]
    assert "PATCH /models/fraud" in answer.json()["detail"]


def test_labels_that_are_no_numbers_are_found(client: httpx.Client) -> None:
    client.post("/models", json={"model_id": "fraud", "version": "3", "task": "regression"})
    frame = make_labelled(500).assign(prediction=0.5)
    frame["label"] = [f"{i}.5" if i else "unknown" for i in range(500)]
    said = put(client, frame).json()
    assert said["baseline"]["rows"] == 499
    found = [(each["column"], each["problem"], each["count"]) for each in said["findings"]]
    assert found[0] == ("label", "not_a_number", 1)
    answer = client.post("/models", json={"model_id": "fraud", "version": "4"})
    answer = client.put("/models/fraud/versions/4/reference", content=to_parquet(frame.assign(label="?")))
    assert (answer.status_code, answer.json()["field"]) == (422, "label")


def test_a_file_that_does_not_fit_in_memory_is_measured_alike(
    fraud: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "training.csv"
    make_labelled(70_000).to_csv(path, index=False)
    schema = Schema.from_dict({**FRAUD["schema"], "task": "binary"})
    kept = reference_file.build_from_file(path, schema, window_length=3_600_000_000)
    monkeypatch.setattr(reference_file, "KEPT_VALUES", 1000)
    read_again = reference_file.build_from_file(path, schema, window_length=3_600_000_000)
    assert encode_reference(kept.reference) == encode_reference(read_again.reference)
    assert kept.reference.baseline is not None
    assert kept.reference.baseline.performances[""].n == 70_000
