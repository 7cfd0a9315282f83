"""Dead letters: anything can become one, and nothing about it may fail."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection

from driftline.core.window import MICROSECONDS
from driftline.store.database import connect
from driftline.store.dead_letters import (
    LetterCount,
    LetterFilter,
    Refused,
    add_dead_letters,
    count_dead_letters,
    get_dead_letter,
    keep_refused,
    list_dead_letters,
    list_letter_ids,
    mark_replayed,
    summarise_dead_letters,
)


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    """Without a pool: its threads draw random numbers, which hypothesis refuses beside its own."""
    with connect(database_url) as opened, opened.transaction():
        yield opened


def refused(number: int, **changes: str) -> Refused:
    return Refused(
        **{  # type: ignore[arg-type]
            "topic": "prediction_samples",
            "reason_code": "future",
            "reason": f"event {number}",
            "payload": b"\x00%d" % number,
            "model_id": "fraud",
            "model_version": "3",
            "prediction_id": str(number),
            **changes,
        }
    )


def test_newest_first_in_pages(conn: Connection) -> None:
    add_dead_letters(conn, [refused(i) for i in range(5)])
    first = list_dead_letters(conn, limit=2)
    assert [letter.reason for letter in first] == ["event 4", "event 3"]
    rest = list_dead_letters(conn, before=first[-1].id)
    assert [letter.reason for letter in rest] == ["event 2", "event 1", "event 0"]
    letter = rest[-1]
    assert (letter.payload, letter.prediction_id, letter.model_version) == (b"\x000", "0", "3")
    assert (letter.topic, letter.reason_code, letter.replayed_at) == ("prediction_samples", "future", None)
    add_dead_letters(conn, [])


def test_narrowed_and_counted(conn: Connection) -> None:
    add_dead_letters(
        conn,
        [refused(0), refused(1), refused(2, reason_code="malformed"), Refused("t", "malformed", "no model", b"")],
    )
    for which, expected in (
        (LetterFilter(model_id="fraud", reason_code="future"), ["event 1", "event 0"]),
        (LetterFilter(topic="t"), ["no model"]),
        (LetterFilter(replayed=True), []),
        (LetterFilter(since=2 * 10**15), []),
    ):
        assert [letter.reason for letter in list_dead_letters(conn, which)] == expected
        assert list_letter_ids(conn, which) == [letter.id for letter in list_dead_letters(conn, which)][::-1]
    (letter, *_) = list_dead_letters(conn)
    counts = {("fraud", "future"): 2, ("fraud", "malformed"): 1, (None, "malformed"): 1}
    assert count_dead_letters(conn, since=letter.received_at - MICROSECONDS) == counts
    assert count_dead_letters(conn, since=letter.received_at + MICROSECONDS) == {}


def test_replayed(conn: Connection) -> None:
    add_dead_letters(conn, [refused(0), refused(1)])
    newest, oldest = list_dead_letters(conn)
    mark_replayed(conn, [oldest.id])
    assert [letter.replayed_at is None for letter in list_dead_letters(conn)] == [True, False]
    assert newest.id > oldest.id
    assert list_letter_ids(conn, LetterFilter(replayed=False)) == [newest.id]
    assert list_letter_ids(conn, LetterFilter(replayed=True), after=oldest.id) == []


def test_summarised(conn: Connection) -> None:
    add_dead_letters(conn, [refused(0), Refused("t", "bad", "why", b"", rows=7), refused(1)])
    newest, other, _ = list_dead_letters(conn)
    mark_replayed(conn, [newest.id])
    assert summarise_dead_letters(conn) == [
        LetterCount("t", None, "bad", 1, 7, 0, other.received_at),
        LetterCount("prediction_samples", "fraud", "future", 2, 2, 1, newest.received_at),
    ]
    assert len(summarise_dead_letters(conn, LetterFilter(model_id="fraud"))) == 1


def test_read_alone_and_refused_again(conn: Connection) -> None:
    add_dead_letters(conn, [refused(0, payload=b"0123456789")])  # type: ignore[arg-type]
    (listed,) = list_dead_letters(conn, payload_bytes=4)
    assert (listed.payload, listed.size) == (b"0123", 10)
    keep_refused(conn, listed.id, "unknown_version", "there is no version 3\x00")
    letter = get_dead_letter(conn, listed.id, lock=True)
    assert letter is not None
    assert (letter.payload, letter.reason_code, letter.reason) == (
        b"0123456789",
        "unknown_version",
        "there is no version 3\ufffd",
    )
    assert get_dead_letter(conn, listed.id + 1) is None


def test_a_record_written_again_is_kept_once(conn: Connection) -> None:
    def of_record(offset: int, payload: bytes, code: str = "bad") -> Refused:
        headers = {"model": "fraud", "odd\x00": "\ud800"}
        return Refused("t", code, "why", payload, headers=headers, record_key=b"k", partition=1, log_offset=offset)

    add_dead_letters(conn, [of_record(5, b"a"), of_record(5, b"b"), of_record(6, b"a")])
    add_dead_letters(conn, [of_record(5, b"a"), of_record(6, b"a", code="worse")])
    letters = list_dead_letters(conn)
    assert [(each.log_offset, each.payload, each.reason_code) for each in letters] == [
        (6, b"a", "bad"),
        (5, b"b", "bad"),
        (5, b"a", "bad"),
    ]
    assert (letters[0].partition, letters[0].record_key) == (1, b"k")
    assert letters[0].headers == {"model": "fraud", "odd\ufffd": "?"}


def test_names_without_end_are_cut(conn: Connection) -> None:
    endless = "".join(map(chr, range(0x4E00, 0x9E00)))  # nothing that compresses to fit an index
    letter = Refused("t", "bad", endless, b"", endless, endless, endless, headers={endless: endless})
    add_dead_letters(conn, [letter])
    (kept,) = list_dead_letters(conn)
    assert (kept.model_id, kept.prediction_id) == (endless[:256], endless[:1024])
    assert kept.headers == {endless[:256]: endless[:1024]}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec=None)), payload=st.binary())
def test_anything_can_become_one(conn: Connection, text: str, payload: bytes) -> None:
    add_dead_letters(
        conn,
        [Refused("t", "malformed", text, payload, model_id=text, model_version=text, prediction_id=text)],
    )
    assert list_dead_letters(conn, limit=1)[0].payload == payload


def test_what_utf8_cannot_hold_is_mended(conn: Connection) -> None:
    add_dead_letters(conn, [refused(0, reason="a\x00b\ud800c")])
    assert list_dead_letters(conn)[0].reason == "a\ufffdb?c"


def test_a_letter_of_several_rows_counts_them(conn: Connection) -> None:
    add_dead_letters(conn, [refused(0), Refused("t", "future", "two", b"{}\n{}", "fraud", "3", rows=2)])
    assert [letter.rows for letter in list_dead_letters(conn)] == [2, 1]
    assert count_dead_letters(conn, since=0) == {("fraud", "future"): 3}
