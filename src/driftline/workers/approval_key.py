"""The key that signs approval links and callback tokens: of the settings, or one made and kept beside the data."""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from psycopg import Connection

from driftline.core.approval import write_link
from driftline.core.errors import InvalidInput
from driftline.core.window import DAY, MICROSECONDS
from driftline.notify.secret import read_secret
from driftline.settings import Settings
from driftline.store.actions import ActionRun, list_undecided_runs

_LEAST = 16
_LASTS = 14 * DAY
_MOST_LINKS = 3
_FILE = "approval.key"

logger = structlog.get_logger("driftline.actions")


def read_approval_key(settings: Settings, environ: Mapping[str, str] = os.environ) -> bytes:
    """Give the key; without the setting `approval_key`, the one in data_dir, which is made if need be (mode 0600).

    Raises InvalidInput where the setting names none, or one of fewer than 16 characters.
    """
    if settings.approval_key is not None:
        key = read_secret(settings.approval_key, environ, field="approval_key").reveal().encode()
        if len(key) < _LEAST:
            raise InvalidInput(
                f"approval_key: it has {len(key)} bytes; use {_LEAST} or more, e.g. of `openssl rand -hex 32`",
                field="approval_key",
            )
        return key
    return _keep_key(settings.data_dir / _FILE)


def write_approval_link(settings: Settings, run: ActionRun) -> str:
    """Write the address at which a run can be approved once it waits for that; the same whenever it is asked."""
    return write_link(
        settings.address, read_approval_key(settings), run.run_id, (run.proposed_at + _LASTS) // MICROSECONDS
    )


def list_approval_links(conn: Connection, settings: Settings, alert_ids: Sequence[int]) -> list[tuple[str, str]]:
    """List the actions that alerts led to and that may wait for somebody, and where each can be approved."""
    runs = list_undecided_runs(conn, alert_ids)
    return [(run.action, write_approval_link(settings, run)) for run in runs[:_MOST_LINKS]]


def _keep_key(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    try:
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        os.link(made, path)  # whole, or not at all; the first of two processes wins
        logger.info("a key for approvals was made", path=str(path))
    except FileExistsError:
        pass
    finally:
        made.unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> bytes:
    key = path.read_bytes().strip()
    if len(key) < _LEAST:
        raise InvalidInput(f"{path} holds no key; delete it, and another one is made", field="approval_key")
    return key
