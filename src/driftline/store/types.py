"""How values travel between PostgreSQL and Python.

`timestamptz` is read as int microseconds since the epoch (write `from_micros(time)`). One-dimensional NumPy
arrays are written as SQL arrays and, in binary results, read back as NumPy arrays, without a loop over elements.
Arrays of times are int64 microseconds as well (write `times.view("M8[us]")`), those of uuid S16 and of tid S6.
"""

from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import DataError, ProgrammingError, pq
from psycopg.abc import AdaptContext, Buffer, PyFormat
from psycopg.adapt import AdaptersMap, Dumper, Loader
from psycopg.types.datetime import TimestamptzLoader

from driftline.core.moment import NO_TIME, to_micros

_POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01, in microseconds since 1970


class _MicrosTextLoader(TimestamptzLoader):
    def load(self, data: Buffer) -> int:  # type: ignore[override]
        return to_micros(super().load(data))


class _MicrosBinaryLoader(Loader):
    format = pq.Format.BINARY

    def load(self, data: Buffer) -> int:
        return int.from_bytes(data, "big", signed=True) + _POSTGRES_EPOCH


def _array_oid(element: str) -> int:
    return psycopg.postgres.types[element].array_oid


def _element_oid(element: str) -> int:
    return psycopg.postgres.types[element].oid


_ELEMENTS: dict[np.dtype[Any], tuple[str, str]] = {
    np.dtype(np.float32): ("float4", ">f4"),
    np.dtype(np.float64): ("float8", ">f8"),
    np.dtype(np.int64): ("int8", ">i8"),
    np.dtype(np.int32): ("int4", ">i4"),
    np.dtype(np.int16): ("int2", ">i2"),
    np.dtype(np.bool_): ("bool", "?"),
    np.dtype("M8[us]"): ("timestamptz", ">i8"),
    np.dtype("S16"): ("uuid", "S16"),
    np.dtype("S6"): ("tid", "S6"),
}
_HEADER = np.dtype([("ndim", ">i4"), ("has_null", ">i4"), ("oid", ">i4"), ("size", ">i4"), ("lower", ">i4")])


class _ArrayDumper(Dumper):
    """Dispatches on the dtype: psycopg asks `get_key`, then makes one dumper per key with `upgrade`."""

    format = pq.Format.BINARY

    def get_key(self, obj: NDArray[Any], format: PyFormat) -> Any:  # noqa: A002  psycopg's name
        return (self.cls, obj.dtype)

    def upgrade(self, obj: NDArray[Any], format: PyFormat) -> "_ArrayDumper":  # noqa: A002
        if obj.dtype not in _ELEMENTS:
            raise ProgrammingError(f"an array of {obj.dtype} has no SQL type here; convert it first")
        dumper = _ArrayDumper(self.cls, self.connection)
        dumper.oid = _array_oid(_ELEMENTS[obj.dtype][0])
        return dumper

    def dump(self, obj: NDArray[Any]) -> bytes:
        return dump_array(obj)


def dump_array(array: NDArray[Any]) -> bytes:
    """Write a one-dimensional array in PostgreSQL's binary array format."""
    element, wire = _ELEMENTS[array.dtype]
    if array.ndim != 1:
        raise ProgrammingError(f"an array of {array.ndim} dimensions; write one row per window")
    (size,) = array.shape
    header = np.array((1 if size else 0, 0, _element_oid(element), size, 1), _HEADER)
    body = np.empty(size, [("length", ">i4"), ("value", wire)])
    body["length"] = array.dtype.itemsize
    body["value"] = _since_2000(array.view(np.int64)) if array.dtype.kind == "M" else array
    return header.tobytes()[: _HEADER.itemsize if size else 12] + body.tobytes()


def _since_2000(micros: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(micros == NO_TIME, NO_TIME, micros - _POSTGRES_EPOCH)  # no time is -infinity


class _ArrayLoader(Loader):
    """Reads the fixed-width elements of one array in one step; our arrays hold NaN, never NULL."""

    format = pq.Format.BINARY
    dtype: np.dtype[Any]
    wire: str

    def load(self, data: Buffer) -> NDArray[Any]:
        if len(data) <= 12:
            return np.empty(0, self.dtype)
        header = np.frombuffer(data, _HEADER, 1)[0]
        if header["ndim"] != 1 or header["has_null"]:
            raise DataError("only arrays of one dimension and without NULL are read")
        body = np.frombuffer(data, [("length", ">i4"), ("value", self.wire)], offset=_HEADER.itemsize)
        return self.convert(body["value"])

    def convert(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.astype(self.dtype)


class _MicrosArrayLoader(_ArrayLoader):
    dtype, wire = np.dtype(np.int64), ">i8"

    def convert(self, values: NDArray[Any]) -> NDArray[Any]:
        micros = values.astype(np.int64)
        return np.where(micros == NO_TIME, NO_TIME, micros + _POSTGRES_EPOCH)


def _make_array_loader(dtype: np.dtype[Any], wire: str) -> type[_ArrayLoader]:
    return type(f"_{dtype.name}ArrayLoader", (_ArrayLoader,), {"dtype": dtype, "wire": wire})


def make_adapters() -> AdaptContext:
    """Make the context with which `Database` opens its connections."""
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_loader("timestamptz", _MicrosTextLoader)
    adapters.register_loader("timestamptz", _MicrosBinaryLoader)
    adapters.register_dumper(np.ndarray, _ArrayDumper)
    for dtype, (element, wire) in _ELEMENTS.items():
        adapters.register_loader(_array_oid(element), _make_array_loader(dtype, wire))
    adapters.register_loader(_array_oid("timestamptz"), _MicrosArrayLoader)
    return _Context(adapters)


class _Context:
    """The least that psycopg calls a context: a map of adapters without a connection."""

    connection = None

    def __init__(self, adapters: AdaptersMap) -> None:
        self.adapters = adapters
