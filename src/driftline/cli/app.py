"""The `driftline` command."""

import io
import sys

import typer

from driftline import __version__
from driftline.cli import (
    actions,
    alerts,
    compare,
    dead_letters,
    demo,
    import_,
    kafka,
    labels,
    migrate,
    notify,
    reference,
    rules,
    silences,
    up,
    worker,
)
from driftline.cli.terminal import keep_lines

app = typer.Typer(
    name="driftline",
    help="Watches machine-learning models in production: drift in minutes, without crying wolf.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

app.command(no_args_is_help=True, epilog=keep_lines(compare.EXAMPLES))(compare.compare)
app.add_typer(reference.app, name="reference")
app.command(epilog=keep_lines(demo.EXAMPLES))(demo.demo)
app.command(epilog=keep_lines(up.EXAMPLES))(up.up)
app.command(no_args_is_help=True, epilog=keep_lines(worker.EXAMPLES))(worker.worker)
app.command("import", no_args_is_help=True, epilog=keep_lines(import_.EXAMPLES))(import_.import_files)
app.command()(migrate.migrate)
app.add_typer(labels.app, name="labels")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(rules.app, name="rules")
app.add_typer(actions.app, name="actions")
app.add_typer(notify.app, name="notify")
app.add_typer(alerts.app, name="alerts")
app.add_typer(silences.app, name="silences")
app.add_typer(kafka.app, name="kafka")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line. Errors of our own say what to do, in a line, with exit code 2; others are bugs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode shows ? and goes on
            stream.reconfigure(errors="replace")
    try:
        app()
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            message = f"{error.filename}: {error.strerror}"
        elif type(error).__module__.startswith("driftline."):
            message = str(error)
        elif type(error).__name__ in (
            "OperationalError",
            "PoolTimeout",
        ):  # psycopg's, which is loaded only if used
            message = f"the database does not answer ({str(error).strip()}); check DATABASE_URL"
        else:
            raise
        typer.secho("Error: ", fg="red", bold=True, err=True, nl=False)
        typer.echo(message, err=True)
        sys.exit(2)
