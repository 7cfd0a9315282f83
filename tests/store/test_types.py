"""How values travel: NumPy arrays and microseconds, exactly, in both result formats."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from psycopg import Connection

from driftline.core.moment import NO_TIME, from_micros, to_micros
from driftline.store.database import connect

DTYPES = ("float32", "float64", "int64", "int32", "int16", "bool")
SQL_TYPE = {
    "float32": "real[]", "float64": "double precision[]", "int64": "bigint[]", "int32": "integer[]",
    "int16": "smallint[]", "bool": "boolean[]",
}  # fmt: skip


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    """Without a pool: its threads draw random numbers, which hypothesis refuses beside its own."""
    with connect(database_url) as opened, opened.transaction():
        yield opened


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_arrays_travel_exactly(conn: Connection, data: st.DataObject, dtype: str) -> None:
    array = data.draw(arrays(dtype, st.integers(0, 40)))
    row = conn.cursor(binary=True).execute("SELECT %s, pg_typeof(%s)::text", (array, array)).fetchone()
    assert row is not None
    assert row[1] == SQL_TYPE[dtype]
    assert row[0].dtype == array.dtype
    np.testing.assert_array_equal(row[0], array)


def test_a_strided_array_travels(conn: Connection) -> None:
    array = np.arange(20, dtype=np.float32).reshape(4, 5)[:, 2]
    (back,) = conn.cursor(binary=True).execute("SELECT %s", (array,)).fetchone() or (None,)
    np.testing.assert_array_equal(back, [2, 7, 12, 17])


def test_arrays_of_times_are_microseconds(conn: Connection) -> None:
    micros = np.array([to_micros(datetime(2026, 11, 23, tzinfo=UTC)) + 1, -1, NO_TIME])
    row = (
        conn.cursor(binary=True).execute("SELECT %(t)s, (%(t)s)[3]::text", {"t": micros.view("M8[us]")}).fetchone()
    )
    assert row is not None
    assert (row[0].tolist(), row[1]) == (micros.tolist(), "-infinity")


@pytest.mark.parametrize(("kind", "width"), [("uuid", 16), ("tid", 6)])
def test_arrays_of_bytes_keep_every_zero(conn: Connection, kind: str, width: int) -> None:
    content = bytes(range(1, width + 1)) + b"\0" * width + b"\1" + b"\0" * (width - 1)
    row = conn.cursor(binary=True).execute(
        "SELECT %(a)s, pg_typeof(%(a)s)::text", {"a": np.frombuffer(content, f"S{width}")}
    ).fetchone()  # fmt: skip
    assert row is not None
    assert (row[0].tobytes(), row[1]) == (content, f"{kind}[]")


def test_an_array_without_a_sql_type_is_refused(conn: Connection) -> None:
    with pytest.raises(psycopg.ProgrammingError, match="complex128"):
        conn.execute("SELECT %s", (np.zeros(2, np.complex128),))  # fails before anything is sent
    with pytest.raises(psycopg.ProgrammingError, match="2 dimensions"):
        conn.execute("SELECT %s", (np.zeros((2, 2)),))


def test_an_array_with_null_is_refused(conn: Connection) -> None:
    with pytest.raises(psycopg.DataError, match="NULL"):
        conn.cursor(binary=True).execute("SELECT ARRAY[1, NULL]::real[]").fetchone()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 23, 12, 0, 0, 123_457, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        datetime(9999, 12, 30, tzinfo=UTC),
    ],
)
def test_times_are_microseconds(conn: Connection, binary: bool, zone: str, moment: datetime) -> None:
    conn.execute("SELECT set_config('timezone', %s, true)", (zone,))
    micros = to_micros(moment)
    row = conn.cursor(binary=binary).execute("SELECT %s, NULL::timestamptz", (from_micros(micros),)).fetchone()
    assert row == (micros, None)
