"""What the commands write to: consoles, files, and a line of progress."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

LOG_WIDTH = 110  # of a file or a CI job's log, which say no width of their own


def open_console() -> "Console":
    """Open standard output, as wide as the terminal (or COLUMNS) says."""
    from rich.console import Console  # noqa: PLC0415  loaded by the commands that draw

    return Console(highlight=False, width=shutil.get_terminal_size((LOG_WIDTH, 25)).columns)


def keep_lines(examples: str) -> str:
    """Keep the lines of examples apart: Typer joins those that no empty line separates."""
    return "\n\n".join(filter(None, examples.splitlines()))


@contextmanager
def show_progress(message: str) -> Iterator[Callable[[str, int], None]]:
    """Show on a terminal's standard error what is being done, and rows as they are read; gone at the end."""
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _name, _rows: None
        return
    with console.status(message) as status, _notice_compilation(status.update):
        yield lambda name, rows: status.update(f"Reading {name}: {rows:,} rows")


@contextmanager
def show_bar(message: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal's standard error how much of `total` is done; call what it gives with what was added."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(message, total=total)
        yield lambda done: progress.advance(task, done)


@contextmanager
def _notice_compilation(say: Callable[[str], None]) -> Iterator[None]:
    """Say why the first run takes longer: the kernels are compiled for this machine, once."""
    from numba.core.event import Listener, install_listener  # noqa: PLC0415  takes a moment to load

    class Compilation(Listener):
        def on_start(self, event: object) -> None:
            say("Compiling for this machine, once: about ten seconds")

        def on_end(self, event: object) -> None:
            pass

    with install_listener("numba:compile", Compilation()):
        yield


def read_json(path: Path) -> Any:
    """Read a JSON file; InvalidInput when it is none."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidInput(f"{path}: there is no such file", field="path") from None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as JSON: {error}", field="path") from None


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, or standard output for `-`."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    if path == Path("-"):
        typer.echo(text)
    else:
        path.write_text(text + "\n", "utf-8")
