"""`driftline.build_reference`: the same reference from a frame as from its file."""

import pytest

from driftline.core.errors import InvalidInput
from driftline.core.reference import encode_reference
from driftline.report.build import build_reference
from driftline.report.compare import compare
from tests.report.conftest import make_frame


def test_frames_and_files_give_the_same(tmp_path):
    frame = make_frame(1000)
    frame.to_parquet(tmp_path / "train.parquet")
    options = {"window": "15m", "window_rows": 200, "segments": ["country"]}
    from_frame = build_reference(frame, **options)
    from_file = build_reference(tmp_path / "train.parquet", **options)
    assert encode_reference(from_frame) == encode_reference(from_file)
    assert from_frame.bins.count == 20
    assert from_frame.window_length == 15 * 60 * 1_000_000
    assert [column.name for column in from_frame.segments] == ["country"]


def test_it_can_be_compared_with():
    report = compare(build_reference(make_frame(2000, seed=1)), make_frame(2000, seed=2))
    assert not report.drifted


def test_a_misspelt_column_is_told():
    with pytest.raises(InvalidInput, match="did you mean 'country'"):
        build_reference(make_frame(100), segments=["contry"])
