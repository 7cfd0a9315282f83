"""Arrow arrays of numbers as NumPy ones: what pyarrow's own conversion gives, without loading pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from driftline.core.column import arrow_values

TYPES = [pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()]


def make(kind: pa.DataType, values: list[int | None]) -> pa.Array:
    convert = np.float16 if kind == pa.float16() else int
    return pa.array([None if value is None else convert(value) for value in values], kind)


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("values", [[1, 2, 3], [1, None, 3], [None, None], []], ids=str)
def test_values_are_those_of_pyarrow(kind, values):
    array = make(kind, values)
    assert_same(arrow_values(array), array.to_numpy(zero_copy_only=False))
    assert_same(arrow_values(array[1:]), array[1:].to_numpy(zero_copy_only=False))
    for chunks in ([array], [array, array[1:]], []):
        chunked = pa.chunked_array(chunks, kind)
        assert_same(arrow_values(chunked), chunked.to_numpy())


def assert_same(found, expected):
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype or not len(found)


def test_nulls_become_what_is_asked_for():
    array = pa.array([2**60 + 1, None, 3])
    assert arrow_values(array, -1).tolist() == [2**60 + 1, -1, 3]
    assert arrow_values(array[1:], -1).tolist() == [-1, 3]


def test_numbers_without_nulls_are_not_copied():
    array = pa.array([1.0, 2.0])
    assert arrow_values(array).ctypes.data == array.buffers()[1].address


def test_pandas_is_not_loaded(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b,c\n1,x,2025-01-01 00:00:00\n,,\n3.5,y,2025-01-02 00:00:00\n")
    code = (
        "import sys\nfrom driftline.core.frame import infer_schema, pack_frame\n"
        "from driftline.files import read_table\n"
        f"table = read_table({str(path)!r})\npack_frame(table, infer_schema(table))\n"
        "print('pandas' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
