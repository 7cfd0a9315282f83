"""Rolling and seasonal references, and the verdict on whole days."""

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from driftline.core.moment import to_micros
from driftline.core.window import Window
from driftline.workers.expectation import _spans_before, _spans_of_season
from tests.workers.plant import (
    DAY,
    HOUR,
    MINUTE,
    SCHEMA,
    Plant,
    at,
    hours,
    make_batch,
    make_reference,
)

KINDS = ["training", "rolling", "seasonal"]
WEEK = 7 * 24


@pytest.fixture
def kinds(bare: Plant) -> Plant:
    """A model that is compared with all three kinds of reference."""
    bare.register(reference_kinds=KINDS)
    bare.refer(make_reference())
    return bare


def send(plant: Plant, hour: float, rows: int, *, shift: float = 0, model_id: str = "fraud") -> None:
    ids = [f"{hour}-{i}" for i in range(rows)]
    plant.send(make_batch(ids, at(hour), shift=shift, seed=int(hour * 60), model_id=model_id))


def finish(plant: Plant) -> None:
    plant.drain()
    plant.cycle()


def statuses(plant: Plant, kind: str, step: int = HOUR) -> dict[int, str]:
    return {hour: status for hour, (status, _) in plant.statuses(kind=kind, step=step).items()}


def test_each_kind_has_rows_of_its_own(kinds: Plant) -> None:
    for hour in range(3):
        send(kinds, hour, 200)
    send(kinds, 9, 1)
    finish(kinds)
    assert statuses(kinds, "training") == {0: "ok", 1: "ok", 2: "ok", 9: "partial"}
    assert statuses(kinds, "rolling") == {0: "no_reference", 1: "ok", 2: "ok"}
    assert statuses(kinds, "seasonal") == dict.fromkeys(range(3), "no_reference")
    nothing = kinds.drift(kind="seasonal")
    assert set(nothing.metrics["feature_status"].ravel()) == {"no_reference"}
    assert np.isnan(nothing.metrics["psi_score"]).all()
    assert not nothing.metrics["drifted"].any()
    assert nothing.row_count.tolist() == [200, 200, 200]


def test_a_lasting_shift_is_news_only_once_to_the_rolling_reference(kinds: Plant) -> None:
    for hour in range(60):
        send(kinds, hour, 100, shift=0 if hour < 30 else 1.5)
    send(kinds, 70, 1)
    finish(kinds)
    drifted = {kind: kinds.drift(kind=kind, metrics=("drifted",)).metrics["drifted"][:60, 0] for kind in KINDS[:2]}
    assert not drifted["training"][:30].any()
    assert drifted["training"][30:].all()
    assert drifted["rolling"][30:35].all()
    assert not drifted["rolling"][55:].any()


def test_too_few_rows_before_are_no_reference(kinds: Plant) -> None:
    send(kinds, 0, 40)
    send(kinds, 1, 150)
    send(kinds, 30, 150)  # a day later: none of the windows before counts any more
    send(kinds, 40, 1)
    finish(kinds)
    assert statuses(kinds, "rolling") == {0: "pooling", 1: "no_reference", 30: "no_reference"}


def test_a_pool_is_compared_with_what_was_before_the_pool(kinds: Plant) -> None:
    for hour, rows in {0: 200, 1: 60, 2: 60}.items():
        send(kinds, hour, rows)
    send(kinds, 9, 1)
    finish(kinds)
    assert statuses(kinds, "rolling") == {0: "no_reference", 1: "pooling", 2: "ok"}
    assert kinds.drift(kind="rolling").row_count.tolist() == [200, 60, 120]


def test_the_same_hour_of_the_week_before(kinds: Plant) -> None:
    """Mondays at nine are always so; another Monday's shift is not news, the same on a Tuesday is."""
    for week in range(3):
        send(kinds, week * WEEK + 9, 200, shift=1.5)
        send(kinds, week * WEEK + 33, 200, shift=0 if week < 2 else 1.5)
    send(kinds, 3 * WEEK, 1)
    finish(kinds)
    assert list(statuses(kinds, "seasonal").values()) == ["no_reference", "no_reference", "ok", "ok", "ok", "ok"]
    drifted = kinds.drift(kind="seasonal").metrics["drifted"][:, 0]
    assert drifted.tolist() == [False, False, False, False, False, True]
    assert kinds.drift().metrics["drifted"][:6, 0].tolist() == [True, False, True, False, True, True]


def test_segments_are_compared_with_the_training_data_only(bare: Plant) -> None:
    schema = replace(SCHEMA, segments=("country",))
    bare.register(schema=schema, reference_kinds=KINDS)
    bare.refer(make_reference(schema=schema))
    bare.send(make_batch(range(600), at(0), schema=schema), make_batch(["x"], at(9), schema=schema), schema=schema)
    finish(bare)
    kinds_of = dict(
        bare.execute("SELECT segment, array_agg(DISTINCT reference_kind) FROM drift_windows GROUP BY 1")
    )
    assert kinds_of == {
        "": ["rolling", "seasonal", "training"],
        "country=DE": ["training"],
        "country=FR": ["training"],
        "country=US": ["training"],
    }


class Version:
    """What spans depend on."""

    def __init__(self, window_length: int, zone: str = "Europe/Berlin") -> None:
        self.window_length, self.zone = window_length, ZoneInfo(zone)


def berlin(*moment: int) -> int:
    return to_micros(datetime(*moment, tzinfo=ZoneInfo("Europe/Berlin")))  # type: ignore[misc]


def test_seasons_follow_the_clocks_of_the_zone() -> None:
    """Nine o'clock stays nine o'clock when summer time begins."""
    window = Window(berlin(2026, 4, 1, 9), berlin(2026, 4, 1, 10))
    spans = _spans_of_season(Version(HOUR), window)  # type: ignore[arg-type]
    assert spans == [
        Window(berlin(*day, 9), berlin(*day, 10))
        for day in ((2026, 3, 25), (2026, 3, 18), (2026, 3, 11), (2026, 3, 4), (2026, 2, 25))
    ]


def test_quarters_have_the_season_of_their_hour() -> None:
    quarter = Window(berlin(2026, 4, 1, 9, 15), berlin(2026, 4, 1, 9, 30))
    pool = Window(berlin(2026, 4, 1, 9, 45), berlin(2026, 4, 1, 11))
    assert _spans_of_season(Version(15 * MINUTE), quarter)[0] == Window(  # type: ignore[arg-type]
        berlin(2026, 3, 25, 9), berlin(2026, 3, 25, 10)
    )
    assert _spans_of_season(Version(15 * MINUTE), pool)[0] == Window(  # type: ignore[arg-type]
        berlin(2026, 3, 25, 9), berlin(2026, 3, 25, 11)
    )


def test_days_have_the_season_of_their_weekday_and_the_week_before() -> None:
    day = Window(berlin(2026, 3, 29), berlin(2026, 3, 30))  # 23 hours
    season = _spans_of_season(Version(DAY), day)  # type: ignore[arg-type]
    assert season[0] == Window(berlin(2026, 3, 22), berlin(2026, 3, 23))
    assert _spans_before(Version(DAY), day) == [Window(berlin(2026, 3, 22), berlin(2026, 3, 29))]  # type: ignore[arg-type]
    hour = Window(berlin(2026, 3, 29, 12), berlin(2026, 3, 29, 13))
    assert _spans_before(Version(HOUR), hour) == [Window(berlin(2026, 3, 28, 12), berlin(2026, 3, 29, 12))]  # type: ignore[arg-type]


# --- whole days


def days(plant: Plant, **series: object) -> dict[int, str]:
    return {hour // 24: status for hour, (status, _) in plant.statuses(step=DAY, **series).items()}  # type: ignore[arg-type]


def test_a_gradual_drift_is_seen_by_the_day(plant: Plant) -> None:
    """A shift that no hour of 100 rows can tell from chance: 2,400 rows of a day can."""
    for day in range(3):
        for hour in range(24):
            send(plant, day * 24 + hour, 100, shift=0.2 * day)
    send(plant, 72.5, 1)
    finish(plant)
    assert days(plant) == {0: "ok", 1: "ok", 2: "ok"}
    series = plant.drift(step=DAY)
    assert series.row_count.tolist() == [2400] * 3
    assert (series.window_end - series.window_start).tolist() == [DAY] * 3
    assert series.metrics["level"][:, 0].tolist() == [0, 0, 2]
    hourly = plant.drift().metrics["level"][48:72, 0]
    assert (hourly > 0).sum() < 12
    ks_p = series.metrics["ks_pvalue"][:, 0]
    assert ks_p[2] < 1e-6 < ks_p[0]


def test_the_day_is_judged_when_it_is_over(plant: Plant) -> None:
    for hour in (1, 12):
        send(plant, hour, 120)
    send(plant, 14, 1)
    finish(plant)
    assert days(plant) == {}
    send(plant, 23.5, 120)
    send(plant, 24.1, 1)
    finish(plant)
    assert days(plant) == {0: "ok"}
    assert plant.drift(step=DAY).row_count.tolist() == [361]


def test_a_day_without_rows_at_its_end_is_judged_with_the_next_window(plant: Plant) -> None:
    send(plant, 12, 120)
    send(plant, 36, 120)
    send(plant, 38, 1)
    finish(plant)
    assert days(plant) == {0: "ok"}


def test_a_day_before_a_long_silence_is_judged_too(plant: Plant) -> None:
    send(plant, 12, 120)
    send(plant, 24 * 9 + 5, 120)
    send(plant, 24 * 9 + 8, 1)
    finish(plant)
    assert days(plant) == {0: "ok"}


def test_late_rows_change_the_verdict_on_the_day(plant: Plant) -> None:
    for hour in (1, 23.5, 25):
        send(plant, hour, 120)
    send(plant, 30, 1)
    finish(plant)
    assert plant.drift(step=DAY).metrics["level"][:, 0].tolist() == [0]
    plant.send(make_batch(range(5000, 5600), at(1.5), shift=4))
    finish(plant)
    series = plant.drift(step=DAY)
    assert (series.row_count.tolist(), series.metrics["level"][:, 0].tolist()) == ([840], [2])


def test_a_day_with_too_few_rows(plant: Plant) -> None:
    send(plant, 23.5, 99)
    send(plant, 25, 200)
    send(plant, 27, 1)
    finish(plant)
    assert days(plant) == {0: "too_few"}
    assert not plant.drift(step=DAY).metrics["drifted"].any()


def test_days_are_those_of_the_zone(bare: Plant) -> None:
    """The day on which summer time begins lasts 23 hours, the one on which it ends 25."""
    berlin_schema = replace(SCHEMA, time_zone="Europe/Berlin")
    bare.register(schema=berlin_schema)
    bare.refer(make_reference(schema=berlin_schema))
    for month, day, length in ((3, 29, 23), (10, 25, 25)):
        start = berlin(2026, month, day)
        times = start + np.arange(-1, length + 2) * HOUR + 30 * MINUTE
        ids = [f"{month}-{i}" for i in range(len(times) * 10)]
        batch = make_batch(ids, np.repeat(times, 10), schema=berlin_schema, seed=month)
        bare.send(batch, schema=berlin_schema)
        finish(bare)
        series = bare.drift(step=DAY)
        found = series.window_start.tolist().index(start)
        assert series.window_end[found] - start == length * HOUR
        assert series.row_count[found] == length * 10


def test_models_with_windows_of_a_day_have_no_verdicts_on_days_besides(bare: Plant) -> None:
    bare.register(window=DAY)
    bare.refer(make_reference(window=DAY))
    bare.send(make_batch(range(300), at(3)), make_batch(["x"], at(30)))
    finish(bare)
    assert bare.execute("SELECT count(*), count(DISTINCT step_seconds) FROM drift_windows") == [(2, 1)]


def test_natural_variation_of_the_hour_and_of_the_day(bare: Plant) -> None:
    """A reference with timestamps whose nights differ: a night is no drift, a day like a night is."""
    nights = _nightly_reference()
    assert nights.natural is not None
    bare.register()
    bare.refer(nights)
    for hour in range(24):
        send(bare, hour, 120, shift=2.5 if hour < 6 else 0)
    send(bare, 30, 120, shift=2.5)
    send(bare, 36, 120, shift=2.5)
    send(bare, 48.5, 1)
    finish(bare)
    level = dict(
        zip(
            map(hours, bare.drift().window_start.tolist()),
            bare.drift().metrics["level"][:, 0].tolist(),
            strict=True,
        )
    )
    assert [level[hour] for hour in range(24)] == [0] * 24
    assert level[36] == 2
    assert bare.drift(step=DAY).metrics["level"][0, 0] == 0


def _nightly_reference():  # type: ignore[no-untyped-def]
    from driftline.core.columns import concatenate
    from driftline.core.reference import build_reference
    from tests.workers.plant import draw_columns

    first = to_micros(datetime(2025, 9, 1, tzinfo=UTC))
    parts, times = [], []
    for hour in range(13 * WEEK):
        parts.append(draw_columns(110, shift=2.5 if hour % 24 < 6 else 0, seed=hour))
        times.append(np.full(110, first + hour * HOUR + 1))
    chunk = (concatenate(parts), np.concatenate(times))
    return build_reference(lambda: [chunk], SCHEMA, window_length=HOUR, window_rows=110)
