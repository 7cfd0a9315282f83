"""Rates of sampling: their history, and the smallest N by which a label's prediction may have been kept."""

import pytest
from psycopg import Connection

from driftline.core.window import DAY, MICROSECONDS
from driftline.store.models import create_model, update_model
from driftline.store.sampling import (
    LABEL_DELAY_S,
    Rate,
    announce_n,
    forget_rates,
    list_rates,
    note_weights,
    read_label_n,
    read_label_ns,
)
from driftline.store.versions import create_version, get_version

HOUR = 3600 * MICROSECONDS
MINUTE = 60 * MICROSECONDS
FRAUD = ("fraud", "3")


@pytest.fixture
def now(conn: Connection) -> int:
    """A clock, after version 3 of fraud was registered with N = 100."""
    create_model(conn, "fraud", window_length=HOUR)
    return create_version(conn, *FRAUD, sampling_n=100).created_at


def move_rates(conn: Connection, micros: int) -> None:
    """Let all that has happened so far have happened earlier."""
    conn.execute("UPDATE sampling_rates SET since = since - make_interval(secs => %s)", (micros / MICROSECONDS,))
    conn.execute(
        "UPDATE sampling_weights SET seen_at = seen_at - make_interval(secs => %s)", (micros / MICROSECONDS,)
    )


def test_the_history_begins_with_the_version(conn: Connection, now: int) -> None:
    assert list_rates(conn, *FRAUD) == [Rate(now, 100)]
    assert read_label_n(conn, *FRAUD, now) == 100


def test_only_changes_are_history(conn: Connection, now: int) -> None:
    assert announce_n(conn, *FRAUD, 250)
    assert not announce_n(conn, *FRAUD, 250)
    assert announce_n(conn, *FRAUD, 100)
    rates = list_rates(conn, *FRAUD)
    assert [rate.n for rate in rates] == [100, 250, 100]
    assert rates == sorted(rates, key=lambda rate: rate.since)
    assert get_version(conn, *FRAUD).sampling_n == 100
    assert not announce_n(conn, "fraud", "4", 10)


def test_a_smaller_n_counts_from_its_first_moment(conn: Connection, now: int) -> None:
    announce_n(conn, *FRAUD, 7)
    assert read_label_n(conn, *FRAUD, now) == 7


def test_a_replaced_n_counts_for_the_delay_and_ten_minutes(conn: Connection, now: int) -> None:
    announce_n(conn, *FRAUD, 400)
    replaced = list_rates(conn, *FRAUD)[-1].since
    last = replaced + LABEL_DELAY_S * MICROSECONDS + 10 * MINUTE
    assert read_label_n(conn, *FRAUD, last) == 100
    assert read_label_n(conn, *FRAUD, last + 1) == 400


def test_the_delay_is_the_models(conn: Connection, now: int) -> None:
    update_model(conn, "fraud", {"settings": {"max_label_delay_s": 60}})
    announce_n(conn, *FRAUD, 400)
    replaced = list_rates(conn, *FRAUD)[-1].since
    assert read_label_n(conn, *FRAUD, replaced + 11 * MINUTE) == 100
    assert read_label_n(conn, *FRAUD, replaced + 11 * MINUTE + 1) == 400


def test_an_n_long_in_force_counts_while_it_may_still_wait(conn: Connection, now: int) -> None:
    """What matters is when an N ended, not when it began."""
    move_rates(conn, 300 * DAY)
    announce_n(conn, *FRAUD, 400)
    assert read_label_n(conn, *FRAUD, now + 29 * DAY) == 100


def test_weights_seen_count_for_the_delay(conn: Connection, now: int) -> None:
    note_weights(conn, {FRAUD: 1})
    assert read_label_n(conn, *FRAUD, now + 30 * DAY) == 1
    assert read_label_n(conn, *FRAUD, now + 31 * DAY) == 100
    move_rates(conn, 31 * DAY)
    assert read_label_n(conn, *FRAUD, now) == 100
    note_weights(conn, {FRAUD: 5})
    note_weights(conn, {FRAUD: 5})
    assert read_label_n(conn, *FRAUD, now) == 5


def test_labels_of_no_version_are_tested_by_the_smallest_of_all(conn: Connection, now: int) -> None:
    create_version(conn, "fraud", "4", sampling_n=30)
    create_model(conn, "churn", window_length=HOUR)
    assert read_label_ns(conn, ["fraud", "churn", "no"], now) == {"fraud": 30, "churn": 1}
    assert read_label_n(conn, *FRAUD, now) == 100
    note_weights(conn, {FRAUD: 12, ("fraud", "4"): 20, ("gone", "1"): 1})
    assert read_label_ns(conn, ["fraud"], now) == {"fraud": 12}
    assert read_label_n(conn, "fraud", "4", now) == 20


def test_a_version_that_is_gone_takes_its_history_along(conn: Connection, now: int) -> None:
    note_weights(conn, {FRAUD: 1})
    conn.execute("DELETE FROM model_versions")
    assert list_rates(conn, *FRAUD) == []
    create_version(conn, *FRAUD, sampling_n=9)
    assert read_label_n(conn, *FRAUD, now) == 9


def test_only_weights_below_the_n_in_force_are_noted(conn: Connection, now: int) -> None:
    note_weights(conn, {FRAUD: 100})
    note_weights(conn, {FRAUD: 250})
    assert conn.execute("SELECT count(*) FROM sampling_weights").fetchone() == (0,)


def test_what_no_label_is_tested_by_is_forgotten(conn: Connection, now: int) -> None:
    note_weights(conn, {FRAUD: 5})
    announce_n(conn, *FRAUD, 200)
    move_rates(conn, 30 * DAY)
    announce_n(conn, *FRAUD, 300)
    forget_rates(conn, now - 10 * DAY)
    assert [rate.n for rate in list_rates(conn, *FRAUD)] == [200, 300]
    assert conn.execute("SELECT count(*) FROM sampling_weights").fetchone() == (0,)
    forget_rates(conn, now + DAY)
    assert [rate.n for rate in list_rates(conn, *FRAUD)] == [300]  # the one in force
