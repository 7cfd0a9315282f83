"""No data: windows that should have had rows are judged as well, with a volume of 0, once they are over."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from psycopg import Connection, OperationalError

from driftline.core.alert_window import JudgedWindow
from driftline.core.gaps import GIVE_UP, HISTORY, History, expect_rows, list_gaps
from driftline.core.rule_metric import METRICS, Kind
from driftline.core.rules import Rule
from driftline.core.segment import EVERYTHING
from driftline.core.window import MICROSECONDS, Window, window_of
from driftline.settings import Settings
from driftline.store.alert_states import Subject, delete_states, list_subjects
from driftline.store.alerts import end_alert, get_alert
from driftline.store.database import Database
from driftline.store.gaps import (
    QuietVersion,
    list_counted_windows,
    list_quiet_versions,
    list_replaced_alerts,
    list_uncounted_spans,
    read_closing_delays,
    read_newest_append,
)
from driftline.store.incidents import make_due
from driftline.store.windows import lock_version
from driftline.workers.alerts import judge
from driftline.workers.rule_book import RuleBook

REPLACED = "another version has the traffic"
INLET = "driftline/inlet"
"""The source of alerts while nothing comes from any model: they join one incident of a team."""
_REPLACED_WINDOWS = 3
_PROMPT = 3600 * MICROSECONDS
_OF_DRIFTLINE = frozenset(name for name, metric in METRICS.items() if metric.kind in (Kind.SYSTEM, Kind.VERSION))
_TRAFFIC = frozenset(name for name, metric in METRICS.items() if metric.kind is Kind.TRAFFIC)

logger = structlog.get_logger("driftline.watch")


class Gaps:
    """Judges the windows without rows of all versions that should have had some.

    It remembers of each silent version since when it is silent, and up to where it was judged. Whoever begins anew
    judges nothing twice.
    """

    def __init__(self, database: Database, book: RuleBook, settings: Settings, stop: threading.Event) -> None:
        self._database, self._book, self._settings, self._stop = database, book, settings, stop
        self._reached: dict[tuple[str, str], tuple[int, int]] = {}

    def judge(self, consumed_until: int, now: int) -> None:
        """Judge what is over, each version in a transaction under its lock; one that fails stops no other."""
        with self._database.transaction() as conn:
            quiet = list_quiet_versions(
                conn,
                consumed_until=consumed_until,
                oldest=consumed_until - GIVE_UP,
                allowed_lateness_s=self._settings.allowed_lateness_s,
                idle_close_s=self._settings.idle_close_s,
            )
            look = _Look(consumed_until, read_newest_append(conn), now)
        versions = {(version.model_id, version.model_version): version for version in quiet}
        self._reached = {key: reached for key, reached in self._reached.items() if key in versions}
        for key, version in versions.items():
            if self._stop.is_set():
                return
            try:
                self._judge_version(key, version, look)
            except OperationalError:
                raise
            except Exception:
                logger.exception("silence failed", model=version.model_id, version=version.model_version)

    def _judge_version(self, key: tuple[str, str], version: QuietVersion, look: "_Look") -> None:
        since, until = self._reached.get(key, (version.since, version.since))
        start = until if since == version.since else version.since
        if window_of(start, version.window_length, version.zone).end + version.lateness <= look.consumed_until:
            with self._database.transaction() as conn:
                rules = [rule for rule in self._book.find(conn, *key) if rule.metric in _TRAFFIC]
                if rules:
                    self._reached[key] = _judge_gaps(conn, rules, version, start, look)


@dataclass(frozen=True, slots=True)
class _Look:
    """All that was appended by `consumed_until` is counted; from any model something last came at `newest`."""

    consumed_until: int
    newest: int
    now: int


def _judge_gaps(
    conn: Connection, rules: Sequence[Rule], version: QuietVersion, start: int, look: _Look
) -> tuple[int, int]:
    """Judge the gaps of a version from `start` on; gives since when it is silent, and what has been judged."""
    lock_version(conn, version.model_id, version.model_version)
    windows = list_counted_windows(conn, version.model_id, version.since)
    own = [window for window in windows if window.model_version == version.model_version]
    since = max((each.window_end for each in own if each.is_closed), default=version.since)
    until = min(
        [look.consumed_until - version.lateness, *(w.window_start for w in own if w.window_start >= since)]
    )
    elsewhere = [Window(each.window_start, each.window_end) for each in windows if each.window_start >= since]
    elsewhere += list_uncounted_spans(conn, version.model_id)
    history = _read_history(conn, version, since)
    totals = {"volume": 0.0, "data_age": max(look.now - version.last_append, 0) / MICROSECONDS}
    reached = max(start, since)
    for gap in list_gaps(reached, until, version.window_length, version.zone):
        if gap.end - since > GIVE_UP:
            break
        if not any(gap.start < other.end and other.start < gap.end for other in elsewhere):
            delay = expect_rows(gap, since, history)
            if delay is not None:
                if not _is_over(gap, delay, version, look.consumed_until):
                    break
                _judge_gap(conn, rules, version, gap, totals, look)
        reached = gap.end
    return since, reached


def _read_history(conn: Connection, version: QuietVersion, since: int) -> History:
    delays = read_closing_delays(conn, version.model_id, since - HISTORY, since)
    prompt = version.lateness + version.idle + _PROMPT
    return History(delays, version.window_length, version.zone, prompt)


def _is_over(gap: Window, delay: int, version: QuietVersion, consumed_until: int) -> bool:
    """Tell whether a gap would have closed by now, had it rows, and no rows can be on their way as a rule."""
    late_until = gap.end + version.lateness
    passed = version.event_time >= late_until or version.last_append + version.idle <= consumed_until
    return passed and consumed_until >= max(late_until, gap.end + delay)


def _judge_gap(
    conn: Connection,
    rules: Sequence[Rule],
    version: QuietVersion,
    gap: Window,
    totals: Mapping[str, float],
    look: _Look,
) -> None:
    """Judge a gap, and the segments that these rules have judged before."""
    key = (version.model_id, version.model_version)
    segments = {EVERYTHING} | {
        subject.segment
        for subject in list_subjects(conn, [rule.rule_id for rule in rules if rule.segment != EVERYTHING])
        if (subject.model_id, subject.model_version) == key
    }
    for segment in sorted(segments):
        window = JudgedWindow(*key, window=gap, pool_start=gap.start, segment=segment, totals=totals, n_eff=0)
        judge(conn, rules, window, look.now, source=INLET if look.newest <= gap.start else "")


def end_replaced(database: Database, now: int) -> None:
    """End alerts of versions that nobody uses any more.

    On their traffic they begin anew should they come back. Labels still come for what they have predicted, so
    other rules go on from where they stand: what breaches does not fire again.
    """
    with database.transaction() as conn:
        replaced = list_replaced_alerts(conn, _OF_DRIFTLINE, _REPLACED_WINDOWS)
    for alert_id in replaced:
        with database.transaction() as conn:
            alert = get_alert(conn, alert_id)
            lock_version(conn, alert.model_id, alert.model_version)
            end_alert(conn, alert, REPLACED, now)
            if alert.metric_type in _TRAFFIC:
                delete_states(conn, [Subject(alert.model_id, alert.model_version, alert.segment, alert.rule_id)])
            make_due(conn, [alert.incident_id], now)
