"""`driftline rules`: check rules, and try them on series of windows."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.terminal import keep_lines, open_console, write_json
from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    from driftline.core.scenario import Outcome

EXAMPLES = """\
driftline rules check rules.yaml
driftline rules check rules.yaml scenario.yaml"""

app = typer.Typer(
    help="Check alert rules.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def rules() -> None:
    """Check alert rules."""


@app.command(no_args_is_help=True, epilog=keep_lines(EXAMPLES))
def check(
    path: Annotated[Path, typer.Argument(help="Rules, as YAML or JSON.", metavar="RULES")],
    scenario: Annotated[
        Path | None,
        typer.Argument(help="Series of windows and the alerts expected of them.", show_default=False),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write what happened as JSON; - for standard output.", metavar="FILE")
    ] = None,
) -> None:
    """Check rules, and which alerts they fire when; exit code 1 when that is not as expected, 2 for bad input."""
    from driftline.core.rule_reading import read_rules  # noqa: PLC0415  loads numpy
    from driftline.core.scenario import read_scenarios, run_scenario  # noqa: PLC0415

    found = _read(path, read_rules)
    outcomes = [run_scenario(found, each) for each in _read(scenario, read_scenarios)] if scenario else []
    if json is not None:
        write_json(json, {"rules": len(found), "scenarios": [asdict(each) | {"ok": each.ok} for each in outcomes]})
    if json != Path("-"):
        typer.echo(f"{path}: {len(found)} rule{'s' * (len(found) != 1)}, all can be read")
        if outcomes:
            _print_outcomes(outcomes)
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(1)


def _read(path: Path, read: Any) -> Any:
    """Read a file of YAML (or JSON, which is YAML, too) and its content; errors name the file."""
    import yaml  # noqa: PLC0415  only here

    try:
        return read(yaml.safe_load(path.read_text("utf-8")))
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such file", field="path") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(f"{path} cannot be read as YAML: {error}", field="path") from None
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}", field=error.field) from None


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
