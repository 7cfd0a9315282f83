"""What time does to labels: predictions that never got one, and labels that wait for no prediction any more."""

from driftline.store.database import Database
from driftline.store.joined_models import list_expired_waits, lock_models
from driftline.store.label_counts import LabelCounts, add_counts
from driftline.store.performance_windows import expire_windows, list_expiring
from driftline.store.waiting_labels import drop_waiting


def expire_labels(database: Database, now: int) -> None:
    """Expire windows whose labels have had their time, and drop labels that have waited for that long."""
    with database.transaction() as conn:
        expiring = list_expiring(conn, now)
    for model_id, windows in sorted(expiring.items()):
        with database.transaction() as conn:
            if model := lock_models(conn, [model_id]).get(model_id):
                expire_windows(conn, model, windows, now)
    with database.transaction() as conn:
        waiting = list_expired_waits(conn, now)
    for model_id in waiting:
        with database.transaction() as conn:
            if model := lock_models(conn, [model_id]).get(model_id):
                gone = drop_waiting(conn, model.model_no, now - model.max_delay)
                counts = LabelCounts(waiting=-gone, unmatched=gone)
                add_counts(conn, {(model.model_no, ""): counts})
