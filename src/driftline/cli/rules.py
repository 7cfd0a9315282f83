"""`driftline rules`: check rules, try them on series of windows, and apply those of files."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.options import DEFAULT_URL, ByOption, JsonOption, UrlOption, name_user
from driftline.cli.rule_files import draw_changes, read_file, read_rule_files, say_changes
from driftline.cli.server import open_server
from driftline.cli.terminal import keep_lines, open_console, write_json

if TYPE_CHECKING:
    from driftline.core.scenario import Outcome

EXAMPLES = """\
driftline rules check rules.yaml
driftline rules check rules.yaml scenario.yaml"""
APPLY_EXAMPLES = """
[bold]Examples[/bold]

  driftline rules apply rules.yaml
  driftline rules apply rules/ --by ci --url https://driftline.example.com
"""
DIFF_EXAMPLES = """
[bold]Examples[/bold]

  driftline rules diff rules/
  driftline rules diff rules.yaml --json -
"""

_MOST_NAMES = 5

PathArgument = Annotated[
    Path,
    typer.Argument(help="A file of rules, YAML or JSON, or a folder of such files.", metavar="FILE|FOLDER"),
]

app = typer.Typer(
    help="Alert rules: check them, try them, apply them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def rules() -> None:
    """Alert rules: check them, try them, apply them."""


@app.command(no_args_is_help=True, epilog=keep_lines(EXAMPLES))
def check(
    path: PathArgument,
    scenario: Annotated[
        Path | None,
        typer.Argument(help="Series of windows and the alerts expected of them.", show_default=False),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write what happened as JSON; - for standard output.", metavar="FILE")
    ] = None,
) -> None:
    """Check rules, and which alerts they fire when; exit code 1 when that is not as expected, 2 for bad input."""
    from driftline.core.scenario import read_scenarios, run_scenario  # noqa: PLC0415  loads numpy

    found = read_rule_files(path)
    outcomes = [run_scenario(found, each) for each in read_file(scenario, read_scenarios)] if scenario else []
    if json is not None:
        write_json(json, {"rules": len(found), "scenarios": [asdict(each) | {"ok": each.ok} for each in outcomes]})
    if json != Path("-"):
        typer.echo(f"{path}: {len(found)} rule{'s' * (len(found) != 1)}, all can be read")
        if outcomes:
            _print_outcomes(outcomes)
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(1)


@app.command(no_args_is_help=True, epilog=keep_lines(APPLY_EXAMPLES))
def apply(path: PathArgument, by: ByOption = None, url: UrlOption = DEFAULT_URL, json: JsonOption = None) -> None:
    """Make the rules of files those of driftline: what is new, what has changed and what is gone, all at once.

    Rules that were made with a model or over the API stay, but for those whose ids the files have. Edited rules go
    on from where they stood; the open alerts of rules that are gone end.
    """
    changes = _send(path, url, by=by or name_user(), dry_run=False)
    _tell(changes, json)


@app.command(no_args_is_help=True, epilog=keep_lines(DIFF_EXAMPLES))
def diff(path: PathArgument, url: UrlOption = DEFAULT_URL, json: JsonOption = None) -> None:
    """Show what `driftline rules apply` would change.

    Exit code 0 when that is nothing, 1 when it is something, 2 for bad input.
    """
    changes = _send(path, url, by=name_user(), dry_run=True)
    _tell(changes, json)
    if any(changes[act] for act in ("added", "changed", "removed")):
        raise typer.Exit(1)


def _send(path: Path, url: str, *, by: str, dry_run: bool) -> Any:
    from driftline.core.rule_reading import write_rules  # noqa: PLC0415

    content = {**write_rules(read_rule_files(path)), "by": by, "dry_run": dry_run}
    with open_server(url) as server:
        return server.ask("PUT", "/rules", json=content)


def _tell(changes: Any, json: Path | None) -> None:
    if json is not None:
        write_json(json, changes)
    if json == Path("-"):
        return
    if any(changes[act] for act in ("added", "changed", "removed")):
        open_console().print(draw_changes(changes))
    typer.echo(say_changes(changes))
    if lonely := changes["without_model"]:
        said = ", ".join(lonely[:_MOST_NAMES]) + (
            f" and {len(lonely) - _MOST_NAMES:,} more" * (len(lonely) > _MOST_NAMES)
        )
        typer.echo(f"No model is watched by {said}: is its name right, or is it still to come?")


def _print_outcomes(outcomes: "list[Outcome]") -> None:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title_justify="left")
    for column in ("scenario", "windows", "alert", ""):
        table.add_column(column, justify="right" if column == "windows" else "left")
    for outcome in outcomes:
        lines = [
            (alert, "[red]not expected[/red]" if alert in outcome.surplus else "") for alert in outcome.alerts
        ]
        lines += [(alert, "[red]expected, did not come[/red]") for alert in outcome.missing]
        for alert, said in lines:
            table.add_row(escape(outcome.name), str(outcome.windows), escape(str(alert)), said or "ok")
        if not lines:
            table.add_row(escape(outcome.name), str(outcome.windows), "none", "ok")
    open_console().print(table)
