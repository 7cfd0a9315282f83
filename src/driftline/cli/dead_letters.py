"""`driftline dead-letters`: what could not be used, why, and sent again once the cause is gone."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.database import ConfigOption, DataDirOption, open_served_database
from driftline.cli.letters import draw_counts, draw_letters, print_fates, print_letter
from driftline.cli.terminal import keep_lines, open_console, show_bar, write_json
from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    from driftline.store.database import Database
    from driftline.store.dead_letters import LetterFilter

app = typer.Typer(
    help="Events that could not be used: list them, look at one, send them again.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

LIST_EXAMPLES = """
[bold]Examples[/bold]

  driftline dead-letters list
  driftline dead-letters list --model fraud --reason unknown_version --since -24h
  driftline dead-letters list --json - --limit 1000 --before 5120
"""
SHOW_EXAMPLES = """
[bold]Examples[/bold]

  driftline dead-letters show 17
  driftline dead-letters show 17 --out letter.json    the payload as it came
"""
REPLAY_EXAMPLES = """
[bold]Examples[/bold]

  driftline dead-letters replay 17 18
  driftline dead-letters replay --model fraud --reason unknown_version --all --dry-run
"""

ModelOption = Annotated[str | None, typer.Option(help="Only letters of this model.")]
ReasonOption = Annotated[str | None, typer.Option(help="Only letters with this reason, e.g. unknown_version.")]
TopicOption = Annotated[str | None, typer.Option(help="Only of prediction_samples, prediction_logs or labels.")]
SinceOption = Annotated[
    str | None, typer.Option(help="Only those received since, e.g. -24h or 2026-11-23T08:00:00Z.", metavar="TIME")
]
JsonOption = Annotated[Path | None, typer.Option(help="Write it as JSON; - for standard output.", metavar="FILE")]


@app.command("list", epilog=keep_lines(LIST_EXAMPLES))
def list_letters(
    model: ModelOption = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that were not replayed.")] = False,
    limit: Annotated[int, typer.Option(help="So many letters, the newest.", min=1, max=100_000)] = 20,
    before: Annotated[
        int | None, typer.Option(help="The next page: letters before this id.", metavar="ID")
    ] = None,
    json: JsonOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Count letters by reason, and list the newest."""
    from driftline.api.letters import describe_count, describe_letter  # noqa: PLC0415  `--help` loads no server
    from driftline.store.dead_letters import list_dead_letters, summarise_dead_letters  # noqa: PLC0415

    which = _choose(model, reason, topic, since, replayed=False if waiting else None)
    with open_served_database(config, data_dir) as (database, _), database.transaction() as conn:
        counts = summarise_dead_letters(conn, which)
        letters = list_dead_letters(conn, which, before=before, limit=limit, payload_bytes=0)
    if json is not None:
        write_json(
            json,
            {
                "counts": [describe_count(count) for count in counts],
                "dead_letters": [describe_letter(letter) for letter in letters],
                "next": letters[-1].id if len(letters) == limit else None,
            },
        )
    if json == Path("-"):
        return
    console = open_console()
    if not letters:
        console.print("No dead letters.")
        return
    console.print(draw_counts(counts))
    console.print(draw_letters(letters))
    if len(letters) == limit:
        console.print(f"More with --before {letters[-1].id}")


@app.command(no_args_is_help=True, epilog=keep_lines(SHOW_EXAMPLES))
def show(
    letter_id: Annotated[int, typer.Argument(help="The letter's id, from the list.", metavar="ID")],
    out: Annotated[
        Path | None, typer.Option(help="Write the payload to this file, as it came.", metavar="FILE")
    ] = None,
    json: JsonOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show a letter: why it was refused, where it came from, and what is in it."""
    from driftline.api.letters import READ_BYTES, describe_letter, show_payload  # noqa: PLC0415
    from driftline.store.dead_letters import get_dead_letter  # noqa: PLC0415

    with open_served_database(config, data_dir) as (database, _), database.transaction() as conn:
        letter = get_dead_letter(conn, letter_id, payload_bytes=READ_BYTES)
        if letter is None:
            raise InvalidInput(f"there is no dead letter {letter_id}; driftline dead-letters list shows them")
        if out is not None:
            whole = get_dead_letter(conn, letter_id) if letter.size > READ_BYTES else letter
            out.write_bytes(letter.payload if whole is None else whole.payload)
    media_type, text = show_payload(letter)
    if json is not None:
        write_json(json, {**describe_letter(letter), "payload": {"media_type": media_type, "text": text}})
    if json != Path("-"):
        print_letter(letter, media_type, text)


@app.command(no_args_is_help=True, epilog=keep_lines(REPLAY_EXAMPLES))
def replay(
    ids: Annotated[
        list[int] | None, typer.Argument(help="Letters to send again; or choose them with --all.", metavar="ID…")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All letters that the filters leave.")] = False,
    model: ModelOption = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    again: Annotated[bool, typer.Option("--again", help="Those as well that were replayed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of them.")] = False,
    json: JsonOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Send letters again, the way a fresh request goes. What still cannot be used stays, with the reason of today.

    Predictions that were counted before are recognised by their ids: nothing counts twice. Exit code 1 when a
    letter stays.
    """
    from driftline.api.moments import read_clock  # noqa: PLC0415
    from driftline.api.replay import Ways, describe_fate, replay_letter  # noqa: PLC0415
    from driftline.api.schemas import Schemas  # noqa: PLC0415
    from driftline.log.choice import open_log  # noqa: PLC0415

    if bool(ids) == every or (ids and any((model, reason, topic, since))):
        raise InvalidInput("name letters by their ids, or choose them with --all and filters such as --reason")
    which = _choose(model, reason, topic, since, replayed=None if again else False)
    with (
        open_served_database(config, data_dir) as (database, settings),
        closing(open_log(settings, database)) as log,
    ):
        log.prepare(settings.log_partitions)
        ways = Ways(database, log, settings, Schemas(), read_clock)
        chosen = list(ids or _list_ids(database, which))
        fates = []
        with show_bar("Replaying", len(chosen)) as advance:
            for letter_id in chosen:
                fates.append(replay_letter(ways, letter_id, again=again, dry_run=dry_run))
                advance(1)
    if json is not None:
        write_json(json, {"dry_run": dry_run, "letters": [describe_fate(fate) for fate in fates]})
    if json != Path("-"):
        print_fates(fates, dry_run=dry_run)
    if any(fate.refused or fate.fate == "missing" for fate in fates):
        raise typer.Exit(1)


def _choose(
    model: str | None, reason: str | None, topic: str | None, since: str | None, *, replayed: bool | None
) -> "LetterFilter":
    from driftline.api.moments import parse_moment, read_clock  # noqa: PLC0415
    from driftline.store.dead_letters import LetterFilter  # noqa: PLC0415

    moment = None if since is None else parse_moment(since, "--since", read_clock())
    return LetterFilter(model, reason, topic, moment, replayed)


def _list_ids(database: "Database", which: "LetterFilter") -> Iterator[int]:
    """List the ids of all letters that are there now, oldest first."""
    from driftline.store.dead_letters import list_letter_ids  # noqa: PLC0415

    after = 0
    while True:
        with database.transaction() as conn:
            ids = list_letter_ids(conn, which, after=after)
        if not ids:
            return
        yield from ids
        after = ids[-1]
