"""`driftline labels import`: files of labels, and what became of each label."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.options import DEFAULT_URL, UrlOption
from driftline.cli.terminal import open_console, show_bar, write_json
from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    import httpx

    from driftline.cli.label_files import LabelFile
    from driftline.cli.upload import Tally

EXAMPLES = """
[bold]Examples[/bold]

  driftline labels import chargebacks.csv --model fraud --value disputed --known-at booked_at --zone Europe/Berlin
  driftline labels import churned.parquet --model churn --by-entity --key customer_id
"""
_LOOK_S = 0.5

app = typer.Typer(help="Ground truth.", no_args_is_help=True)


@app.callback()
def labels() -> None:
    """Ground truth: import files of labels."""


@app.command("import", no_args_is_help=True)
def import_labels(
    file: Annotated[Path, typer.Argument(help="A CSV or Parquet file, one label a row.", metavar="FILE")],
    model: Annotated[str, typer.Option(help="The model whose predictions the labels are of.")],
    key: Annotated[
        str | None, typer.Option(help="The column of prediction ids (default: prediction_id or request_id).")
    ] = None,
    by_entity: Annotated[
        bool, typer.Option("--by-entity", help="The key is the entity's (default column: entity_id).")
    ] = False,
    value: Annotated[str, typer.Option(help="The column that says what came true.")] = "value",
    timestamp: Annotated[
        str, typer.Option(help="The column of when the prediction was made, if there is one.")
    ] = "timestamp",
    known_at: Annotated[
        str, typer.Option(help="The column of when labels became known, if there is one; else now.")
    ] = "known_at",
    weight: Annotated[str, typer.Option(help="The column of weights, if there is one.")] = "weight",
    zone: Annotated[
        str | None, typer.Option(help="The time zone of times that name none, e.g. Europe/Berlin.")
    ] = None,
    withdraw_empty: Annotated[
        bool, typer.Option("--withdraw-empty", help="An empty value withdraws a label; else the row is left out.")
    ] = False,
    wait_s: Annotated[float, typer.Option(help="How long to wait until all labels are joined.", min=0)] = 60,
    url: UrlOption = DEFAULT_URL,
    json: Annotated[
        Path | None, typer.Option(help="Write what became of the labels; - for standard output.", metavar="FILE")
    ] = None,
) -> None:
    """Send labels of a model, and tell what became of them: matched, unmatched, duplicate, late.

    Cut off, run it again: what was taken in is recognised, and nothing counts twice. Exit code 1 when labels were
    refused (they are kept as dead letters) or not all were joined in time, 2 when something could not be sent.
    """
    import httpx  # noqa: PLC0415  `driftline --help` loads no server

    from driftline.cli.label_files import LabelColumns, open_label_file  # noqa: PLC0415
    from driftline.cli.upload import send_pieces  # noqa: PLC0415

    columns = LabelColumns(key, by_entity, value, timestamp, known_at, weight, _read_zone(zone), withdraw_empty)
    opened = open_label_file(file, model, columns)
    for _ in opened.pieces():  # every column is good before the first label is sent
        pass
    with httpx.Client(base_url=url, timeout=120) as client:
        with show_bar("Sending", file.stat().st_size) as advance:
            tally = send_pieces(client, opened.pieces(), advance)
        if tally.problem is not None:
            raise InvalidInput(f"{file}: {tally.problem}")
        found = _await_joined(client, opened, wait_s)
    content = _describe(opened, tally, found)
    if json is not None:
        write_json(json, content)
    if json != Path("-"):
        _print(content)
    if tally.dead_lettered or not found["done"] or found["refused"]:
        raise typer.Exit(1)


def _read_zone(name: str | None) -> Any:
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415

    if name is None:
        return None
    if name not in available_timezones():
        raise InvalidInput(f"--zone {name!r} is not an IANA name; write e.g. Europe/Berlin", field="zone")
    return ZoneInfo(name)


_NOTHING = dict.fromkeys(
    ("accepted", "not_sampled", "processed", "matched", "unmatched", "duplicate", "late", "corrected", "withdrawn",
     "superseded", "refused"),
    0,
)  # fmt: skip


def _await_joined(client: "httpx.Client", file: "LabelFile", seconds: float) -> dict[str, Any]:
    """Ask what became of the labels until all are processed, or the time is over."""
    deadline = time.monotonic() + seconds
    with show_bar("Joining", 100) as advance:
        shown = 0
        while True:
            answer = client.get(f"/models/{file.model_id}/labels/imports/{file.import_id}")
            if answer.status_code == 404:
                return {**_NOTHING, "done": True}  # nothing was there to be taken in
            found: dict[str, Any] = answer.raise_for_status().json()
            percent = 100 * found["processed"] // max(found["accepted"], 1)
            advance(percent - shown)
            shown = percent
            if found["done"] or time.monotonic() > deadline:
                return found
            time.sleep(_LOOK_S)


def _describe(file: "LabelFile", tally: "Tally", found: dict[str, Any]) -> dict[str, Any]:
    counts = {name: found[name] for name in _NOTHING}
    return {
        "path": str(file.path),
        "model_id": file.model_id,
        "import_id": file.import_id,
        "done": found["done"],
        **counts,
        "empty": file.empty,
        "sent_before": tally.duplicates,
        "dead_lettered": tally.dead_lettered,
        "reasons": dict(tally.reasons),
    }


_TOLD = (
    ("matched", "found their prediction"),
    ("late", "of them known later than max_label_delay_s after it"),
    ("corrected", "of them another label than before"),
    ("unmatched", "have no prediction so far, and wait for it"),
    ("duplicate", "were there already"),
    ("not_sampled", "are of predictions that were not kept"),
    ("empty", "rows had no value and were left out"),
    ("sent_before", "were taken in by a run before this one"),
    ("refused", "could not be used; see driftline dead-letters list"),
    ("dead_lettered", "were refused; see driftline dead-letters list"),
)


def _print(content: dict[str, Any]) -> None:
    console = open_console()
    if not content["done"]:
        waiting = content["accepted"] - content["processed"]
        console.print(
            f"[red]{waiting:,} labels are not joined yet[/red]: is a joiner running? Ask again any time."
        )
    for name, meaning in _TOLD:
        if content[name] or name in ("matched", "unmatched", "duplicate", "late"):
            console.print(f"{content[name]:>12,}  [bold]{name.replace('_', ' ')}[/bold]: {meaning}")
