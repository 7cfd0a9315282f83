"""From what waits in the buffers to parcels."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import xxhash

from driftline.core.category import category_text
from driftline.core.sampling import limit_of
from driftline.core.schema import Dtype, JoinKey, Schema
from driftline.sdk.batch import check_features, encode_rows
from driftline.sdk.counts import Tally
from driftline.sdk.ids import make_parcel_id
from driftline.sdk.notices import Notices
from driftline.sdk.parcel import Content, Parcel
from driftline.sdk.rows import InvalidRow, Row

MAX_ROWS = 1_000
_MAX_BYTES = 512 << 10  # half of what a Kafka broker takes as one message unless told otherwise
_LARGEST_BYTES = 960 << 10  # so much may long texts make of it


def thin_rows(rows: Iterable[Row], n: int, *, by_entity: bool) -> list[Row]:
    """Settle rows that were kept before N was known: those that it keeps remain, with its weight.

    A row that the cap let in under a larger N keeps that; it says nothing when the hash turns out to be the
    entity's, and goes.
    """
    limit = limit_of(n)
    kept = []
    for row in rows:
        if not row.settled:
            if by_entity and row.weight > 1:
                continue
            if row.weight <= n:
                if digest_of(row, by_entity=by_entity) > limit:
                    continue
                row.weight = n
        kept.append(row)
    return kept


def digest_of(row: Row, *, by_entity: bool) -> int:
    """Hash the join key of a row."""
    key = row.prediction_id
    if by_entity and row.entity_id is not None:
        key = category_text(row.entity_id) or key
    return xxhash.xxh3_64_intdigest(key.encode())


@dataclass(frozen=True, slots=True)
class Packer:
    """Encodes rows of one model version, and counts and warns of those that do not fit its schema."""

    model: str
    version: str
    tally: Tally
    notices: Notices

    def pack(self, rows: Sequence[Row], schema: Schema) -> Iterator[Parcel]:
        """Encode rows; those of one weight share a parcel."""
        usable = sorted((row for row in rows if self._fits(row, schema)), key=attrgetter("weight"))
        size = max(1, min(MAX_ROWS, _MAX_BYTES // _row_bytes(schema)))
        for _, group in groupby(usable, key=attrgetter("weight")):
            alike = list(group)
            for start in range(0, len(alike), size):
                yield from self._encode(alike[start : start + size], schema)

    def _encode(self, rows: Sequence[Row], schema: Schema) -> Iterator[Parcel]:
        batch_id = make_parcel_id()
        try:
            data = encode_rows(rows, schema, model_id=self.model, version=self.version, batch_id=batch_id)
        except Exception as error:  # values may be objects of any class, and do anything
            if len(rows) == 1:
                self._refuse("value", f"a value cannot be read ({type(error).__name__}: {error})")
                return
            yield from self._encode_halves(rows, schema)
            return
        if len(data) > _LARGEST_BYTES and len(rows) > 1:
            yield from self._encode_halves(rows, schema)
        else:
            yield Parcel(batch_id, Content.PREDICTIONS, len(rows), data)

    def _encode_halves(self, rows: Sequence[Row], schema: Schema) -> Iterator[Parcel]:
        half = len(rows) // 2
        yield from self._encode(rows[:half], schema)
        yield from self._encode(rows[half:], schema)

    def _fits(self, row: Row, schema: Schema) -> bool:
        try:
            unknown = check_features(row.features, schema)
        except InvalidRow as error:
            self._refuse(error.kind, str(error))
            return False
        if unknown:
            names = ", ".join(map(repr, sorted(unknown)[:5]))
            self.notices.warn("unknown-features", f"the schema has no features {names}; they are left out")
        if schema.join_key is JoinKey.ENTITY_ID and row.entity_id is None:
            self.notices.warn("no-entity", "labels of this model are joined by entity: give log an entity_id")
        return True

    def _refuse(self, kind: str, message: str) -> None:
        self.tally.add("kept", -1)
        self.tally.add("invalid")
        self.notices.warn(kind, message)


def _row_bytes(schema: Schema) -> int:
    widths = {Dtype.FLOAT32: 4, Dtype.FLOAT64: 8, Dtype.CATEGORY: 16}
    return 128 + sum(widths[feature.dtype or Dtype.FLOAT64] for feature in schema.features)
