"""What time does to labels: predictions that never got one, and labels that wait for no prediction any more."""

from driftline.core.window import DAY
from driftline.store.database import Database
from driftline.store.joined_models import list_expired_waits, lock_models
from driftline.store.label_counts import LabelCounts, add_counts
from driftline.store.performance_windows import expire_windows, list_expiring
from driftline.store.retention import LINGER_DAYS
from driftline.store.waiting_labels import drop_waiting

_LINGER = LINGER_DAYS * DAY


def expire_labels(database: Database, now: int, *, limit: int = 50_000) -> None:
    """Expire windows whose labels have had their time, and drop labels that have waited for that long.

    Labels are dropped in transactions of at most about `limit` of them.
    """
    with database.transaction() as conn:
        expiring = list_expiring(conn, now)
    for model_id, windows in sorted(expiring.items()):
        with database.transaction() as conn:
            if model := lock_models(conn, [model_id]).get(model_id):
                expire_windows(conn, model, windows, now)
    with database.transaction() as conn:
        waiting = list_expired_waits(conn, now, linger=_LINGER)
    for model_id in waiting:
        while _drop_some(database, model_id, now, limit):
            pass


def _drop_some(database: Database, model_id: str, now: int, limit: int) -> bool:
    """Drop at most so many labels of a model, whose lock is not held for longer; tells whether there may be more.

    A label that a prediction has is kept as long as that may be there: the prediction may have come a delay later.
    """
    with database.transaction() as conn:
        model = lock_models(conn, [model_id]).get(model_id)
        if model is None:
            return False
        before = now - model.max_delay
        gone, more = drop_waiting(
            conn, model.model_no, before, joined_before=before - _LINGER - model.reach, limit=limit
        )
        add_counts(conn, {(model.model_no, ""): LabelCounts(waiting=-gone, unmatched=gone)})
        return more
