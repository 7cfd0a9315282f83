"""`driftline up`: the API and all workers in one process, on the embedded database unless told otherwise."""

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftline.settings import Settings

EXAMPLES = """
[bold]Examples[/bold]

  driftline up                                        embedded database in ./driftline-data
  driftline up --port 9000 --data-dir /srv/driftline
  DATABASE_URL=postgresql://… driftline up            your own PostgreSQL (driftline migrate first)
"""


def up(
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings; see driftline.example.toml.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65_535)
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded database and samples lie.")] = None,
) -> None:
    """Run driftline: the API and all workers in one process. Ctrl-C or SIGTERM stops it cleanly."""
    from driftline.settings import load_settings  # noqa: PLC0415  `driftline --help` loads no server

    given = {"host": host, "port": port, "data_dir": data_dir}
    settings = load_settings(config).model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    stop = stop_on_signals()
    with run_server(settings) as url:
        typer.echo(f"driftline is up on {url}   (API: {url}/docs, data: {settings.data_dir.resolve()})")
        stop.wait()
        typer.echo("stopping: what was read is being written")


@contextmanager
def run_server(settings: "Settings") -> "Iterator[str]":
    """Run the database, the workers and the API until the block is left; gives the API's URL."""
    from driftline.api.app import create_app  # noqa: PLC0415
    from driftline.api.server import serve  # noqa: PLC0415
    from driftline.log.choice import open_log  # noqa: PLC0415
    from driftline.logs import configure_logs  # noqa: PLC0415
    from driftline.store.database import open_database  # noqa: PLC0415
    from driftline.workers.up import run_workers  # noqa: PLC0415

    configure_logs(settings.log_level)
    with (
        open_database(settings, connections=20) as database,
        closing(open_log(settings, database)) as log,
        run_workers(database, log, settings),
        serve(create_app(database, log, settings), settings.host, settings.port) as url,
    ):
        yield url


def stop_on_signals() -> threading.Event:
    """Give an event that SIGTERM and Ctrl-C set; a second one ends the process at once."""
    stop = threading.Event()

    def request_stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, request_stop)
    return stop
