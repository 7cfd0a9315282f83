"""`driftline worker NAME`: one worker in a process of its own, for installations of several machines."""

from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from driftline.cli.up import stop_on_signals

EXAMPLES = """
[bold]Examples[/bold]

  driftline worker sampler                            as many as prediction_logs has partitions share the work
  driftline worker profiler --config /etc/driftline.toml
"""


class Worker(StrEnum):
    """The workers, as `workers.up.WORKERS` names them."""

    SAMPLER = "sampler"
    PROFILER = "profiler"
    JOINER = "joiner"
    MONITOR = "monitor"
    PERFORMANCE = "performance"
    WATCH = "watch"
    NOTICES = "notices"
    DELIVERIES = "deliveries"
    ACTIONS = "actions"
    MAINTENANCE = "maintenance"


def worker(
    name: Annotated[Worker, typer.Argument(help="Which worker to run.", show_default=False)],
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings; see driftline.example.toml.")
    ] = None,
) -> None:
    """Run one worker against the database of DATABASE_URL. Ctrl-C or SIGTERM stops it cleanly.

    sampler: prediction_logs to prediction_samples. profiler: samples to profiles. joiner: labels to predictions.
    monitor: windows to drift. performance: labelled windows to metrics. watch: what is missing. notices: alerts to
    notices. deliveries: notices to their destinations. actions: what alerts have done. maintenance: retention. Any
    number of each may run; of the last seven one is enough.
    """
    from driftline.log.choice import open_log  # noqa: PLC0415  `driftline --help` loads no server
    from driftline.logs import configure_logs  # noqa: PLC0415
    from driftline.settings import InvalidSettings, load_settings  # noqa: PLC0415
    from driftline.store.database import open_database  # noqa: PLC0415
    from driftline.workers.up import run_workers  # noqa: PLC0415

    settings = load_settings(config)
    if settings.database_url is None:
        raise InvalidSettings(
            "a worker of its own needs the database that the others use; set DATABASE_URL, or use `driftline up`,"
            " which runs all workers on an embedded one"
        )
    configure_logs(settings.log_level)
    stop = stop_on_signals()
    with (
        open_database(settings, connections=5) as database,
        closing(open_log(settings, database)) as log,
        run_workers(database, log, settings, [name.value]),
    ):
        typer.echo(f"{name} runs")
        stop.wait()
        typer.echo("stopping: what was begun is being finished")
