"""Tables on a terminal, of texts that others wrote; and times in the zone of this machine."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def make_table(*names: str, numbers: Collection[str] = ()) -> "Table":
    """Make a table with these columns, those of `numbers` to the right."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    return table


def add_row(table: "Table", *cells: str, style: str | None = None) -> None:
    """Add texts as they are: what senders wrote is no markup."""
    from rich.text import Text  # noqa: PLC0415

    from driftline.api.letters import clean_text  # noqa: PLC0415

    table.add_row(*(Text(clean_text(cell)) for cell in cells), style=style)


def format_local(micros: int) -> str:
    """Write a time in the zone of this machine."""
    return datetime.fromtimestamp(micros / 1e6, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def show_local(moment: str) -> str:
    """Write a time of an answer, ISO 8601, in the zone of this machine, to the minute."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M %Z")
