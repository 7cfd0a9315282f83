"""Rows into parcels that every receiver takes."""

from driftline.core.schema import Feature, Kind, Schema
from driftline.sdk.counts import Tally
from driftline.sdk.notices import Notices
from driftline.sdk.packing import Packer
from driftline.sdk.rows import Row
from tests.sdk.conftest import SCHEMA


def row(name: str, features: dict[str, object]) -> Row:
    return Row(name, 0, features, 1, None, None, None, None, None)


def pack(rows: list[Row], schema: Schema) -> list[tuple[int, int]]:
    """Give the rows and bytes of the parcels."""
    packed = Packer("fraud", "3", Tally(), Notices("fraud", "3")).pack(rows, schema)
    return [(parcel.rows, len(parcel.data)) for parcel in packed]


def test_short_rows_go_together() -> None:
    ((rows, _),) = pack([row(str(i), {"amount": i, "country": "DE"}) for i in range(500)], SCHEMA)
    assert rows == 500


def test_long_texts_make_parcels_of_fewer_rows() -> None:
    schema = Schema(tuple(Feature(f"c{i}", Kind.CATEGORICAL) for i in range(20)))
    long = [row(str(i), {f"c{j}": f"{i} {j} ".ljust(1_000, "x") for j in range(20)}) for i in range(300)]
    parcels = pack(long, schema)
    assert sum(rows for rows, _ in parcels) == 300
    assert all(size <= 1 << 20 for _, size in parcels)
