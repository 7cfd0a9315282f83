"""`driftline demo`: real flights through the real path, what drifted when, and how good the model was."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.up import run_server, stop_on_signals

if TYPE_CHECKING:
    from rich.console import Console

    from driftline.settings import Settings

EXAMPLES = """
[bold]Examples[/bold]

  driftline demo                                 replay, show what drifted, keep serving
  driftline demo --headless --json demo.json     replay, write the result and exit
"""


class DemoRunning(RuntimeError):
    """Another demo uses the folder; the message says which."""


def demo(
    headless: Annotated[bool, typer.Option("--headless", help="Exit when done instead of serving on.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to serve on; with --headless a free one.", min=0, max=65_535)
    ] = None,
) -> None:
    """Replay nine months of New York flights against a model trained on the first three."""
    from rich.console import Console  # noqa: PLC0415  `driftline --help` loads nothing that takes long

    console = Console()
    stop = stop_on_signals()
    with _choose_folder(headless) as folder, run_server(make_settings(folder, headless, port)) as url:
        result, tables = _replay(console, url)
        for table in tables:
            console.print()
            console.print(table)
        console.print(_conclude(result))
        if json_file is not None:
            json_file.write_text(json.dumps(result, indent=2) + "\n")
            console.print(f"[dim]written to {json_file}[/]")
        if not headless:
            console.print(
                f"\nStill serving. Look around, Ctrl-C ends it:\n  {url}/docs\n"
                f"  curl '{url}/models/flights-late/drift/summary'\n"
                f"  curl '{url}/models/flights-late/performance?metric=auc&step=month'\n"
                f"  curl '{url}/models/flights-late/features/temp/distribution'"
            )
            stop.wait()


def _replay(console: "Console", url: str) -> tuple[dict[str, Any], list[Any]]:
    import httpx  # noqa: PLC0415

    from driftline.demo.flights import load_flights, predict, predict_unseen, train_model  # noqa: PLC0415
    from driftline.demo.replay import (  # noqa: PLC0415
        Stopwatch,
        await_labels,
        await_windows,
        read_months,
        register_model,
        send_flights,
    )
    from driftline.demo.results import (  # noqa: PLC0415
        count_events,
        draw_months,
        draw_table,
        list_months,
        rank_features,
    )

    watch = Stopwatch()
    with console.status("reading 336,776 flights of 2013"), watch.time("load"):
        flights = load_flights()
    with console.status("training a model of late arrivals on January to March"), watch.time("train"):
        production = predict(train_model(flights.training), flights.production)
        training = predict_unseen(flights.training)
    days = production["timestamp"].dt.tz_convert("America/New_York").dt.date.nunique()
    with httpx.Client(base_url=url, timeout=60) as client:
        with console.status("registering the model and its reference"), watch.time("reference"):
            register_model(client, training)
        with _draw_progress(console, "flights sent") as progress, watch.time("send"):
            sent = send_flights(client, production, progress)
        with _draw_progress(console, "days judged") as progress, watch.time("judge"):
            drift = await_windows(client, days, progress)
        with _draw_progress(console, "labels joined") as progress, watch.time("join"):
            await_labels(client, sent.labels, progress)
            months = list_months(read_months(client))
    histories = rank_features(drift)
    result = {
        "events_sent": sent.predictions,
        "labels_sent": sent.labels,
        "events_counted": count_events(drift),
        "windows": len(drift["windows"]),
        "features": [history.to_dict() for history in histories],
        "performance": [month.to_dict() for month in months],
        "seconds": watch.seconds,
    }
    return result, [draw_table(histories, len(drift["windows"])), draw_months(months)]


def _conclude(result: dict[str, Any]) -> str:
    first, second = (feature["feature_name"] for feature in result["features"][:2])
    total = sum(result["seconds"].values())
    surprises = sum(month["agree"] is False for month in result["performance"])
    return (
        f"{result['events_counted']:,} of {result['events_sent']:,} flights counted,"
        f" {result['windows']} days judged, {total:.0f} s in all.\n"
        f"The model learned in winter: [bold]{first}[/] and [bold]{second}[/] left what it knows;"
        " the day's weather alone did not.\n"
        f"In {surprises} of {len(result['performance'])} months its AUC was not what its scores had led to expect:"
        " what delays flights had changed, and only labels show that."
    )


@contextmanager
def _draw_progress(console: "Console", label: str) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn(f"{label:>14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


@contextmanager
def _choose_folder(headless: bool) -> Iterator[Path]:
    """Give an empty folder: a temporary one, or one beside the data that the next demo empties again."""
    if headless:
        with tempfile.TemporaryDirectory(prefix="driftline-demo-") as temporary:
            yield Path(temporary)
        return
    folder = Path("driftline-data") / "demo"
    if (folder / "postgres" / "postmaster.pid").exists():
        raise DemoRunning(
            f"a demo is running on {folder.resolve()}; stop it first (Ctrl-C), or delete that folder if none is"
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    yield folder


def make_settings(folder: Path, headless: bool, port: int | None) -> "Settings":
    """Give settings of the demo's own: whatever the environment says, it never touches another database."""
    from driftline.settings import Settings  # noqa: PLC0415

    free = 0 if headless else Settings.model_fields["port"].default
    return Settings.model_construct(
        data_dir=folder,
        host="127.0.0.1",
        port=free if port is None else port,
        flush_interval_s=1.0,
        log_level="warning",
    )
