"""`driftline reference`: build what windows are compared with, where the training data lie; and look at it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.options import (
    CategoricalOption,
    ColumnsOption,
    ExcludeOption,
    LabelOption,
    PredictionOption,
    SchemaOption,
    ScoreOption,
    TaskOption,
    TimestampOption,
)
from driftline.cli.terminal import open_console, read_json, show_progress, write_json
from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    from driftline.core.reference import Reference

app = typer.Typer(
    help="Build a reference where the training data lie, and look at it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.command(no_args_is_help=True)
def build(
    data: Annotated[
        Path, typer.Argument(help="Training data: Parquet, CSV or Arrow, of any size.", metavar="DATA")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write it (default: DATA.driftline).", metavar="FILE", show_default=False),
    ] = None,
    window: Annotated[
        str, typer.Option(help="How long the windows of production will be.", metavar="LENGTH")
    ] = "1h",
    window_rows: Annotated[
        int | None,
        typer.Option(help="Rows that such a window will bring; the data's timestamps tell it otherwise.", min=1),
    ] = None,
    task: TaskOption = None,
    schema: SchemaOption = None,
    segment: Annotated[
        list[str] | None,
        typer.Option(help="Also watch each value of this column by itself; repeatable.", metavar="NAME"),
    ] = None,
    columns: ColumnsOption = None,
    exclude: ExcludeOption = None,
    categorical: CategoricalOption = None,
    prediction: PredictionOption = None,
    score: ScoreOption = None,
    timestamp: TimestampOption = None,
    label: LabelOption = None,
    positive_class: Annotated[
        str | None,
        typer.Option(
            help="Which of two classes the score is the probability of (default: the last one, such as 1 or yes).",
            metavar="CLASS",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Build a reference from training data, in bounded memory; the data stay where they are."""
    out = out or data.with_suffix(".driftline")
    with show_progress(f"Building a reference from {data.name}") as progress:
        from driftline.core.reference import encode_reference  # noqa: PLC0415  loads numpy and numba
        from driftline.report.build import build_reference  # noqa: PLC0415

        reference = build_reference(
            data,
            window=window,
            window_rows=window_rows,
            schema=None if schema is None else read_json(schema),
            task=task,
            prediction=prediction,
            score=score,
            timestamp=timestamp,
            label=label,
            positive_class=positive_class,
            categorical=categorical or (),
            segments=segment or (),
            columns=columns or None,
            exclude=exclude or (),
            progress=progress,
        )
        payload = encode_reference(reference)
        out.write_bytes(payload)
    _print_built(reference, out, len(payload))


@app.command(no_args_is_help=True)
def show(
    path: Annotated[Path, typer.Argument(help="A reference.", metavar="REFERENCE")],
    json: Annotated[
        Path | None,
        typer.Option(help="Write it as JSON, with the schema, to edit or send; - for standard output."),
    ] = None,
) -> None:
    """Show what a reference says about each feature."""
    from driftline.report.basis import read_reference  # noqa: PLC0415
    from driftline.report.reference import describe_reference, draw_reference  # noqa: PLC0415

    reference = read_reference(path)
    if reference is None:
        raise InvalidInput(f"{path} is not a reference; make one of data with `driftline reference build {path}`")
    if json is not None:
        write_json(json, describe_reference(reference))
    if json != Path("-"):
        console = open_console()
        console.print(draw_reference(reference, console.width, ascii_only=console.options.ascii_only))


def _print_built(reference: "Reference", out: Path, size: int) -> None:
    from driftline.report.baseline import say_baseline  # noqa: PLC0415
    from driftline.report.reference import describe_variation  # noqa: PLC0415
    from driftline.report.words import plural  # noqa: PLC0415

    typer.echo(
        f"{out} ({size / 1000:,.0f} kB): {plural(len(reference.schema.features), 'feature')} of "
        f"{plural(reference.profile.rows, 'row')}, {reference.bins.count} bins, {describe_variation(reference)}"
    )
    typer.echo(say_baseline(reference))
    typer.echo(f"Next: driftline compare {out} CURRENT, or driftline reference show {out}")
