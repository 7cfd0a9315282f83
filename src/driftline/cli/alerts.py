"""`driftline alerts`: what the rules have fired, and saying that somebody is on it."""

from pathlib import Path
from typing import Annotated

import typer

from driftline.cli.alert_tables import draw_alerts, print_alert
from driftline.cli.options import DEFAULT_URL, ByOption, JsonOption, UrlOption, name_user
from driftline.cli.server import open_server
from driftline.cli.terminal import keep_lines, open_console, write_json

app = typer.Typer(
    help="What the rules have fired: list it, look at one, say that you are on it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

LIST_EXAMPLES = """
[bold]Examples[/bold]

  driftline alerts list --open
  driftline alerts list --model fraud --severity HIGH --since -7d
  driftline alerts list --json - --limit 1000 --before 5120
"""
SHOW_EXAMPLES = """
[bold]Examples[/bold]

  driftline alerts show 17
  driftline alerts show 17 --json -
"""
ACK_EXAMPLES = """
[bold]Examples[/bold]

  driftline alerts ack 17 --comment "the feed of amounts is late"
  driftline alerts ack --incident 5 --by ana
"""

IdArgument = Annotated[int, typer.Argument(help="The alert's id, from the list.", metavar="ID", min=0)]


@app.command("list", epilog=keep_lines(LIST_EXAMPLES))
def list_alerts(
    is_open: Annotated[
        bool | None, typer.Option("--open/--over", help="Only those that go on, or those that are over.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    version: Annotated[str | None, typer.Option(help="Only of this version.")] = None,
    feature: Annotated[str | None, typer.Option(help="Only of this feature; '' is the model as a whole.")] = None,
    segment: Annotated[str | None, typer.Option(help="Only of this segment; '' is the whole window.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only those that this rule has fired.")] = None,
    severity: Annotated[str | None, typer.Option(help="Only CRITICAL, HIGH, MEDIUM or LOW.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Fired since, e.g. -24h or 2026-11-23T08:00:00Z.", metavar="TIME")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Fired before, likewise.", metavar="TIME")] = None,
    limit: Annotated[int, typer.Option(help="So many alerts, the newest.", min=1, max=1_000)] = 20,
    before: Annotated[
        int | None, typer.Option(help="The next page: alerts before this id.", metavar="ID", min=0)
    ] = None,
    url: UrlOption = DEFAULT_URL,
    json: JsonOption = None,
) -> None:
    """List alerts, newest first."""
    asked = {
        "open": is_open,
        "model_id": model,
        "version": version,
        "feature": feature,
        "segment": segment,
        "rule_id": rule,
        "severity": severity and severity.upper(),
        "since": since,
        "until": until,
        "limit": limit,
        "after": before,
    }
    with open_server(url) as server:
        found = server.ask("GET", "/alerts", params=asked)
    if json is not None:
        write_json(json, found)
    if json == Path("-"):
        return
    console = open_console()
    if not found["alerts"]:
        console.print("No alerts.")
        return
    console.print(draw_alerts(found["alerts"]))
    if found["next"] is not None:
        console.print(f"More with --before {found['next']}")


@app.command(no_args_is_help=True, epilog=keep_lines(SHOW_EXAMPLES))
def show(alert_id: IdArgument, url: UrlOption = DEFAULT_URL, json: JsonOption = None) -> None:
    """Show an alert: its number, its windows, its incident, who was told or was not, and why."""
    with open_server(url) as server:
        alert = server.ask("GET", f"/alerts/{alert_id}")
        incident = server.ask("GET", f"/incidents/{alert['incident_id']}")
    if json is not None:
        write_json(json, {**alert, "incident": incident})
    if json != Path("-"):
        print_alert(alert, incident)


@app.command(no_args_is_help=True, epilog=keep_lines(ACK_EXAMPLES))
def ack(
    alert_id: Annotated[
        int | None, typer.Argument(help="An alert of the incident, from the list.", metavar="ID", min=0)
    ] = None,
    incident: Annotated[int | None, typer.Option(help="Or the incident itself.", metavar="ID", min=0)] = None,
    comment: Annotated[str, typer.Option(help="What you know, for the audit trail.")] = "",
    by: ByOption = None,
    url: UrlOption = DEFAULT_URL,
    json: JsonOption = None,
) -> None:
    """Say that you are on an incident, with all its alerts: until more fires, nobody is reminded or called in."""
    if (alert_id is None) == (incident is None):
        raise typer.BadParameter("give the id of an alert, or --incident")
    with open_server(url) as server:
        if incident is None:
            incident = server.ask("GET", f"/alerts/{alert_id}")["incident_id"]
        body = {"by": by or name_user(), "comment": comment}
        found = server.ask("POST", f"/incidents/{incident}/acknowledge", json=body)
    if json is not None:
        write_json(json, found)
    if json != Path("-"):
        count = sum(alert["open"] for alert in found["alerts"])
        typer.echo(
            f"incident {incident} of {found['model_id']}, {count:,} open alert{'s' * (count != 1)}: "
            f"{found['acknowledged_by']} is on it"
        )
