"""`driftline silences`: alerts that nobody is told of for a while."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from driftline.cli.options import DEFAULT_URL, ByOption, JsonOption, UrlOption, name_user
from driftline.cli.server import open_server
from driftline.cli.tables import add_row, make_table, show_local
from driftline.cli.terminal import keep_lines, open_console, write_json
from driftline.core.errors import InvalidInput

app = typer.Typer(
    help="Alerts that nobody is told of for a while: list silences, add one, end one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

LIST_EXAMPLES = """
[bold]Examples[/bold]

  driftline silences list
  driftline silences list --over --json -
"""
ADD_EXAMPLES = """
[bold]Examples[/bold]

  driftline silences add --model fraud --for 2h --comment "the feed of amounts is being moved"
  driftline silences add --model 'fraud-*' --metric psi --from 2026-11-28T20:00:00Z --for 3d --comment "sale"
"""
END_EXAMPLES = """
[bold]Examples[/bold]

  driftline silences end 7
"""
_DURATION = re.compile(r"\d{1,6}[smhdw]")


@app.command("list", epilog=keep_lines(LIST_EXAMPLES))
def list_silences(
    over: Annotated[bool, typer.Option("--over", help="Those as well that are over.")] = False,
    limit: Annotated[int, typer.Option(help="So many silences, the newest.", min=1, max=1_000)] = 100,
    before: Annotated[
        int | None, typer.Option(help="The next page: silences before this id.", metavar="ID", min=0)
    ] = None,
    url: UrlOption = DEFAULT_URL,
    json: JsonOption = None,
) -> None:
    """List silences that hold or will, newest first."""
    with open_server(url) as server:
        found = server.ask("GET", "/silences", params={"over": over, "limit": limit, "after": before})
    if json is not None:
        write_json(json, found)
    if json == Path("-"):
        return
    if not found["silences"]:
        typer.echo("No silences.")
        return
    table = make_table("id", "state", "from", "until", "what", "by", "why", numbers=("id",))
    for each in found["silences"]:
        times = show_local(each["starts_at"]), show_local(each["ends_at"])
        add_row(
            table,
            str(each["silence_id"]),
            each["status"],
            *times,
            _say_matcher(each["matcher"]),
            each["by"],
            each["comment"],
        )
    open_console().print(table)
    if found["next"] is not None:
        typer.echo(f"More with --before {found['next']}")


@app.command(no_args_is_help=True, epilog=keep_lines(ADD_EXAMPLES))
def add(
    comment: Annotated[str, typer.Option(help="Why; those who are not told will ask.")],
    model: Annotated[str | None, typer.Option(help="A name or a glob.")] = None,
    version: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    feature: Annotated[str | None, typer.Option(help="Likewise; '' is the model as a whole.")] = None,
    segment: Annotated[str | None, typer.Option(help="Likewise; '' is the whole window.")] = None,
    rule: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    metric: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    severity: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    for_: Annotated[
        str | None, typer.Option("--for", help="How long, e.g. 30m, 2h or 3d.", metavar="DURATION")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="When it begins (default: now).", metavar="TIME")
    ] = None,
    until: Annotated[str | None, typer.Option(help="When it ends, instead of --for.", metavar="TIME")] = None,
    by: ByOption = None,
    url: UrlOption = DEFAULT_URL,
    json: JsonOption = None,
) -> None:
    """Have nobody told of the alerts that match all of this, for a while."""
    starts_at, ends_at = _choose_times(from_, for_, until)
    named = {
        "model": model,
        "version": version,
        "feature": feature,
        "segment": segment,
        "rule": rule,
        "metric": metric,
        "severity": severity,
    }
    body = {
        "matcher": {name: value for name, value in named.items() if value is not None},
        "starts_at": starts_at,
        "ends_at": ends_at,
        "by": by or name_user(),
        "comment": comment,
    }
    with open_server(url) as server:
        made = server.ask("POST", "/silences", json=body)
    if json is not None:
        write_json(json, made)
    if json != Path("-"):
        typer.echo(
            f"silence {made['silence_id']}: {_say_matcher(made['matcher'])}, "
            f"{show_local(made['starts_at'])} to {show_local(made['ends_at'])}"
        )


@app.command(no_args_is_help=True, epilog=keep_lines(END_EXAMPLES))
def end(
    ids: Annotated[list[int], typer.Argument(help="Silences, from the list.", metavar="ID…")],
    by: ByOption = None,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """End silences now, or before they have begun."""
    with open_server(url) as server:
        for silence_id in ids:
            server.ask("DELETE", f"/silences/{silence_id}", params={"by": by or name_user()})
            typer.echo(f"silence {silence_id} is over")


def _choose_times(from_: str | None, for_: str | None, until: str | None) -> tuple[str, str]:
    """Choose beginning and end, as the API reads them. Raises InvalidInput."""
    if (for_ is None) == (until is None):
        raise InvalidInput("say how long with --for, or when it ends with --until", field="--for")
    if for_ is None:
        return from_ or "now", until or ""
    if _DURATION.fullmatch(for_) is None:
        raise InvalidInput(f"--for {for_[:40]!r} is no duration; write e.g. 30m, 2h or 3d", field="--for")
    if from_ is None:
        return "now", f"+{for_}"
    from driftline.api.moments import parse_moment, read_clock  # noqa: PLC0415
    from driftline.core.moment import format_time  # noqa: PLC0415

    start = parse_moment(from_, "--from", read_clock())
    return format_time(start), format_time(parse_moment(f"+{for_}", "--for", start))


def _say_matcher(matcher: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value or 'none'}" for name, value in matcher.items())
