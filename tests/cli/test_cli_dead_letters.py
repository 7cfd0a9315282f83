"""`driftline dead-letters`: listed, shown and replayed, against the database directly."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from driftline.cli.tables import format_local
from driftline.log.batch_format import decode_batch, encode_batch
from driftline.log.topics import PREDICTION_SAMPLES
from driftline.store.dead_letters import Refused, add_dead_letters
from tests.workers.plant import SCHEMA, Plant, at, make_batch, make_reference

ROW = {
    "model_id": "fraud",
    "version": "3",
    "prediction_id": "a",
    "timestamp": "2026-01-05T00:00:01Z",
    "features": {"amount": 1.5, "size": 2, "country": "DE"},
}


@pytest.fixture
def plant(database_url: str, database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """A driftline that the command finds by DATABASE_URL."""
    said = conninfo_to_dict(database_url)
    address = f"host={quote(str(said['host']), safe='')}&port={said['port']}"
    monkeypatch.setenv("DATABASE_URL", f"postgresql://{said['user']}@/{said['dbname']}?{address}")
    monkeypatch.chdir(tmp_path)
    return Plant(database, tmp_path / "lake")


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user nine hours east of UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def keep(plant: Plant, *letters: Refused) -> list[int]:
    """Keep letters; gives their ids."""
    with plant.database.transaction() as conn:
        add_dead_letters(conn, letters)
    return [letter.id for letter in plant.letters()[-len(letters) :]]


def row(name: str, **changes: Any) -> bytes:
    return json.dumps({**ROW, "prediction_id": name, **changes}).encode()


def refused(
    payload: bytes, code: str = "unknown_version", reason: str = "there is no version", **changes: Any
) -> Refused:
    return Refused(PREDICTION_SAMPLES, code, reason, payload, "fraud", "3", **changes)


def test_nothing_to_list(run: Any, plant: Plant) -> None:
    result = run("dead-letters", "list")
    assert (result.code, result.out) == (0, "No dead letters.\n")


def test_list_counts_by_reason_and_shows_the_newest(run: Any, plant: Plant, tokyo: None) -> None:
    keep(
        plant,
        *(refused(row(f"p{i}")) for i in range(3)),
        refused(b"x", "malformed", "[red]no[/red] \x1b[31mmarkup", rows=7),
    )
    result = run("dead-letters", "list", "--limit", 2)
    assert result.code == 0
    assert re.search(r"malformed +fraud +prediction_samples +1 +7 +0", result.out)
    assert re.search(r"unknown_version +fraud +prediction_samples +3 +3 +0", result.out)
    assert "[red]no[/red] \ufffd[31mmarkup" in result.out
    assert "JST" in result.out
    assert "More with --before" in result.out
    said = json.loads(run("dead-letters", "list", "--reason", "malformed", "--json", "-").out)
    assert [letter["rows"] for letter in said["dead_letters"]] == [7]
    assert said["next"] is None
    page = json.loads(run("dead-letters", "list", "--limit", 2, "--json", "-").out)
    rest = json.loads(run("dead-letters", "list", "--before", page["next"], "--json", "-").out)
    assert [len(part["dead_letters"]) for part in (page, rest)] == [2, 2]
    assert "No dead letters" in run("dead-letters", "list", "--since", "+1h", "--model", "fraud").out


def test_show(run: Any, plant: Plant, tmp_path: Path) -> None:
    headers = {"model": "fraud", "version": "3"}
    batch = encode_batch(make_batch(["x", "y"], at(0)), SCHEMA)
    first, second = keep(
        plant,
        refused(row("a")),
        refused(batch, headers=headers, partition=3, log_offset=17, record_key=b"k", rows=2),
    )
    shown = run("dead-letters", "show", first)
    assert shown.code == 0
    assert "reason      unknown_version: there is no version" in shown.out
    assert '  "prediction_id": "a",\n' in shown.out
    shown = run("dead-letters", "show", second, "--out", tmp_path / "payload")
    assert "origin      prediction_samples, partition 3, offset 17" in shown.out
    assert "headers     model: fraud, version: 3" in shown.out
    assert "ids: x, y" in shown.out
    assert (tmp_path / "payload").read_bytes() == batch
    said = json.loads(run("dead-letters", "show", second, "--json", "-").out)
    assert said["payload"]["media_type"] == "application/vnd.driftline.batch"
    missing = run("dead-letters", "show", second + 1)
    assert (missing.code, "there is no dead letter" in missing.err) == (2, True)


def test_replay_by_id_and_by_choice(run: Any, plant: Plant) -> None:
    letters = keep(plant, *(refused(row(f"p{i}")) for i in range(3)), refused(row("late", timestamp="x"), "bad"))
    result = run("dead-letters", "replay", letters[0])
    assert result.code == 1  # there is no such version yet
    assert "0 letters replayed with 0 events; 1 refused again" in result.out
    plant.register()
    choice = ("dead-letters", "replay", "--all", "--model", "fraud", "--reason", "unknown_version")
    dry = run(*choice, "--dry-run")
    assert (dry.code, "3 letters would be replayed with 3 events" in dry.out) == (0, True)
    assert run(*choice).code == 0
    assert [letter.replayed_at is not None for letter in plant.letters()] == [True, True, True, False]
    assert "0 letters replayed" in run(*choice).out
    everything = run("dead-letters", "replay", "--all")
    assert everything.code == 1
    assert "timestamp 'x' is not ISO 8601 text" in " ".join(everything.out.split())
    assert plant.letters()[-1].reason_code == "invalid_timestamp"


def test_replayed_twice_counts_once(run: Any, plant: Plant) -> None:
    plant.register()
    plant.refer(make_reference())
    (letter,) = keep(plant, refused(row("p1")))
    for options in ((), ("--again",)):
        result = run("dead-letters", "replay", letter, *options, "--json", "-")
        assert json.loads(result.out)["letters"][0]["accepted"] == 1
    plant.drain()
    (window,) = plant.windows().values()
    assert window.row_count == 1


def test_what_the_profiler_refused_is_counted_after_replay(run: Any, plant: Plant) -> None:
    batch = make_batch(range(20), at(0), weight=5)
    plant.send(batch)
    plant.drain()
    (letter,) = plant.letters()
    assert (letter.reason_code, letter.partition, letter.log_offset) == ("unknown_version", 0, 0)
    plant.register()
    plant.refer(make_reference())
    assert run("dead-letters", "replay", letter.id).code == 0
    plant.drain()
    (window,) = plant.windows().values()
    assert (window.row_count, window.weight) == (20, 100)
    assert decode_batch(letter.payload, SCHEMA).ids == batch.ids


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "1", "--all"], "name letters by their ids, or choose them with --all"),
        (["replay", "1", "--model", "fraud"], "name letters by their ids, or choose them with --all"),
        (["replay", "--model", "fraud"], "name letters by their ids, or choose them with --all"),
        (["list", "--since", "yesterday"], "--since 'yesterday' is no time"),
        (["show", "x"], "Invalid value"),
    ],
)
def test_errors_say_the_fix(run: Any, plant: Plant, arguments: list[str], message: str) -> None:
    result = run("dead-letters", *arguments)
    assert result.code == 2
    assert message in " ".join(result.err.replace("│", " ").split())


def test_without_a_database(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    result = run("dead-letters", "list", "--data-dir", tmp_path / "nothing")
    assert result.code == 2
    assert "there is no database in" in result.err
    assert not (tmp_path / "nothing").exists()


def test_times_are_those_of_the_user(tokyo: None) -> None:
    assert format_local(at(0)) == "2026-01-05 09:00:00 JST"


@pytest.mark.parametrize("command", ["list", "show", "replay"])
def test_help_has_examples(run: Any, command: str) -> None:
    result = run("dead-letters", command, "--help")
    assert result.code == 0
    assert f"driftline dead-letters {command} " in result.out
