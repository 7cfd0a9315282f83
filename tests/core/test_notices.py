"""From alerts to notices, decided in memory."""

import pytest

from driftline.core.routing import Route
from tests.notice_timelines import TIMELINES
from tests.timelines import PureWorld, play


@pytest.mark.parametrize(("routes", "text"), TIMELINES.values(), ids=TIMELINES.keys())
def test_timeline(routes: tuple[Route, ...], text: str) -> None:
    play(PureWorld(routes), text)
