"""Learning: the natural variation of a version's windows, learned from its first weeks in production."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.rows import class_row

from driftline.core.moment import from_micros
from driftline.core.window import MICROSECONDS


@dataclass(frozen=True, slots=True)
class Learning:
    """What has been learned of the windows counted in a grid, one element per feature [F] in profile order.

    `step` is their nominal length in microseconds: the version's own windows, or whole days. It began with the
    window that starts at `since` and ends at `until`; windows up to `through` have been learned from, `windows`
    of them. Thresholds are raised to `psi` and `ks`. `psi_offset` is how far production lies from training as a
    rule, `skewed` where it has from the very first window on.
    """

    model_id: str
    model_version: str
    grid_id: str
    step: int
    since: int
    until: int
    through: int
    windows: int
    psi: NDArray[np.float32]
    ks: NDArray[np.float32]
    psi_offset: NDArray[np.float32]
    skewed: NDArray[np.bool_]

    @property
    def is_over(self) -> bool:
        """Whether what was learned stays as it is."""
        return self.through >= self.until


def read_learning(conn: Connection, model_id: str, model_version: str, grid_id: str, step: int) -> Learning | None:
    """Give what has been learned of a version's windows in a grid; None before the first verdict on one."""
    with conn.cursor(row_factory=class_row(Learning), binary=True) as cursor:
        cursor.execute(
            "SELECT model_id, model_version, grid_id, step_seconds::bigint * 1000000 AS step, since, until,"
            " through, windows, psi, ks, psi_offset, skewed FROM learned_variation"
            " WHERE model_id = %s AND model_version = %s AND grid_id = %s AND step_seconds = %s",
            (model_id, model_version, grid_id, step // MICROSECONDS),
        )
        return cursor.fetchone()


def write_learning(conn: Connection, learning: Learning) -> None:
    """Write what has been learned, replacing what was known."""
    conn.execute(
        """
        INSERT INTO learned_variation (model_id, model_version, grid_id, step_seconds, since, until, through,
                                       windows, psi, ks, psi_offset, skewed)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT ON CONSTRAINT learned_variation_pkey DO UPDATE SET
            since = excluded.since, until = excluded.until, through = excluded.through,
            windows = excluded.windows, psi = excluded.psi, ks = excluded.ks,
            psi_offset = excluded.psi_offset, skewed = excluded.skewed
        """,
        (
            learning.model_id,
            learning.model_version,
            learning.grid_id,
            learning.step // MICROSECONDS,
            from_micros(learning.since),
            from_micros(learning.until),
            from_micros(learning.through),
            learning.windows,
            learning.psi,
            learning.ks,
            learning.psi_offset,
            learning.skewed,
        ),
    )
