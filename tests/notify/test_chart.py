"""Charts, and the three steps by which Slack takes a file."""

import io
import math
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from driftline.notify.chart import Chart, draw_chart
from driftline.notify.delivery import Delivery, Result
from driftline.notify.secret import Secret
from driftline.notify.slack import SlackBot
from driftline.notify.slack_chart import send_chart
from tests.notify.notices import numbers, texts
from tests.notify.provider import HANG_UP, Provider, Reply, Request, run_provider

TOKEN = "xoxb-0123456789"
HOUR = 3_600_000_000
CHART = Chart(
    "fraud 3, amount: psi 0.417 (threshold 0.2)",
    tuple(range(0, 6 * HOUR, HOUR)),
    (0.05, 0.04, math.nan, 0.06, 0.4, 0.42),
    0.2,
    (4 * HOUR, 6 * HOUR),
)


class Slack:
    """Takes a file as Slack does: a place for so many bytes, the bytes, and where it is shared."""

    def __init__(self) -> None:
        self.provider: Provider
        self.shared: list[tuple[bytes, dict]] = []
        self._sizes: dict[str, int] = {}
        self._files: dict[str, bytes] = {}

    def answer(self, request: Request) -> Reply:
        if request.path.startswith("/upload/"):
            name = request.path.removeprefix("/upload/")
            if "Authorization" in request.headers or len(request.body) != self._sizes[name]:
                return Reply(400, "not what was said")
            self._files[name] = request.body
            return Reply(200, f"OK - {len(request.body)}")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Reply(200, {"ok": False, "error": "invalid_auth"})
        if request.path == "/api/files.getUploadURLExternal":
            assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
            form = parse_qs(request.body.decode(), strict_parsing=True)
            name = f"F{len(self._sizes)}"
            self._sizes[name] = int(form["length"][0])
            assert form["filename"] == ["chart.png"]
            return Reply(200, {"ok": True, "upload_url": f"{self.provider.url}/upload/{name}", "file_id": name})
        if request.path == "/api/files.completeUploadExternal":
            content = request.content
            self.shared += [(self._files[file["id"]], content) for file in content["files"]]
            return Reply(200, {"ok": True, "files": content["files"]})
        return Reply(200, {"ok": True, "ts": "17.5"})


@pytest.fixture
def slack():
    slack = Slack()
    with run_provider(slack.answer) as slack.provider:
        yield slack


def bot_at(slack: Slack) -> SlackBot:
    return SlackBot(Secret(TOKEN), "C123", f"{slack.provider.url}/api")


def test_a_chart_goes_into_the_thread(client, slack):
    assert send_chart(client, bot_at(slack), CHART, "17.5") == Delivery(Result.SENT, reference="F0")
    [(image, content)] = slack.shared
    assert (content["channel_id"], content["thread_ts"]) == ("C123", "17.5")
    assert content["files"] == [{"id": "F0", "title": CHART.title}]
    assert Image.open(io.BytesIO(image)).size == (800, 320)


@pytest.mark.parametrize(
    ("trouble", "result"),
    [
        (Reply(200, {"ok": False, "error": "missing_scope", "needed": "files:write"}), Result.REFUSED),
        (Reply(429), Result.RETRY),
        (HANG_UP, Result.RETRY),
        (Reply(200, {"ok": True}), Result.REFUSED),
    ],
)
def test_what_goes_wrong_is_said(client, slack, trouble, result):
    slack.provider.troubles = [trouble]
    end = send_chart(client, bot_at(slack), CHART, "17.5")
    assert (end.result, bool(end.detail), slack.shared) == (result, True, [])


def test_the_picture_shows_line_threshold_and_windows():
    image = Image.open(io.BytesIO(draw_chart(CHART))).convert("RGB")
    colours = {colour for _, colour in image.getcolors(1 << 20) or []}
    assert {(255, 255, 255), (255, 235, 233)} <= colours
    assert any(red < 90 and blue > 180 for red, _, blue in colours)
    assert any(red > 180 and blue < 90 for red, _, blue in colours)
    assert image.getpixel((100, 100)) == (255, 255, 255)  # long before
    assert image.getpixel((700, 280)) == (255, 235, 233)  # the windows that led there


values = st.lists(numbers, min_size=1, max_size=40)


@settings(max_examples=25)
@given(values, numbers, texts, st.integers(0, 2**53), st.integers(0, 10**12))
def test_any_numbers_can_be_drawn(numbers, threshold, title, start, length):
    starts = tuple(range(len(numbers)))
    image = draw_chart(Chart(title, starts, tuple(numbers), threshold, (start, start + length)))
    Image.open(io.BytesIO(image)).verify()
