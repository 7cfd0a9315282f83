"""References: built in two passes, written and read, and refused when they are something else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftline.core.bins import group_cells
from driftline.core.coarse import coarsen_profile
from driftline.core.columns import Columns
from driftline.core.drift import Status, compute_drift
from driftline.core.errors import InvalidPayload
from driftline.core.profile import encode_profile, profile_rows
from driftline.core.reference import Reference, build_reference, decode_reference, encode_reference
from driftline.core.schema import Feature, Kind, Schema, Task
from driftline.core.segment import EVERYTHING
from driftline.core.summary import summarize
from driftline.core.window import DAY
from tests.core.samples import SHAPES, make_columns, make_reference, make_schema

HOUR = 3_600_000_000
SCHEMA = make_schema(3, 2, 2, segments=["c0"], time_zone="Europe/Berlin")


def draw(seed: int, rows: int) -> tuple[Columns, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    columns = make_columns(
        [rng.standard_normal(rows), rng.poisson(2, rows), np.where(rng.random(rows) < 0.1, np.nan, 1.0)],
        [2.0**40 + rng.integers(0, 9, rows), rng.random(rows)],
        [rng.choice(["a", "b", "é"], rows), [f"v{code}" for code in rng.zipf(1.3, rows) % 500]],
    )
    return columns, rng.integers(0, 20 * DAY, rows)


COLUMNS, TIMES = draw(1, 20_000)
REFERENCE = make_reference(COLUMNS, SCHEMA, TIMES)
WRITTEN = encode_reference(REFERENCE)


def assert_equal(one: Reference, other: Reference) -> None:
    for field in ("schema", "window_length", "segments", "names"):
        assert getattr(one, field) == getattr(other, field)
    for mine, yours in ((one.grid, other.grid), (one.coarse, other.coarse)):
        assert mine.grid_id == yours.grid_id
        assert mine.categories == yours.categories
        np.testing.assert_array_equal(mine.edges(), yours.edges())
        np.testing.assert_array_equal(mine.inside, yours.inside)
    for mine, yours in ((one.bins, other.bins), (one.coarse_bins, other.coarse_bins)):
        assert mine.count == yours.count
        np.testing.assert_array_equal(mine.of_cell, yours.of_cell)
    np.testing.assert_array_equal(one.coarse_cells, other.coarse_cells)
    np.testing.assert_array_equal(one.distinct, other.distinct)
    assert (one.natural is None) == (other.natural is None)
    if one.natural is not None and other.natural is not None:
        np.testing.assert_array_equal(one.natural.psi, other.natural.psi)
        np.testing.assert_array_equal(one.natural.ks, other.natural.ks)
    assert encode_profile(one.profile) == encode_profile(other.profile)
    assert one.segment_profiles.keys() == other.segment_profiles.keys()
    for key, part in one.segment_profiles.items():
        assert encode_profile(part) == encode_profile(other.segment_profiles[key])


@pytest.mark.parametrize(
    "reference",
    [
        REFERENCE,
        make_reference(COLUMNS.take(np.arange(50)), SCHEMA),
        make_reference(COLUMNS.take(np.arange(0)), SCHEMA),
        make_reference(make_columns(categories=[[f"v{i}" for i in range(10_500)]]), make_schema(0, 0, 1)),
        make_reference(make_columns([np.full(9, np.nan)]), make_schema(1)),
    ],
    ids=["with everything", "of few rows", "of no rows", "of many categories", "all missing"],
)
def test_what_is_written_is_read(reference: Reference) -> None:
    assert_equal(decode_reference(encode_reference(reference)), reference)


def test_what_is_read_gives_the_same_drift() -> None:
    read = decode_reference(WRITTEN)
    actual, _ = draw(2, 900)
    one, other = (
        compute_drift(
            reference.grid, reference.bins, reference.profile, profile_rows(reference.grid, actual),
            natural=reference.natural, outputs=reference.outputs,
        )
        for reference in (REFERENCE, read)
    )  # fmt: skip
    np.testing.assert_array_equal(one.psi_raw, other.psi_raw)
    np.testing.assert_array_equal(one.qvalue, other.qvalue)
    np.testing.assert_array_equal(one.summary.percentiles, other.summary.percentiles)


@given(st.data())
@settings(max_examples=150)
def test_changed_bytes_are_an_invalid_payload_or_a_whole_reference(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(WRITTEN) - 1))
    changed = bytearray(WRITTEN)
    changed[place] ^= data.draw(st.integers(1, 255))
    length = data.draw(st.integers(0, len(WRITTEN) - 1))
    for payload in (bytes(changed), WRITTEN[:length], WRITTEN[place:]):
        try:
            reference = decode_reference(payload)
        except InvalidPayload:
            continue
        assert_is_whole(reference)


def assert_is_whole(reference: Reference) -> None:
    """Whatever the numbers in it are, everything can be computed."""
    actual, _ = draw(2, 50)
    profile = profile_rows(reference.grid, actual)
    with np.errstate(all="ignore"):
        drift = compute_drift(
            reference.grid, reference.bins, reference.profile, profile, natural=reference.natural
        )
    assert drift.psi_raw.shape == (len(reference.names),)


def change(path: list[Any], value: object) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return apply


OTHER_PROFILE = encode_profile(make_reference(make_columns([[1.0]]), make_schema(1)).profile)
RENAMED = encode_profile(replace(REFERENCE.profile, counts=REFERENCE.profile.counts[:3]))
NEGATIVE = encode_profile(replace(REFERENCE.profile, counts=np.where(REFERENCE.profile.counts, 2**40, -1)))
NARROW = encode_profile(replace(REFERENCE.profile, sums=np.zeros((2, 1)), extremes=np.zeros((2, 1))))


@pytest.mark.parametrize(
    "apply",
    [
        change(["format"], "something else"),
        change(["schema", "features"], []),
        change(["schema", "features", 0, "kind"], "colour"),
        change(["schema", "segments"], []),
        change(["schema", "time_zone"], "Mars/Olympus"),
        change(["window_length"], 0),
        change(["window_length"], -DAY),
        change(["window_length"], DAY - 1),
        change(["window_length"], 2 * DAY),
        change(["bins"], 255),
        change(["bins"], 0),
        change(["profile"], OTHER_PROFILE),
        change(["profile"], RENAMED),
        change(["profile"], NARROW),
        change(["profile"], b""),
        change(["profile"], NEGATIVE),
        change(["segment_profiles"], {}),
        change(["segment_profiles", "c9=a"], encode_profile(REFERENCE.segment_profiles["c0=a"])),
        change(["segments"], [["c0", [f"v{i}" for i in range(21)]]]),
        change(["grid", "edges64"], ["<f8", [4, 255], np.full((4, 255), np.nan).tobytes()]),
        change(["segment_profiles", "c0=a"], encode_profile(REFERENCE.profile)),
        change(["grid", "shift"], ["<f8", [1], bytes(8)]),
        change(["grid", "edges32"], ["<f4", [3, 200], bytes(2400)]),
        change(["grid", "edges32"], ["<f8", [3, 255], bytes(3 * 255 * 8)]),
        change(["grid", "inside"], ["<i2", [9, 2], b"\xff\x7f" * 18]),
        change(["grid", "categories"], []),
        change(["distinct"], ["<i8", [1], bytes(8)]),
        change(["natural"], [["<f8", [1, 1], bytes(8)]] * 2),
        change(["natural"], [["<f8", [2, 9], bytes(144)]] * 2),
        lambda content: content.pop("grid"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(apply: Callable[[dict[str, Any]], object]) -> None:
    content = msgspec.msgpack.decode(zstandard.decompress(WRITTEN))
    apply(content)
    with pytest.raises(InvalidPayload, match="driftline reference build"):
        decode_reference(zstandard.compress(msgspec.msgpack.encode(content)))


def test_chunks_make_the_reference_that_all_rows_make() -> None:
    starts = range(0, 20_000, 3000)
    rows = [np.arange(start, min(start + 3000, 20_000)) for start in starts]
    chunked = build_reference(
        lambda: ((COLUMNS.take(part), TIMES[part]) for part in rows), SCHEMA, window_length=DAY
    )
    np.testing.assert_allclose(chunked.profile.sums, REFERENCE.profile.sums, rtol=1e-9, atol=1e-6)
    same = replace(chunked, profile=replace(chunked.profile, sums=REFERENCE.profile.sums))
    parts = {
        key: replace(part, sums=REFERENCE.segment_profiles[key].sums)
        for key, part in same.segment_profiles.items()
    }
    assert_equal(replace(same, segment_profiles=parts), REFERENCE)


def test_the_reference_counts_its_own_rows() -> None:
    assert REFERENCE.profile.rows == REFERENCE.profile.weight == 20_000
    assert (REFERENCE.profile.counts.sum(axis=1) == 20_000).all()
    summary = summarize(REFERENCE.grid, REFERENCE.profile)
    assert summary.missing_rate[2] == pytest.approx(np.isnan(COLUMNS.float32[:, 2]).mean())
    assert REFERENCE.distinct[[1, 2, 3, 7]].tolist() == [len(np.unique(COLUMNS.float32[:, 1])), 1, 9, 3]
    assert (REFERENCE.profile.counts[7:, REFERENCE.grid.unseen] == 0).all()


def test_bins_are_as_many_as_windows_have_rows_for() -> None:
    columns, times = draw(3, 6000)
    bins = {
        "given": make_reference(columns, SCHEMA, times, window_rows=250).bins.count,
        "by its windows": make_reference(columns, SCHEMA, times).bins.count,
        "by no windows": make_reference(columns, SCHEMA).bins.count,
        "of an hour": make_reference(columns, SCHEMA, times, window_length=HOUR).bins.count,
    }
    assert bins == {"given": 20, "by its windows": 20, "by no windows": 50, "of an hour": 10}


def test_the_coarse_profile_is_what_counting_in_the_coarse_grid_gives() -> None:
    rng = np.random.default_rng(5)
    block = np.array([make(rng, 5000) for make in SHAPES.values()])
    schema = make_schema(len(SHAPES), len(SHAPES), 1)
    codes = (rng.zipf(1.3, 5000) % 400).astype(str)
    for rows in (300, 5000):
        kept = np.arange(rows)
        columns = make_columns(block, block, [codes]).take(kept)
        reference = make_reference(columns, schema)
        assert reference.coarse.cells == 64
        edges, counts = reference.coarse.edges32, reference.segment_profiles[EVERYTHING].counts[: len(SHAPES), :64]
        closed = np.zeros(counts.shape, bool)
        closed[:, 1:-1] = edges[:, 1:] == np.nextafter(edges[:, :-1], np.float32(np.inf))
        assert (counts * ~closed).max() <= 0.025 * rows
        shifted = make_columns(block * 1.5 + 1, block * 1.5 + 1, [codes[::-1]])
        for actual in (columns, shifted):
            fine, counted = (profile_rows(grid, actual) for grid in (reference.grid, reference.coarse))
            coarse = coarsen_profile(reference.coarse, reference.coarse_cells, fine)
            np.testing.assert_array_equal(coarse.counts, counted.counts)
            np.testing.assert_array_equal(coarse.extremes, counted.extremes)
        bins = group_cells(reference.coarse, reference.segment_profiles[EVERYTHING].counts, 10)
        normal = np.bincount(bins.of_cell[0], reference.segment_profiles[EVERYTHING].counts[0], 12)[:10] / rows
        assert normal == pytest.approx(np.full(10, 0.1), abs=0.03)


def test_a_model_may_be_monitored_on_its_outputs_only() -> None:
    schema = Schema((), Task.MULTICLASS)
    rng = np.random.default_rng(1)

    def outputs(rows: int) -> Columns:
        codes = rng.integers(0, 3, (rows, 1))
        return Columns(np.empty((rows, 0), np.float32), rng.random((rows, 1)), codes, (("a", "b", "c"),))

    reference = make_reference(outputs(5000), schema)
    assert reference.names == ("__score__", "__prediction__")
    drift = compute_drift(
        reference.grid, reference.bins, reference.profile, profile_rows(reference.grid, outputs(900)),
        outputs=reference.outputs,
    )  # fmt: skip
    assert (drift.status == Status.OK).all()
    assert not drift.drifted.any()


def test_odd_columns_never_stop_a_reference() -> None:
    rows = 500
    rng = np.random.default_rng(1)
    odd = {
        "missing": np.full(rows, np.nan),
        "constant": np.full(rows, 3.0),
        "infinite": np.full(rows, np.inf),
        "half infinite": np.where(np.arange(rows) % 2, -np.inf, 1.0),
        "largest": np.where(np.arange(rows) % 2, 3.4e38, -3.4e38),
        "tiny": np.full(rows, 1e-45),
        "id": np.arange(rows) + 2.0**24,
    }
    schema = Schema(tuple(Feature(name, Kind.NUMERIC) for name in odd))
    columns = make_columns(list(odd.values()))
    for taken in (np.arange(rows), np.arange(1), np.arange(0)):
        reference = make_reference(columns.take(taken), schema, rng.integers(0, DAY, rows)[taken])
        for window in (columns, columns.take(np.arange(1)), columns.take(np.arange(0))):
            drift = compute_drift(
                reference.grid, reference.bins, reference.profile, profile_rows(reference.grid, window)
            )
            assert not drift.drifted[:6].any() or len(taken) == 1
            assert_equal(decode_reference(encode_reference(reference)), reference)
