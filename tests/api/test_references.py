"""PUT /models/{model_id}/versions/{version}/reference."""

import gzip
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import zstandard

from driftline.api import reference_file
from driftline.api.reference_file import build_from_file
from driftline.core.reference import Reference, build_reference, decode_reference, encode_reference
from driftline.core.schema import Schema
from driftline.core.window import parse_length
from driftline.store.clocks import advance_version_clock
from driftline.store.database import Database
from driftline.store.references import current_reference, list_feature_profiles, list_grids
from driftline.store.versions import get_version
from tests.api.examples import (
    FRAUD,
    HOUR,
    NAMES,
    NOON,
    PARQUET,
    make_frame,
    to_arrow,
    to_parquet,
    upload_reference,
)

PATH = "/models/fraud/versions/3/reference"
BUILT = "application/vnd.driftline.reference"


def read_stored(database: Database) -> Reference:
    with database.transaction() as conn:
        stored = current_reference(conn, "fraud", "3")
    assert stored is not None
    return decode_reference(stored.payload)


def build_locally(tmp_path: Path, **options: Any) -> bytes:
    path = tmp_path / "training.parquet"
    path.write_bytes(to_parquet(make_frame()))
    schema = Schema.from_dict({**FRAUD["schema"], "task": "binary"})
    return encode_reference(build_from_file(path, schema, **{"window_length": HOUR, **options}).reference)


def test_upload_parquet(fraud: httpx.Client, database: Database) -> None:
    frame = make_frame()
    answer = fraud.put(PATH, content=to_parquet(frame.assign(extra=1)), headers={"content-type": PARQUET})
    assert answer.status_code == 201
    said = answer.json()
    assert (said["model_id"], said["version"], said["rows"], said["window"]) == ("fraud", "3", 5000, "1h")
    assert (said["bins"], said["valid_from"], said["left_out"], said["findings"]) == (50, None, ["extra"], [])
    assert said["segments"] == {"country": ["DE", "FR", "IT"]}
    stored = read_stored(database)
    assert (stored.grid.grid_id, stored.names, stored.profile.rows) == (said["grid_id"], NAMES, 5000)
    assert np.nanmax(np.abs(stored.profile.extremes[:, 0] - [frame["amount"].min(), frame["amount"].max()])) == 0
    with database.transaction() as conn:
        assert get_version(conn, "fraud", "3").bins == 50


def test_what_people_read_about_the_features(fraud: httpx.Client, database: Database) -> None:
    frame = make_frame()
    frame.loc[:499, "amount"] = np.nan
    upload_reference(fraud, frame)
    with database.transaction() as conn:
        found = {profile.feature_name: profile for profile in list_feature_profiles(conn, "fraud", "3")}
    assert sorted(found) == sorted(NAMES)
    amount = found["amount"]
    assert amount.stats["missing_rate"] == 0.1
    assert amount.stats["mean"] == pytest.approx(frame["amount"].mean(), rel=1e-6)
    assert amount.stats["std"] == pytest.approx(frame["amount"].std(ddof=0), rel=1e-6)
    assert amount.stats["distinct"] == frame["amount"].nunique()
    for p in (1, 5, 25, 50, 75, 95, 99):
        assert amount.stats[f"p{p}"] == pytest.approx(frame["amount"].quantile(p / 100), abs=0.5)
    assert amount.histogram is not None
    assert (len(amount.histogram["edges"]), len(amount.histogram["shares"])) == (51, 50)
    assert sum(amount.histogram["shares"]) == pytest.approx(1)
    country = found["country"].histogram
    assert country is not None
    assert country["categories"] == ["DE", "FR", "IT"]
    assert country["shares"] == pytest.approx(frame["country"].value_counts(normalize=True).tolist())
    assert found["member"].histogram == {
        "edges": [-0.5, 0.5, 1.5],
        "shares": pytest.approx([1 - frame["member"].mean(), frame["member"].mean()]),
    }


def test_one_content_in_every_format_is_one_reference(fraud: httpx.Client, tmp_path: Path) -> None:
    frame = make_frame()
    said = upload_reference(fraud, frame)
    feather = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.ipc.new_file(feather, table.schema) as writer:
        writer.write_table(table)
    csv = frame.to_csv(index=False).encode()
    bodies = [
        (to_parquet(frame), {}),
        (to_parquet(frame), {"content-type": "application/x-parquet"}),
        (to_arrow(frame), {"content-type": "application/vnd.apache.arrow.stream"}),
        (feather.getvalue(), {"content-type": "application/octet-stream"}),
        (csv, {"content-type": "text/csv; charset=utf-8"}),
        (gzip.compress(csv), {"content-type": "text/csv"}),
        (gzip.compress(csv), {"content-type": "text/csv", "content-encoding": "gzip"}),
        (zstandard.compress(csv), {"content-encoding": "zstd"}),
        (build_locally(tmp_path), {"content-type": BUILT}),
        (build_locally(tmp_path), {}),
    ]
    for body, headers in bodies:
        answer = fraud.put(PATH, content=body, headers=headers)
        assert (answer.status_code, answer.json()["grid_id"]) == (200, said["grid_id"]), (headers, answer.text)
    assert len(fraud.get("/models/fraud").json()["versions"][0]["references"]) == 1


def test_natural_variation_needs_timestamps_and_rows(fraud: httpx.Client) -> None:
    frame = make_frame(20_000)
    assert upload_reference(fraud, frame.drop(columns="timestamp"))["natural_variation"] is False
    fraud.post("/models", json={**FRAUD, "version": "4"})
    assert upload_reference(fraud, frame, version="4")["natural_variation"] is True


def test_a_later_reference_holds_from_the_next_window_on(fraud: httpx.Client, database: Database) -> None:
    first = upload_reference(fraud)
    with database.transaction() as conn:
        advance_version_clock(conn, "fraud", "3", event_time=NOON + HOUR // 2, last_append=NOON + HOUR)
    second = upload_reference(fraud, make_frame(seed=7))
    assert second["valid_from"] == "2024-11-25T13:00:00Z"
    with database.transaction() as conn:
        for start, expected in ((NOON - HOUR, first), (NOON, first), (NOON + HOUR, second)):
            reference = current_reference(conn, "fraud", "3", start)
            assert reference is not None
            assert reference.grid_id == expected["grid_id"]
    shown = fraud.get("/models/fraud").json()["versions"][0]["references"]
    assert [each["grid_id"] for each in shown] == [first["grid_id"], second["grid_id"]]


def test_a_reference_replaced_before_the_first_prediction_is_not_used(
    fraud: httpx.Client, database: Database
) -> None:
    upload_reference(fraud)
    second = upload_reference(fraud, make_frame(seed=7))
    assert second["valid_from"] is None
    with database.transaction() as conn:
        reference = current_reference(conn, "fraud", "3", NOON)
        assert reference is not None
        assert reference.grid_id == list_grids(conn, "fraud", "3")[-1][0] == second["grid_id"]


def test_a_replaced_reference_does_not_come_back(fraud: httpx.Client) -> None:
    upload_reference(fraud, make_frame())
    upload_reference(fraud, make_frame(seed=7))
    answer = fraud.put(PATH, content=to_parquet(make_frame()))
    assert answer.status_code == 409
    assert "register a new version" in answer.json()["detail"]


def test_the_same_cells_with_other_timestamps_are_not_the_same(fraud: httpx.Client) -> None:
    frame = make_frame(20_000)
    upload_reference(fraud, frame.drop(columns="timestamp"))
    answer = fraud.put(PATH, content=to_parquet(frame))
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:driftline:problem:conflict")
    assert "other rows, timestamps, segments or labels" in answer.json()["detail"]


def test_the_number_of_bins(fraud: httpx.Client) -> None:
    fraud.patch("/models/fraud", json={"settings": {"expected_rows": 250}})
    assert upload_reference(fraud)["bins"] == 20
    fraud.patch("/models/fraud", json={"settings": {"expected_rows": 100_000}})
    assert upload_reference(fraud, make_frame(seed=3))["bins"] == 20  # fixed with the first reference


def test_the_schema_is_inferred_when_there_is_none(client: httpx.Client) -> None:
    client.post("/models", json={"model_id": "fraud", "version": "3", "time_zone": "Europe/Berlin"})
    frame = make_frame().rename(columns={"prediction": "flagged", "timestamp": "at"})
    query = {"prediction": "flagged", "timestamp": "at", "segment": ["country"], "categorical": ["age"]}
    answer = client.put(PATH, content=to_parquet(frame), params=query)
    assert answer.status_code == 201
    schema = answer.json()["schema"]
    kinds = {feature["name"]: feature["kind"] for feature in schema["features"]}
    assert kinds == {"amount": "numeric", "age": "categorical", "member": "boolean", "country": "categorical"}
    assert (schema["task"], schema["segments"], schema["time_zone"]) == ("binary", ["country"], "Europe/Berlin")
    shown = client.get("/models/fraud").json()
    assert (shown["schema"], shown["task"]) == (schema, "binary")
    again = client.put(PATH, content=to_parquet(frame), params={"prediction": "flagged"})
    assert (again.status_code, again.json()["field"]) == (409, "prediction")
    assert client.put(PATH, content=to_parquet(frame)).status_code == 200


def test_findings_name_what_is_odd(fraud: httpx.Client) -> None:
    frame = make_frame(2000).astype({"amount": "float64"})
    frame.loc[:3, "amount"] = [np.inf, -np.inf, np.nan, 1.0]
    frame["age"] = 7
    frame["country"] = [f"c{i % 1000}" for i in range(2000)]
    frame["member"] = None
    frame["timestamp"] = frame["timestamp"].astype(object)
    frame.loc[0, "timestamp"] = pd.Timestamp("9999-12-31", tz="UTC").to_pydatetime()
    csv = frame.to_csv(index=False).replace("50.", "fifty.", 1)
    answer = fraud.put(PATH, content=csv.encode(), headers={"content-type": "text/csv"})
    assert answer.status_code == 201, answer.text
    found = {(each["column"], each["problem"]): each["count"] for each in answer.json()["findings"]}
    assert found[("amount", "not_a_number")] == 1
    assert found[("amount", "infinite")] == 2
    assert found[("age", "constant")] == 2000
    assert found[("member", "all_missing")] == 2000
    assert found[("country", "many_categories")] == 1000
    assert found[("timestamp", "no_timestamp")] == 1
    assert all(each["column"] is None or each["column"] in each["detail"] for each in answer.json()["findings"])


@pytest.mark.parametrize("rows", [1, 40])
def test_few_rows_are_said_to_be_few(fraud: httpx.Client, rows: int) -> None:
    said = upload_reference(fraud, make_frame(rows))
    (few,) = [found for found in said["findings"] if found["problem"] == "few_rows"]
    assert (few["column"], few["count"]) == (None, rows)


def without(name: str) -> bytes:
    return to_parquet(make_frame(50).drop(columns=name))


def with_values(name: str, values: Any) -> bytes:
    table = pa.Table.from_pandas(make_frame(3), preserve_index=False)
    return _to_stream(table.set_column(table.column_names.index(name), name, pa.array(values)))


def twice(name: str) -> bytes:
    table = pa.Table.from_pandas(make_frame(3), preserve_index=False)
    return _to_stream(table.append_column(name, table[name]))


def _to_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b"", "body", "the body is empty"),
        (b"\n1,2\n", "body", "no line of column names"),
        (b"1,2\n3,4\n", "body", "add a line of column names"),
        (b"\x89PNG\r\n\x1a\n", "body", "UTF-8"),
        (b"PAR1 and no more", "body", "the body: "),
        (b"ARROW1\x00\x00 and no more", "body", "the body: "),
        (b"\x28\xb5\x2f\xfd and no more", "body", "not a driftline reference"),
        (b"amount,age\n", "body", "no rows"),
        (without("country"), "country", "no column 'country'"),
        (without("amount"), "amount", "no column 'amount'"),
        (twice("age"), "age", "'age' is there twice"),
        (with_values("amount", [[1.0], [2.0], []]), "amount", "cannot be monitored"),
        (with_values("amount", ["a", "b", None]), "amount", "no value of column 'amount' (numeric)"),
        (with_values("timestamp", [1.0, 2.0, 3.0]), "timestamp", "unknown unit"),
    ],
)
def test_what_cannot_be_a_reference(refusing: httpx.Client, body: bytes, field: str, says: str) -> None:
    answer = refusing.put(PATH, content=body)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), problem
    assert says in problem["detail"]
    assert problem["field"] == field
    assert "/tmp" not in problem["detail"]


def test_very_many_columns(client: httpx.Client) -> None:
    client.post("/models", json={"model_id": "wide", "version": "1"})
    names = [f"c{i}" for i in range(10_001)]
    body = "\n".join([",".join(names), *[",".join(["1"] * len(names))] * 3])
    answer = client.put(
        "/models/wide/versions/1/reference", content=body.encode(), headers={"content-type": "text/csv"}
    )
    assert (answer.status_code, answer.json()["field"]) == (422, "features")
    assert "10,001 features, at most 10,000 are monitored; leave columns out of the data" in answer.text
    schema = {"features": [{"name": "c10000", "kind": "numeric"}]}
    assert client.post("/models", json={"model_id": "wide", "version": "2", "schema": schema}).status_code == 201
    answer = client.put(
        "/models/wide/versions/2/reference", content=body.encode(), headers={"content-type": "text/csv"}
    )
    assert (answer.status_code, answer.json()["left_out"]) == (201, names[:-1])


def test_a_body_of_zero_rows(fraud: httpx.Client) -> None:
    for body in (to_parquet(make_frame(0)), to_arrow(make_frame(0)), make_frame(0).to_csv(index=False).encode()):
        answer = fraud.put(PATH, content=body)
        assert (answer.status_code, answer.json()["field"]) == (422, "body")
        assert "no rows" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        (
            {"content-type": "application/json"},
            "Content-Type application/json: send one of application/vnd.apache",
        ),
        ({"content-type": "multipart/form-data; boundary=x"}, "curl -T FILE"),
        ({"content-encoding": "br"}, "use gzip or zstd"),
        ({"content-encoding": "gzip, zstd"}, "use gzip or zstd"),
    ],
)
def test_formats_that_are_not_known(refusing: httpx.Client, headers: dict[str, str], says: str) -> None:
    answer = refusing.put(PATH, content=b"x", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (415, "urn:driftline:problem:unsupported-media-type")
    assert says in answer.json()["detail"]


def test_bytes_that_are_not_what_the_header_says(fraud: httpx.Client) -> None:
    answer = fraud.put(PATH, content=b"a,b\n1,2\n", headers={"content-type": PARQUET})
    assert answer.status_code == 422
    assert "does not begin like its Content-Type says" in answer.json()["detail"]
    answer = fraud.put(PATH, content=b"plain", headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["field"]) == (422, "Content-Encoding")


def test_unknown_models_and_versions(fraud: httpx.Client) -> None:
    for path, says in (
        ("/models/nobody/versions/3/reference", "no model 'nobody'"),
        ("/models/fraud/versions/9/reference", "has no version '9'; it has 3"),
    ):
        answer = fraud.put(path, content=b"x")
        assert answer.status_code == 404
        assert says in answer.json()["detail"]
    answer = fraud.put("/models/fraud/versions/3%203/reference", content=b"x")
    assert (answer.status_code, answer.json()["field"]) == (422, "version")


def test_too_large_a_body(fraud: httpx.Client) -> None:
    answer = fraud.put(PATH, content=b"a" * (5 << 20))
    assert answer.status_code == 413
    assert "driftline reference build" in answer.json()["detail"]
    assert "max_reference_mb" in answer.json()["detail"]

    def stream() -> Any:
        for _ in range(80):
            yield b"a" * (1 << 16)

    assert fraud.put(PATH, content=stream()).status_code == 413
    bomb = gzip.compress(b"a" * (5 << 20))
    assert fraud.put(PATH, content=bomb, headers={"content-encoding": "gzip"}).status_code == 413


def test_a_reference_larger_than_other_bodies_may_be(fraud: httpx.Client) -> None:
    body = to_parquet(make_frame(80_000))
    assert 2 << 20 < len(body) < 4 << 20
    assert fraud.put(PATH, content=body).status_code == 201


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        (
            {"window_length": parse_length("15m")},
            "window",
            "built for window 15m, the version has 1h; build it so",
        ),
        ({"window_rows": 200.0}, "bins", "built for bins 20, the version has 50"),
    ],
)
def test_a_built_reference_must_fit_its_version(
    fraud: httpx.Client, tmp_path: Path, change: dict[str, Any], field: str, says: str
) -> None:
    upload_reference(fraud, make_frame(seed=9))
    answer = fraud.put(PATH, content=build_locally(tmp_path, **change))
    assert (answer.status_code, answer.json()["field"]) == (409, field)
    assert says in answer.json()["detail"]


def test_a_built_reference_of_another_schema(fraud: httpx.Client, tmp_path: Path) -> None:
    payload = build_locally(tmp_path)
    features = FRAUD["schema"]["features"][:3]
    fraud.post("/models", json={**FRAUD, "version": "4", "schema": {"features": features}})
    answer = fraud.put("/models/fraud/versions/4/reference", content=payload)
    assert (answer.status_code, answer.json()["field"]) == (409, "schema")
    assert "feature 'country' is new" in answer.json()["detail"]
    fraud.post("/models", json={"model_id": "other", "version": "1", "task": "regression"})
    answer = fraud.put("/models/other/versions/1/reference", content=payload)
    assert (answer.status_code, answer.json()["field"]) == (409, "schema.task")
    fraud.post("/models", json={"model_id": "open", "version": "1"})
    assert fraud.put("/models/open/versions/1/reference", content=payload).status_code == 201


def damage(reference: Reference, part: str) -> Reference:
    """Make a reference whose parts do not fit, past the checks of its own constructors."""
    import dataclasses

    grid, profile = reference.grid, reference.profile
    wide = np.repeat(grid.edges32, 2, axis=1)
    changes: dict[str, dict[str, Any]] = {
        "narrow grid": {"grid": dataclasses.replace(grid, edges32=grid.edges32[:, :-1], grid_id="")},
        "wide grid": {"grid": dataclasses.replace(grid, edges32=wide, grid_id="")},
        "unsorted grid": {"grid": dataclasses.replace(grid, edges32=grid.edges32[:, ::-1].copy(), grid_id="")},
        "few features": {"grid": dataclasses.replace(grid, edges64=grid.edges64[:0], grid_id="")},
        "profile of another grid": {"profile": dataclasses.replace(profile, grid_id="0" * 16)},
        "few counts": {"profile": dataclasses.replace(profile, counts=profile.counts[:, :-1])},
        "few sums": {"profile": dataclasses.replace(profile, sums=profile.sums[:, :-1])},
        "no weight": {"profile": dataclasses.replace(profile, weight=0)},
        "no rows": {"profile": dataclasses.replace(profile, rows=0)},
        "few distinct": {"distinct": reference.distinct[:-1]},
        "no segments": {"segments": ()},
        "other segments": {"segment_profiles": {**reference.segment_profiles, "city=Bonn": profile}},
    }
    return dataclasses.replace(reference, **changes[part])


@pytest.mark.parametrize(
    "part",
    [
        "narrow grid",
        "wide grid",
        "unsorted grid",
        "few features",
        "profile of another grid",
        "few counts",
        "few sums",
        "no weight",
        "no rows",
        "few distinct",
        "no segments",
        "other segments",
    ],
)
def test_a_built_reference_is_checked_before_it_is_used(refusing: httpx.Client, tmp_path: Path, part: str) -> None:
    payload = encode_reference(damage(decode_reference(build_locally(tmp_path)), part))
    answer = refusing.put(PATH, content=payload, headers={"content-type": BUILT})
    assert answer.status_code == 422, answer.text
    assert "reference" in answer.json()["detail"]


def test_a_file_too_large_to_keep_gives_the_same_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "training.parquet"
    path.write_bytes(to_parquet(make_frame()))
    schema = Schema.from_dict({**FRAUD["schema"], "task": "binary"})
    kept = build_from_file(path, schema, window_length=HOUR)
    monkeypatch.setattr(reference_file, "KEPT_VALUES", 100)
    read_again = build_from_file(path, schema, window_length=HOUR)
    assert encode_reference(kept.reference) == encode_reference(read_again.reference)
    assert kept.findings == read_again.findings


def test_the_reference_is_that_of_the_core(fraud: httpx.Client, database: Database) -> None:
    from driftline.core.frame import pack_frame

    frame = make_frame()
    upload_reference(fraud, frame)
    schema = Schema.from_dict({**FRAUD["schema"], "task": "binary"})
    packed = pack_frame(frame, schema)
    expected = build_reference(lambda: [(packed.columns, packed.timestamps)], schema, window_length=HOUR)
    assert encode_reference(read_stored(database)) == encode_reference(expected)
