"""Performance of windows: computed when they are due, from what the joiner has joined."""

import threading

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from driftline.api.baselines import make_baselines
from driftline.core.batch import Batch
from driftline.core.columns import Columns
from driftline.core.labelled import LabelledRows
from driftline.core.reference import add_baseline, build_reference
from driftline.core.rules import Comparison, Rule
from driftline.core.window import MICROSECONDS
from driftline.store.alert_rules import upsert_rules
from driftline.store.alerts import AlertFilter, list_alerts
from driftline.store.baselines import store_baselines
from driftline.store.clocks import advance_version_clock
from driftline.store.performance import PerformanceResult, find_newest_performance, read_performance
from driftline.store.references import get_reference
from driftline.workers import measuring, performance
from driftline.workers.catalog import Catalog
from driftline.workers.measuring import measure_months
from driftline.workers.performance import Curves, compute_due
from tests.workers.plant import FAR, HOUR, MONDAY, Plant, at, record_of
from tests.workers.registry import BINARY, Registry

COUNTRIES = ("DE", "FR")


@pytest.fixture
def registry(bare: Plant) -> Registry:
    made = Registry(bare)
    made.register()
    return made


class Scored:
    """Predictions of one window with scores that mean something, and what comes true."""

    def __init__(self, rows: int, hour: int = 0, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.score = rng.random(rows)
        self.truth = rng.random(rows) < self.score
        self.country = rng.integers(0, 2, rows)
        self.ids = tuple(f"{hour}-{i}" for i in range(rows))
        self.times = at(hour) + np.arange(rows) * (HOUR // rows)

    @property
    def columns(self) -> Columns:
        rows = len(self.score)
        codes = np.column_stack([self.score >= 0.5, self.country]).astype(np.int32)
        return Columns(np.ones((rows, 1), np.float32), self.score[:, None], codes, (("0", "1"), COUNTRIES))

    def send(self, registry: Registry) -> None:
        batch = Batch("loans", "1", BINARY.schema_id, "", self.ids, self.times, self.columns)
        registry.plant.append(record_of(batch, BINARY))

    def label(self, registry: Registry, rows: slice, delay: int = HOUR) -> None:
        for i in range(*rows.indices(len(self.ids))):
            registry.label([self.ids[i]], [bool(self.truth[i])], int(self.times[i]) + delay)


def labelled_rows(known: Scored) -> LabelledRows:
    return LabelledRows(
        known.truth.astype(np.float64),
        (known.score >= 0.5).astype(np.float64),
        known.score,
        None,
        None,
        known.country[:, None],
        (COUNTRIES,),
        ("0", "1"),
    )


def compute(registry: Registry, *, now: int = at(1000)) -> int:
    plant = registry.plant
    stop = threading.Event()
    return compute_due(plant.database, Catalog(), Curves(), plant.settings, lambda: now, stop)


def results(registry: Registry, segment: str = "") -> list[PerformanceResult]:
    with registry.plant.database.transaction() as conn:
        return read_performance(conn, "loans", "1", since=0, until=FAR, segment=segment)


def number(result: PerformanceResult, metric: str) -> float:
    return float(result.value[list(result.metrics).index(metric)])


def test_a_window_is_measured_by_its_labels(registry: Registry) -> None:
    scored = Scored(400)
    scored.send(registry)
    scored.label(registry, slice(0, 300))
    registry.join()
    assert compute(registry) == 1
    (result,) = results(registry)
    assert (result.window_start, result.window_end) == (MONDAY, MONDAY + HOUR)
    assert (result.row_count, result.labeled_count, result.coverage) == (400, 300, 0.75)
    truth, score = scored.truth[:300], scored.score[:300]
    assert number(result, "roc_auc") == pytest.approx(roc_auc_score(truth, score), abs=1e-9)
    assert number(result, "accuracy") == pytest.approx(accuracy_score(truth, score >= 0.5), abs=1e-9)
    place = list(result.metrics).index("roc_auc")
    assert result.lower[place] < result.value[place] < result.upper[place]
    assert set(result.metric_status) == {"ok"}
    assert compute(registry) == 0  # nothing has changed


def test_segments_are_measured_apart(registry: Registry) -> None:
    scored = Scored(400)
    reference = build_reference(lambda: [(scored.columns, None)], BINARY, window_length=HOUR, window_rows=400)
    registry.plant.refer(reference, "loans", "1")
    scored.send(registry)
    scored.label(registry, slice(None))
    registry.join()
    compute(registry)
    for code, country in enumerate(COUNTRIES):
        (result,) = results(registry, f"country={country}")
        chosen = scored.country == code
        assert result.row_count == chosen.sum()
        expected = roc_auc_score(scored.truth[chosen], scored.score[chosen])
        assert number(result, "roc_auc") == pytest.approx(expected, abs=1e-9)


def test_windows_that_new_labels_touch_are_computed_again_and_only_those(registry: Registry) -> None:
    first, second = Scored(100, 0, 1), Scored(100, 1, 2)
    for each in (first, second):
        each.send(registry)
        each.label(registry, slice(0, 50))
    registry.join()
    assert compute(registry) == 2
    second.label(registry, slice(50, 100))
    registry.join()
    later = at(1000) + 20 * MICROSECONDS
    assert compute(registry, now=at(1000) + MICROSECONDS) == 0  # too soon
    assert compute(registry, now=later) == 1
    early, late = results(registry)
    assert (early.labeled_count, late.labeled_count) == (50, 100)
    assert (early.computed_at, late.computed_at) == (at(1000), later)


def test_old_windows_are_computed_hourly_at_most(registry: Registry) -> None:
    scored = Scored(100)
    scored.send(registry)
    registry.join()
    registry.plant.execute("UPDATE performance_windows SET created_at = %s::timestamptz", "2026-01-05")
    assert compute(registry) == 1
    scored.label(registry, slice(None))
    registry.join()
    assert compute(registry, now=at(1000) + HOUR // 2) == 0
    assert compute(registry, now=at(1001)) == 1
    assert results(registry)[0].labeled_count == 100


def test_a_window_waits_until_it_has_closed(registry: Registry) -> None:
    Scored(100).send(registry)
    registry.join()
    assert compute(registry, now=at(0.5)) == 0
    assert compute(registry, now=at(1) + 60 * MICROSECONDS) == 1
    (result,) = results(registry)
    assert (result.labeled_count, result.coverage, set(result.metric_status)) == (0, 0.0, {"too_few"})


def test_a_window_that_another_worker_computes_is_left_to_it(registry: Registry) -> None:
    Scored(50).send(registry)
    registry.join()
    (window,) = registry.windows()
    with registry.plant.database.transaction() as conn:
        assert performance._lock(conn, window)
        assert compute(registry) == 0  # so the worker waits before it looks again
    assert compute(registry) == 1


def test_a_failing_window_stops_no_other(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for hour in range(2):
        Scored(50, hour).send(registry)
    registry.join()
    measure = performance.measure_sample

    def fail(sample, *rest):
        if sample.span.start == MONDAY:
            raise ZeroDivisionError
        return measure(sample, *rest)

    monkeypatch.setattr(performance, "measure_sample", fail)
    assert compute(registry) == 2
    assert [result.window_start for result in results(registry)] == [MONDAY + HOUR]
    monkeypatch.undo()
    assert compute(registry, now=at(1000) + 20 * MICROSECONDS) == 1
    assert len(results(registry)) == 2


def test_maturity_is_learned_from_the_labels_that_came(registry: Registry) -> None:
    """Labels take two hours; a window of an hour ago has none of them yet, an old one has them all."""
    windows = [Scored(100, hour, hour) for hour in range(12)]
    for each in windows:
        each.send(registry)
        due = [i for i, time in enumerate(each.times) if time + 2 * HOUR <= at(12)]
        each.label(registry, slice(0, len(due)), 2 * HOUR)
    registry.plant.execute("UPDATE models SET settings = '{\"max_label_delay_s\": 21600}'")
    registry.join()
    clock = (
        "INSERT INTO version_clocks VALUES ('loans', '1', %s::timestamptz, %s::timestamptz)"
        " ON CONFLICT ON CONSTRAINT version_clocks_pkey DO UPDATE SET event_time = excluded.event_time"
    )
    registry.plant.execute(clock, "2026-01-05T12:00:00Z", "2026-02-15T16:00:00Z")  # at(1000)
    compute(registry)  # counts the delays
    registry.plant.execute("UPDATE performance_windows SET computed_seq = -1, computed_at = NULL")
    compute(registry)
    found = [result.maturity for result in results(registry)]
    assert np.allclose(found[:9], 1, atol=0.02)
    assert np.allclose(found[10:], 0, atol=0.05)


def test_months_are_measured_over_all_of_their_predictions(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [Scored(60, hour, hour) for hour in (0, 1, 24 * 27, 24 * 28)]  # 5 January to 2 February
    for each in windows:
        each.send(registry)
        each.label(registry, slice(None))
    registry.join()
    compute(registry)
    with registry.plant.database.transaction() as conn:
        catalog = Catalog()
        version = catalog.find_version(conn, "loans", "1")
        assert version is not None
        months = measure_months(conn, catalog, version, 0, FAR, segment="", now=at(1000))
        newest = find_newest_performance(conn, "loans", "1", "roc_auc")
        pages = [
            measure_months(conn, catalog, version, month.window_start, FAR, segment="", now=at(1000), limit=1)
            for month in months
        ]
        monkeypatch.setattr(measuring, "MAX_ROWS", 40)
        [some, _] = measure_months(conn, catalog, version, 0, FAR, segment="", now=at(1000))
    truth, score = (np.concatenate([getattr(each, name) for each in windows[:2]]) for name in ("truth", "score"))
    assert [month.row_count for month in months] == [120, 120]
    assert number(months[0], "roc_auc") == pytest.approx(roc_auc_score(truth, score), abs=1e-9)
    assert [[each.window_start for each in page] for page in pages] == [[month.window_start] for month in months]
    assert 20 <= some.row_count <= 60  # one in three
    assert newest is not None
    assert newest.window_start == windows[-1].times[0] - windows[-1].times[0] % HOUR


def test_months_without_the_segment_take_no_place_on_a_page(registry: Registry) -> None:
    january, february = Scored(60, 0, 1), Scored(60, 24 * 28, 2)
    january.country[:] = 0
    columns = Scored(60).columns
    reference = build_reference(lambda: [(columns, None)], BINARY, window_length=HOUR, window_rows=60)
    registry.plant.refer(reference, "loans", "1")
    for each in (january, february):
        each.send(registry)
    registry.join()
    with registry.plant.database.transaction() as conn:
        version = (catalog := Catalog()).find_version(conn, "loans", "1")
        assert version is not None
        [month] = measure_months(conn, catalog, version, 0, FAR, segment="country=FR", now=at(1000), limit=1)
    assert month.window_start == at(24 * 27)  # the first of February


def test_performance_is_estimated_before_labels_come(registry: Registry) -> None:
    known = Scored(3_000, seed=7)
    reference = build_reference(lambda: [(known.columns, None)], BINARY, window_length=HOUR, window_rows=400)
    registry.plant.refer(add_baseline(reference, [labelled_rows(known)]), "loans", "1")
    scored = Scored(400, seed=8)
    scored.send(registry)
    registry.join()
    compute(registry)
    (result,) = results(registry)
    place = list(result.metrics).index("roc_auc")
    assert (result.labeled_count, result.metric_status[place], result.estimate_status[place]) == (
        0,
        "too_few",
        "ok",
    )
    truth = roc_auc_score(scored.truth, scored.score)
    assert result.estimate_lower[place] < truth < result.estimate_upper[place]
    assert result.estimate[place] == pytest.approx(truth, abs=0.08)
    assert result.estimate_status[list(result.metrics).index("log_loss")] == "not_estimated"
    assert (result.verdict[place], result.estimate_verdict[place]) == ("unknown", "within")
    assert result.confirmation[place] == "undecided"
    scored.label(registry, slice(None))
    registry.join()
    compute(registry, now=at(1001))
    (result,) = results(registry)
    assert (result.verdict[place], result.estimate_verdict[place]) == ("within", "within")
    assert result.confirmation[place] == "confirmed"


def test_what_drift_says_of_the_scores_is_confirmed_or_refuted(registry: Registry) -> None:
    """Scores have left the reference, so confidence has changed, but the model is as good as ever."""
    known = Scored(3_000, seed=7)
    reference = build_reference(lambda: [(known.columns, None)], BINARY, window_length=HOUR, window_rows=2_000)
    registry.plant.refer(add_baseline(reference, [labelled_rows(known)]), "loans", "1")
    scored = Scored(2_000, seed=8)
    keep = (scored.score < 0.25) | (scored.score > 0.75)
    for name in ("score", "truth", "country", "times"):
        setattr(scored, name, getattr(scored, name)[keep])
    scored.ids = tuple(str(i) for i in range(len(scored.score)))
    scored.send(registry)
    registry.plant.drain(registry.plant.profiler())
    registry.plant.let_pass(7_200)
    while registry.plant.cycle():
        pass
    scored.label(registry, slice(None))
    registry.join()
    compute(registry)
    (result,) = results(registry)
    assert result.proxies["prediction_confidence"] == {"verdict": "changed", "confirmation": "refuted"}
    assert result.proxies["class_ratio"] == {"verdict": "within", "confirmation": "confirmed"}


def test_a_model_without_a_task_has_no_metrics(registry: Registry) -> None:
    registry.plant.execute("UPDATE models SET task = NULL")
    scored = Scored(20)
    scored.send(registry)
    registry.join()
    assert compute(registry) == 1
    assert results(registry) == []
    assert compute(registry) == 0


def test_deleting_the_model_takes_its_results(registry: Registry) -> None:
    from driftline.store.models import delete_model

    Scored(50).send(registry)
    registry.join()
    compute(registry)
    with registry.plant.database.transaction() as conn:
        delete_model(conn, "loans")
    assert registry.plant.execute("SELECT count(*) FROM performance_results") == [(0,)]


def test_a_drop_of_performance_fires_once_its_labels_are_mature(registry: Registry) -> None:
    """Scores that have turned into noise: three windows in a row, and only by the labels that have come."""
    plant = registry.plant
    good = Scored(2_000, seed=5)
    reference = build_reference(lambda: [(good.columns, None)], BINARY, window_length=HOUR, window_rows=400)
    reference = add_baseline(reference, [labelled_rows(good)])
    plant.refer(reference, "loans", "1")
    with plant.database.transaction() as conn:
        stored = get_reference(conn, "loans", "1", reference.grid.grid_id)
        store_baselines(conn, list(make_baselines(stored, reference)))
    rule = Rule("auc", "performance_roc_auc", Comparison.DROP_FROM_BASELINE, 0.05, model="loans", min_maturity=0)
    with plant.database.transaction() as conn:
        upsert_rules(conn, [rule], "api")
    for hour in range(4):
        noise = Scored(600, hour=hour, seed=hour)
        noise.truth = np.random.default_rng(100 + hour).random(600) < 0.5
        noise.send(registry)
        noise.label(registry, slice(None))
    registry.join()
    compute(registry)
    with plant.database.transaction() as conn:
        (alert,) = list_alerts(conn, AlertFilter())
    assert (alert.rule_id, alert.metric_type, len(alert.windows)) == ("auc", "performance_roc_auc", 3)
    assert alert.metric_value < alert.threshold < 0.83


def test_immature_labels_neither_fire_nor_resolve(registry: Registry) -> None:
    plant = registry.plant
    rule = Rule("coverage", "label_coverage", Comparison.BELOW, 0.9, model="loans", consecutive_windows=1)
    with plant.database.transaction() as conn:
        upsert_rules(conn, [rule], "api")
    scored = Scored(400)
    scored.send(registry)
    scored.label(registry, slice(0, 10))
    registry.join()
    compute(registry, now=at(1))
    with plant.database.transaction() as conn:
        assert list_alerts(conn, AlertFilter()) == []


def test_labels_that_do_not_come_are_seen_although_nothing_changes(registry: Registry) -> None:
    """Eight hours of labels teach how long they take; then none come any more."""
    plant = registry.plant
    rule = Rule("coverage", "label_coverage", Comparison.BELOW, 0.5, model="loans", consecutive_windows=2)
    with plant.database.transaction() as conn:
        upsert_rules(conn, [rule], "api")
    for hour in range(10):
        scored = Scored(200, hour=hour, seed=hour)
        scored.send(registry)
        if hour < 8:
            scored.label(registry, slice(None))
    registry.join()
    with plant.database.transaction() as conn:
        advance_version_clock(conn, "loans", "1", event_time=at(10), last_append=plant.now)
    for hours in (0, 1, 4, 20):
        compute(registry, now=plant.now + hours * HOUR)
    with plant.database.transaction() as conn:
        (alert,) = list_alerts(conn, AlertFilter())
    assert [window.start for window in alert.windows] == [at(8), at(9)]
    compute(registry, now=plant.now + 100_000 * HOUR)
    assert compute(registry, now=plant.now + 200_000 * HOUR) == 0  # all is mature
