"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

_COLUMNS = "Columns"
DEFAULT_URL = "http://127.0.0.1:8420"

UrlOption = Annotated[str, typer.Option("--url", help="The driftline to ask.", envvar="DRIFTLINE_URL")]
ByOption = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="NAME",
        help="Who does it, for the audit trail (default: your user name here).",
        envvar="DRIFTLINE_BY",
    ),
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write it as JSON; - for standard output.")
]

TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="TASK", help="What the model predicts: binary, multiclass, regression, ranking."
    ),
]
SchemaOption = Annotated[
    Path | None,
    typer.Option(
        "--schema", metavar="FILE", help="What each column means, as JSON, instead of telling by the data."
    ),
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option("--columns", metavar="NAME", help="Only this column; repeat for more.", rich_help_panel=_COLUMNS),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="NAME", help="Not this column; repeatable.", rich_help_panel=_COLUMNS),
]
CategoricalOption = Annotated[
    list[str] | None,
    typer.Option(
        "--categorical",
        metavar="NAME",
        help="Numbers in this column are categories, e.g. postcodes; repeatable.",
        rich_help_panel=_COLUMNS,
    ),
]
PredictionOption = Annotated[
    str | None,
    typer.Option(
        "--prediction",
        metavar="NAME",
        help="The model's prediction (default: prediction).",
        rich_help_panel=_COLUMNS,
    ),
]
ScoreOption = Annotated[
    str | None,
    typer.Option("--score", metavar="NAME", help="The model's score (default: score).", rich_help_panel=_COLUMNS),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        "--label",
        metavar="NAME",
        help="What came true; never a feature (default: label).",
        rich_help_panel=_COLUMNS,
    ),
]
TimestampOption = Annotated[
    str | None,
    typer.Option(
        "--timestamp", metavar="NAME", help="When it was predicted (default: timestamp).", rich_help_panel=_COLUMNS
    ),
]


def name_user() -> str:
    """Give the name of the user who runs the command."""
    import getpass  # noqa: PLC0415

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        return "unknown"
