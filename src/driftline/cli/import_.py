"""`driftline import`: files of predictions and labels, sent to a driftline over HTTP."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.options import DEFAULT_URL, UrlOption
from driftline.cli.terminal import open_console, show_bar, write_json
from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    from rich.table import Table

    from driftline.cli.upload import Tally

EXAMPLES = """
[bold]Examples[/bold]

  driftline import scores.parquet --model fraud --version 3     a batch job's output
  driftline import scores/ --model fraud --version 3 --sample   one row in N, as the SDK keeps them
  driftline import /mnt/usb/driftline                           what the SDK's file transport wrote
  driftline import events.ndjson.gz --url https://driftline.example.com
"""

_SHOWN = 20


def import_files(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Files, or folders of them: .batch, .ndjson, .json, .parquet, .arrow, .feather, .csv; NDJSON "
            "whose name begins with labels- holds labels.",
            metavar="PATH…",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="Whose predictions these are, where the file does not say it.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="The model's version.")] = None,
    url: UrlOption = DEFAULT_URL,
    sample: Annotated[
        bool, typer.Option("--sample", help="Let the server keep one prediction in N, by its hash.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write what became of each file; - for standard output.", metavar="FILE")
    ] = None,
) -> None:
    """Send files of predictions and labels, whatever their size, in bounded memory.

    Running it again is safe: what was taken in before is recognised and counts as duplicates. Exit code 1 when
    anything was refused (it is kept as a dead letter), 2 when something could not be sent at all.
    """
    import httpx  # noqa: PLC0415  `driftline --help` loads no server

    from driftline.cli.pieces import cut_file, is_frame, list_files  # noqa: PLC0415
    from driftline.cli.upload import find_schema, send_pieces  # noqa: PLC0415

    files = list_files(paths)
    frames = [path for path in files if is_frame(path)]
    if frames and (model is None or version is None):
        raise InvalidInput(f"{frames[0]} does not say whose predictions it holds: give --model and --version")
    named = {"model_id": model, "version": version, "sample": "true" if sample else None}
    query = {name: value for name, value in named.items() if value is not None}
    tallies: dict[Path, Tally] = {}
    sizes = {path: path.stat().st_size for path in files}
    with httpx.Client(base_url=url, timeout=120) as client, show_bar("Sending", sum(sizes.values())) as advance:
        schema, why = (None, None) if model is None or version is None else find_schema(client, model, version)
        if why is not None:
            raise InvalidInput(f"nothing was sent: {why}")
        for path in files:
            tallies[path] = send_pieces(client, cut_file(path, query, schema), advance)
    if json is not None:
        write_json(json, _describe(url, tallies))
    if json != Path("-"):
        open_console().print(_draw(tallies))
    if any(tally.dead_lettered or tally.problem for tally in tallies.values()):
        raise typer.Exit(1)


def _describe(url: str, tallies: "Mapping[Path, Tally]") -> dict[str, Any]:
    files = [{"path": str(path), **_numbers(tally)} for path, tally in tallies.items()]
    return {"url": url, "files": files, "total": _totals(tallies)}


def _numbers(tally: "Tally") -> dict[str, Any]:
    return {
        "accepted": tally.accepted,
        "duplicates": tally.duplicates,
        "not_sampled": tally.not_sampled,
        "dead_lettered": tally.dead_lettered,
        "reasons": dict(tally.reasons),
        "problem": tally.problem,
    }


def _totals(tallies: "Mapping[Path, Tally]") -> dict[str, int]:
    names = ("accepted", "duplicates", "not_sampled", "dead_lettered")
    return {name: sum(getattr(tally, name) for tally in tallies.values()) for name in names}


def _draw(tallies: "Mapping[Path, Tally]") -> "Table":
    """Draw files, below the folder of all of them; those with something refused first, of many only some."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    totals = _totals(tallies)
    table.add_column("file", f"{len(tallies):,} files", overflow="fold")
    for name, total in totals.items():
        if total or name in ("accepted", "duplicates", "dead_lettered"):
            table.add_column(name.replace("_", "-"), f"{total:,}", justify="right")
    table.add_column("refused because", overflow="fold")
    shown = [name for name, total in totals.items() if total or name != "not_sampled"]
    folder = Path(os.path.commonpath([path.absolute().parent for path in tallies]))
    ranked = sorted(tallies.items(), key=lambda item: not (item[1].problem or item[1].dead_lettered))
    for path, tally in ranked[:_SHOWN]:
        why = tally.problem or ", ".join(f"{code} {count:,}" for code, count in tally.reasons.most_common(3))
        table.add_row(
            str(path.absolute().relative_to(folder)), *(f"{getattr(tally, name):,}" for name in shown), why
        )
    if len(ranked) > _SHOWN:
        table.add_row(f"… {len(ranked) - _SHOWN:,} more", *("" for _ in shown), "")
    return table
