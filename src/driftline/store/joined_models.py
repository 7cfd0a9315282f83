"""Models whose labels are joined: their numbers, settings, classes and segments; one lock a model guards them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from driftline.core.class_order import MAX_CLASSES
from driftline.core.moment import from_micros
from driftline.core.schema import Task
from driftline.core.window import MICROSECONDS
from driftline.store.models import keep_models
from driftline.store.sampling import LABEL_DELAY_S, label_delay_of

JOIN_TOLERANCE_S = 86_400
"""How long after its prediction the timestamp of an entity's label may be, where `join_tolerance_s` is not set."""


@dataclass(frozen=True, slots=True)
class JoinedModel:
    """What joining needs to know of a model; `max_delay` and `tolerance` in microseconds.

    `scattered`: some prediction was made at another time than its id says. `label_on_expiry` is what predictions
    without a label count as once the delay is over; None: as unlabelled. `positive_class` is the one that was
    named for a model of two classes.
    """

    model_no: int
    model_id: str
    task: Task | None
    scattered: bool
    max_delay: int
    tolerance: int
    label_on_expiry: str | float | None
    positive_class: str | None

    @property
    def reach(self) -> int:
        """How long before its moment the prediction of an entity's label may be at most."""
        return max(self.max_delay, self.tolerance)

    @property
    def predicts_classes(self) -> bool:
        """Whether labels are classes; else they are numbers."""
        return self.task in (Task.BINARY, Task.MULTICLASS)


def lock_models(conn: Connection, model_ids: Collection[str]) -> dict[str, JoinedModel]:
    """Be the only transaction that joins labels of these models, until its end; those not there are left out.

    Models are locked in one order, so that two transactions cannot wait for one another.
    """
    kept = sorted(keep_models(conn, model_ids))
    known = {model_id for (model_id,) in conn.execute(
        "SELECT model_id FROM joined_models WHERE model_id = ANY(%s)", (kept,)
    )}  # fmt: skip
    if new := [model_id for model_id in kept if model_id not in known]:
        conn.execute(
            "INSERT INTO joined_models (model_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (new,)
        )
    rows = conn.execute(
        "SELECT j.model_no, m.model_id, m.task, j.scattered, m.settings FROM joined_models j"
        " JOIN models m USING (model_id) WHERE m.model_id = ANY(%s) ORDER BY m.model_id FOR NO KEY UPDATE OF j",
        (kept,),
    )
    return {model_id: _make_model(model_no, model_id, *rest) for model_no, model_id, *rest in rows}


def _make_model(
    model_no: int, model_id: str, task: str | None, scattered: bool, settings: Mapping[str, Any]
) -> JoinedModel:
    return JoinedModel(
        model_no,
        model_id,
        None if task is None else Task(task),
        scattered,
        label_delay_of(settings),
        settings.get("join_tolerance_s", JOIN_TOLERANCE_S) * MICROSECONDS,
        settings.get("label_on_expiry"),
        settings.get("positive_class"),
    )


def mark_scattered(conn: Connection, model_nos: Collection[int]) -> None:
    """Record that some prediction of these models was made at another time than its id says."""
    if model_nos:
        conn.execute(
            "UPDATE joined_models SET scattered = true WHERE model_no = ANY(%s) AND NOT scattered",
            (sorted(model_nos),),
        )


def number_versions(conn: Connection, keys: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """Give the numbers of versions, by (model number, version); new ones get theirs."""
    wanted = sorted(set(keys))
    named = ([model_no for model_no, _ in wanted], [version for _, version in wanted])
    read = (
        "SELECT model_no, model_version, version_no FROM joined_versions"
        " WHERE (model_no, model_version) IN (SELECT * FROM unnest(%s::int[], %s::text[]))"
    )
    found = {(model_no, version): number for model_no, version, number in conn.execute(read, named)}
    if len(found) < len(wanted):
        conn.execute(
            "INSERT INTO joined_versions (model_no, model_version) SELECT * FROM unnest(%s::int[], %s::text[])"
            " ON CONFLICT DO NOTHING",
            named,
        )
        found = {(model_no, version): number for model_no, version, number in conn.execute(read, named)}
    return found


def read_codes(conn: Connection, model_no: int) -> dict[str, int]:
    """Read the codes of all classes that a model has."""
    rows = conn.execute("SELECT class, code FROM class_codes WHERE model_no = %s", (model_no,))
    return dict(rows.fetchall())


def code_classes(conn: Connection, model_no: int, classes: Collection[str]) -> dict[str, int]:
    """Give the codes of classes of a model whose lock is held; new ones get the next.

    Of more than `MAX_CLASSES` those that came last have none.
    """
    known = read_codes(conn, model_no)
    new = sorted(set(classes) - known.keys())[: max(MAX_CLASSES - len(known), 0)]
    fresh = {name: len(known) + place for place, name in enumerate(new)}
    if fresh:
        conn.execute(
            "INSERT INTO class_codes (model_no, class, code) SELECT %s, * FROM unnest(%s::text[], %s::int[])",
            (model_no, list(fresh), list(fresh.values())),
        )
    return known | fresh


def code_segments(
    conn: Connection, version_no: int, combinations: Collection[tuple[str | None, ...]], *, most: int = 10_000
) -> dict[tuple[str | None, ...], int]:
    """Give the codes of combinations of segment values of a version, of its model's the lock is held.

    Of more than `most` those that came last have none.
    """
    rows = conn.execute("SELECT segments, code FROM segment_codes WHERE version_no = %s", (version_no,))
    known: dict[tuple[str | None, ...], int] = {tuple(segments): code for segments, code in rows}
    new = sorted(set(combinations) - known.keys(), key=lambda values: [value or "" for value in values])
    fresh = {values: len(known) + place for place, values in enumerate(new[: most - len(known)])}
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO segment_codes (version_no, segments, code) VALUES (%s, %s::text[], %s)",
            [(version_no, list(values), code) for values, code in fresh.items()],
        )
    return known | fresh


def list_classes(conn: Connection, model_no: int) -> list[str]:
    """List the classes of a model by their codes."""
    rows = conn.execute("SELECT class FROM class_codes WHERE model_no = %s ORDER BY code", (model_no,))
    return [name for (name,) in rows]


def list_expired_waits(conn: Connection, now: int, *, linger: int) -> list[str]:
    """List models that have labels which have waited for their longest delay.

    Those that a prediction has wait until that may be gone: `linger` (µs) and the longest reach of a label more.
    """
    rows = conn.execute(
        """
        SELECT m.model_id FROM joined_models j JOIN models m USING (model_id), LATERAL (SELECT
            coalesce((m.settings ->> 'max_label_delay_s')::float8, %(delay)s) AS delay,
            coalesce((m.settings ->> 'join_tolerance_s')::float8, %(tolerance)s) AS tolerance) AS s
        WHERE EXISTS (SELECT FROM waiting_labels w WHERE w.model_no = j.model_no AND NOT w.joined
                      AND w.waits_from < %(now)s - make_interval(secs => delay))
           OR EXISTS (SELECT FROM waiting_labels w WHERE w.model_no = j.model_no AND w.joined
                      AND w.waits_from < %(now)s - make_interval(secs => %(linger)s + delay
                                                                         + greatest(delay, tolerance)))
        ORDER BY m.model_id
        """,
        {
            "now": from_micros(now),
            "linger": linger / MICROSECONDS,
            "delay": float(LABEL_DELAY_S),
            "tolerance": float(JOIN_TOLERANCE_S),
        },
    )
    return [model_id for (model_id,) in rows]


def find_joined(conn: Connection, model_id: str) -> int | None:
    """Give the number of a model; None when nothing was ever joined."""
    row = conn.execute("SELECT model_no FROM joined_models WHERE model_id = %s", (model_id,)).fetchone()
    return None if row is None else int(row[0])


def name_versions(conn: Connection, model_nos: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Give (model id, version) of all versions of some models by their number."""
    rows = conn.execute(
        "SELECT version_no, model_id, model_version FROM joined_versions JOIN joined_models USING (model_no)"
        " WHERE model_no = ANY(%s)",
        (list(model_nos),),
    )
    return {number: (model_id, version) for number, model_id, version in rows}
