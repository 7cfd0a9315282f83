"""How deliveries to each destination go: what waits, and what became of the others."""

from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import class_row

from driftline.core.moment import from_micros


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """Of one destination: what waits now, with the oldest (microseconds), and what ended since a moment.

    `failing` are those that wait after a failed attempt, `detail` is what the provider said of the last of them.
    """

    destination: str
    pending: int
    failing: int
    oldest_pending: int | None
    sent: int
    skipped: int
    refused: int
    expired: int
    maybe_repeated: int
    detail: str


def count_deliveries(conn: Connection, since: int) -> list[DeliveryCounts]:
    """Count the deliveries that wait, and those made since a moment (microseconds), by destination."""
    with conn.cursor(row_factory=class_row(DeliveryCounts)) as cursor:
        cursor.execute(
            """
            SELECT destination, count(*) FILTER (WHERE status = 'pending') pending,
                   count(*) FILTER (WHERE status = 'pending' AND detail <> '') failing,
                   min(created_at) FILTER (WHERE status = 'pending') oldest_pending,
                   count(*) FILTER (WHERE status = 'sent') sent,
                   count(*) FILTER (WHERE status = 'skipped') skipped,
                   count(*) FILTER (WHERE status = 'refused') refused,
                   count(*) FILTER (WHERE status = 'expired') expired,
                   coalesce(sum(maybe_repeated), 0)::int maybe_repeated,
                   coalesce((array_agg(detail ORDER BY next_attempt_at DESC)
                             FILTER (WHERE status = 'pending' AND detail <> ''))[1], '') detail
            FROM deliveries WHERE status = 'pending' OR created_at >= %s GROUP BY destination ORDER BY destination
            """,
            (from_micros(since),),
        )
        return cursor.fetchall()
