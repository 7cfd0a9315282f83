"""Alerts on a terminal: a table of them, and all that is known of one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from driftline.cli.tables import add_row, make_table, show_local
from driftline.cli.terminal import open_console

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {"CRITICAL": "bold red", "HIGH": "red", "MEDIUM": "yellow"}


def draw_alerts(alerts: Sequence[Mapping[str, Any]]) -> "Table":
    """Draw a line for each alert; those that go on in the colour of their severity."""
    table = make_table("id", "fired", "severity", "model", "what", "number", "threshold", "state",
                       numbers=("id", "number", "threshold"))  # fmt: skip
    for alert in alerts:
        add_row(
            table,
            str(alert["alert_id"]),
            show_local(alert["fired_at"]),
            alert["severity"],
            f"{alert['model_id']} {alert['version']}",
            _say_what(alert),
            _say_number(alert["metric_value"]),
            _say_number(alert["threshold"]),
            "open" if alert["open"] else alert["ended"],
            style=_STYLES.get(alert["severity"]) if alert["open"] else "dim",
        )
    return table


def print_alert(alert: Mapping[str, Any], incident: Mapping[str, Any]) -> None:
    """Print all that is known of an alert, of its incident, and of who was told."""
    from driftline.api.letters import clean_text  # noqa: PLC0415

    for name, value in _list_facts(alert, incident):
        typer.echo(f"{name:<12}{clean_text(value)}")
    mine = [each for each in incident["decisions"] if each["alert_id"] in (None, alert["alert_id"])]
    if mine:
        table = make_table("when", "destination", "outcome", "why")
        for each in reversed(mine):
            cells = each["destination"] or "-", each["outcome"].replace("_", " "), each["detail"]
            add_row(table, show_local(each["at"]), *cells)
        open_console().print(table)


def _list_facts(alert: Mapping[str, Any], incident: Mapping[str, Any]) -> list[tuple[str, str]]:
    state = "open" if alert["open"] else f"{alert['ended']}, {show_local(alert['resolved_at'])}"
    who, others = incident["acknowledged_by"], len(incident["alerts"]) - 1
    comments = [each for each in reversed(incident["history"]) if "comment" in each["details"]]
    since = incident["acknowledged_at"]
    news = sum(
        each["open"] and since is not None and _read(each["fired_at"]) > _read(since)
        for each in incident["alerts"]
    )
    on_it = f"{who} is on it" if who else "nobody has acknowledged it"
    on_it += f"; {news:,} fired since" if news else ""
    facts = [
        ("alert", f"{alert['alert_id']}, {alert['severity']}, {state}"),
        ("model", f"{alert['model_id']} {alert['version']}"),
        ("what", _say_what(alert)),
        ("number", f"{_say_number(alert['metric_value'])} (threshold {_say_number(alert['threshold'])})"),
        ("rule", alert["rule_id"]),
        ("fired", show_local(alert["fired_at"])),
        *(("window", f"{show_local(each['start'])} to {show_local(each['end'])}") for each in alert["windows"]),
        ("incident", f"{incident['incident_id']} with {others:,} other alert{'s' * (others != 1)}: {on_it}"),
        *(("said", f"{each['actor']}: {each['details']['comment']}") for each in comments),
    ]
    more = {
        "source": alert["source"],
        "owner": alert["owner"],
        "runbook": alert["runbook"],
        "actions": ", ".join(alert["actions"]),
        "done": alert["action_taken"],
    }
    return facts + [(name, value) for name, value in more.items() if value]


def _read(moment: str) -> datetime:
    return datetime.fromisoformat(moment)


def _say_what(alert: Mapping[str, Any]) -> str:
    of = alert["feature_name"] or alert["worst"]
    segment = f"[{alert['segment']}]" if alert["segment"] else ""
    return " ".join(filter(None, (alert["metric"], of and f"of {of}", segment)))


def _say_number(number: float | None) -> str:
    return "-" if number is None else f"{number:.4g}"
