"""A chart in a thread of Slack: a file that is uploaded and then shared in the channel.

https://docs.slack.dev/reference/methods/files.getUploadURLExternal/,
https://docs.slack.dev/reference/methods/files.completeUploadExternal/.
"""

from urllib.parse import urlencode

import httpx

from driftline.notify.call import call, encode
from driftline.notify.chart import Chart, draw_chart
from driftline.notify.delivery import Delivery, Result, Undelivered
from driftline.notify.secret import Secret
from driftline.notify.slack import JSON, SlackBot, ask
from driftline.notify.text import clean_line, cut

_FORM = "application/x-www-form-urlencoded"
_MOST_TITLE = 200


def send_chart(client: httpx.Client, bot: SlackBot, chart: Chart, thread: str) -> Delivery:
    """Put a chart into the thread of a message (its timestamp). The bot needs the scope `files:write`."""
    image = draw_chart(chart)
    title = cut(clean_line(chart.title), _MOST_TITLE)
    try:
        wanted = urlencode({"filename": "chart.png", "length": len(image), "alt_txt": title}).encode()
        place = ask(client, bot, "files.getUploadURLExternal", wanted, _FORM)
        url = Secret(str(place.get("upload_url", "")))
        call(
            client,
            "POST",
            url.reveal(),
            body=image,
            headers={"Content-Type": "application/octet-stream"},
            secrets=[url],
        )
        file = {"id": str(place.get("file_id", "")), "title": title}
        shared = {"files": [file], "channel_id": bot.channel, "thread_ts": thread}
        ask(client, bot, "files.completeUploadExternal", encode(shared), JSON)
    except Undelivered as end:
        return end.delivery
    return Delivery(Result.SENT, reference=file["id"])
