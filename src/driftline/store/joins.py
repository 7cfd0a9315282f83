"""How labels of models are joined: what must be known of a model before its labels can be read."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import Connection


@dataclass(frozen=True, slots=True)
class Join:
    """The task of a model (None: still open), and the join keys of its versions that have a schema."""

    task: str | None
    keys: frozenset[str]


def find_joins(conn: Connection, model_ids: Sequence[str]) -> dict[str, Join]:
    """Find how labels of several models are joined; models that are not there are left out."""
    rows = conn.execute(
        "SELECT m.model_id, m.task, array(SELECT DISTINCT v.schema ->> 'join_key' FROM model_versions v"
        "                                 WHERE v.model_id = m.model_id AND v.schema ? 'join_key')"
        " FROM models m WHERE m.model_id = ANY(%s)",
        (list(model_ids),),
    )
    return {model_id: Join(task, frozenset(keys)) for model_id, task, keys in rows}
