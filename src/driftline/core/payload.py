"""Stored forms: MessagePack maps, compressed with Zstandard, read back as what they should be or not at all."""

from typing import Any, TypeVar

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from driftline.core.errors import InvalidPayload

_T = TypeVar("_T")

Block = tuple[str, tuple[int, ...], bytes]
"""An array: its dtype, shape and little-endian content."""


def write_payload(content: msgspec.Struct, level: int) -> bytes:
    """Encode and compress."""
    return zstandard.compress(msgspec.msgpack.encode(content), level)


def read_payload(payload: bytes, kind: type[_T], limit: int) -> _T:
    """Read what `write_payload` wrote of a `kind`; InvalidPayload for anything else, or more than `limit` bytes.

    >>> read_payload(b"hello", msgspec.Struct, 1000)
    Traceback (most recent call last):
    ...
    driftline.core.errors.InvalidPayload: the bytes are not compressed with Zstandard
    """
    try:
        # The frame says how long its content is, and so much memory is set aside before it is read.
        size = zstandard.frame_content_size(payload)
        if not 0 <= size <= limit:
            raise InvalidPayload(f"the bytes claim to hold {size} bytes; at most {limit} are read")
        return msgspec.msgpack.decode(zstandard.decompress(payload), type=kind)
    except zstandard.ZstdError as error:
        raise InvalidPayload("the bytes are not compressed with Zstandard") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidPayload(f"the bytes hold something else: {error}") from error


def write_block(array: NDArray[Any]) -> Block:
    """Write an array of numbers.

    >>> read_block(write_block(np.array([[1.0, 2.0]])), np.float64).tolist()
    [[1.0, 2.0]]
    """
    return array.dtype.str, array.shape, np.ascontiguousarray(array).tobytes()


def read_block(block: Block, *kinds: type[np.generic]) -> NDArray[Any]:
    """Read an array that must have one of the dtypes given; InvalidPayload when it has not, or another size."""
    dtype, shape, content = block
    if dtype not in {np.dtype(kind).str for kind in kinds}:
        raise InvalidPayload(f"the bytes hold an array of {dtype!r}")
    try:
        return np.frombuffer(content, dtype).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise InvalidPayload(f"the bytes hold an array that is not of shape {shape}: {error}") from error
