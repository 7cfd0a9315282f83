"""Dead letters on a terminal: tables of them, one of them, and what became of those that were sent again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from driftline.cli.tables import add_row, format_local, make_table
from driftline.cli.terminal import open_console

if TYPE_CHECKING:
    from rich.table import Table

    from driftline.api.replay import Replayed
    from driftline.store.dead_letters import DeadLetter, LetterCount

_LISTED = 20
_NUMBERS = frozenset({"id", "letters", "events", "replayed", "bytes", "accepted", "refused"})


def draw_counts(counts: "Sequence[LetterCount]") -> "Table":
    """Draw how many letters have each reason."""
    table = make_table("reason", "model", "topic", "letters", "events", "replayed", "newest", numbers=_NUMBERS)
    for count in counts:
        add_row(
            table,
            count.reason_code,
            count.model_id or "-",
            count.topic,
            f"{count.letters:,}",
            f"{count.rows:,}",
            f"{count.replayed:,}",
            format_local(count.newest),
        )
    return table


def draw_letters(letters: "Sequence[DeadLetter]") -> "Table":
    """Draw a line for each letter."""
    table = make_table("id", "received", "model", "reason", "events", "bytes", "why", numbers=_NUMBERS)
    for letter in letters:
        whose = " ".join(filter(None, (letter.model_id, letter.model_version)))
        reason = letter.reason_code + (" (replayed)" if letter.replayed_at else "")
        add_row(
            table,
            str(letter.id),
            format_local(letter.received_at),
            whose or "-",
            reason,
            f"{letter.rows:,}",
            f"{letter.size:,}",
            letter.reason[:200],
        )
    return table


def print_letter(letter: "DeadLetter", media_type: str, text: str) -> None:
    """Print all that is known of a letter, and its payload as `text`."""
    from driftline.api.letters import SHOWN_BYTES, clean_text  # noqa: PLC0415

    place = "" if letter.log_offset is None else f", partition {letter.partition}, offset {letter.log_offset}"
    lines = {
        "received": format_local(letter.received_at),
        "reason": f"{letter.reason_code}: {letter.reason}",
        "model": " ".join(filter(None, (letter.model_id, letter.model_version))) or "-",
        "prediction": letter.prediction_id or "-",
        "origin": letter.topic + place,
        "headers": ", ".join(f"{name}: {value}" for name, value in letter.headers.items()) or "-",
        "events": f"{letter.rows:,}",
        "replayed": "no" if letter.replayed_at is None else format_local(letter.replayed_at),
        "payload": f"{media_type}, {letter.size:,} bytes",
    }
    for name, value in lines.items():
        typer.echo(f"{name:<12}{clean_text(value)}")
    if text:
        typer.echo(f"\n{text}")
    if len(text) >= SHOWN_BYTES:
        typer.echo("… cut; --out FILE writes all of it")


def print_fates(fates: "Sequence[Replayed]", *, dry_run: bool) -> None:
    """Print what is to be said of single letters, and the sum."""
    odd = [fate for fate in fates if fate.reason is not None]
    table = make_table("id", "fate", "accepted", "refused", "why", numbers=_NUMBERS)
    for fate in odd[:_LISTED]:
        numbers = f"{fate.accepted:,}", f"{fate.refused:,}"
        add_row(table, str(fate.letter_id), str(fate.fate), *numbers, fate.reason or "")
    if odd:
        open_console().print(table)
    if len(odd) > _LISTED:
        typer.echo(f"… {len(odd) - _LISTED:,} more")
    sent = sum(fate.fate == "replayed" for fate in fates)
    refused = sum(fate.fate == "refused" for fate in fates)
    rest = len(fates) - sent - refused
    accepted = sum(fate.accepted for fate in fates)
    verb = "would be replayed" if dry_run else "replayed"
    typer.echo(f"{sent:,} letters {verb} with {accepted:,} events; {refused:,} refused again, {rest:,} skipped")
