"""Models: what is watched, by whom, in windows of which length."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from driftline.core.window import MICROSECONDS
from driftline.store.errors import AlreadyExists, NotFound, refuse

# What has no foreign key to a version, because it is partitioned by time or kept for audits.
_MEASURED = (
    "profile_parts",
    "profiles",
    "drift_windows",
    "performance_results",
    "sample_files",
    "accepted_batches",
    "dead_letters",
    "alert_states",
)
_CHANGEABLE = {"task", "owner", "team", "time_zone", "settings"}


@dataclass(frozen=True, slots=True)
class Model:
    """A model under watch. `settings` are its own overrides: expected_rows, reference_kinds, idle_close_s …"""

    model_id: str
    task: str | None
    window_seconds: int
    owner: str | None
    team: str | None
    time_zone: str
    settings: Mapping[str, Any]
    created_at: int
    updated_at: int

    @property
    def window_length(self) -> int:
        """Length of a window in microseconds, as `core.window` wants it."""
        return self.window_seconds * MICROSECONDS


_COLUMNS = SQL("model_id, task, window_seconds, owner, team, time_zone, settings, created_at, updated_at")


def create_model(
    conn: Connection,
    model_id: str,
    *,
    window_length: int,
    task: str | None = None,
    owner: str | None = None,
    team: str | None = None,
    time_zone: str = "UTC",
    settings: Mapping[str, Any] | None = None,
) -> Model:
    """Add a model; `window_length` in microseconds. Raises AlreadyExists."""
    taken = AlreadyExists(f"model {model_id!r} already exists; choose another model_id or change that one")
    with refuse({"models_pkey": taken}), conn.cursor(row_factory=class_row(Model)) as cursor:
        cursor.execute(
            SQL(
                "INSERT INTO models (model_id, task, window_seconds, owner, team, time_zone, settings)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING {}"
            ).format(_COLUMNS),
            (
                model_id,
                task,
                window_length // MICROSECONDS,
                owner,
                team,
                time_zone,
                Jsonb(dict(settings or {})),
            ),
        )
        return cursor.fetchall()[0]


def get_model(conn: Connection, model_id: str, *, lock: bool = False) -> Model:
    """Find a model, and with `lock` keep others from changing it. Raises NotFound."""
    with conn.cursor(row_factory=class_row(Model)) as cursor:
        cursor.execute(
            SQL("SELECT {} FROM models WHERE model_id = %s {}").format(
                _COLUMNS, SQL("FOR NO KEY UPDATE" if lock else "")
            ),
            (model_id,),
        )
        return _found(cursor.fetchone(), model_id)


def list_models(conn: Connection, *, search: str | None = None, after: str = "", limit: int = 100) -> list[Model]:
    """List models by id, from the one after `after`; `search` is text in the id, the owner or the team."""
    with conn.cursor(row_factory=class_row(Model)) as cursor:
        cursor.execute(
            SQL(
                "SELECT {} FROM models WHERE model_id > %(after)s AND (%(search)s::text IS NULL"
                " OR strpos(lower(concat_ws(chr(10), model_id, owner, team)), lower(%(search)s)) > 0)"
                " ORDER BY model_id LIMIT %(limit)s"
            ).format(_COLUMNS),
            {"after": after, "search": search, "limit": limit},
        )
        return cursor.fetchall()


def list_model_ids(conn: Connection) -> list[str]:
    """List the ids of all models."""
    return [model_id for (model_id,) in conn.execute("SELECT model_id FROM models ORDER BY model_id")]


def update_model(conn: Connection, model_id: str, changes: Mapping[str, Any]) -> Model:
    """Change some of task, owner, team, time_zone and settings (replaced whole). Raises NotFound."""
    if unknown := sorted(set(changes) - _CHANGEABLE):
        raise ValueError(f"{unknown[0]} of a model cannot be changed; only {', '.join(sorted(_CHANGEABLE))}")
    values = {name: Jsonb(dict(value)) if name == "settings" else value for name, value in changes.items()}
    assignments = [SQL("{} = {}").format(Identifier(name), value) for name, value in values.items()]
    with conn.cursor(row_factory=class_row(Model)) as cursor:
        cursor.execute(
            SQL("UPDATE models SET {} WHERE model_id = {} RETURNING {}").format(
                SQL(", ").join([*assignments, SQL("updated_at = now()")]), model_id, _COLUMNS
            )
        )
        return _found(cursor.fetchone(), model_id)


def keep_models(conn: Connection, model_ids: Collection[str]) -> set[str]:
    """Keep models from being deleted until the end of the transaction; gives those that there are.

    Whoever writes windows of several versions calls it first: a deletion, which begins with the model as well,
    then waits for all of the writing or is waited for, but never meets it halfway.
    """
    rows = conn.execute(
        "SELECT model_id FROM models WHERE model_id = ANY(%s) ORDER BY model_id FOR KEY SHARE", (list(model_ids),)
    )
    return {model_id for (model_id,) in rows}


def delete_model(conn: Connection, model_id: str) -> None:
    """Delete a model and all that was measured of it; its sample files stay on disk. Raises NotFound."""
    # First, as it waits for transactions that are still writing windows of the model.
    if conn.execute("DELETE FROM models WHERE model_id = %s", (model_id,)).rowcount == 0:
        raise NotFound(f"there is no model {model_id!r}")
    for table in _MEASURED:
        conn.execute(SQL("DELETE FROM {} WHERE model_id = %s").format(Identifier(table)), (model_id,))
    conn.execute(
        "DELETE FROM predictions p USING performance_windows w, joined_versions v, joined_models m"
        " WHERE w.window_id = p.window_id AND v.version_no = w.version_no AND m.model_no = v.model_no"
        " AND m.model_id = %s",
        (model_id,),
    )
    conn.execute("DELETE FROM alert_rules WHERE model_id = %s AND origin = 'preset'", (model_id,))
    conn.execute("DELETE FROM joined_models WHERE model_id = %s", (model_id,))  # and labels and windows with it


def _found(model: Model | None, model_id: str) -> Model:
    if model is None:
        raise NotFound(f"there is no model {model_id!r}")
    return model
