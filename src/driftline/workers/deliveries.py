"""Deliveries: sends notices to their destinations, each in a thread of its own, so that none waits for another.

To a destination sends only one worker at a time, the others stand by. An attempt is recorded, committed, before it
is made; what became of it is kept until that is recorded, also while the database is away.
"""

import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence

import httpx
import structlog
from psycopg import Connection, OperationalError

from driftline.core.notice import Kind, Notice
from driftline.core.window import DAY, MICROSECONDS
from driftline.notify.call import open_client
from driftline.notify.delivery import Delivery, Result, pause_before_retry
from driftline.notify.destination import Destination, send
from driftline.notify.slack import SlackBot
from driftline.notify.slack_chart import send_chart
from driftline.store.database import Database
from driftline.store.deliveries import (
    CHANNEL,
    Status,
    StoredDelivery,
    begin_delivery,
    end_delivery,
    find_next_attempt,
    find_thread,
    hold_destination,
    postpone_delivery,
    refuse_abandoned,
)
from driftline.workers.catalog import Catalog
from driftline.workers.charts import read_chart
from driftline.workers.retry import keep_running

KEPT = 7 * DAY
"""What could not be delivered for so long is news no more."""
_STANDBY_S = 1.0
_LOOK_S = 15.0  # were a notification ever lost; and it shows that the database is still there
_NOTICE_STOP_S = 0.5
_TIDY_S = 60.0
_ABANDONED = 600 * MICROSECONDS
_ENDS = {Result.SENT: Status.SENT, Result.SKIPPED: Status.SKIPPED, Result.REFUSED: Status.REFUSED}

logger = structlog.get_logger("driftline.deliveries")


def run_deliveries(
    database: Database, destinations: Sequence[Destination], clock: Callable[[], int], stop: threading.Event
) -> None:
    """Deliver until told to stop. Raises when the database is away while nobody is sending: run it again."""
    threads = [
        threading.Thread(
            target=keep_running,
            args=(f"deliveries to {each.name}", Courier(each, clock).bind(database, stop), stop),
            name=f"deliveries-{each.name}",
            daemon=True,
        )
        for each in destinations
    ]
    for thread in threads:
        thread.start()
    names = [each.name for each in destinations]
    keep_running("deliveries", lambda: _tidy(database, names, clock, stop), stop)
    for thread in threads:
        thread.join()


def _tidy(database: Database, configured: Sequence[str], clock: Callable[[], int], stop: threading.Event) -> None:
    """Refuse, again and again, what waits for destinations that are no longer configured anywhere."""
    while not stop.is_set():
        with database.transaction() as conn:
            refused = refuse_abandoned(conn, configured, clock() - _ABANDONED)
        for name, count in refused.items():
            logger.warning("deliveries refused: there is no such destination", destination=name, deliveries=count)
        stop.wait(_TIDY_S)


class Courier:
    """Delivers to one destination."""

    def __init__(self, destination: Destination, clock: Callable[[], int]) -> None:
        self._destination, self._clock = destination, clock
        self._copied = [kind for kind in Kind if destination.shows_copies(kind)]
        self._rng = random.Random()
        self._unrecorded: tuple[StoredDelivery, Delivery] | None = None
        self._catalog = Catalog()
        self._draws = isinstance(destination.receiver, SlackBot) and destination.receiver.chart

    def bind(self, database: Database, stop: threading.Event) -> Callable[[], None]:
        """Give the work of a thread."""
        return lambda: self.run(database, stop)

    def run(self, database: Database, stop: threading.Event) -> None:
        """Deliver until told to stop. Raises when the database is away: run it again."""
        name = self._destination.name
        with database.connection() as conn, open_client() as client:
            conn.execute(f"LISTEN {CHANNEL}")  # before looking, so that nothing falls in between
            while not hold_destination(conn, name):
                if stop.wait(_STANDBY_S):
                    return
            while not stop.is_set():
                self.record(conn)
                end = self.deliver_next(conn, client)
                if end is None:
                    _wait(conn, find_next_attempt(conn, name), self._clock, stop)
                elif end.retry_after_s:
                    stop.wait(end.retry_after_s)  # it wants no other notice meanwhile either

    def deliver_next(self, conn: Connection, client: httpx.Client) -> Delivery | None:
        """Make the attempt that is due; None when none is."""
        delivery = begin_delivery(conn, self._destination.name, self._clock(), copied=self._copied)
        if delivery is None:
            return None
        thread = find_thread(conn, delivery.incident_id, delivery.destination)
        end = self._send(client, delivery, thread)
        self._unrecorded = delivery, end
        self.record(conn)
        if self._draws and delivery.notice.kind is Kind.TRIGGER and end.result is Result.SENT:
            self._add_chart(conn, client, delivery.notice, thread or end.reference)
        return end

    def _add_chart(self, conn: Connection, client: httpx.Client, notice: Notice, thread: str) -> None:
        """Add a chart to a message that was sent; whatever happens, there was the message."""
        assert isinstance(self._destination.receiver, SlackBot)
        try:
            chart = read_chart(conn, self._catalog, notice)
            if chart is None:
                return
            end = send_chart(client, self._destination.receiver, chart, thread)
        except OperationalError:
            raise
        except Exception as error:  # its text may hold a credential
            end = Delivery(Result.RETRY, f"driftline failed: {type(error).__name__}")
        if end.result is not Result.SENT:
            self._draws = end.result is Result.RETRY
            logger.warning("no chart was added", destination=self._destination.name, detail=end.detail)

    def record(self, conn: Connection) -> None:
        """Record what became of the last attempt, if it is not recorded yet."""
        if self._unrecorded is None:
            return
        delivery, end = self._unrecorded
        now = self._clock()
        if end.result is not Result.RETRY:
            status = _ENDS[end.result]
            end_delivery(conn, delivery.delivery_id, status, now, detail=end.detail, reference=end.reference)
        elif now - delivery.created_at > KEPT:
            end_delivery(conn, delivery.delivery_id, Status.EXPIRED, now, detail=end.detail)
        else:
            pause = pause_before_retry(end, delivery.attempts, self._rng)
            copied = end.maybe_taken and delivery.notice.kind in self._copied
            due = now + int(pause * MICROSECONDS)
            postpone_delivery(conn, delivery.delivery_id, due, end.detail, copied=copied)
        self._unrecorded = None
        _log(delivery, end, expired=now - delivery.created_at > KEPT)

    def _send(self, client: httpx.Client, delivery: StoredDelivery, thread: str) -> Delivery:
        if self._clock() - delivery.created_at > KEPT:
            return Delivery(Result.RETRY, delivery.detail or "no attempt was made in seven days")
        try:
            return send(
                client,
                self._destination,
                delivery.notice,
                delivery_id=str(delivery.delivery_id),
                now=self._clock(),
                thread=thread,
            )
        except Exception as error:  # a fault of driftline's; its text may hold a credential
            where = "".join(traceback.format_tb(error.__traceback__))
            logger.error(  # noqa: TRY400
                "sending failed", destination=delivery.destination, error=type(error).__name__, at=where
            )
            return Delivery(Result.RETRY, f"driftline failed: {type(error).__name__}", maybe_taken=True)


def _log(delivery: StoredDelivery, end: Delivery, *, expired: bool) -> None:
    said = {
        "destination": delivery.destination,
        "incident": delivery.incident_id,
        "notice": str(delivery.kind),
        "delivery": str(delivery.delivery_id),
        "attempts": delivery.attempts,
        "detail": end.detail,
    }
    match end.result:
        case Result.REFUSED:
            logger.error("delivery refused", **said)
        case Result.RETRY if expired:
            logger.error("delivery expired", **said)
        case Result.RETRY:
            logger.warning("delivery failed and is tried again", **said)
        case _:
            logger.info("delivered" if end.result is Result.SENT else "nothing to deliver", **said)


def _wait(conn: Connection, due: int | None, clock: Callable[[], int], stop: threading.Event) -> None:
    """Wait until something is due or was added, for a while at most."""
    until = time.monotonic() + _LOOK_S
    if due is not None:
        until = min(until, time.monotonic() + (due - clock()) / MICROSECONDS)
    while not stop.is_set() and (remaining := until - time.monotonic()) > 0:
        if list(conn.notifies(timeout=min(remaining, _NOTICE_STOP_S), stop_after=1)):
            return
