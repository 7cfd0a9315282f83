"""`driftline rules diff` and `apply`: files and folders, what changes, exit codes, faults."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftline.store.alert_rules import list_rules
from driftline.store.audit import list_audit
from driftline.store.database import Database
from tests.cli.conftest import Run
from tests.cli.site import serve_commands

SILENT = "{rule_id: silent, metric: volume, comparison: below, threshold: 1}"
SCORE = "{rule_id: '[red]score', metric: psi, feature: __score__, comparison: above, threshold: 0.2}"


@pytest.fixture(autouse=True)
def site(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serve_commands(database, tmp_path, monkeypatch) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of rules, a file of scenarios, and files that are none of either."""
    made = tmp_path / "rules"
    (made / "teams").mkdir(parents=True)
    (made / "silent.yaml").write_text(f"rules: [{SILENT}]")
    (made / "teams" / "score.yml").write_text(f"rules: [{SCORE}]")
    (made / "scenarios.yaml").write_text("scenarios: []")
    (made / "notes.txt").write_text("no rules")
    (made / ".hidden.yaml").write_text("no rules")
    return made


def names(database: Database) -> list[str]:
    with database.transaction() as conn:
        return [each.rule.rule_id for each in list_rules(conn, origin="file")]


def test_a_folder_is_compared_and_applied(run: Callable[..., Run], folder: Path, database: Database) -> None:
    seen = run("rules", "diff", folder)
    assert (seen.code, names(database)) == (1, [])
    assert "[red]score" in seen.out
    assert "MEDIUM: volume below 1 (*)" in seen.out
    done = run("rules", "apply", folder, "--by", "ana")
    assert (done.code, names(database)) == (0, ["[red]score", "silent"])
    assert "2 added, 0 changed, 0 removed, 0 as before" in done.out
    with database.transaction() as conn:
        assert {entry.actor for entry in list_audit(conn)} == {"ana"}
    same = run("rules", "diff", folder)
    assert (same.code, same.out) == (0, "0 added, 0 changed, 0 removed, 2 as before\n")


def test_a_model_that_is_not_there_is_pointed_out(run: Callable[..., Run], folder: Path) -> None:
    (folder / "silent.yaml").write_text(f"rules: [{SILENT[:-1]}, model: fruad}}]")
    for command, code in (("diff", 1), ("apply", 0), ("diff", 0)):
        done = run("rules", command, folder)
        assert (done.code, "No model is watched by silent: is its name right" in done.out) == (code, True)


def test_changes_are_shown_field_by_field(run: Callable[..., Run], folder: Path, database: Database) -> None:
    run("rules", "apply", folder)
    (folder / "silent.yaml").write_text(f"rules: [{SILENT[:-1]}, severity: HIGH, actions: [retrain]}}]")
    (folder / "teams" / "score.yml").unlink()
    told = json.loads(run("rules", "diff", folder, "--json", "-").out)
    assert [change["rule_id"] for change in told["changed"]] == ["silent"]
    assert told["removed"] == [{"rule_id": "[red]score", "open_alerts": 0}]
    lines = [line.split() for line in run("rules", "diff", folder).out.splitlines()]
    assert ["silent", "changed", "severity", "MEDIUM", "HIGH"] in lines
    assert ["actions", "none", "retrain"] in lines
    assert ["[red]score", "removed"] in lines
    assert run("rules", "apply", folder).code == 0
    assert names(database) == ["silent"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("rules: [", "cannot be read as YAML"),
        ("rules: 1", "rules are a mapping"),
        (f"rules: [{SILENT}]", "rename one"),
        (f"rules: [{SILENT.replace('volume', 'vol').replace('silent', 'x')}]", "there is no metric 'vol'"),
    ],
)
def test_a_fault_in_one_file_changes_nothing(
    run: Callable[..., Run], folder: Path, database: Database, content: str, says: str
) -> None:
    bad = folder / "teams" / "bad.json"
    bad.write_text(content)
    for command in ("apply", "diff", "check"):
        done = run("rules", command, folder)
        assert (done.code, names(database)) == (2, [])
        assert str(bad) in done.err.replace("\n", "")
        assert says in done.err.replace("\n", "")


def test_without_files_or_a_server(run: Callable[..., Run], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "there is no file of rules" in run("rules", "apply", tmp_path / "empty").err
    away = run("rules", "apply", folder, "--url", "http://127.0.0.1:9")
    assert (away.code, "check --url or DRIFTLINE_URL" in away.err) == (2, True)
    assert run("rules", "diff", folder, "--url", "http://[").code == 2
