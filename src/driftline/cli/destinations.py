"""Destinations on a terminal: what each takes, how it goes, and what became of a test."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from driftline.cli.tables import add_row, make_table, show_local
from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    import httpx
    from rich.table import Table

    from driftline.core.notice import Kind, Notice
    from driftline.core.routing import Route
    from driftline.notify.delivery import Delivery
    from driftline.notify.destination import Destination
    from driftline.store.delivery_counts import DeliveryCounts

_FIND_S, _FIND_TRIES = 3.0, 10  # Jira shows a new issue to searches after some seconds
_COUNTS = ("sent", "pending", "failing", "refused", "expired", "maybe_repeated")


@dataclass(frozen=True, slots=True)
class Ends:
    """What became of the notices of a test, by kind."""

    deliveries: "Mapping[Kind, Delivery]"

    @property
    def ok(self) -> bool:
        """Whether all of them were taken."""
        return all(end.result == "sent" for end in self.deliveries.values())

    def describe(self) -> list[dict[str, Any]]:
        """Give them as JSON."""
        return [
            {"kind": str(kind), "result": str(end.result), "detail": end.detail, "reference": end.reference}
            for kind, end in self.deliveries.items()
        ]

    def lines(self) -> list[str]:
        """Give a line for each."""
        said = {"retry": "failed, and would be tried again"}
        return [
            f"{kind:<8} {said.get(end.result, end.result)}{f': {end.detail}' if end.detail else ''}"
            for kind, end in self.deliveries.items()
        ]


def try_destination(destination: "Destination", url: str) -> Ends:
    """Send a test and, when it was taken, its resolution."""
    from driftline.core.notice import Kind  # noqa: PLC0415  `--help` loads no server
    from driftline.notify.call import open_client  # noqa: PLC0415

    test_id = str(uuid4())
    ends: dict[Kind, Delivery] = {}
    with open_client() as client:
        for kind in (Kind.TRIGGER, Kind.RESOLVE):
            notice = _compose_test(kind, destination, test_id, url)
            thread = ends[Kind.TRIGGER].reference if ends else ""
            ends[kind] = _send(client, destination, notice, f"{test_id}/{kind}", thread)
            if ends[kind].result != "sent":
                break
    return Ends(ends)


def _send(
    client: "httpx.Client", destination: "Destination", notice: "Notice", delivery_id: str, thread: str
) -> "Delivery":
    from driftline.notify.destination import send  # noqa: PLC0415

    tries = _FIND_TRIES if destination.type == "jira" and thread else 1
    while True:
        tries -= 1
        now = time.time_ns() // 1000
        end = send(client, destination, notice, delivery_id=delivery_id, now=now, thread=thread)
        if end.result != "skipped" or not tries:
            return end
        time.sleep(_FIND_S)


def _compose_test(kind: "Kind", destination: "Destination", test_id: str, url: str) -> "Notice":
    from driftline.core.notice import Kind, Notice  # noqa: PLC0415
    from driftline.core.rules import Severity  # noqa: PLC0415

    now = time.time_ns() // 1000
    return Notice(
        kind,
        next(severity for severity in Severity if severity in destination.route.severities),
        "driftline",
        "test",
        "driftline: a test, nothing is wrong",
        f"Somebody ran `driftline notify test {destination.name}`. What drifts will look like this.",
        f"driftline/test/{test_id}",
        now,
        resolved_at=now if kind == Kind.RESOLVE else None,
        url=url,
    )


def describe_destination(
    name: str,
    table: Mapping[str, Any] | None,
    route: "Route | None",
    counts: "DeliveryCounts | None",
) -> dict[str, Any]:
    """Describe a destination as JSON; `table` and `route` are None when it is in the settings no more."""
    from driftline.core.moment import format_time  # noqa: PLC0415
    from driftline.core.rules import Severity  # noqa: PLC0415
    from driftline.core.window import MICROSECONDS  # noqa: PLC0415

    described: dict[str, Any] = {"name": name, "type": None, "problem": "not in the settings any more"}
    if table is not None and route is not None:
        spans = {"repeat_interval": route.repeat_interval, "escalate_after": route.escalate_after}
        described = {
            "name": name,
            "type": table["type"],
            "problem": _find_problem(name, table),
            "severities": [str(severity) for severity in Severity if severity in route.severities],
            "teams": sorted(route.teams),
            "quiet_hours": table.get("quiet_hours"),
            "time_zone": table.get("time_zone", "UTC"),
            **{f"{field}_s": None if span is None else span // MICROSECONDS for field, span in spans.items()},
        }
    described |= {field: getattr(counts, field, 0) for field in _COUNTS}
    oldest = None if counts is None else counts.oldest_pending
    return described | {
        "oldest_pending": None if oldest is None else format_time(oldest),
        "detail": "" if counts is None else counts.detail,
    }


def draw_destinations(described: Sequence[Mapping[str, Any]]) -> "Table":
    """Draw a line for each destination."""
    table = make_table(
        "destination", "type", "takes", "teams", "sent", "waiting", "since", "refused", "twice?", "",
        numbers=frozenset({"sent", "waiting", "refused", "twice?"}),
    )  # fmt: skip
    for each in described:
        quiet = f", quiet {each['quiet_hours']}" if each.get("quiet_hours") else ""
        add_row(
            table,
            each["name"],
            each["type"] or "-",
            ", ".join(each.get("severities", ())) + quiet,
            ", ".join(each.get("teams", ())) or "-",
            f"{each['sent']:,}",
            f"{each['pending']:,}",
            show_local(each["oldest_pending"]) if each["oldest_pending"] else "-",
            f"{each['refused'] + each['expired']:,}",
            f"{each['maybe_repeated']:,}",
            each["problem"] or each["detail"],
        )
    return table


def _find_problem(name: str, table: Mapping[str, Any]) -> str | None:
    from driftline.notify.destination import read_destinations  # noqa: PLC0415

    try:
        read_destinations({name: table}, os.environ)
    except InvalidInput as error:
        return str(error).partition(": ")[2]
    return None
