"""Apply `migrations/NNN_name.sql` in order, each once, each in a transaction of its own."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from psycopg import Connection
from psycopg.sql import SQL

from driftline.store.errors import SchemaMismatch


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of SQL; `checksum` notices one that was edited after it had been applied."""

    name: str
    statements: str

    @property
    def checksum(self) -> str:
        """Digest of the statements."""
        return hashlib.blake2b(self.statements.encode(), digest_size=16).hexdigest()


def list_migrations() -> list[Migration]:
    """Read the packaged migrations, in order."""
    folder = files("driftline.store") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [Migration(name.removesuffix(".sql"), (folder / name).read_text("utf-8")) for name in names]


def list_pending(conn: Connection) -> list[Migration]:
    """Give the migrations not yet applied.

    Raises SchemaMismatch when the database has one that this code does not have, or has a different one.
    """
    known = {migration.name: migration for migration in list_migrations()}
    applied = _read_applied(conn)
    for name, checksum in applied.items():
        if name not in known:
            raise SchemaMismatch(
                f"the database has migration {name}, which this driftline does not know; upgrade driftline"
            )
        if known[name].checksum != checksum:
            raise SchemaMismatch(
                f"migration {name} was changed after it had been applied; restore the file, add a new one"
            )
    return [migration for name, migration in known.items() if name not in applied]


def migrate(conn: Connection) -> list[str]:
    """Apply what is pending and give the names; safe to call from several processes at once.

    The connection must not be inside a transaction.
    """
    applied: list[str] = []
    while True:
        with conn.transaction():
            # Held until commit, so a second process waits here and then finds nothing to do.
            conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('driftline.migrate', 0))")
            conn.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, checksum text NOT NULL,"
                " applied_at timestamptz NOT NULL DEFAULT now())"
            )
            pending = list_pending(conn)
            if not pending:
                return applied
            conn.execute(SQL(pending[0].statements))
            conn.execute(
                "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)",
                (pending[0].name, pending[0].checksum),
            )
        applied.append(pending[0].name)


def check_migrated(conn: Connection) -> None:
    """Raise SchemaMismatch when the database is not exactly as this code needs it."""
    if pending := list_pending(conn):
        raise SchemaMismatch(
            f"the database lacks {len(pending)} migrations, first {pending[0].name}; run `driftline migrate`"
        )


def _read_applied(conn: Connection) -> dict[str, str]:
    exists = conn.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    if not exists or not exists[0]:
        return {}
    return dict(conn.execute("SELECT name, checksum FROM schema_migrations ORDER BY name").fetchall())
