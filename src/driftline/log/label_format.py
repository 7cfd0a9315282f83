"""The format of labels in the log: one MessagePack map for labels of one model, column by column.

`docs/wire.md` describes it; `label.schema.json` is the JSON Schema of what others may send instead.
"""

import json
from importlib.resources import files
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.core.errors import InvalidPayload
from driftline.core.labels import Labels
from driftline.core.moment import NO_TIME

FORMAT = 1
CONTENT_TYPE = "application/vnd.driftline.labels"


class _Wire(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The map as it travels; columns that say nothing are left out."""

    format: int
    model_id: Annotated[str, msgspec.Meta(max_length=256)]
    by_entity: bool = False
    keys: list[str]
    values: list[bool | int | float | str | None]
    timestamps: memoryview | None = None
    known_at: memoryview
    weights: memoryview | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)


def label_schema() -> dict[str, Any]:
    """Load the JSON Schema (draft 2020-12) of labels as they can be sent.

    >>> label_schema()["$schema"]
    'https://json-schema.org/draft/2020-12/schema'
    """
    content: dict[str, Any] = json.loads(files("driftline.log").joinpath("label.schema.json").read_bytes())
    return content


def encode_labels(labels: Labels) -> bytes:
    """Write labels of one model."""
    return _encoder.encode(
        _Wire(
            format=FORMAT,
            model_id=labels.model_id,
            by_entity=labels.by_entity,
            keys=list(labels.keys),
            values=list(labels.values),
            timestamps=None if (labels.timestamps == NO_TIME).all() else _bytes(labels.timestamps, "<i8"),
            known_at=_bytes(labels.known_at, "<i8"),
            weights=None if (labels.weights == 1).all() else _bytes(labels.weights, "<f8"),
        )
    )


def decode_labels(data: bytes | memoryview) -> Labels:
    """Read labels; every size is checked, InvalidPayload names the field at fault."""
    try:
        wire = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, MemoryError) as error:
        raise InvalidPayload(f"not labels in MessagePack: {error}", field="body") from None
    if wire.format != FORMAT:
        raise InvalidPayload(
            f"format {wire.format} of labels is unknown; this driftline reads {FORMAT}", field="format"
        )
    rows = len(wire.keys)
    if len(wire.values) != rows:
        raise InvalidPayload(f"values has {len(wire.values)} entries for {rows} keys", field="values")
    return Labels(
        wire.model_id,
        wire.by_entity,
        tuple(wire.keys),
        tuple(wire.values),
        np.full(rows, NO_TIME) if wire.timestamps is None else _block(wire.timestamps, "timestamps", "<i8", rows),
        _block(wire.known_at, "known_at", "<i8", rows),
        np.ones(rows) if wire.weights is None else _block(wire.weights, "weights", "<f8", rows),
    )


def _bytes(values: NDArray[Any], dtype: str) -> memoryview:
    return memoryview(np.ascontiguousarray(values, dtype).tobytes())


def _block(data: memoryview, field: str, dtype: str, rows: int) -> NDArray[Any]:
    if data.nbytes != 8 * rows:
        raise InvalidPayload(f"{field} has {data.nbytes} bytes; {rows} values are {8 * rows}", field=field)
    return np.frombuffer(data, dtype).copy()
