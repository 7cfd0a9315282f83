"""`driftline labels import`: every kind of file, cut off and run again, and what became of each label."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from driftline.api.app import create_app
from driftline.api.server import serve
from driftline.cli import label_files, upload
from driftline.core.moment import from_micros
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.workers.up import run_workers
from tests.cli.conftest import Run
from tests.workers.plant import Plant, at
from tests.workers.registry import ENTITY, Registry

ROWS = 50
IDS = [f"order-{number}" for number in range(ROWS)]


@pytest.fixture
def bare(database: Database, tmp_path: Path) -> Plant:
    """One partition, and no model."""
    return Plant(database, tmp_path / "samples")


@pytest.fixture
def registry(bare: Plant) -> Registry:
    """The model `loans`, whose predictions are there."""
    made = Registry(bare)
    made.register()
    made.predict(IDS, at(0.5))
    return made


@contextmanager
def server(plant: Plant, monkeypatch: pytest.MonkeyPatch, *, joins: bool = True) -> Iterator[str]:
    """A server, known as DRIFTLINE_URL, and a joiner if wanted."""
    settings = Settings(data_dir=plant.folder, flush_interval_s=0.1, log_partitions=1)
    with (
        run_workers(plant.database, plant.log, settings, ["joiner"] if joins else []),
        serve(create_app(plant.database, plant.log, settings), "127.0.0.1", 0) as address,
    ):
        monkeypatch.setenv("DRIFTLINE_URL", address)
        yield address


def write_csv(path: Path, ids: list[str] = IDS, **columns: Any) -> Path:
    pd.DataFrame({"prediction_id": ids, "value": [1] * len(ids), **columns}).to_csv(path, index=False)
    return path


def counts_of(run: Callable[..., Run], path: Path, *options: object) -> tuple[int, dict[str, Any]]:
    done = run("labels", "import", path, "--model", "loans", "--json", "-", *options)
    assert done.code in (0, 1), done.err
    return done.code, json.loads(done.out)


def test_a_file_is_joined_and_told(
    run: Callable[..., Run], registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [from_micros(at(1)).isoformat()] * ROWS + [from_micros(at(24 * 40)).isoformat()] * 2
    path = write_csv(tmp_path / "labels.csv", [*IDS, "order-0", "nobody"], known_at=known)
    with server(registry.plant, monkeypatch):
        code, told = counts_of(run, path)
        shown = run("labels", "import", path, "--model", "loans")
    assert code == 0
    expected = {"accepted": 52, "processed": 52, "matched": 50, "unmatched": 1, "duplicate": 1, "done": True}
    assert {name: told[name] for name in expected} == expected
    assert len(registry.pairs()) == ROWS
    # again: the same import, and nothing new
    assert "52  sent before" in shown.out
    assert "50  matched: found their prediction" in shown.out
    assert registry.counts().joined == ROWS


def test_an_import_that_was_killed_goes_on(
    run: Callable[..., Run], registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_files, "PIECE_ROWS", 10)
    path = tmp_path / "labels.parquet"
    pd.DataFrame({"request_id": IDS, "value": [True] * ROWS}).to_parquet(path)
    send, sent = upload._send_piece, []

    def die(*arguments: Any) -> str | None:
        if len(sent) == 2:
            raise KeyboardInterrupt
        sent.append(1)
        return send(*arguments)

    with server(registry.plant, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(upload, "_send_piece", die)
            assert run("labels", "import", path, "--model", "loans").code
        code, told = counts_of(run, path)
    assert (code, told["sent_before"], told["accepted"], told["matched"]) == (0, 20, ROWS, ROWS)
    assert registry.counts().joined == ROWS


def test_entities_with_their_own_column_names_and_a_zone(
    run: Callable[..., Run], bare: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(bare, ENTITY)
    registry.register()
    registry.predict(["a", "b"], at(7.5), entities=["007", "8"])
    frame = {
        "customer": ["007", "8", "8"],
        "left": ["1", "", "0"],
        "when": ["2026-01-05 09:00"] * 3,
        "w": [2, 1, 0.5],
    }
    pd.DataFrame(frame).to_csv(tmp_path / "l.csv", index=False)
    names = ("--by-entity", "--key", "customer", "--value", "left", "--timestamp", "when", "--weight", "w")
    with server(bare, monkeypatch):
        refused = run("labels", "import", tmp_path / "l.csv", "--model", "loans", *names)
        code, told = counts_of(run, tmp_path / "l.csv", *names, "--zone", "Europe/Berlin")
    assert refused.code == 2
    assert "column 'when' has times without a zone; say which one it is, e.g. --zone UTC" in refused.err
    assert (code, told["matched"], told["empty"]) == (0, 2, 1)
    assert bare.execute("SELECT label_class, label_weight FROM labeled_predictions ORDER BY 1") == [
        ("0", 0.5),
        ("1", 2.0),
    ]


def test_empty_values_withdraw_when_told_so(
    run: Callable[..., Run], registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path / "one.csv", IDS[:2])
    pd.DataFrame({"prediction_id": IDS[:1], "value": [""]}).to_csv(tmp_path / "two.csv", index=False)
    with server(registry.plant, monkeypatch):
        counts_of(run, tmp_path / "one.csv")
        _, told = counts_of(run, tmp_path / "two.csv", "--withdraw-empty")
    assert (told["withdrawn"], told["matched"], told["empty"]) == (1, 1, 0)
    assert len(registry.pairs()) == 1


def test_without_a_joiner_the_command_says_so(
    run: Callable[..., Run], registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / "labels.csv")
    with server(registry.plant, monkeypatch, joins=False) as address:
        done = run("labels", "import", path, "--model", "loans", "--wait-s", "0")
        assert (done.code, "50 labels are not joined yet: is a joiner running?" in done.out) == (1, True)
        answer = httpx.get(f"{address}/models/loans/labels/imports/nothing")
        assert answer.status_code == 404
        assert httpx.post(f"{address}/labels?import_id=a%20b", json={}).status_code == 422


@pytest.mark.parametrize(
    ("columns", "options", "fault"),
    [
        ({"prediction_id": ["a"]}, (), "has no column 'value'; name it with --value: the file has prediction_id"),
        (
            {"id": ["a"], "value": [1]},
            (),
            "has no column 'prediction_id'; name it with --key: the file has id, value",
        ),
        (
            {"prediction_id": ["a"], "value": [1]},
            ("--known-at", "booked"),
            "has no column 'booked'; name it with --known-at",
        ),
        (
            {"prediction_id": ["a", None], "value": [1, 1]},
            (),
            "column 'prediction_id' is empty; say which prediction",
        ),
        (
            {"prediction_id": ["a", "b"], "value": [1, 1], "known_at": ["2026-01-05T08:00:00Z", "soon Z"]},
            (),
            "column 'known_at' is 'soon Z'; write times as 2026-11-23T08:00:00Z (row 2)",
        ),
        (
            {"prediction_id": ["a"], "value": [1], "known_at": [datetime(2026, 1, 5)]},
            (),
            "column 'known_at' has times without a zone",
        ),
        (
            {"prediction_id": ["a", "b"], "value": [1, 1], "weight": [1.0, -1.0]},
            (),
            "column 'weight' is -1.0; weights are numbers above 0 (row 2)",
        ),
        ({"prediction_id": ["a"], "value": [1], "weight": ["much"]}, (), "column 'weight' holds texts"),
        ({"prediction_id": ["a"], "value": [1]}, ("--zone", "CEST!"), "--zone 'CEST!' is not an IANA name"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_sent(
    run: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    columns: dict[str, list[Any]],
    options: tuple[str, ...],
    fault: str,
) -> None:
    monkeypatch.setattr(upload, "_send_piece", None)
    path = tmp_path / "labels.parquet"
    pd.DataFrame(columns).to_parquet(path)
    done = run("labels", "import", path, "--model", "loans", *options)
    assert (done.code, fault in done.err) == (2, True), done.err


def test_a_model_that_is_not_there(
    run: Callable[..., Run], bare: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / "labels.csv", known_at=[datetime.now(UTC)] * ROWS)
    with server(bare, monkeypatch, joins=False):
        done = run("labels", "import", path, "--model", "cards")
    assert (done.code, "there is no model 'cards'" in done.err) == (2, True)
