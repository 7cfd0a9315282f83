"""Approval links: in the notices of the alerts that led to a run, signed with a key that is kept."""

import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from driftline.core.approval import is_approval
from driftline.core.errors import InvalidInput
from driftline.notify.text import list_links
from driftline.settings import Settings
from driftline.store.database import Database
from driftline.store.deliveries import list_deliveries
from driftline.workers.approval_key import read_approval_key
from driftline.workers.notices import Teller
from tests.timelines import route
from tests.workers.action_yard import Yard
from tests.workers.plant import DAY


def test_a_notice_has_the_link_of_the_run_that_waits(database: Database, tmp_path: Path) -> None:
    yard = Yard(database, httpx.Client(trust_env=False))
    yard.register("fraud")
    yard.fire("fraud", "retrain")
    settings = Settings(data_dir=tmp_path, public_url="https://driftline.example.com")
    Teller(database, (route("hook"),), settings).look_at_all(yard.now)
    with database.transaction() as conn:
        (delivery,) = list_deliveries(conn, limit=10)
    text, address = list_links(delivery.notice)[-1]
    assert text == "Approve or reject retrain"
    parts = urlsplit(address)
    assert parts.path == f"/actions/{yard.run.run_id}/approval"
    query = parse_qs(parts.query)
    expires = int(query["expires"][0])
    key = read_approval_key(settings)
    assert is_approval(key, yard.run.run_id, expires, query["signature"][0], yard.now // 1_000_000)
    assert expires * 1_000_000 - yard.now == 14 * DAY
    yard.client.close()


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    key = read_approval_key(settings)
    assert read_approval_key(settings) == key
    file = tmp_path / "data" / "approval.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["approval.key"]
    assert len(key) == 64
    file.write_bytes(b"")
    with pytest.raises(InvalidInput, match="holds no key; delete it"):
        read_approval_key(settings)


def test_a_key_of_the_settings(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "none", approval_key="env:APPROVALS")
    assert read_approval_key(settings, {"APPROVALS": "k" * 32}) == b"k" * 32
    with pytest.raises(InvalidInput, match="it has 3 bytes; use 16 or more"):
        read_approval_key(settings, {"APPROVALS": "key"})
    assert not (tmp_path / "none").exists()
