"""`driftline import`: every kind of file, again and again, and what is refused."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftline.api.app import create_app
from driftline.api.server import serve
from driftline.cli import pieces, upload
from driftline.core.batch import Batch
from driftline.core.frame import pack_frame
from driftline.core.schema import Schema
from driftline.log.batch_format import decode_batch, encode_batch
from driftline.log.postgres import count_partitions, read
from driftline.log.postgres_log import PostgresLog
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.dead_letters import list_dead_letters
from tests.api.examples import FRAUD, make_body, make_frame, make_prediction, to_arrow, to_parquet

SCHEMA = Schema.from_dict({**FRAUD["schema"], "task": "binary"})
WHOSE = ("--model", "fraud", "--version", "3")


@pytest.fixture
def url(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a server that knows version 3 of fraud and takes bodies of a MiB, known as DRIFTLINE_URL."""
    settings = Settings(data_dir=tmp_path / "data", max_body_mb=1)
    with serve(create_app(database, PostgresLog(database), settings), "127.0.0.1", 0) as address:
        assert httpx.post(f"{address}/models", json=FRAUD).status_code == 201
        monkeypatch.setenv("DRIFTLINE_URL", address)
        yield address


def read_ids(database: Database) -> list[str]:
    """All prediction ids in the log, sorted; an id that is there twice is twice."""
    with database.transaction() as conn:
        partitions = range(count_partitions(conn, PREDICTION_SAMPLES))
        records = [record for part in partitions for record in read(conn, PREDICTION_SAMPLES, part, 0)]
    return sorted(text for record in records for text in decode_batch(record.payload, SCHEMA).ids)


def make_batch(name: str, rows: int = 20) -> Batch:
    frame = make_frame(rows)
    packed = pack_frame(frame, SCHEMA)
    assert packed.timestamps is not None
    ids = tuple(f"{name}-{text}" for text in frame["prediction_id"])
    return Batch("fraud", "3", SCHEMA.schema_id, name, ids, packed.timestamps, packed.columns, weight=10)


def to_lines(*predictions: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in predictions)


def run_json(run: Any, *arguments: object) -> tuple[int, dict[str, Any]]:
    result = run("import", *arguments, "--json", "-")
    return result.code, json.loads(result.out)


def test_every_kind_of_file(run: Any, url: str, database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    frame = make_frame(20)
    expected = list(frame["prediction_id"])
    rows = [make_prediction(f"{kind}-{i}") for kind in ("line", "zip", "object") for i in range(3)]
    (folder / "b.batch").write_bytes(encode_batch(make_batch("b"), SCHEMA))
    (folder / "a.parquet").write_bytes(to_parquet(frame.assign(prediction_id="parquet-" + frame["prediction_id"])))
    (folder / "a.arrows").write_bytes(to_arrow(frame.assign(prediction_id="arrow-" + frame["prediction_id"])))
    frame.assign(prediction_id="csv-" + frame["prediction_id"]).to_csv(folder / "deep" / "a.csv", index=False)
    (folder / "a.ndjson").write_bytes(to_lines(*rows[:3]))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(to_lines(*rows[3:6])))
    (folder / "c.json").write_text(json.dumps(make_body(*rows[6:]), indent=2))
    (folder / "notes.md").write_text("not for import")
    (folder / ".hidden.ndjson").write_text("nor this")
    code, said = run_json(run, folder, *WHOSE)
    assert code == 0, said
    assert said["total"] == {"accepted": 89, "duplicates": 0, "not_sampled": 0, "dead_lettered": 0}
    of_frames = [f"{kind}-{text}" for kind in ("b", "parquet", "arrow", "csv") for text in expected]
    assert read_ids(database) == sorted([*of_frames, *(row["prediction_id"] for row in rows)])
    code, said = run_json(run, folder, *WHOSE)
    assert (code, said["total"]["accepted"], said["total"]["duplicates"]) == (0, 0, 89)
    assert len(read_ids(database)) == 89


def test_a_frame_is_sent_in_pieces(
    run: Any, url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "FRAME_ROWS", 300)
    monkeypatch.setattr(pieces, "MAX_BYTES", 10_000)
    frame = make_frame(1000)
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "a.parquet", row_group_size=400)
    parts = list(pieces.cut_file(tmp_path / "a.parquet", {"model_id": "fraud"}, SCHEMA))
    assert len(parts) > 4
    assert sum(part.share for part in parts) == (tmp_path / "a.parquet").stat().st_size
    assert [part.key for part in pieces.cut_file(tmp_path / "a.parquet", {"model_id": "fraud"}, SCHEMA)] == [
        part.key for part in parts
    ]
    code, said = run_json(run, tmp_path / "a.parquet", *WHOSE)
    assert (code, said["total"]["accepted"]) == (0, 1000)
    assert read_ids(database) == sorted(frame["prediction_id"])


def test_an_import_that_was_cut_off_goes_on(
    run: Any, url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MAX_LINES", 10)
    monkeypatch.setattr(upload, "PATIENCE_S", 0.0)
    path = tmp_path / "a.ndjson"
    path.write_bytes(to_lines(*(make_prediction(f"p{i}") for i in range(25))))
    send = httpx.Client.request

    def fail_at_the_third(client: httpx.Client, method: str, target: str, **request: Any) -> httpx.Response:
        if b"p20" in request.get("content", b""):
            raise httpx.ConnectError("the cable was pulled")
        return send(client, method, target, **request)

    with monkeypatch.context() as patch:
        patch.setattr(httpx.Client, "request", fail_at_the_third)
        result = run("import", path, *WHOSE)
    assert result.code == 2
    assert "run the same command again" in result.err
    assert len(read_ids(database)) == 20
    code, said = run_json(run, path, *WHOSE)
    assert (code, said["total"]["accepted"], said["total"]["duplicates"]) == (0, 5, 20)
    assert len(read_ids(database)) == 25


def test_what_is_too_large_for_the_server_is_cut(run: Any, url: str, database: Database, tmp_path: Path) -> None:
    rows = [make_prediction(f"p{i}", padding="x" * 1000) for i in range(3000)]  # three bodies of a MiB
    (tmp_path / "a.ndjson").write_bytes(to_lines(*rows))
    frame = make_frame(2000).assign(note=[f"{i:0700}" for i in range(2000)])
    (tmp_path / "a.arrows").write_bytes(to_arrow(frame))
    code, said = run_json(run, tmp_path / "a.ndjson", tmp_path / "a.arrows", *WHOSE)
    assert (code, said["total"]["accepted"]) == (0, 5000)
    assert len(read_ids(database)) == 5000


def test_ids_in_a_csv_stay_as_they_are(run: Any, url: str, database: Database, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "prediction_id,timestamp,amount,age,member,country,prediction,score\n"
        "007,2024-11-25T08:00:00Z,12.5,40,true,DE,1,0.5\n8,2024-11-25T08:00:01Z,1,41,false,FR,0,0.25\n"
    )
    assert run("import", tmp_path / "a.csv", *WHOSE).code == 0
    assert read_ids(database) == ["007", "8"]


def test_what_is_refused_is_told(run: Any, url: str, database: Database, tmp_path: Path) -> None:
    good, bad = make_prediction("good"), make_prediction("bad", timestamp="yesterday")
    (tmp_path / "a.ndjson").write_bytes(to_lines(good, bad))
    damaged = encode_batch(make_batch("b"), SCHEMA)[:-9]
    (tmp_path / "b.batch").write_bytes(damaged)
    to_strange = replace(make_batch("c"), model_id="strange")
    (tmp_path / "c.batch").write_bytes(encode_batch(to_strange, SCHEMA))
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "e.ndjson").write_bytes(to_lines(make_prediction("also good")))
    result = run("import", *sorted(tmp_path.glob("?.*")), *WHOSE, "--json", tmp_path / "out.json")
    assert result.code == 1
    said = json.loads((tmp_path / "out.json").read_text())
    assert said["total"] == {"accepted": 2, "duplicates": 0, "not_sampled": 0, "dead_lettered": 1}
    first, second, third, fourth, fifth = said["files"]
    assert first["reasons"] == {"invalid_timestamp": 1}
    assert "not a batch" in second["problem"]
    assert "there is no version '3' of model 'strange'" in third["problem"]
    assert "d.parquet" in fourth["problem"]
    assert fifth["problem"] is None
    assert "invalid_timestamp 1" in result.out
    with database.transaction() as conn:
        assert [letter.payload for letter in list_dead_letters(conn)][1] == damaged
    again = run("import", *sorted(tmp_path.glob("?.*")), *WHOSE)
    assert again.code == 1
    with database.transaction() as conn:
        assert len(list_dead_letters(conn)) == 3  # each was kept once


def test_of_many_files_those_with_trouble_are_shown(run: Any, url: str, tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i:02}.ndjson").write_bytes(to_lines(make_prediction(f"p{i}")))
    (tmp_path / "99.ndjson").write_bytes(b"no json\n")
    result = run("import", tmp_path, *WHOSE)
    assert result.code == 1
    assert "99.ndjson" in result.out
    assert "11 more" in result.out
    assert "31 files" in result.out


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.parquet", ["--model", "fraud"], "does not say whose predictions it holds: give --model and --version"),
        ("a.ndjson", ["--model", "fraud", "--version", "9"], "nothing was sent: model 'fraud' has no version '9'"),
        ("a.exe", [], "name it by what it holds, one of .batch"),
        ("nothing.csv", [], "there is no such file or folder"),
        ("a.ndjson", ["--url", "http://127.0.0.1:1"], "does not answer"),
        ("a.ndjson", ["--url", "127.0.0.1"], "does not answer"),
    ],
)
def test_errors_say_the_fix(
    run: Any,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(upload, "PATIENCE_S", 0.0)
    if name != "nothing.csv":
        (tmp_path / name).write_bytes(to_lines(make_prediction("a")))
    result = run("import", tmp_path / name, *options)
    assert result.code == 2
    assert message in result.err


def test_a_json_body_that_is_none_goes_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"predictions": [{"features": {"x": NaN}}]}')
    (piece,) = pieces.cut_file(tmp_path / "a.json", {}, None)
    assert (piece.media_type, piece.body) == ("application/json", (tmp_path / "a.json").read_bytes())
    assert pieces.halve(piece) == ()


def test_files_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_MAX_LINE", 100)
    monkeypatch.setattr(pieces, "MAX_OBJECT", 100)
    for name, says in (("a.ndjson", "has a line of more than"), ("a.json.gz", "write it as NDJSON")):
        content = b"x" * 1000
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        with pytest.raises(Exception, match=says):
            list(pieces.cut_file(tmp_path / name, {}, None))
