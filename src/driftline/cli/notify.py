"""`driftline notify`: the destinations of notices, and a test of one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.database import ConfigOption, DataDirOption, open_served_database
from driftline.cli.destinations import describe_destination, draw_destinations, try_destination
from driftline.cli.options import JsonOption
from driftline.cli.terminal import keep_lines, open_console, write_json
from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    from driftline.notify.destination import Destination

app = typer.Typer(
    help="Where notices go: list the destinations, try one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

TEST_EXAMPLES = """
[bold]Examples[/bold]

  driftline notify test pager
  driftline notify test chat --json - --config /etc/driftline.toml
"""
LIST_EXAMPLES = """
[bold]Examples[/bold]

  driftline notify list
  driftline notify list --json -
"""


@app.command("test", no_args_is_help=True, epilog=keep_lines(TEST_EXAMPLES))
def send_test(
    destination: Annotated[str, typer.Argument(help="Its name in the settings.", show_default=False)],
    json: JsonOption = None,
    config: ConfigOption = None,
) -> None:
    """Send a notice that says it is a test, and its resolution, to a destination. No database is needed.

    Exit code 1 when one of them is not taken, 2 when the settings are at fault.
    """
    from driftline.settings import load_settings  # noqa: PLC0415  `--help` loads no server

    settings = load_settings(config)
    found = _find(settings.destinations, destination)
    ends = try_destination(found, settings.public_url or "")
    if json is not None:
        write_json(
            json, {"destination": found.name, "type": found.type, "ok": ends.ok, "notices": ends.describe()}
        )
    if json != Path("-"):
        for line in ends.lines():
            typer.echo(line)
    if not ends.ok:
        raise typer.Exit(1)


@app.command("list", epilog=keep_lines(LIST_EXAMPLES))
def list_destinations(
    json: JsonOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """List the destinations: what each takes, what waits for it, and what became of the notices of seven days."""
    from driftline.notify.destination import read_routes  # noqa: PLC0415
    from driftline.store.delivery_counts import count_deliveries  # noqa: PLC0415
    from driftline.workers.deliveries import KEPT  # noqa: PLC0415
    from driftline.workers.up import read_clock  # noqa: PLC0415

    with open_served_database(config, data_dir) as (database, settings), database.transaction() as conn:
        routes = read_routes(settings.destinations)
        counts = {each.destination: each for each in count_deliveries(conn, read_clock() - KEPT)}
    names = [*settings.destinations, *sorted(counts.keys() - settings.destinations.keys())]
    found = {route.name: route for route in routes}
    described = [
        describe_destination(name, settings.destinations.get(name), found.get(name), counts.get(name))
        for name in names
    ]
    if json is not None:
        write_json(json, {"destinations": described})
    if json == Path("-"):
        return
    if not described:
        typer.echo("There are no destinations; docs/notifications.md says how to set one up.")
        return
    open_console().print(draw_destinations(described))


def _find(config: dict[str, dict[str, Any]], name: str) -> "Destination":
    import os  # noqa: PLC0415

    from driftline.notify.destination import read_destinations  # noqa: PLC0415

    if name not in config:
        there = f"there are {', '.join(config)}" if config else "there are none; see docs/notifications.md"
        raise InvalidInput(f"there is no destination {name!r} in the settings; {there}", field="destination")
    [found] = read_destinations({name: config[name]}, os.environ)
    return found
