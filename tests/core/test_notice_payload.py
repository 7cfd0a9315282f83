"""Notices survive the way through JSON."""

import json

from hypothesis import given

from driftline.core.notice import Notice
from driftline.core.notice_payload import read_notice, write_notice
from tests.notify.notices import make_notice, notices


@given(notices)
def test_what_is_read_is_what_was_written(notice: Notice) -> None:
    written = json.dumps(write_notice(notice), allow_nan=False)
    assert json.dumps(write_notice(read_notice(json.loads(written)))) == written


def test_nothing_is_lost_of_what_can_be_kept() -> None:
    notice = make_notice(resolved_at=7)
    assert read_notice(write_notice(notice)) == notice
