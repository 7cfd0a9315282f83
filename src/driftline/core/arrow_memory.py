"""Arrow data from elsewhere: valid, harmless and of bounded size before a value is looked at."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from driftline.core.errors import PayloadTooLarge


def make_safe(table: pa.Table, max_bytes: int) -> pa.Table:
    """Validate a table, and make what validation leaves open harmless.

    What lies under a null is not validated, yet some of Arrow's functions look there: a code or a string view
    that points anywhere would end the process. And views can show the same bytes many times, so they become
    strings, once their size is known. Raises PayloadTooLarge beyond `max_bytes`, for invalid data
    pyarrow.ArrowInvalid, and UnicodeDecodeError for names that are no UTF-8.
    """
    for field in table.schema:
        getattr(getattr(field.type, "value_type", field.type), "tz", field.name)
    table.validate(full=True)
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if pa.types.is_dictionary(field.type):
            texts = pa.large_string() if pa.types.is_string_view(field.type.value_type) else field.type.value_type
            chunks = [_safe_dictionary(chunk, max_bytes) for chunk in column.chunks]
            table = table.set_column(place, field.name, pa.chunked_array(chunks, pa.dictionary(pa.int32(), texts)))
        elif pa.types.is_string_view(field.type):
            check_size(sum(_view_sizes(chunk).sum() for chunk in column.chunks), max_bytes)
            strings = [_strings_of_views(chunk) for chunk in column.chunks]
            table = table.set_column(place, field.name, pa.chunked_array(strings, pa.large_string()))
    return table


def check_size(size: int, max_bytes: int) -> None:
    """Refuse data that takes more memory than allowed; PayloadTooLarge."""
    if size > max_bytes:
        raise PayloadTooLarge(
            f"the data takes {size:,} bytes uncompressed; send at most {max_bytes:,} at a time", field="body"
        )


def _safe_dictionary(array: pa.DictionaryArray, max_bytes: int) -> pa.DictionaryArray:
    texts = array.dictionary
    if pa.types.is_string_view(texts.type):
        check_size(_view_sizes(texts).sum(), max_bytes)
        texts = _strings_of_views(texts)
    indices = array.indices
    codes = _values(indices, np.dtype(indices.type.to_pandas_dtype()))
    missing = np.asarray(indices.is_null())
    return pa.DictionaryArray.from_arrays(
        pa.array(np.where(missing, 0, codes).astype(np.int32), mask=missing), texts
    )


def _view_sizes(views: pa.Array) -> NDArray[np.int64]:
    """Give the length of each string, 0 under a null."""
    lengths = _values(views, np.dtype((np.int32, 4)))[:, 0]
    return np.where(np.asarray(views.is_valid()), lengths, 0).astype(np.int64)


def _strings_of_views(views: pa.Array) -> pa.Array:
    places = _values(views, np.dtype((np.int32, 4))).copy()
    places[np.asarray(views.is_null())] = 0
    missing = pa.py_buffer(np.packbits(np.asarray(views.is_valid()), bitorder="little"))
    buffers = [missing, pa.py_buffer(places), *views.buffers()[2:]]
    return pa.Array.from_buffers(views.type, len(views), buffers).cast(pa.large_string())


def _values(array: pa.Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, len(array), offset=array.offset * dtype.itemsize)
