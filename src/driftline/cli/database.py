"""The database of `driftline up`, for commands that look into it themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    from driftline.settings import Settings
    from driftline.store.database import Database

ConfigOption = Annotated[Path | None, typer.Option(help="A TOML file of settings; see driftline.example.toml.")]
DataDirOption = Annotated[
    Path | None, typer.Option(help="Where the embedded database lies, when there is no DATABASE_URL.")
]


@contextmanager
def open_served_database(config: Path | None, data_dir: Path | None) -> "Iterator[tuple[Database, Settings]]":
    """Open the database that `driftline up` uses, also while it runs."""
    from driftline.settings import load_settings  # noqa: PLC0415  `--help` loads no server
    from driftline.store.database import open_database  # noqa: PLC0415

    settings = load_settings(config)
    if data_dir is not None:
        settings = settings.model_copy(update={"data_dir": data_dir})
    if settings.database_url is None and not (settings.data_dir / "postgres").is_dir():
        raise InvalidInput(
            f"there is no database in {settings.data_dir}; name the folder of `driftline up` with --data-dir, or "
            "set DATABASE_URL"
        )
    with open_database(settings, connections=4) as database:
        yield database, settings
