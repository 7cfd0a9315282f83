"""A plant for every test of the workers."""

from pathlib import Path

import pytest

from driftline.store.database import Database
from tests.workers.plant import Plant, make_reference


@pytest.fixture
def plant(database: Database, tmp_path: Path) -> Plant:
    """One partition, a registered model `fraud` with version 3 and hourly windows, and its reference."""
    made = Plant(database, tmp_path / "samples")
    made.register()
    made.refer(make_reference())
    return made


@pytest.fixture
def bare(database: Database, tmp_path: Path) -> Plant:
    """One partition, and no model."""
    return Plant(database, tmp_path / "samples")
