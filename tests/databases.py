"""Databases for tests: migrated and empty, and each under a name that no other test has had.

One that was given back is emptied and given out again: PostgreSQL takes ten times as long to make another.
"""

from itertools import count
from typing import LiteralString

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from driftline.store.database import connect
from driftline.store.migrate import migrate

# Another answer after any change to tables, columns, constraints, triggers and functions; xmin is who wrote a row.
_SHAPE = """
SELECT count(*), max(xmin::text::bigint)::text FROM pg_attribute
UNION ALL SELECT count(*), max(xmin::text::bigint)::text FROM pg_constraint
UNION ALL SELECT count(*), max(xmin::text::bigint)::text FROM pg_trigger
UNION ALL SELECT count(*), max(xmin::text::bigint)::text FROM pg_proc
UNION ALL SELECT count(*), max(xmin::text::bigint)::text FROM schema_migrations
UNION ALL SELECT count(*), md5(string_agg(concat(oid, relname, reloptions), ',' ORDER BY oid)) FROM pg_class
"""
_FILLED = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'schema_migrations'
AND pg_relation_size(oid) > 0
"""


class Databases:
    """The databases of one server, which need not survive the machine."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._server = psycopg.connect(server_url, autocommit=True)
        self._names = (f"test_{number}" for number in count(1))
        self._used: list[str] = []
        self._server.execute("ALTER SYSTEM SET fsync = off")
        self._server.execute("SELECT pg_reload_conf()")
        self._server.execute("CREATE DATABASE template")
        with connect(self._url("template")) as conn:
            migrate(conn)
            self._shape = conn.execute(_SHAPE).fetchall()

    def take(self) -> str:
        """Give the URL of an empty database."""
        # The latest may still have connections that are just ending; PostgreSQL would wait for them long.
        while len(self._used) > 1:
            if name := self._renew(self._used.pop(0)):
                return self._url(name)
        name = next(self._names)
        self._run("CREATE DATABASE {} TEMPLATE template", name)
        return self._url(name)

    def give_back(self, url: str) -> None:
        """Let a database be used for another test; whoever is still connected is shut out."""
        name = conninfo_to_dict(url)["dbname"]
        self._run("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
        self._server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        self._used.append(name)

    def close(self) -> None:
        """Leave the server."""
        self._server.close()

    def _renew(self, old: str) -> str | None:
        """Empty a database and give its new name; drop it when its tables are no longer those of the template."""
        name = next(self._names)
        self._run("ALTER DATABASE {} RENAME TO {}", old, name)
        self._run("ALTER DATABASE {} ALLOW_CONNECTIONS true", name)
        with psycopg.connect(self._url(name), autocommit=True) as conn:
            if conn.execute(_SHAPE).fetchall() == self._shape:
                _empty(conn)
                return name
        self._run("DROP DATABASE {} WITH (FORCE)", name)
        return None

    def _run(self, statement: LiteralString, *names: str) -> None:
        self._server.execute(SQL(statement).format(*map(Identifier, names)))

    def _url(self, name: str) -> str:
        return make_conninfo(self._server_url, dbname=name)


def _empty(conn: Connection) -> None:
    conn.execute("SET session_replication_role = replica")  # in any order, whatever refers to whatever
    for (table,) in conn.execute(_FILLED).fetchall():
        conn.execute(SQL("DELETE FROM {}").format(Identifier(table)))
    conn.execute("SELECT setval(seqrelid, seqstart, false) FROM pg_sequence")
