"""Drift rows of arrays: what is written is read back, narrowed, paged, and seen through the view."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike
from psycopg import Connection

from driftline.core.window import MICROSECONDS
from driftline.store.drift import (
    METRICS,
    DriftWindow,
    Verdict,
    list_steps,
    list_verdicts,
    read_drift_series,
    upsert_drift,
)
from driftline.store.models import create_model
from driftline.store.versions import create_version, set_schema

HOUR = 3600 * MICROSECONDS


@pytest.fixture(autouse=True)
def version(conn: Connection) -> None:
    create_model(conn, "fraud", window_length=HOUR)
    create_version(conn, "fraud", "3")
    names = ("amount", "__score__", "country")
    set_schema(conn, "fraud", "3", schema={}, schema_id="s", feature_names=names, feature_kinds=("numeric",) * 3)


def window(hour: int = 10, **changes: object) -> DriftWindow:
    start = hour * HOUR
    made = DriftWindow(
        "fraud", "3", "", "training", start, start + HOUR, HOUR, start, "g", "ok", False, 900, 880.5, start + 2
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def metrics(features: int = 3, seed: int = 0) -> dict[str, ArrayLike]:
    """Something different in every array."""
    rng = np.random.default_rng(seed)
    made: dict[str, ArrayLike] = {}
    for name, dtype in METRICS.items():
        if dtype.kind == "f":
            made[name] = rng.normal(size=features).astype(dtype)
        elif dtype.kind == "i":
            made[name] = rng.integers(0, 3, features).astype(dtype)
        elif dtype.kind == "b":
            made[name] = rng.random(features) < 0.5
        else:
            made[name] = rng.choice(["ok", "too_few", "missing"], features).tolist()
    return made


def read(conn: Connection, **changes: object):  # type: ignore[no-untyped-def]
    arguments: dict[str, object] = {"since": 0, "until": 99 * HOUR, "step": HOUR, **changes}
    return read_drift_series(conn, "fraud", "3", **arguments)  # type: ignore[arg-type]


def test_every_array_comes_back_as_it_was(conn: Connection) -> None:
    written = [metrics(seed=1), metrics(seed=2)]
    for hour, arrays in zip((11, 10), written, strict=True):
        upsert_drift(conn, window(hour, partial=hour == 11, status=f"s{hour}"), arrays)
    series = read(conn)
    assert series.window_start.tolist() == [10 * HOUR, 11 * HOUR]
    assert series.window_end.tolist() == [11 * HOUR, 12 * HOUR]
    assert series.pool_start.tolist() == [10 * HOUR, 11 * HOUR]
    assert series.computed_at.tolist() == [10 * HOUR + 2, 11 * HOUR + 2]
    assert (series.grid_id, series.status) == (("g", "g"), ("s10", "s11"))
    assert (series.partial.tolist(), series.row_count.tolist()) == ([False, True], [900, 900])
    assert (series.n_eff.tolist(), series.next_start) == ([880.5, 880.5], None)
    assert list(series.metrics) == list(METRICS)
    for name, dtype in METRICS.items():
        array = series.metrics[name]
        assert (array.dtype, array.shape) == (dtype, (2, 3)), name
        np.testing.assert_array_equal(array, np.array([written[1][name], written[0][name]], dtype), name)


def test_floats_keep_nan_infinity_and_all_bits(conn: Connection) -> None:
    values = np.array([np.nan, -np.inf, 1e-45], np.float32)
    means = np.array([np.nan, np.inf, 0.1 + 0.2])
    upsert_drift(conn, window(), {**metrics(), "psi_score": values, "mean": means})
    series = read(conn)
    np.testing.assert_array_equal(series.metrics["psi_score"][0], values)
    np.testing.assert_array_equal(series.metrics["mean"][0], means)


def test_floats_left_out_are_not_defined(conn: Connection) -> None:
    required = {"sample_count": [1, 2], "level": [0, 2], "drifted": [False, True], "feature_status": ["ok"] * 2}
    upsert_drift(conn, window(), {**required, "psi_score": [0.25, 0.5]})
    series = read(conn)
    assert series.metrics["psi_score"].tolist() == [[0.25, 0.5]]
    assert np.isnan(series.metrics["ks_statistic"]).all()
    assert series.metrics["ks_statistic"].shape == (1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"psy": [1.0, 2.0, 3.0]}, "no metric 'psy'"),
        ({"psi_score": [1.0]}, r"'psi_score' has shape \(1,\), not \(3,\)"),
        ({"level": [[0, 0, 0]]}, r"'level' has shape \(1, 3\)"),
        ({"drifted": None}, "'drifted' is missing"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    conn: Connection, change: dict[str, ArrayLike | None], message: str
) -> None:
    arrays = {name: value for name, value in {**metrics(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        upsert_drift(conn, window(), arrays)


def test_computed_again_replaces(conn: Connection) -> None:
    upsert_drift(conn, window(), metrics(seed=1))
    upsert_drift(conn, window(status="pooling", row_count=1000, grid_id="h"), metrics(seed=2))
    series = read(conn)
    assert (series.status, series.row_count.tolist(), series.grid_id) == (("pooling",), [1000], ("h",))
    np.testing.assert_array_equal(series.metrics["js"][0], metrics(seed=2)["js"])


def test_some_features_and_some_metrics(conn: Connection) -> None:
    for hour in (10, 11):
        upsert_drift(conn, window(hour), metrics(seed=hour))
    chosen = ("ks_pvalue", "feature_status", "drifted", "sample_count")
    whole, two = read(conn), read(conn, metrics=chosen, features=[2, 1])
    assert tuple(two.metrics) == chosen
    for name in chosen:
        assert two.metrics[name].dtype == METRICS[name]
        np.testing.assert_array_equal(two.metrics[name], whole.metrics[name][:, [2, 1]])
    assert read(conn, metrics=()).window_start.tolist() == [10 * HOUR, 11 * HOUR]
    with pytest.raises(ValueError, match="no metric 'psi'"):
        read(conn, metrics=("psi",))


def test_series_are_kept_apart(conn: Connection) -> None:
    changes: list[dict[str, object]] = [
        {}, {"segment": "country=DE"}, {"reference_kind": "rolling"}, {"step": 24 * HOUR},
    ]  # fmt: skip
    for i, change in enumerate(changes):
        upsert_drift(conn, window(row_count=i, **change), metrics())
    for i, change in enumerate(changes):
        assert read(conn, **change).row_count.tolist() == [i]
    assert list_steps(conn, "fraud", "3") == [HOUR, 24 * HOUR]


def test_pages(conn: Connection) -> None:
    for hour in range(10, 15):
        upsert_drift(conn, window(hour), metrics())
    first = read(conn, limit=2)
    assert (first.window_start // HOUR).tolist() == [10, 11]
    assert first.next_start == 12 * HOUR
    last = read(conn, limit=3, since=first.next_start)
    assert (last.window_start // HOUR).tolist() == [12, 13, 14]
    assert last.next_start is None
    assert (read(conn, since=11 * HOUR, until=13 * HOUR).window_start // HOUR).tolist() == [11, 12]


def test_verdicts_are_those_of_closed_windows(conn: Connection) -> None:
    for hour, changes in ((10, {"status": "ok"}), (11, {"status": "pooling"}), (12, {"partial": True})):
        upsert_drift(conn, window(hour, pool_start=10 * HOUR, **changes), metrics())

    def verdicts(**changes: object) -> list[Verdict]:
        asked: dict[str, object] = {
            "segment": "", "reference_kind": "training", "step": HOUR, "since": 0, "until": 99 * HOUR, **changes,
        }  # fmt: skip
        return list_verdicts(conn, "fraud", "3", **asked)  # type: ignore[arg-type]

    assert verdicts() == [
        Verdict(10 * HOUR, 11 * HOUR, 10 * HOUR, "g", "ok", 880.5),
        Verdict(11 * HOUR, 12 * HOUR, 10 * HOUR, "g", "pooling", 880.5),
    ]
    assert [verdict.status for verdict in verdicts(since=11 * HOUR)] == ["pooling"]
    assert [verdict.status for verdict in verdicts(until=11 * HOUR)] == ["ok"]
    for other in ({"segment": "country=DE"}, {"reference_kind": "rolling"}, {"step": 24 * HOUR}):
        assert verdicts(**other) == []


@pytest.mark.parametrize("features", [None, [0]])
def test_nothing(conn: Connection, features: list[int] | None) -> None:
    series = read(conn, features=features)
    assert len(series.window_start) == 0
    assert series.metrics["psi_score"].shape[0] == 0
    assert series.next_start is None


def test_the_view_gives_flat_rows(conn: Connection) -> None:
    arrays = metrics(seed=3)
    upsert_drift(conn, window(10), {**arrays, "psi_score": [0.5, math.nan, 0.25]})
    upsert_drift(conn, window(11), metrics(seed=4))
    rows = conn.execute(
        "SELECT model_id, model_version, segment, reference_kind, feature_name, window_start, window_end,"
        " psi_score, ks_statistic, ks_pvalue, sample_count, drifted, status FROM drift_metrics"
        " WHERE window_start = 'epoch'::timestamptz + interval '10 hours' ORDER BY feature_name"
    ).fetchall()
    assert [row[:7] for row in rows] == [
        ("fraud", "3", "", "training", name, 10 * HOUR, 11 * HOUR) for name in ("__score__", "amount", "country")
    ]
    expected = {**arrays, "psi_score": [0.5, math.nan, 0.25]}
    order = (1, 0, 2)  # by name
    for position, name in enumerate(
        ("psi_score", "ks_statistic", "ks_pvalue", "sample_count", "drifted", "feature_status"), start=7
    ):
        column = np.array([row[position] for row in rows], METRICS[name])
        np.testing.assert_array_equal(column, np.array(expected[name], METRICS[name])[list(order)], name)


def test_the_view_has_every_metric(conn: Connection) -> None:
    columns = {
        name
        for (name,) in conn.execute(
            "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'drift_metrics'"
        )
    }
    assert set(METRICS) - {"feature_status"} <= columns
