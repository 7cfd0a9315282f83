"""What Prometheus reads: counters of this process, and gauges read from the database at each scrape.

No label names a model or a feature: the number of series stays the same however much is watched.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg import Connection, OperationalError

from driftline.api.moments import read_clock
from driftline.core.action_runs import Status
from driftline.core.rules import Severity
from driftline.core.window import DAY, MICROSECONDS
from driftline.log.errors import LogError
from driftline.log.log import Log
from driftline.log.offsets import read_offsets
from driftline.log.topics import LABELS, PREDICTION_LOGS, PREDICTION_SAMPLES
from driftline.store.actions import count_runs
from driftline.store.alerts import count_open_alerts
from driftline.store.clocks import read_partition_clocks, read_relay_clocks
from driftline.store.database import Database
from driftline.store.dead_letters import count_dead_letters
from driftline.store.delivery_counts import count_deliveries
from driftline.store.traffic import count_windows, read_last_computed
from driftline.workers.joiner import CONSUMER as JOINER
from driftline.workers.partition import CONSUMER
from driftline.workers.sampler import CONSUMER as SAMPLER

Ends: TypeAlias = Mapping[str, Mapping[int, int]]
"""Of topics, the offset that the next record of each partition will get."""

CONNECT_S = 2.0
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# They would double the number of series, to say when this process began.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Meters:
    """The counters of one app, and the registry that holds them."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram
    events: Counter
    labels: Counter

    def count_events(
        self, *, accepted: int = 0, duplicates: int = 0, not_sampled: int = 0, dead_lettered: int = 0
    ) -> None:
        """Count the predictions of one request by what became of them."""
        _count(self.events, accepted, duplicates, not_sampled, dead_lettered)

    def count_labels(
        self, *, accepted: int = 0, duplicates: int = 0, not_sampled: int = 0, dead_lettered: int = 0
    ) -> None:
        """Count the labels of one request by what became of them."""
        _count(self.labels, accepted, duplicates, not_sampled, dead_lettered)


def _count(counter: Counter, accepted: int, duplicates: int, not_sampled: int, dead_lettered: int) -> None:
    counter.labels("accepted").inc(accepted)
    counter.labels("duplicate").inc(duplicates)
    counter.labels("not_sampled").inc(not_sampled)
    counter.labels("dead_lettered").inc(dead_lettered)


def make_meters(database: Database, log: Log) -> Meters:
    """Make the counters of an app, all at zero."""
    registry = CollectorRegistry()
    meters = Meters(
        registry,
        Counter(
            "driftline_http_requests",
            "HTTP requests answered, by route, method and status.",
            ("route", "method", "status"),
            registry=registry,
        ),
        Histogram(
            "driftline_http_request_seconds",
            "Seconds from the first byte of a request to the last of its answer, by route.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        ),
        Counter(
            "driftline_events",
            "Predictions received over HTTP, by outcome: accepted, duplicate, not_sampled or dead_lettered.",
            ("outcome",),
            registry=registry,
        ),
        Counter(
            "driftline_labels",
            "Labels received over HTTP, by outcome: accepted, duplicate, not_sampled or dead_lettered.",
            ("outcome",),
            registry=registry,
        ),
    )
    meters.count_events()
    meters.count_labels()
    registry.register(_DatabaseCollector(database, log))
    return meters


class _DatabaseCollector(Collector):
    """Reads gauges from the database whenever Prometheus asks."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database, self._log = database, log

    def describe(self) -> list[Metric]:
        """Name nothing beforehand: the registry need not ask the database when the app is made."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give the gauges; with the database away only `driftline_database_up` 0."""
        ends: Ends | None = None
        found: list[Metric] = []
        try:
            with self._database.pool.connection(timeout=CONNECT_S) as conn:
                ends = _read_ends(self._log)
                found = [*_log_metrics(conn, ends or {}), *_window_metrics(conn), *_alert_metrics(conn)]
        except OperationalError:
            found = []
        yield GaugeMetricFamily("driftline_database_up", "1 while the database answers.", value=bool(found))
        yield GaugeMetricFamily("driftline_log_up", "1 while the log answers.", value=ends is not None)
        yield from found


def _read_ends(log: Log) -> Ends | None:
    try:
        return {topic: log.end_offsets(topic) for topic in (PREDICTION_LOGS, PREDICTION_SAMPLES, LABELS)}
    except LogError:
        return None


def _log_metrics(conn: Connection, ends: Ends) -> Iterator[Metric]:
    end = GaugeMetricFamily(
        "driftline_log_end_offset",
        "The offset that the next record of a partition will get.",
        labels=["topic", "partition"],
    )
    lag = GaugeMetricFamily(
        "driftline_consumer_lag",
        "Records of a partition that a consumer has not processed.",
        labels=["consumer", "topic", "partition"],
    )
    behind = GaugeMetricFamily(
        "driftline_consumed_seconds_ago",
        "Age of the moment up to which everything appended to a partition has been processed.",
        labels=["consumer", "topic", "partition"],
    )
    now = read_clock()
    for consumer, topic, progress in (
        (SAMPLER, PREDICTION_LOGS, _read_sampled(conn)),
        (CONSUMER, PREDICTION_SAMPLES, _read_consumed(conn, CONSUMER, PREDICTION_SAMPLES)),
        (JOINER, PREDICTION_SAMPLES, _read_joined(conn, PREDICTION_SAMPLES)),
        (JOINER, LABELS, _read_consumed(conn, JOINER, LABELS)),
    ):
        for partition, end_offset in sorted(ends.get(topic, {}).items()):
            labels = [topic, str(partition)]
            next_offset, clock = progress.get(partition, (0, None))
            if (consumer, topic) != (JOINER, PREDICTION_SAMPLES):  # whose end the profiler's line says
                end.add_metric(labels, end_offset)
            lag.add_metric([consumer, *labels], max(end_offset - next_offset, 0))
            if clock is not None:
                behind.add_metric([consumer, *labels], max(now - clock, 0) / MICROSECONDS)
    yield from (end, lag, behind)


def _read_sampled(conn: Connection) -> dict[int, tuple[int, int | None]]:
    """Give for each partition the sampler's next offset, and until when all that was appended is sampled."""
    clocks = read_relay_clocks(conn, PREDICTION_LOGS)
    return {p: (clock.next_offset, clock.append_time) for p, clock in clocks.items() if clock is not None}


def _read_joined(conn: Connection, topic: str) -> dict[int, tuple[int, int | None]]:
    """Give for each partition the joiner's next offset; its clock is that of the labels."""
    return {p: (offset, None) for p, offset in read_offsets(conn, JOINER, topic).items()}


def _read_consumed(conn: Connection, consumer: str, topic: str) -> dict[int, tuple[int, int | None]]:
    """Give for each partition a consumer's next offset, and until when all that was appended is processed."""
    offsets = read_offsets(conn, consumer, topic)
    clocks = read_partition_clocks(conn, topic)
    return {p: (offsets.get(p, 0), clocks.get(p)) for p in offsets.keys() | clocks.keys()}


def _window_metrics(conn: Connection) -> Iterator[Metric]:
    windows = count_windows(conn)
    yield GaugeMetricFamily("driftline_open_windows", "Windows not closed yet.", value=windows.open)
    yield GaugeMetricFamily(
        "driftline_uncomputed_windows",
        "Windows with rows not yet in their drift.",
        value=windows.uncomputed,
    )
    yield GaugeMetricFamily(
        "driftline_windows_closed_last_hour", "Windows closed within an hour.", value=windows.closed_last_hour
    )
    letters = GaugeMetricFamily(
        "driftline_dead_letters_last_day", "Dead letters of the last 24 hours, by reason.", labels=["reason_code"]
    )
    totals: dict[str, int] = {}
    for (_, code), count in count_dead_letters(conn, since=read_clock() - DAY).items():
        totals[code] = totals.get(code, 0) + count
    for code, count in sorted(totals.items()):
        letters.add_metric([code], count)
    yield letters
    computed_at = read_last_computed(conn)
    if computed_at is not None:
        yield GaugeMetricFamily(
            "driftline_last_computed_seconds_ago",
            "Age of the newest drift result.",
            value=max(read_clock() - computed_at, 0) / MICROSECONDS,
        )


def _alert_metrics(conn: Connection) -> Iterator[Metric]:
    alerts = GaugeMetricFamily("driftline_open_alerts", "Alerts that go on, by severity.", labels=["severity"])
    counts = count_open_alerts(conn, "severity")
    for severity in Severity:
        alerts.add_metric([severity], counts.get(severity, 0))
    yield alerts
    yield from _notice_metrics(conn)
    runs = GaugeMetricFamily(
        "driftline_action_runs",
        "Runs of actions by status: those that have not ended, and those that ended in the last 24 hours.",
        labels=["status"],
    )
    statuses = count_runs(conn, read_clock() - DAY)
    for run_status in Status:
        runs.add_metric([run_status], statuses.get(run_status, 0))
    yield runs


def _notice_metrics(conn: Connection) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "driftline_notices_waiting", "Notices that have not reached their destination.", labels=["destination"]
    )
    oldest = GaugeMetricFamily(
        "driftline_notices_oldest_waiting_seconds",
        "Age of the oldest notice that has not reached its destination.",
        labels=["destination"],
    )
    ended = GaugeMetricFamily(
        "driftline_notices_last_day",
        "Notices of the last 24 hours, by what became of them: sent, skipped, refused or expired.",
        labels=["destination", "status"],
    )
    repeated = GaugeMetricFamily(
        "driftline_notices_maybe_repeated_last_day",
        "Copies that may have been seen of notices of the last 24 hours.",
        labels=["destination"],
    )
    now = read_clock()
    for each in count_deliveries(conn, now - DAY):
        waiting.add_metric([each.destination], each.pending)
        if each.oldest_pending is not None:
            oldest.add_metric([each.destination], max(now - each.oldest_pending, 0) / MICROSECONDS)
        for status in ("sent", "skipped", "refused", "expired"):
            ended.add_metric([each.destination, status], getattr(each, status))
        repeated.add_metric([each.destination], each.maybe_repeated)
    yield from (waiting, oldest, ended, repeated)
