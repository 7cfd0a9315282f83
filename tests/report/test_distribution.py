"""The bars of a chart, and the words for what changed."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import driftline
from driftline.core.schema import Kind
from driftline.report.change import describe_change
from driftline.report.chart import draw_chart
from driftline.report.table import squeeze


def one(before, after, **options):
    return driftline.compare(pd.DataFrame({"x": before}), pd.DataFrame({"x": after}), **options)["x"]


def bars(feature) -> dict[str, tuple[float, float]]:
    shown = feature.distribution
    return {label: pair for label, *pair in zip(shown.labels, shown.reference, shown.current, strict=True)}


floats = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=300)


@settings(max_examples=50, deadline=None)
@given(before=floats, after=floats)
def test_shares_of_a_distribution_add_up_to_one(before, after):
    shown = one(before, after).distribution
    assert sum(shown.reference) == pytest.approx(1)
    assert sum(shown.current) == pytest.approx(1)
    assert len(shown.reference) == len(shown.current) == max(len(shown.labels), len(shown.edges) - 1)
    assert min(*shown.reference, *shown.current) >= -1e-12
    assert list(shown.edges) == sorted(shown.edges)


@settings(max_examples=50, deadline=None)
@given(
    before=st.lists(st.sampled_from([*"abcdefghijklmnopqrst", None]), min_size=1, max_size=300).filter(any),
    after=st.lists(st.sampled_from([*"klmnopqrstuvw", None]), min_size=1, max_size=300),
)
def test_shares_of_categories_add_up_to_one(before, after):
    shown = one(before, after, categorical=["x"]).distribution
    assert sum(shown.reference) == pytest.approx(1)
    assert sum(shown.current) == pytest.approx(1)
    assert len(shown.labels) <= 12 + 3


def test_a_histogram_is_that_of_numpy_within_its_cells():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=20_000), rng.normal(1, 2, size=20_000)
    shown = one(before, after).distribution
    for values, shares in ((before, shown.reference), (after, shown.current)):
        clipped = np.clip(values, shown.edges[0], np.nextafter(shown.edges[-1], 0))
        exact, _ = np.histogram(clipped, shown.edges)
        assert np.abs(np.cumsum(shares) - np.cumsum(exact) / len(values)).max() < 0.01


def test_the_edges_follow_data_that_left():
    rng = np.random.default_rng(0)
    shown = one(rng.normal(size=5000), rng.normal(20, 1, size=5000)).distribution
    assert shown.edges[0] < -2
    assert shown.edges[-1] > 21
    assert sum(shown.current[len(shown.current) // 2 :]) > 0.95


def test_whole_numbers_have_bars_of_whole_numbers():
    rng = np.random.default_rng(0)
    shown = one(rng.integers(18, 90, 5000), rng.integers(18, 90, 2000)).distribution
    assert all(float(edge).is_integer() for edge in shown.edges)
    assert len({round(b - a) for a, b in zip(shown.edges, shown.edges[1:], strict=False)}) == 1
    assert max(shown.reference) < 2 * min(shown.reference[1:-2])


def test_few_values_have_a_bar_each():
    feature = one([0, 1, 1, 2] * 500, [0, 0, 1, 1, 1, 1, 1, 1, 1, 7] * 200)
    assert bars(feature) == {
        "0": [0.25, 0.2],
        "1": [0.5, 0.7],
        "2": [0.25, 0.0],
        "other values": [0.0, pytest.approx(0.1)],
    }
    assert feature.distribution.rest == 1


def test_values_that_mostly_lie_elsewhere_make_a_histogram():
    assert one([0, 1, 1, 2] * 500, [0, 7, 8, 9] * 500).distribution.edges


def test_flags_have_words():
    assert set(bars(one([True, False] * 500, [True] * 1000))) == {"true", "false"}


def test_categories_have_the_rest_apart():
    before = [f"c{i}" for i in range(30) for _ in range(30 - i)]
    feature = one(before, [*before, *["new"] * 100, *[None] * 50], categorical=["x"])
    shown = feature.distribution
    assert shown.labels[-3:] == ("other known values", "never seen before", "missing")
    assert shown.rest == 3
    assert len(shown.labels) == 15
    assert bars(feature)["never seen before"][1] == pytest.approx(100 / (len(before) + 150))


def test_no_values_no_chart():
    feature = one([1.0] * 500, [None] * 500)
    assert feature.lost
    assert draw_chart(one([None] * 500, [None] * 500)) is None


def test_squeezed_bars_keep_the_shape():
    rng = np.random.default_rng(0)
    shown = one(rng.normal(size=5000), rng.normal(size=5000)).distribution
    before, after = squeeze(shown, 9)
    assert len(before) == len(after) == 9
    assert before.index(max(before)) in (3, 4, 5)
    many = one([f"c{i}" for i in range(30)] * 100, ["new"] * 1000, categorical=["x"]).distribution
    before, after = squeeze(many, 9)
    assert len(before) == 9
    assert after[-1] == 1.0


CHANGES = [
    (lambda x: x + 1, ["mean 0 → 1 (+1.0 σ)"]),
    (lambda x: x * 3, ["spread ×3"]),
    (lambda x: np.where(np.arange(len(x)) % 4 == 0, np.nan, x), ["missing 0% → 25%"]),
    (lambda x: np.where(np.arange(len(x)) % 4 == 0, np.inf, x), ["infinite 0% → 25%"]),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[words[0] for _, words in CHANGES])
def test_changes_in_words(change, words):
    rng = np.random.default_rng(0)
    x = rng.normal(size=8000)
    x = (x - x.mean()) / x.std()
    said = describe_change(one(x, change(x)))
    for phrase in words:
        assert phrase in said


def test_heavy_tails_are_told_by_the_median():
    rng = np.random.default_rng(0)
    x = rng.standard_cauchy(8000)
    (first, *_) = describe_change(one(x, x + 2))
    assert first.startswith("median ")


def test_categories_in_words():
    before, after = ["a"] * 500 + ["b"] * 500, ["a"] * 300 + ["b"] * 500 + ["z"] * 200
    assert describe_change(one(before, after)) == ("20% never seen before: ‘z’", "‘a’ 50% → 30%")


def test_a_datetime_is_said_as_a_date():
    days = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(2000) % 90, unit="D")
    feature = one(days, days + pd.Timedelta(days=365))
    assert feature.kind is Kind.DATETIME
    assert "mean 2025-02-14" in " ".join(describe_change(feature))


def test_digits_are_those_that_tell_values_apart():
    rng = np.random.default_rng(4)
    before, after = 1e12 + rng.normal(size=2000), 1e12 + 3 + rng.normal(size=2000)
    feature = one(before, after)
    means = re.search(r"mean (\S+) → (\S+)", "; ".join(describe_change(feature)))
    assert [round(float(mean.replace(",", "")) - 1e12) for mean in means.groups()] == [0, 3]
    labels = [label for _, label in draw_chart(feature).ticks]
    assert len(set(labels)) == len(labels) > 2
    narrow = one(1 + 1e-7 * rng.random(2000), 1 + 1e-7 * rng.random(2000))
    labels = [label for _, label in draw_chart(narrow).ticks]
    assert len(set(labels)) == len(labels) > 2
