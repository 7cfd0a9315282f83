"""Accepted batches: a batch id (`Idempotency-Key`) is refused when it was seen in the last 24 hours."""

from psycopg import Connection

from driftline.store.errors import AlreadyExists


def accept_batch(conn: Connection, model_id: str, batch_id: str, rows: int, digest: bytes) -> bool:
    """Claim a batch id in the transaction that appends the batch; False when it was accepted before.

    Waits for another transaction that is accepting the same batch, and takes over when that one fails.
    Raises AlreadyExists when what was accepted under the id had another digest: it is not the same batch.
    """
    done = conn.execute(
        """
        INSERT INTO accepted_batches AS b (model_id, batch_id, digest, rows) VALUES (%s, %s, %s, %s)
        ON CONFLICT ON CONSTRAINT accepted_batches_pkey
        DO UPDATE SET digest = excluded.digest, rows = excluded.rows, accepted_at = now()
        WHERE b.accepted_at <= now() - interval '24 hours'
        """,
        (model_id, batch_id, digest, rows),
    )
    if done.rowcount == 1:
        return True
    same = conn.execute(
        "SELECT digest = %s FROM accepted_batches WHERE model_id = %s AND batch_id = %s",
        (digest, model_id, batch_id),
    ).fetchone()
    if same == (False,):
        raise AlreadyExists(f"batch id {batch_id!r} of model {model_id!r} was used for another batch")
    return False


def was_accepted(conn: Connection, model_id: str, batch_id: str) -> bool:
    """Tell whether a batch id was accepted in the last 24 hours, without claiming it."""
    found = conn.execute(
        "SELECT FROM accepted_batches WHERE model_id = %s AND batch_id = %s"
        " AND accepted_at > now() - interval '24 hours'",
        (model_id, batch_id),
    )
    return found.rowcount > 0
