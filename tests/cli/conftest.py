"""Files to compare, and a command line that runs in this process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from driftline.cli.app import main
from tests.report.conftest import make_frame


@dataclass(frozen=True, slots=True)
class Run:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Run]:
    """Run `driftline` with arguments, as the installed command does."""

    def run_main(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["driftline", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Run(int(exit_.value.code or 0), captured.out, captured.err)

    return run_main


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.parquet, same.csv, drifted.parquet and few.csv."""
    folder = tmp_path_factory.mktemp("files")
    make_frame(5000, seed=1).to_parquet(folder / "train.parquet")
    make_frame(2000, seed=2).to_csv(folder / "same.csv", index=False)
    drifted = make_frame(2000, seed=3)
    drifted["amount"] *= 2
    drifted.to_parquet(folder / "drifted.parquet")
    make_frame(40, seed=4).to_csv(folder / "few.csv", index=False)
    return folder
