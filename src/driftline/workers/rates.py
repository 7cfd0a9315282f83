"""Rates of sampling follow the traffic: after a window has closed, the next ones should bring enough rows each."""

import structlog
from psycopg import Connection

from driftline.core.profile import Profile
from driftline.core.sampling import choose_n
from driftline.store.models import get_model
from driftline.store.sampling import announce_n, read_n
from driftline.store.windows import StoredWindow, is_newest_closed

logger = structlog.get_logger("driftline.monitor")


def adapt_n(conn: Connection, window: StoredWindow, profile: Profile) -> None:
    """Choose the N of a version by a window of it that has just closed, unless the model's settings fix it.

    Where entities are sampled it is they that should be enough: rows count as far as they are evidence.
    Only the newest closed window says what comes next: neither rows that come late nor a replay of the past beside
    live traffic change anything.
    """
    key = (window.model_id, window.model_version)
    if not is_newest_closed(conn, window):
        return
    current = read_n(conn, *key)
    fixed = get_model(conn, window.model_id).settings.get("sampling_n")
    evidence = profile.effective_rows / profile.rows if profile.entities.weight else 1.0
    n = fixed or choose_n(int(window.weight * evidence), current)
    if announce_n(conn, *key, n):
        logger.info("rate of sampling changed", model=key[0], version=key[1], n=n, before=current)
