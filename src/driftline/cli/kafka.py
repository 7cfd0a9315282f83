"""`driftline kafka`: make the topics, and see whether they are as they should be."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.terminal import open_console, write_json

if TYPE_CHECKING:
    from driftline.log.kafka_topics import Difference

app = typer.Typer(
    help="Set up the topics on Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_DONE = {"create": "created", "raise": "raised", "set": "set", "leave": "left as it is"}
_DUE = {"create": "would be created", "raise": "would be raised", "set": "would be set", "leave": "left as it is"}


@app.command()
def init(
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings; see driftline.example.toml.")
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(help="At least so many in each topic (default: log_partitions).", min=1, show_default=False),
    ] = None,
    replication: Annotated[
        int | None,
        typer.Option(help="Copies of new topics (default: 3, or one per broker).", min=1, show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; exit with 1 if it would.")] = False,
    json: Annotated[
        Path | None,
        typer.Option(help="Write the differences as JSON; - is standard output.", metavar="FILE"),
    ] = None,
) -> None:
    """Make the topics of kafka_servers, and correct what driftline depends on. May be repeated at any time.

    Partitions are only ever added. How long records are kept, and how many copies must be written, is set when a
    topic is made; later it is yours, and a difference is only shown.
    """
    from driftline.log.choice import choose_cluster  # noqa: PLC0415  `driftline --help` stays fast
    from driftline.settings import load_settings  # noqa: PLC0415

    settings = load_settings(config)
    cluster = choose_cluster(settings)
    from driftline.log.kafka_topics import apply_differences, compare_topics, plan_topics  # noqa: PLC0415  an extra

    admin = cluster.open_admin()
    planned = plan_topics(
        cluster,
        admin,
        partitions=partitions or settings.log_partitions,
        replication=replication,
        retention_days=settings.retention_log_days,
    )
    differences = compare_topics(admin, planned)
    if not dry_run:
        apply_differences(admin, planned, differences)
    if json is not None:
        write_json(json, [asdict(difference) for difference in differences])
    if json != Path("-"):
        _show(differences, _DUE if dry_run else _DONE)
    if dry_run and any(difference.action != "leave" for difference in differences):
        raise typer.Exit(1)


def _show(differences: Sequence["Difference"], words: dict[str, str]) -> None:
    from rich.table import Table  # noqa: PLC0415

    if not differences:
        typer.echo("all topics are as they should be")
        return
    table = Table("topic", "what", "found", "wanted", "")
    for each in differences:
        table.add_row(each.topic, each.what, each.found, each.wanted, words[each.action])
    open_console().print(table)
