"""`driftline actions`: what alerts proposed, looked at, approved and rejected on the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.database import ConfigOption, DataDirOption, open_served_database
from driftline.cli.options import ByOption, JsonOption, name_user
from driftline.cli.tables import add_row, format_local, make_table
from driftline.cli.terminal import keep_lines, open_console, write_json
from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    from driftline.store.actions import ActionRun

app = typer.Typer(
    help="Retraining, fallbacks and other actions: what alerts proposed, and your approval.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

LIST_EXAMPLES = """
[bold]Examples[/bold]

  driftline actions list --status waiting_for_approval
  driftline actions list --model fraud --open --json -
"""
APPROVE_EXAMPLES = """
[bold]Examples[/bold]

  driftline actions approve 7f3c2a90 --comment "new supplier, agreed with risk"
  driftline actions reject 7f3c2a90 --by ana
"""

RunArgument = Annotated[
    str, typer.Argument(help="The run's id, from the list; its first characters will do.", metavar="ID")
]
CommentOption = Annotated[str, typer.Option(help="Why; it is kept with the run.")]


@app.command("list", epilog=keep_lines(LIST_EXAMPLES))
def list_(
    model: Annotated[str | None, typer.Option(help="Only runs for this model.")] = None,
    action: Annotated[str | None, typer.Option(help="Only runs of this action.")] = None,
    status: Annotated[str | None, typer.Option(help="Only runs that stand there, e.g. running.")] = None,
    is_open: Annotated[bool, typer.Option("--open", help="Only runs that have not ended.")] = False,
    limit: Annotated[int, typer.Option(help="So many runs, the newest.", min=1, max=10_000)] = 20,
    json: JsonOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List runs of actions, newest first."""
    from driftline.api.actions import describe_run  # noqa: PLC0415  `driftline --help` loads no server
    from driftline.store.actions import RunFilter, list_runs  # noqa: PLC0415

    which = RunFilter(model, action, _read_status(status), True if is_open else None)
    with open_served_database(config, data_dir) as (database, _), database.transaction() as conn:
        runs = list_runs(conn, which, limit=limit)
    if json is not None:
        write_json(json, {"actions": [describe_run(run) for run in runs]})
    if json != Path("-"):
        _print_runs(runs)


@app.command(no_args_is_help=True)
def show(
    run_id: RunArgument,
    json: JsonOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show a run: why it was proposed, every step since, and the approval link while it waits."""
    from driftline.api.actions import show_run  # noqa: PLC0415
    from driftline.core.action_runs import Status  # noqa: PLC0415
    from driftline.store.actions import get_run  # noqa: PLC0415
    from driftline.workers.approval_key import write_approval_link  # noqa: PLC0415

    with open_served_database(config, data_dir) as (database, settings):
        with database.transaction() as conn:
            run = get_run(conn, _complete(conn, run_id))
        shown = show_run(database, run.run_id)
        waits = run.status is Status.WAITING
        link = write_approval_link(settings, run) if waits else None
    if json is not None:
        write_json(json, shown | {"approval_url": link})
    if json != Path("-"):
        _print_run(shown, link)


@app.command(no_args_is_help=True, epilog=keep_lines(APPROVE_EXAMPLES))
def approve(
    run_id: RunArgument,
    by: ByOption = None,
    comment: CommentOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Let a run start that waits for approval."""
    _decide(run_id, by, comment, config, data_dir, approve=True)


@app.command(no_args_is_help=True, epilog=keep_lines(APPROVE_EXAMPLES))
def reject(
    run_id: RunArgument,
    by: ByOption = None,
    comment: CommentOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """End a run that has not started."""
    _decide(run_id, by, comment, config, data_dir, approve=False)


def _decide(
    run_id: str, by: str | None, comment: str, config: Path | None, data_dir: Path | None, *, approve: bool
) -> None:
    from driftline.api.moments import read_clock  # noqa: PLC0415
    from driftline.store.actions import decide_run  # noqa: PLC0415

    with open_served_database(config, data_dir) as (database, _), database.transaction() as conn:
        whole = _complete(conn, run_id)
        name = by or name_user()
        run = decide_run(conn, whole, approve=approve, who=name, comment=comment, now=read_clock())
    typer.echo(f"{run.action} for {run.model_id} {run.model_version} is {run.status} ({name})")


def _complete(conn: Any, beginning: str) -> str:
    """Give the id that begins like this; InvalidInput when there are several or none."""
    from driftline.store.actions import list_run_ids  # noqa: PLC0415

    found = list_run_ids(conn, beginning.strip().lower())
    if len(found) == 1:
        return found[0]
    fault = "begin several runs' ids" if found else "begin no run's id"
    raise InvalidInput(f"ID: {beginning!r} {fault}; driftline actions list shows them", field="ID")


def _read_status(text: str | None) -> Any:
    from driftline.core.action_runs import Status  # noqa: PLC0415

    if text is None:
        return None
    try:
        return Status(text.replace("-", "_"))
    except ValueError:
        raise InvalidInput(f"--status {text!r}: use one of {', '.join(Status)}", field="--status") from None


def _print_runs(runs: "list[ActionRun]") -> None:
    if not runs:
        typer.echo("no runs")
        return
    table = make_table("id", "proposed", "action", "model", "status", "why")
    for run in runs:
        whose = f"{run.model_id} {run.model_version}"
        cells = (run.run_id[:8], format_local(run.proposed_at), run.action, whose, str(run.status))
        add_row(table, *cells, run.reason or run.detail)
    open_console().print(table)


def _print_run(shown: dict[str, Any], link: str | None) -> None:
    from driftline.api.letters import clean_text  # noqa: PLC0415

    names = (
        "run_id",
        "action",
        "status",
        "reason",
        "detail",
        "decided_by",
        "comment",
        "external_id",
        "retrained_as",
    )
    lines = {name: shown[name] for name in names if shown[name]}
    lines["model"] = f"{shown['model_id']} {shown['model_version']}"
    if link is not None:
        lines["approve at"] = link
    for name, value in lines.items():
        typer.echo(f"{name:<14}{clean_text(str(value))}")
    for alert in shown["alerts"]:
        subject = alert["feature_name"] or "model"
        said = f"{subject}: {alert['metric']} {alert['metric_value']} (threshold {alert['threshold']})"
        typer.echo(f"{'alert':<14}{clean_text(said)}")
    for entry in shown["history"]:
        reason = f": {entry['details']['reason']}" if entry["details"].get("reason") else ""
        typer.echo(f"{entry['at']}  {clean_text(entry['act'] + ' by ' + entry['actor'] + reason)}")
