"""`driftline demo`: real flights through the real path: what drifted, who was told, what retraining is worth."""

import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.up import run_server, stop_on_signals

if TYPE_CHECKING:
    from driftline.demo.inbox import Inbox
    from driftline.settings import Settings

EXAMPLES = """
[bold]Examples[/bold]

  driftline demo                                 replay, ask whether to retrain, show what happened, keep serving
  driftline demo --approve                       the same, and retrain without asking
  driftline demo --headless --json demo.json     replay, write the result and exit
"""
ACTION = "retrain"


class DemoRunning(RuntimeError):
    """Another demo uses the folder; the message says which."""


def demo(
    headless: Annotated[bool, typer.Option("--headless", help="Exit when done instead of serving on.")] = False,
    approve: Annotated[bool, typer.Option("--approve", help="Approve the retraining without asking.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to serve on; with --headless a free one.", min=0, max=65_535)
    ] = None,
) -> None:
    """Replay nine months of New York flights against a model trained on the first three.

    Alerts go to an inbox, which is shown here; one of them proposes to retrain, and waits for your approval.
    """
    import httpx  # noqa: PLC0415  `driftline --help` loads nothing that takes long
    from rich.console import Console  # noqa: PLC0415

    from driftline.demo.inbox import open_inbox  # noqa: PLC0415
    from driftline.demo.story import tell  # noqa: PLC0415

    console = Console()
    stop = stop_on_signals()
    with (
        _choose_folder(headless) as folder,
        open_inbox("the demo's key", lambda notice: console.print(_describe(notice))) as inbox,
        run_server(make_settings(folder, headless, port, inbox)) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        result, tables = tell(console, client, ACTION, folder / "model-2", lambda run: _ask(run, url, approve))
        result["notices"] = inbox.notices
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
                f"  driftline alerts list --url {url}\n"
                f"  driftline actions list --url {url}"
            )
            stop.wait()


def _describe(notice: dict[str, Any]) -> str:
    """Show a notice as a line."""
    from rich.markup import escape  # noqa: PLC0415

    return f"[bold magenta]inbox[/] {notice['severity']} {notice['kind']}: {escape(notice['title'])}"


def _ask(run: dict[str, Any], url: str, approved: bool) -> bool:
    """Ask whether to retrain, where there is somebody to ask."""
    said = f"An alert proposes to retrain {run['model_id']} {run['model_version']}."
    if approved or not sys.stdin.isatty():
        typer.echo(f"{said} {'Approved by --approve.' if approved else 'Nobody is asked: see --approve.'}")
        return approved
    typer.echo(f"{said} See {url}/actions/{run['run_id']}")
    return typer.confirm("Approve it?", default=True)


def _conclude(result: dict[str, Any]) -> str:
    first, second = (feature["feature_name"] for feature in result["features"][:2])
    total = sum(result["seconds"].values())
    retraining = result["retraining"]
    again = (
        f"Version {retraining['retrained_as']} learned from March to May: better in {_count_better(result)} of"
        f" {len(result['performance_after'])} months, as shown above."
        if retraining.get("status") == "succeeded"
        else f"The proposal to retrain is {retraining['status'].replace('_', ' ')}."
    )
    surprises = sum(month["agree"] is False for month in result["performance"])
    return (
        f"{result['events_counted']:,} of {result['events_sent']:,} flights counted,"
        f" {result['windows']} days judged, {total:.0f} s in all.\n"
        f"The model learned in winter: [bold]{first}[/] and [bold]{second}[/] left what it knows;"
        " the day's weather alone did not.\n"
        f"In {surprises} of {len(result['performance'])} months its AUC was not what its scores had led to expect:"
        f" what delays flights had changed, and only labels show that.\n{again}"
    )


def _count_better(result: dict[str, Any]) -> int:
    """Count the months in which the second version did better than the first."""
    before = {month["month"]: month["realised"] for month in result["performance"]}
    pairs = [(before.get(month["month"]), month["realised"]) for month in result["performance_after"]]
    return sum(old is not None and new is not None and new > old for old, new in pairs)


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


def make_settings(folder: Path, headless: bool, port: int | None, inbox: "Inbox") -> "Settings":
    """Give settings of the demo's own: whatever the environment says, it never touches another database."""
    from driftline.demo.retrain import MODEL_FILE  # noqa: PLC0415
    from driftline.settings import Settings  # noqa: PLC0415

    chosen = port or (find_free_port() if headless or port == 0 else Settings.model_fields["port"].default)
    key, url = folder / "inbox-key", folder / "inbox-url"
    key.write_text(inbox.key)
    url.write_text(inbox.url)
    os.environ[MODEL_FILE] = str((folder / "model-2").resolve())
    trainer = [sys.executable, "-m", "driftline.demo.retrain"]
    return Settings.model_construct(
        data_dir=folder,
        host="127.0.0.1",
        port=chosen,
        public_url=f"http://127.0.0.1:{chosen}",
        flush_interval_s=1.0,
        log_level="warning",
        destinations={"inbox": {"type": "webhook", "url": f"file:{url}", "key": f"file:{key}"}},
        actions={ACTION: {"type": "command", "argv": trainer, "environment": [MODEL_FILE]}},
    )


def find_free_port() -> int:
    """Find a port that nobody listens on: what is told of the server must be known before it listens."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
