"""Learning from production how far windows stray on their own, where the training data carry no timestamps.

It takes two weeks of event time. Meanwhile thresholds are raised to what is known so far, once a day; then
what was learned stays.
"""

import numpy as np
from psycopg import Connection

from driftline.core.drift import NaturalVariation, Status
from driftline.core.natural import SETTLED, find_skew, learn_natural_variation
from driftline.core.reference import Reference
from driftline.core.window import DAY, Window
from driftline.store.drift import read_drift_series
from driftline.store.learning import Learning, read_learning, write_learning
from driftline.workers.catalog import KnownVersion
from driftline.workers.expectation import Slice

LEARNING = 14 * DAY
_MAX_WINDOWS = 25_000  # more than two weeks have


def find_natural(
    conn: Connection, version: KnownVersion, reference: Reference, step: int
) -> NaturalVariation | None:
    """Find the natural variation of windows of a length: the reference's own, or what production taught so far.

    Whole days of a model with shorter windows span many hours of the week: theirs is the highest of them.
    """
    if reference.natural is not None:
        return reference.natural if step == version.window_length else reference.natural.highest()
    learned = read_learning(conn, version.model_id, version.model_version, reference.grid.grid_id, step)
    if learned is None:
        return None
    return NaturalVariation(learned.psi[None].astype(np.float64), learned.ks[None].astype(np.float64))


def learn(conn: Connection, cut: Slice, window: Window, step: int) -> None:
    """Learn from the verdicts so far on windows of a length, now that there is one on a window.

    The first verdicts are learned from at once, since they show training-serving skew; later ones once a day.
    """
    if cut.reference.natural is not None:
        return
    key = (cut.version.model_id, cut.version.model_version, cut.grid.grid_id, step)
    known = read_learning(conn, *key)
    if known is not None:
        pause = 0 if known.windows < SETTLED else DAY
        if known.is_over or window.end < min(known.through + max(pause, 1), known.until):
            return
    since = window.start if known is None else known.since
    series = read_drift_series(
        conn,
        *key[:2],
        since=since,
        until=min(window.end, since + LEARNING),
        step=step,
        metrics=("psi_score", "ks_statistic", "drifted"),
        limit=_MAX_WINDOWS,
    )
    judged = np.array(series.status, np.object_) == Status.OK
    judged &= ~series.partial & (np.array(series.grid_id, np.object_) == key[2])
    psi, ks, drifted = (series.metrics[name][judged] for name in ("psi_score", "ks_statistic", "drifted"))
    if not len(psi):
        return
    natural = learn_natural_variation(psi, ks, drifted)
    write_learning(
        conn,
        Learning(
            *key,
            since,
            since + LEARNING,
            window.end,
            len(psi),
            natural.psi[0].astype(np.float32),
            natural.ks[0].astype(np.float32),
            np.median(np.nan_to_num(psi), axis=0).astype(np.float32),
            find_skew(drifted),
        ),
    )
