"""Performance: computes the metrics of windows whose labels or predictions have changed, and judges them.

Each window is a transaction under a lock of its own, so several workers can share the work. What changes while a
window is computed makes it due again.
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog
from psycopg import Connection, OperationalError

from driftline.core.maturity import DelayCurve
from driftline.core.reference import Reference
from driftline.core.rule_metric import OF_PERFORMANCE
from driftline.core.rules import select_rules
from driftline.core.schema import layout
from driftline.core.segment import EVERYTHING
from driftline.core.window import MICROSECONDS, Window
from driftline.settings import Settings
from driftline.store.baselines import read_baseline
from driftline.store.database import Database
from driftline.store.errors import NotFound
from driftline.store.models import Model, get_model
from driftline.store.performance import PerformanceResult, upsert_performance
from driftline.store.performance_windows import (
    PerformanceWindow,
    list_due_windows,
    lock_judging,
    mark_window_computed,
    mark_window_tried,
)
from driftline.store.sampling import label_delay_of
from driftline.workers.alerts import judge
from driftline.workers.catalog import Catalog, KnownVersion
from driftline.workers.early_warnings import read_proxies
from driftline.workers.judged_windows import describe_performance
from driftline.workers.measuring import (
    count_sample_delays,
    find_reference,
    measure_sample,
    read_curve,
    read_sample,
    read_time,
    split_sample,
)
from driftline.workers.retry import repeat_deadlocked

CYCLE_S = 1.0
_BATCH = 100
_FRESH_S = 30.0
_MATURE, _SOON = 0.999, 60 * MICROSECONDS

logger = structlog.get_logger("driftline.performance")


def run_performance(
    database: Database, settings: Settings, clock: Callable[[], int], stop: threading.Event
) -> None:
    """Compute what is due, again and again, until told to stop.

    Raises when the database is away: every window is a transaction, so run it again (`keep_running`).
    """
    catalog, curves = Catalog(), Curves()
    while not stop.is_set():
        if not compute_due(database, catalog, curves, settings, clock, stop):
            stop.wait(CYCLE_S)


def compute_due(
    database: Database,
    catalog: Catalog,
    curves: "Curves",
    settings: Settings,
    clock: Callable[[], int],
    stop: threading.Event,
) -> int:
    """Compute some windows that are due; gives how many of them were this worker's.

    One that fails does not stop the others.
    """
    with database.transaction() as conn:
        due = list_due_windows(conn, clock(), allowed_lateness_s=settings.allowed_lateness_s, limit=_BATCH)
    done = 0
    for window in due:
        if stop.is_set():
            break
        done += _try_window(database, catalog, curves, window, clock())
    return done


def _try_window(
    database: Database, catalog: Catalog, curves: "Curves", window: PerformanceWindow, now: int
) -> bool:
    """Compute a window; False when another worker does, or the model was deleted in this instant."""

    def compute() -> bool:
        with database.transaction() as conn:
            if not _lock(conn, window):
                return False
            compute_performance(conn, catalog, curves, window, now)
            return True

    try:
        return repeat_deadlocked(compute)
    except NotFound:
        return False
    except OperationalError:
        raise
    except Exception:
        logger.exception(
            "performance failed",
            model=window.model_id,
            version=window.model_version,
            window_start=window.window_start,
        )
        catalog.forget()
        with database.transaction() as conn:
            mark_window_tried(conn, window.window_id, now)
    return True


def _lock(conn: Connection, window: PerformanceWindow) -> bool:
    """Be the only one to compute a window until the end of the transaction; False when somebody else is."""
    row = conn.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('performance', %s))", (window.window_id,)
    ).fetchone()
    return row is not None and row[0]


def compute_performance(
    conn: Connection, catalog: Catalog, curves: "Curves", window: PerformanceWindow, now: int
) -> None:
    """Write the metrics of a window and of its segments."""
    version = catalog.find_version(conn, window.model_id, window.model_version)
    if version is None:
        raise NotFound(f"there is no version {window.model_version!r} of model {window.model_id!r} any more")
    model = get_model(conn, window.model_id)
    curve = curves.find(conn, model, version, now)
    span = Window(window.window_start, window.window_end)
    sample = read_sample(conn, version, span, [window], curve, now)
    if sample.rows.task is not None:
        reference = find_reference(conn, catalog, sample)
        proxies = read_proxies(conn, version, span, layout(version.schema).names)
        results = [
            measure_sample(part, segment, reference, now, proxies if segment == EVERYTHING else None)
            for segment, part in split_sample(sample, reference)
        ]
        upsert_performance(conn, results)
        _judge(conn, catalog, version, reference, results, now)
    else:
        results = []
    delays = count_sample_delays(sample, label_delay_of(model.settings))
    again_at = _look_again(window, results, read_time(conn, version, now), now)
    mark_window_computed(conn, window, delays, now, again_at)


def _look_again(
    window: PerformanceWindow, results: Sequence[PerformanceResult], time_of_version: int, now: int
) -> int | None:
    """Say when to look at a window again although nothing changes: once its age has doubled, until it is mature.

    Labels that do not come change nothing, and that is what has to be seen; so do labels that came all at once.
    """
    if not results or window.expired_at is not None or results[0].maturity >= _MATURE:
        return None
    return now + max(time_of_version - window.window_end, _SOON)


def _judge(
    conn: Connection,
    catalog: Catalog,
    version: KnownVersion,
    reference: Reference | None,
    results: Sequence[PerformanceResult],
    now: int,
) -> None:
    """Judge a window and its segments by the rules that watch performance."""
    rules = [rule for rule in catalog.find_rules(conn, version) if rule.watched.kind in OF_PERFORMANCE]
    if not rules:
        return
    lock_judging(conn, version.model_id, version.model_version)
    grid_id = None if reference is None else reference.grid.grid_id
    for result in results:
        watching = select_rules(rules, result.model_id, result.model_version, result.segment, "training")
        if not watching:
            continue
        baseline = None
        if grid_id is not None:
            baseline = read_baseline(conn, result.model_id, result.model_version, result.segment, grid_id)
        judge(conn, watching, describe_performance(result, baseline), now)


class Curves:
    """How long labels of models take, estimated anew after half a minute."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, DelayCurve]] = {}

    def find(self, conn: Connection, model: Model, version: KnownVersion, now: int) -> DelayCurve:
        """Give the curve of a model, at most half a minute old."""
        read_at, curve = self._known.get(model.model_id, (0.0, None))
        if curve is None or time.monotonic() - read_at > _FRESH_S:
            curve = read_curve(conn, model, read_time(conn, version, now))
            self._known[model.model_id] = time.monotonic(), curve
        return curve
