"""Versions registered from Python, on a real server."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from pyarrow import csv, feather, parquet

import driftline
from driftline.api.app import create_app
from driftline.api.server import serve
from driftline.core.reference import encode_reference
from driftline.log.postgres_log import PostgresLog
from driftline.sdk.options import InvalidOption
from driftline.sdk.parcel import Refused, Unavailable
from driftline.settings import Settings
from driftline.store.database import Database

TRAIN = pa.table({"amount": [float(row % 97) for row in range(3_000)], "country": ["DE", "FR", "NL"] * 1_000})
WRITERS = {".parquet": parquet.write_table, ".csv": csv.write_csv, ".feather": feather.write_feather}


@pytest.fixture
def url(database: Database, tmp_path: Path) -> Iterator[str]:
    app = create_app(database, PostgresLog(database), Settings(data_dir=tmp_path))
    with serve(app, "127.0.0.1", 0) as address:
        yield address


@pytest.mark.parametrize("suffix", WRITERS)
def test_training_data_become_the_reference(url: str, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"train{suffix}"
    WRITERS[suffix](TRAIN, str(path))  # type: ignore[operator]
    built = driftline.upload_reference("fraud", "3", path, url=url, window="15m", task="binary")
    assert (built["rows"], built["window"]) == (3_000, "15m")
    assert [feature["name"] for feature in built["schema"]["features"]] == ["amount", "country"]
    again = driftline.upload_reference("fraud", "3", str(path), url=url)
    assert again["grid_id"] == built["grid_id"]


def test_a_reference_that_was_built_before(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_URL", url)
    payload = encode_reference(driftline.build_reference(TRAIN, window="6h", task="binary"))
    (tmp_path / "fraud.driftline").write_bytes(payload)
    one = driftline.upload_reference("fraud", "3", payload, window="6h")
    other = driftline.upload_reference("fraud", "4", tmp_path / "fraud.driftline")
    assert one["grid_id"] == other["grid_id"]
    assert one["window"] == "6h"


def test_registering_alone(url: str) -> None:
    schema = {"features": [{"name": "amount", "kind": "numeric"}]}
    for _ in range(2):
        driftline.register("fraud", "3", url=url, window="1h", schema=schema)
    assert httpx.get(f"{url}/models/fraud").json()["schema"]["features"][0]["name"] == "amount"
    with pytest.raises(Refused, match="window"):
        driftline.register("fraud", "3", url=url, window="6h")


def test_what_cannot_be_sent_says_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRIFTLINE_URL", raising=False)
    with pytest.raises(InvalidOption, match="DRIFTLINE_URL"):
        driftline.register("fraud", "3")
    with pytest.raises(InvalidOption, match=r"rename or convert"):
        driftline.upload_reference("fraud", "3", tmp_path / "train.xlsx", url="http://127.0.0.1:9")
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 does not answer") as error:
        driftline.register("fraud", "3", url="http://me:my@secret@127.0.0.1:9")
    assert "secret" not in str(error.value)
