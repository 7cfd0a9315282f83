"""`driftline migrate`: make or update the tables in your own PostgreSQL."""

from pathlib import Path
from typing import Annotated

import typer


def migrate(
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
) -> None:
    """Make or update the tables in the database of DATABASE_URL. The embedded database does so by itself."""
    from driftline.settings import InvalidSettings, load_settings  # noqa: PLC0415  `driftline --help` stays fast
    from driftline.store.database import connect  # noqa: PLC0415
    from driftline.store.migrate import migrate as apply_migrations  # noqa: PLC0415

    settings = load_settings(config)
    if settings.database_url is None:
        raise InvalidSettings(
            "there is no DATABASE_URL to migrate; without one `driftline up` makes the tables by itself"
        )
    with connect(settings.database_url) as conn:
        applied = apply_migrations(conn)
    typer.echo(f"applied {', '.join(applied)}" if applied else "the tables are up to date")
