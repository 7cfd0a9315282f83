"""Rules in files: one, or all of a folder; and what applying them changes, as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftline.cli.tables import add_row, make_table
from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    from rich.table import Table

    from driftline.core.rules import Rule

SUFFIXES = (".yaml", ".yml", ".json")


def read_file(path: Path, read: Any) -> Any:
    """Read a file of YAML (or JSON, which is YAML, too) and its content; errors name the file."""
    try:
        return read(load_file(path))
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}", field=error.field) from None


def load_file(path: Path) -> Any:
    """Load a file of YAML or JSON as it is. Raises InvalidInput."""
    import yaml  # noqa: PLC0415  only here

    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidInput("there is no such file", field="path") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidInput(f"it cannot be read as YAML: {error}", field="path") from None


def read_rule_files(path: Path) -> "tuple[Rule, ...]":
    """Read the rules of a file, or of all files of a folder but for those of scenarios. Raises InvalidInput."""
    from driftline.core.rule_reading import read_rules  # noqa: PLC0415  loads numpy

    if not path.is_dir():
        rules: tuple[Rule, ...] = read_file(path, read_rules)
        return rules
    found: dict[str, tuple[Path, Rule]] = {}
    files = [file for file in _list_files(path) if not _has_scenarios(file)]
    if not files:
        raise InvalidInput(f"{path}: there is no file of rules; name them {', '.join(SUFFIXES)}", field="path")
    for file in files:
        for rule in read_file(file, read_rules):
            if rule.rule_id in found:
                other = found[rule.rule_id][0]
                raise InvalidInput(
                    f"rule {rule.rule_id!r} is in {other} and in {file}; rename one", field="rule_id"
                )
            found[rule.rule_id] = file, rule
    return tuple(rule for _, rule in found.values())


def draw_changes(changes: Mapping[str, Any]) -> "Table":
    """Draw what is added, changed field by field, and removed."""
    table = make_table("rule", "", "field", "before", "after")
    for rule in changes["added"]:
        add_row(table, rule["rule_id"], "added", "", "", _say_rule(rule), style="green")
    for change in changes["changed"]:
        name, act = change["rule_id"], "changed"
        for field, values in change["fields"].items():
            add_row(table, name, act, field, _say(values["before"]), _say(values["after"]), style="yellow")
            name = act = ""
    for rule in changes["removed"]:
        alerts = rule["open_alerts"]
        said = f"ends {alerts:,} open alert{'s' * (alerts != 1)}" if alerts else ""
        add_row(table, rule["rule_id"], "removed", "", "", said, style="red")
    return table


def say_changes(changes: Mapping[str, Any]) -> str:
    """Say how many rules become what."""
    counts = [f"{len(changes[act]):,} {act}" for act in ("added", "changed", "removed")]
    return f"{', '.join(counts)}, {changes['unchanged']:,} as before"


def _list_files(folder: Path) -> list[Path]:
    inside = (path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES) and path.is_file())
    return sorted(
        path for path in inside if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _has_scenarios(path: Path) -> bool:
    content = read_file(path, lambda content: content)
    return isinstance(content, Mapping) and "scenarios" in content


def _say_rule(rule: Mapping[str, Any]) -> str:
    where = " ".join(filter(None, (rule["model"], rule["feature"], rule["segment"])))
    comparison, threshold = rule["comparison"].replace("_", " "), rule["threshold"]
    said = f"by {threshold:.3g} of it" if rule["measure"] == "share" else f"{threshold:g}"
    return f"{rule['severity']}: {rule['metric']} {comparison} {said} ({where})"


def _say(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return (", ".join(value) if isinstance(value, list) else str(value)) or "none"
