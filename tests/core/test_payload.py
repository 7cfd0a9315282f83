"""Stored forms are read as what they should be, or not at all."""

import contextlib

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.core.errors import InvalidPayload
from driftline.core.payload import Block, read_block, read_payload, write_block, write_payload


class Content(msgspec.Struct):
    name: str
    block: Block


CONTENT = Content("é", write_block(np.arange(6.0).reshape(2, 3)))
WRITTEN = write_payload(CONTENT, 3)


def test_what_is_written_is_read() -> None:
    assert read_payload(WRITTEN, Content, 1000) == CONTENT


@pytest.mark.parametrize("shape", [(0,), (0, 255), (3, 0), (1, 1), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8])
def test_arrays_of_any_shape_survive(shape: tuple[int, ...], dtype: type[np.number]) -> None:
    array = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    read = read_block(write_block(np.asfortranarray(array)), dtype)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        zstandard.compress(b""),
        zstandard.compress(msgspec.msgpack.encode([1, 2])),
        zstandard.compress(msgspec.msgpack.encode({"name": 5, "block": None})),
        zstandard.compress(msgspec.msgpack.encode({"name": "x"})),
        zstandard.ZstdCompressor(write_content_size=False).compress(msgspec.msgpack.encode(CONTENT)),
        zstandard.compress(bytes(1001)),
    ],
)
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidPayload):
        read_payload(payload, Content, 1000)


def test_a_frame_that_claims_to_be_huge_sets_no_memory_aside() -> None:
    # magic number, single segment with an eight-byte content size, an exabyte, an empty last block
    frame = bytes.fromhex("28b52ffd e0") + (1 << 60).to_bytes(8, "little") + bytes.fromhex("010000")
    assert zstandard.frame_content_size(frame) == 1 << 60
    with pytest.raises(InvalidPayload, match="at most 1000"):
        read_payload(frame, Content, 1000)


@given(st.integers(0, len(WRITTEN) - 1), st.integers(0, 255))
@settings(max_examples=300)
def test_changed_bytes_raise_nothing_else(place: int, byte: int) -> None:
    changed = bytearray(WRITTEN)
    changed[place] = byte
    with contextlib.suppress(InvalidPayload):
        read_block(read_payload(bytes(changed), Content, 1000).block, np.float64)


@pytest.mark.parametrize(
    "block",
    [
        ("<f4", (2,), bytes(8)),
        ("|O", (1,), bytes(8)),
        ("nonsense", (1,), bytes(8)),
        ("<f8", (2,), bytes(8)),
        ("<f8", (1,), bytes(7)),
        ("<f8", (1 << 62, 4), bytes(8)),
        ("<f8", (1 << 63,), bytes(8)),
    ],
)
def test_an_array_of_another_type_or_size_is_refused(block: Block) -> None:
    with pytest.raises(InvalidPayload):
        read_block(block, np.float64)
