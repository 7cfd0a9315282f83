"""`driftline compare`: two datasets in, a ranked table out."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.options import (
    CategoricalOption,
    ColumnsOption,
    ExcludeOption,
    PredictionOption,
    SchemaOption,
    ScoreOption,
    TaskOption,
    TimestampOption,
)
from driftline.cli.terminal import open_console, read_json, show_progress, write_json

if TYPE_CHECKING:
    from driftline.report.report import Report


class FailOn(StrEnum):
    """What makes `driftline compare` end with exit code 1."""

    DRIFT = "drift"
    MODERATE = "moderate"
    QUALITY = "quality"


EXAMPLES = """
[bold]Examples[/bold]

  driftline compare train.parquet today.csv --html report.html
  driftline compare train.parquet today.parquet --exclude customer_id --categorical postcode
  driftline compare train.driftline today.parquet --json - --fail-on drift      in a CI job
"""


def compare(
    reference: Annotated[
        Path,
        typer.Argument(
            help="Training data, or a reference built from it.", metavar="REFERENCE", show_default=False
        ),
    ],
    current: Annotated[
        Path, typer.Argument(help="The data to compare with it.", metavar="CURRENT", show_default=False)
    ],
    html: Annotated[
        Path | None, typer.Option(help="Write a page with every distribution.", metavar="FILE")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write everything as JSON; - for standard output.", metavar="FILE")
    ] = None,
    fail_on: Annotated[
        list[FailOn] | None,
        typer.Option(
            help="Exit code 1 when a feature drifted, changed at least moderately, or data are broken "
            "(repeatable); and when there is no verdict at all.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="Features in the table.", min=0)] = 20,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help="Raise thresholds to how much the reference's own windows of this length vary, e.g. 1h or 1d.",
            show_default=False,
        ),
    ] = None,
    task: TaskOption = None,
    schema: SchemaOption = None,
    columns: ColumnsOption = None,
    exclude: ExcludeOption = None,
    categorical: CategoricalOption = None,
    prediction: PredictionOption = None,
    score: ScoreOption = None,
    timestamp: TimestampOption = None,
) -> None:
    """Compare two datasets (Parquet, CSV, Arrow) and rank their features by drift."""
    with show_progress(f"Comparing {current.name} with {reference.name}") as progress:
        from driftline.report.compare import compare as compare_datasets  # noqa: PLC0415  loads numpy and numba

        report = compare_datasets(
            reference,
            current,
            schema=None if schema is None else read_json(schema),
            task=task,
            window=window,
            prediction=prediction,
            score=score,
            timestamp=timestamp,
            categorical=categorical or (),
            columns=columns or None,
            exclude=exclude or (),
            progress=progress,
        )
        if html is not None:
            html.write_text(report.to_html(), "utf-8")
        if json is not None:
            write_json(json, report.to_dict())
    if json != Path("-"):
        _print_report(report, top, html)
    if failure := _judge(report, fail_on or ()):
        typer.echo(f"Exit code 1: {failure}.", err=True)
        raise typer.Exit(1)


def _print_report(report: "Report", top: int, html: Path | None) -> None:
    from driftline.report.table import draw_report  # noqa: PLC0415  loads rich

    console = open_console()
    console.print(
        draw_report(report, width=console.width, ascii_only=console.options.ascii_only, top=top), soft_wrap=False
    )
    if html is None:
        console.print("\nNext: [bold]--html report.html[/] draws every distribution.", style="dim")
    else:
        console.print(f"\nNext: open [bold]{html}[/] in a browser.", style="dim")


def _judge(report: "Report", fail_on: Sequence[FailOn]) -> str | None:
    """Say why the exit code is 1; None when it is 0."""
    from driftline.report.quality import Severity  # noqa: PLC0415

    counts = report.counts
    if fail_on and not report.judged:
        return "there is no verdict"
    if counts["drifted"] and {FailOn.DRIFT, FailOn.MODERATE} & {*fail_on}:
        return f"{counts['drifted']:,} drifted"
    if counts["moderate"] and FailOn.MODERATE in fail_on:
        return f"{counts['moderate']:,} changed moderately"
    broken = sum(found.severity is Severity.ERROR for found in report.findings)
    if broken and FailOn.QUALITY in fail_on:
        return f"{broken:,} data-quality errors"
    return None
