"""What every benchmark prints and writes: one record a measurement, beside its budget."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Record:
    """A measured value; `budget` None is for information only, and always ok."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    better: Literal["lower", "higher"] = "lower"

    @property
    def ok(self) -> bool:
        if self.budget is None:
            return True
        return bool(self.value <= self.budget if self.better == "lower" else self.value >= self.budget)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of repeated runs."""

    median: float
    least: float


def time_runs(run: Callable[[], object], runs: int) -> Timing:
    """Time a function, after one run that does not count (it compiles and fills caches)."""
    run()
    seconds = []
    for _ in range(runs):
        start = perf_counter()
        run()
        seconds.append(perf_counter() - start)
    return Timing(median(seconds), min(seconds))


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the records to a file")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a budget is missed")
    return parser


def report(title: str, records: Sequence[Record], options: argparse.Namespace) -> None:
    """Print the records as a table, write them where asked to, and exit with 1 when asked to and one is not ok."""
    table = Table(title=title, title_justify="left")
    for column in ("what", "value", "unit", "budget", ""):
        table.add_column(column, justify="right" if column in ("value", "budget") else "left")
    for record in records:
        sign = "≤" if record.better == "lower" else "≥"
        budget = "" if record.budget is None else f"{sign} {record.budget:g}"
        verdict = "" if record.budget is None else "ok" if record.ok else "[red]missed[/red]"
        table.add_row(record.name, f"{record.value:,.4g}", record.unit, budget, verdict)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if options.json:
        rows = [{**asdict(record), "ok": record.ok} for record in records]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.check and not all(record.ok for record in records):
        sys.exit(1)
