"""The watch: what is missing, and what is wrong with driftline itself, as alerts like all others.

Windows without rows that should have had some, consumers behind the log, windows that wait or fail, notices that
do not get through, references that are missing or outdated. Several may run: what was judged is not judged again.
"""

import threading
from collections.abc import Callable, Mapping

import numpy as np
import structlog
from psycopg import Connection, OperationalError

from driftline.core.alert_window import JudgedWindow
from driftline.core.drift import Status
from driftline.core.rule_metric import METRICS, Kind
from driftline.core.system_rules import STEP, SYSTEM_MODEL, SYSTEM_RULES, VERSION_STEP
from driftline.core.window import MICROSECONDS, Window
from driftline.log.errors import LogError
from driftline.log.log import Log
from driftline.settings import Settings
from driftline.store.alert_states import Subject, delete_states, read_states
from driftline.store.database import Database
from driftline.store.system import (
    VersionState,
    count_failed_deliveries,
    list_version_states,
    read_oldest_due,
    read_oldest_unmeasured,
)
from driftline.store.windows import lock_version
from driftline.workers.alerts import judge
from driftline.workers.consumed import read_consumed_until
from driftline.workers.gaps import Gaps, end_replaced
from driftline.workers.lags import measure_lags
from driftline.workers.rule_book import RuleBook

LOOK_S = 15.0
_OF_VERSIONS = frozenset(name for name, metric in METRICS.items() if metric.kind is Kind.VERSION)

logger = structlog.get_logger("driftline.watch")


def run_watch(
    database: Database, log: Log, settings: Settings, clock: Callable[[], int], stop: threading.Event
) -> None:
    """Look again and again until told to stop. Raises when the database is away: run it again (`keep_running`)."""
    watch = Watch(database, log, settings, stop, gaps_from=clock() + settings.idle_close_s * MICROSECONDS)
    while not stop.is_set():
        watch.look(clock())
        stop.wait(LOOK_S)


class Watch:
    """A watch, and what it has looked at. Another one that begins now judges the same.

    Windows without rows are judged from `gaps_from` on: when driftline was away, clients send what they have kept
    once it is back.
    """

    def __init__(
        self, database: Database, log: Log, settings: Settings, stop: threading.Event, *, gaps_from: int = 0
    ) -> None:
        self._database, self._log, self._settings, self._gaps_from = database, log, settings, gaps_from
        self._book = RuleBook()
        self._gaps = Gaps(database, self._book, settings, stop)
        self._parts_until = self._versions_until = 0

    def look(self, now: int) -> None:
        """Judge what is over by now and was not judged before; what fails stops nothing else."""
        try:
            consumed_until = read_consumed_until(self._database, self._log)
        except LogError:  # consumers say how far they are behind
            consumed_until = None
        part, version = _last_window(now, STEP), _last_window(now, VERSION_STEP)
        if part.end > self._parts_until:
            _try("parts", lambda: self._judge_parts(part, consumed_until, now))
            self._parts_until = part.end
        if version.end > self._versions_until:
            _try("versions", lambda: self._judge_versions(version, now))
            self._versions_until = version.end
        _try("replaced versions", lambda: end_replaced(self._database, now))
        if consumed_until is not None and now >= self._gaps_from:
            self._gaps.judge(consumed_until, now)

    def _judge_parts(self, window: Window, consumed_until: int | None, now: int) -> None:
        numbers: dict[str, Mapping[str, float]] = {"consumer_lag": measure_lags(self._database, self._log, now)}
        with self._database.transaction() as conn:
            if not _lock(conn):
                return
            if consumed_until is not None:
                numbers["cycle_delay"] = self._measure_delays(conn, consumed_until, now)
            destinations = sorted(self._settings.destinations)
            numbers["delivery_failures"] = count_failed_deliveries(conn, now, destinations)
            rules = [*SYSTEM_RULES, *self._book.find(conn, SYSTEM_MODEL, "")]
            for metric, values in numbers.items():
                judged = _describe_parts(metric, values, window)
                judge(conn, [rule for rule in rules if rule.metric == metric], judged, now)

    def _measure_delays(self, conn: Connection, consumed_until: int, now: int) -> dict[str, float]:
        lateness, idle = self._settings.allowed_lateness_s, self._settings.idle_close_s
        since = {
            "monitor": read_oldest_due(
                conn, consumed_until=consumed_until, allowed_lateness_s=lateness, idle_close_s=idle
            ),
            "performance": read_oldest_unmeasured(conn, now, allowed_lateness_s=lateness),
        }
        return {name: 0.0 if at is None else max(now - at, 0) / MICROSECONDS for name, at in since.items()}

    def _judge_versions(self, window: Window, now: int) -> None:
        with self._database.transaction() as conn:
            found = list_version_states(conn, now, [rule.rule_id for rule in SYSTEM_RULES], _OF_VERSIONS)
        for state in found:
            with self._database.transaction() as conn:
                lock_version(conn, state.model_id, state.model_version)
                self._judge_version(conn, state, window, now)

    def _judge_version(self, conn: Connection, state: VersionState, window: Window, now: int) -> None:
        key = (state.model_id, state.model_version)
        rules = [rule for rule in (*SYSTEM_RULES, *self._book.find(conn, *key)) if rule.metric in _OF_VERSIONS]
        totals = {
            "reference_missing": state.reference_missing,
            "reference_outdated": state.reference_outdated,
            "failed_windows": float(state.failed_windows),
        }
        judge(conn, rules, JudgedWindow(*key, window=window, pool_start=window.start, totals=totals), now)
        after = read_states(conn, *key, "", [rule.rule_id for rule in rules])
        settled = [name for name, states in after.items() if not states.moving and not states.loud.any()]
        delete_states(conn, [Subject(*key, "", rule_id) for rule_id in settled])


def _try(what: str, act: Callable[[], None]) -> None:
    try:
        act()
    except OperationalError:
        raise
    except Exception:
        logger.exception("watch failed", what=what)


def _lock(conn: Connection) -> bool:
    """Be the only watch that judges driftline's parts, until the end of the transaction."""
    row = conn.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('watch', 0))").fetchone()
    return row is not None and row[0]


def _last_window(now: int, step: int) -> Window:
    end = now - now % step
    return Window(end - step, end)


def _describe_parts(metric: str, values: Mapping[str, float], window: Window) -> JudgedWindow:
    return JudgedWindow(
        SYSTEM_MODEL,
        "",
        window=window,
        pool_start=window.start,
        features=tuple(values),
        columns={metric: np.array(list(values.values()), np.float64)},
        status=np.full(len(values), Status.OK, np.object_),
    )
