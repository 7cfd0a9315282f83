"""Files of every format, whole and in chunks."""

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from driftline import files
from driftline.core.errors import InvalidFrame
from driftline.core.finding import Finding, Problem
from driftline.core.frame import infer_schema, pack_frame
from driftline.core.schema import Kind
from driftline.files import read_chunks, read_table

TABLE = pa.table({"x": np.arange(1000.0), "n": np.arange(1000), "c": [f"v{i % 7}" for i in range(1000)]})


def write(path: Path, table: pa.Table) -> Path:
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path, row_group_size=300)
        case ".arrow":
            with pa.ipc.new_file(path, table.schema) as out:
                out.write_table(table, max_chunksize=70)
        case ".arrows":
            with pa.ipc.new_stream(path, table.schema) as out:
                out.write_table(table, max_chunksize=70)
        case ".feather":
            feather.write_feather(table, str(path), compression="lz4", chunksize=300)
        case ".gz":
            with gzip.open(path, "wb") as out:
                pacsv.write_csv(table, out)
        case _:
            pacsv.write_csv(table, path)
    return path


NAMES = ["a.parquet", "a.arrow", "a.arrows", "a.feather", "a.csv", "a.csv.gz", "A.CSV"]


@pytest.mark.parametrize("name", NAMES)
def test_reads_what_was_written(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, TABLE)
    assert read_table(path).cast(TABLE.schema).equals(TABLE)
    assert read_table(str(path), ["c", "x"]).column_names == ["c", "x"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 64, 333, 1000, 5000])
def test_chunks_have_the_rows_asked_for(tmp_path: Path, name: str, rows: int) -> None:
    chunks = list(read_chunks(write(tmp_path / name, TABLE), ["x"], rows=rows))
    assert [len(chunk) for chunk in chunks] == [rows] * (1000 // rows) + [1000 % rows] * (1000 % rows > 0)
    np.testing.assert_array_equal(pa.concat_tables(chunks)["x"].to_numpy(), np.arange(1000.0))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_without_rows_still_has_columns(tmp_path: Path, name: str) -> None:
    chunks = list(read_chunks(write(tmp_path / name, TABLE.slice(0, 0))))
    assert [len(chunk) for chunk in chunks] == [0]
    assert chunks[0].column_names == ["x", "n", "c"]


def test_the_first_bytes_tell_the_format_before_the_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", TABLE).rename(tmp_path / "a.csv")
    assert read_table(path).equals(TABLE)


@pytest.mark.parametrize("name", NAMES)
def test_a_column_that_is_not_there_is_named_at_once(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, TABLE)
    with pytest.raises(InvalidFrame, match="no column 'y'; it has x, n, c") as caught:
        read_chunks(path, ["x", "y"])
    assert caught.value.field == "y"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "no line of column names"),
        ("a.csv", b"\nx,y\n", "no line of column names"),
        ("a.csv", b"1.5,2\n3,4\n", r"first line holds numbers \(1.5,2\)"),
        ("a.csv", b"x,y\n1,2\n3\n", "Expected 2 columns, got 1"),
        ("a.csv", b"x,x\n1,2\n", "'x' is there twice"),
        ("a.csv", b"x,y\n1,\xff\n", "not UTF-8"),
        ("a.csv", b"x;y\n1;\xff\n", "not UTF-8"),
        ("a.csv", "x,y\n1,2\n".encode("utf-16"), "not UTF-8"),
        ("a.parquet", b"x,y\n1,2\n", "does not begin like its name says"),
        ("a.parquet", b"PAR1 and no more", "a.parquet: "),
        ("a.arrow", b"ARROW1\0\0 and no more", "a.arrow: "),
        ("a.arrows", b"\xff\xff\xff\xff\x10\x00\x00\x00", "a.arrows: "),
        ("a.csv.gz", gzip.compress(b"x\n1\n", mtime=0)[:-9], "a.csv.gz: "),
        ("a.xlsx", b"PK\x03\x04", "unknown format; driftline reads Parquet"),
        ("a", b"x,y\n", "unknown format"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidFrame, match=message):
        read_chunks(path)


def test_no_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InvalidFrame, match="there is no such file"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(InvalidFrame, match="is a directory; name one file"):
        read_table(tmp_path)


def test_a_damaged_end_is_told_while_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrows", TABLE)
    path.write_bytes(path.read_bytes()[:-4000])
    chunks = read_chunks(path, rows=64)
    with pytest.raises(InvalidFrame, match=r"a\.arrows: "):
        list(chunks)


@pytest.fixture(params=["whole", "stream"])
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BLOCK", 200)
    if request.param == "stream":
        monkeypatch.setattr(files, "_WHOLE", 0)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("first", "later", "expected"),
    [
        ("1", "2.5", pa.float64()),
        ("1", "99999999999999999999", pa.float64()),
        ("1", "broken", pa.string()),
        ("1.5", 'it\'s "so"', pa.string()),
        ("", "7", pa.int64()),
        ("", "7.5", pa.float64()),
        ("", "word", pa.string()),
        ("true", "2", pa.string()),
        ("2013-01-01", "2013-01-01 05:00:00", pa.timestamp("s")),
        ("2013-01-01 05:00:00", "2013-01-01 05:00:00.5", pa.timestamp("ns")),
        ("2013-01-01", "never", pa.string()),
        ("007", "agent", pa.string()),
    ],
)
def test_csv_columns_whose_type_changes_have_one_type(
    tmp_path: Path, first: str, later: str, expected: pa.DataType
) -> None:
    quoted = '"' + later.replace('"', '""') + '"'
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + f"{first},1\n" * 200 + f"{quoted},1\n" + f"{first},x\n" * 2)
    chunks = list(read_chunks(path, rows=50))
    assert {chunk.schema.field("x").type for chunk in chunks} == {expected}
    assert {chunk.schema.field("y").type for chunk in chunks} == {pa.string()}
    table = pa.concat_tables(chunks)
    assert len(table) == 203
    if expected == pa.string():
        assert table["x"][0].as_py() == (first or None)
        assert table["x"][200].as_py() == later


@pytest.mark.usefixtures("small_blocks")
def test_strings_among_the_numbers_of_a_csv_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x\n" + "1.5\n" * 300 + "broken\n" * 3 + "NA\n" + "2\n" * 100)
    table = read_table(path)
    schema = infer_schema(table)
    assert schema.features[0].kind is Kind.NUMERIC
    packed = pack_frame(table, schema)
    assert packed.findings == (Finding("x", Problem.NOT_A_NUMBER, 3),)
    assert np.isnan(packed.columns.float32).sum() == 4
    assert math.isclose(float(np.nansum(packed.columns.float32)), 650)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_csv_in_small_blocks(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, TABLE)
    assert read_table(path).cast(TABLE.schema).equals(TABLE)
    assert [chunk.shape for chunk in read_chunks(path, ["c"], rows=600)] == [(600, 1), (400, 1)]


@pytest.mark.usefixtures("small_blocks")
def test_a_csv_that_stops_being_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"x\n" + b"word\n" * 200 + b"\xff\n")
    with pytest.raises(InvalidFrame, match="not UTF-8"):
        read_chunks(path)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_delimiters_and_byte_order_mark(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"\ufeffx{delimiter}y\n1{delimiter}a\n", encoding="utf-8")
    assert read_table(path).to_pydict() == {"x": [1], "y": ["a"]}


@pytest.mark.usefixtures("small_blocks")
def test_csv_with_missing_values_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('x,name\n1,"a,b"\n,"two\nlines"\nNaN,\n')
    assert read_table(path).to_pydict() == {"x": [1, None, None], "name": ["a,b", "two\nlines", None]}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_where_the_comma_separates_nothing(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "a.csv"
    rows = [["amount", "n", "name"], *[["28,5", "3", "a,b"]] * 100, ["7", "4", "c"], ["-1,25", "2,5", "d"]]
    path.write_text("\n".join(delimiter.join(row) for row in rows) + "\n")
    table = read_table(path)
    assert table.schema.types == [pa.float64(), pa.float64(), pa.string()]
    assert table["amount"].to_pylist() == [28.5] * 100 + [7, -1.25]
    assert table["n"].to_pylist()[-2:] == [4, 2.5]
    assert table["name"][0].as_py() == "a,b"


def test_decimal_points_stay_where_they_are_the_rule(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x;y;tags\n1.5;2.5;1,2\n2.5;3;2,3\n")
    assert read_table(path).to_pydict() == {"x": [1.5, 2.5], "y": [2.5, 3.0], "tags": ["1,2", "2,3"]}


@pytest.mark.usefixtures("small_blocks")
def test_digits_too_long_for_a_number_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    codes = [f"{10**21 + i}" for i in range(300)]
    path.write_text("code,big\n" + "".join(f"{code},{i}e25\n" for i, code in enumerate(codes)))
    table = read_table(path)
    assert table["code"].to_pylist() == codes
    assert table.schema.field("big").type == pa.float64()


@pytest.mark.parametrize("whole", [True, False])
def test_a_csv_has_text_where_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    if not whole:
        monkeypatch.setattr(files, "_WHOLE", 10)
    path = tmp_path / "a.csv"
    path.write_text("id,amount\n007,1\n1.0,2\ntrue,3\n")
    (table,) = read_chunks(path, texts=("id", "not there"))
    assert table.to_pydict() == {"id": ["007", "1.0", "true"], "amount": [1, 2, 3]}
    parquet = write(tmp_path / "a.parquet", TABLE)
    assert next(read_chunks(parquet, texts=("n",)))["n"].type == pa.int64()  # other formats have types


def test_a_csv_of_one_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n2\n")
    assert read_table(path).to_pydict() == {"x": [1, 2]}


def test_dictionaries_survive(tmp_path: Path) -> None:
    table = pa.table({"c": TABLE["c"].dictionary_encode()})
    for name in ("a.parquet", "a.arrow"):
        read = read_table(write(tmp_path / name, table))
        assert pa.types.is_dictionary(read["c"].type)
        assert read["c"].to_pylist() == TABLE["c"].to_pylist()


def test_chunks_do_not_read_ahead_of_what_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.arrow", TABLE)
    given: list[Any] = []
    real = files._regroup

    def counted(batches: Any, schema: Any, rows: int) -> Any:
        return real((given.append(batch) or batch for batch in batches), schema, rows)

    monkeypatch.setattr(files, "_regroup", counted)
    chunks = read_chunks(path, rows=70)
    assert len(given) == 1
    next(chunks)
    next(chunks)
    assert len(given) == 2


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows"])
def test_arrow_data_is_validated_before_a_value_is_looked_at(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, pa.table({"c": ["x" * 4321, "y" * 1234]}))
    offsets, damaged = struct.pack("<3i", 0, 4321, 5555), struct.pack("<3i", 0, 10**9, 5555)
    assert path.read_bytes().count(offsets) == 1
    path.write_bytes(path.read_bytes().replace(offsets, damaged))
    with pytest.raises(InvalidFrame, match=rf"{name}: .*offset"):
        read_table(path)


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrows", pa.table({"c": pa.array([1], pa.timestamp("us", "Europe/Berlin"))}))
    path.write_bytes(path.read_bytes().replace(b"Europe", b"\xffurope"))
    with pytest.raises(InvalidFrame, match=r"a\.arrows: .*utf-8"):
        read_table(path)


def test_codes_under_a_null_may_point_anywhere(tmp_path: Path) -> None:
    places = pa.py_buffer(struct.pack("<2i", 0, 10**9))
    codes = pa.Array.from_buffers(pa.int32(), 2, [pa.py_buffer(b"\x01"), places])
    chunks = [pa.DictionaryArray.from_arrays(codes, pa.array([text]), safe=False) for text in ("DE", "FR")]
    table = read_table(write(tmp_path / "a.arrows", pa.table({"c": pa.chunked_array(chunks)})))
    assert table["c"].to_pylist() == ["DE", None, "FR", None]
    packed = pack_frame(table, infer_schema(table))
    assert packed.columns.codes[:, 0].tolist() == [0, 2, 1, 2]


@pytest.mark.parametrize("compression", ["uncompressed", "zstd"])
def test_what_polars_writes(tmp_path: Path, compression: Any) -> None:
    frame = pl.DataFrame({"x": [1.5, None], "c": ["a", None], "d": pl.Series(["b", None], dtype=pl.Categorical)})
    path = tmp_path / "a.arrow"
    frame.write_ipc(path, compression=compression)
    assert read_table(path).to_pydict() == frame.to_dict(as_series=False)
