"""Pools: without overlap, each window in exactly one, never longer than a day."""

from hypothesis import given
from hypothesis import strategies as st

from driftline.core.pooling import Pool, Pooled, pool_window
from driftline.core.window import DAY, Window

HOUR = 3_600_000_000
MIN_SAMPLES = 500


def run(windows: list[Window], rows: list[float]) -> list[Pooled]:
    """Pool windows in order, each starting from what the one before left."""
    pooled: list[Pooled] = []
    for window, effective_rows in zip(windows, rows, strict=True):
        carry = pooled[-1].carry if pooled else None
        pooled.append(pool_window(carry, window, effective_rows, MIN_SAMPLES))
    return pooled


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Window], list[float]]:
    """Windows of one length in order of time, some of them without traffic, with their effective rows."""
    length = draw(st.sampled_from([HOUR // 4, HOUR, 6 * HOUR, 23 * HOUR, DAY, 25 * HOUR]))
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 5, 100]), max_size=60))
    starts = [sum(gaps[: i + 1]) + i for i in range(len(gaps))]
    windows = [Window(start * length, (start + 1) * length) for start in starts]
    return windows, draw(st.lists(st.floats(0, 700), min_size=len(gaps), max_size=len(gaps)))


@given(histories())
def test_laws(history: tuple[list[Window], list[float]]) -> None:
    windows, rows = history
    pooled = run(windows, rows)
    pools: dict[int, list[int]] = {}
    for i, entry in enumerate(pooled):
        pools.setdefault(entry.pool.start, []).append(i)
    for start, members in pools.items():
        last = pooled[members[-1]]
        assert members == list(range(members[0], members[-1] + 1))  # every window in one pool, without overlap
        assert start == windows[members[0]].start
        assert [pooled[i].pool.end for i in members] == [windows[i].end for i in members]
        assert [pooled[i].pool.windows for i in members] == list(range(1, len(members) + 1))
        assert abs(last.pool.effective_rows - sum(rows[i] for i in members)) < 1e-6
        assert last.pool.end - start <= DAY or len(members) == 1
        assert not any(pooled[i].judged for i in members[:-1])  # one verdict, by the last window
    for entry in pooled:
        assert entry.judged == (entry.pool.effective_rows >= MIN_SAMPLES)
        assert entry.carry in (None, entry.pool)
        if entry.judged:
            assert entry.carry is None


def test_busy_windows_are_judged_alone() -> None:
    windows = [Window(i * HOUR, (i + 1) * HOUR) for i in range(3)]
    assert [entry.judged for entry in run(windows, [500, 900, 501])] == [True] * 3


def test_quiet_windows_are_judged_together() -> None:
    windows = [Window(i * HOUR, (i + 1) * HOUR) for i in range(5)]
    pooled = run(windows, [200, 200, 200, 200, 300])
    assert [entry.judged for entry in pooled] == [False, False, True, False, True]
    assert pooled[2].pool == Pool(0, 3 * HOUR, 600, 3)
    assert pooled[4].pool == Pool(3 * HOUR, 5 * HOUR, 500, 2)


def test_after_a_day_a_pool_gives_up_and_the_next_begins() -> None:
    windows = [Window(i * HOUR, (i + 1) * HOUR) for i in range(26)]
    pooled = run(windows, [10.0] * 26)
    assert not any(entry.judged for entry in pooled)
    assert pooled[23].carry is None
    assert pooled[23].pool.windows == 24
    assert pooled[24].pool == Pool(24 * HOUR, 25 * HOUR, 10, 1)


def test_what_lies_a_day_back_is_not_pooled_with_today() -> None:
    windows = [Window(0, HOUR), Window(24 * HOUR, 25 * HOUR)]
    first, second = run(windows, [499, 499])
    assert first.carry is not None
    assert second.pool.start == 24 * HOUR


def test_a_long_day_stays_alone() -> None:
    pooled = run([Window(0, 25 * HOUR), Window(25 * HOUR, 48 * HOUR)], [100, 600])
    assert pooled[0].carry is None
    assert (pooled[1].judged, pooled[1].pool.windows) == (True, 1)
