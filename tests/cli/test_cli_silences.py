"""`driftline silences`: added, listed and ended, over the API."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from driftline.store.database import Database
from tests.cli.conftest import Run
from tests.cli.site import serve_commands


@pytest.fixture(autouse=True)
def site(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("COLUMNS", "160")
    with serve_commands(database, tmp_path, monkeypatch) as address:
        yield address


def add(run: Callable[..., Run], *options: object) -> dict[str, Any]:
    done = run("silences", "add", "--comment", "the feed moves", "--by", "ana", "--json", "-", *options)
    assert done.code == 0, done.err
    made: dict[str, Any] = json.loads(done.out)
    return made


def length(silence: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(silence["ends_at"]) - datetime.fromisoformat(silence["starts_at"])


def test_added_listed_and_ended(run: Callable[..., Run]) -> None:
    assert run("silences", "list").out == "No silences.\n"
    now = add(run, "--model", "fraud", "--feature", "", "--for", "2h")
    assert (now["matcher"], now["status"], now["by"]) == ({"model": "fraud", "feature": ""}, "active", "ana")
    assert length(now) == timedelta(hours=2)
    later = add(run, "--severity", "LOW", "--from", "2099-01-01T00:00:00Z", "--for", "3d")
    assert (later["status"], length(later)) == ("pending", timedelta(days=3))
    assert add(run, "--metric", "psi", "--from", "+1h", "--until", "+2h")["status"] == "pending"
    shown = run("silences", "list").out
    assert "model fraud, feature none" in shown
    assert "the feed moves" in shown
    assert "More with --before 2" in run("silences", "list", "--limit", 2).out
    assert run("silences", "end", 1, 2).out == "silence 1 is over\nsilence 2 is over\n"

    def ids(*options: object) -> list[int]:
        found = json.loads(run("silences", "list", "--json", "-", *options).out)
        return [each["silence_id"] for each in found["silences"]]

    assert ids() == [3]
    assert ids("--over") == [3, 2, 1]
    assert run("silences", "end", 9).code == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "fraud"), "say how long with --for"),
        (("--model", "fraud", "--for", "1h", "--until", "+1h"), "say how long with --for"),
        (("--model", "fraud", "--for", "soon"), "write e.g. 30m, 2h or 3d"),
        (("--model", "fraud", "--until", "-1h"), "ends_at must be after starts_at, and in the future"),
        (("--severity", "BAD", "--for", "1h"), "severity 'BAD' is none"),
        (("--for", "1h"), "a silence must match something"),
    ],
)
def test_what_cannot_be_silenced(run: Callable[..., Run], options: tuple[str, ...], says: str) -> None:
    done = run("silences", "add", "--comment", "x", *options)
    assert (done.code, says in done.err) == (2, True), done.err
