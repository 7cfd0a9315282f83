"""Clocks of a relay: how far a topic was handed over, as far as the output of it has been consumed."""

from psycopg import Connection

from driftline.store.clocks import (
    RelayClock,
    advance_relay_clock,
    prune_relay_clocks,
    read_relay_clocks,
)


def advance(conn: Connection, append_time: int, output_time: int, *, partition: int = 0, offset: int = 0) -> None:
    clock = RelayClock(append_time, offset or append_time)
    advance_relay_clock(conn, "t", partition, clock, output_time=output_time)


def test_only_consumed_output_counts(conn: Connection) -> None:
    assert read_relay_clocks(conn, "t") == {}
    for append_time, output_time in ((10, 15), (20, 25), (30, 35)):
        advance(conn, append_time, output_time)
    advance(conn, 12, 40, partition=1)
    found = {
        until: read_relay_clocks(conn, "t", consumed_until=until)[0] for until in (14, 15, 24, 25, 34, 35, 1_000)
    }
    assert [clock and clock.append_time for clock in found.values()] == [None, 10, 10, 20, 20, 30, 30]
    assert read_relay_clocks(conn, "t", consumed_until=35) == {0: RelayClock(30, 30), 1: None}
    assert read_relay_clocks(conn, "t") == {0: RelayClock(30, 30), 1: RelayClock(12, 12)}
    assert read_relay_clocks(conn, "other") == {}


def test_time_without_output_moves_the_newest_clock(conn: Connection) -> None:
    advance(conn, 10, 15, offset=3)
    advance(conn, 60, 15, offset=3)
    advance(conn, 50, 15, offset=3)
    assert read_relay_clocks(conn, "t", consumed_until=15) == {0: RelayClock(60, 3)}


def test_of_two_workers_each_tells_the_truth(conn: Connection) -> None:
    """One that was replaced may be ahead with what it knows: the larger counts."""
    advance(conn, 100, 50)
    advance(conn, 90, 60)
    assert read_relay_clocks(conn, "t", consumed_until=60) == {0: RelayClock(100, 100)}
    prune_relay_clocks(conn, "t", consumed_until=60)
    assert read_relay_clocks(conn, "t", consumed_until=60) == {0: RelayClock(100, 100)}


def test_pruning_changes_no_answer(conn: Connection) -> None:
    for step in range(10):
        advance(conn, 10 * step, 10 * step + 5)
        advance(conn, 10 * step, 10 * step + 7, partition=1)
    later = range(66, 120)
    before = [read_relay_clocks(conn, "t", consumed_until=until) for until in later]
    prune_relay_clocks(conn, "t", consumed_until=66)
    assert [read_relay_clocks(conn, "t", consumed_until=until) for until in later] == before
    assert conn.execute("SELECT partition, count(*) FROM relay_clocks GROUP BY 1 ORDER BY 1").fetchall() == [
        (0, 4), (1, 5),
    ]  # fmt: skip
