"""`driftline.build_reference`: what windows are compared with, built where the training data lie."""

from collections.abc import Mapping, Sequence
from typing import Any

from driftline.core.reference import Reference, add_baseline
from driftline.core.schema import Schema
from driftline.core.window import parse_length
from driftline.report.basis import build_from, choose_schema
from driftline.report.dataset import Dataset, Progress


def build_reference(
    data: Any,
    *,
    window: str = "1h",
    window_rows: int | None = None,
    schema: Schema | Mapping[str, Any] | None = None,
    task: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    timestamp: str | None = None,
    label: str | None = None,
    positive_class: str | None = None,
    categorical: Sequence[str] = (),
    segments: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    progress: Progress | None = None,
) -> Reference:
    """Build a reference from training data, in bounded memory.

    `data` is a frame (pandas, Polars, Arrow) or the path of a Parquet, CSV or Arrow file of any size. `window` is
    how long windows of production will be, `window_rows` how many rows one will bring, where the data's timestamps
    do not tell it. `segments` are columns whose values are also watched by themselves. Where `data` have
    predictions and, in the column `label`, what came true, the reference also says how well the model did;
    `positive_class` is the class that a binary model's score is the probability of, by default the last one. The
    other arguments are those of `driftline.compare`. Raises InvalidFrame or InvalidInput, which name the column
    and the fix.

    >>> import pyarrow as pa
    >>> reference = build_reference(pa.table({"amount": [float(i) for i in range(100)]}), window="15m")
    >>> reference.names, reference.profile.rows
    (('amount', '__prediction__', '__score__'), 100)
    """
    dataset = Dataset(data, "data", progress)
    chosen = choose_schema(
        dataset,
        schema=schema,
        task=task,
        prediction=prediction,
        score=score,
        timestamp=timestamp,
        label=label,
        categorical=categorical,
        segments=segments,
        columns=columns,
        exclude=exclude,
    )
    reference = build_from(dataset, chosen, window_length=parse_length(window), window_rows=window_rows)
    return add_baseline(
        reference, dataset.read_labelled(chosen), window_rows=window_rows, positive_class=positive_class
    )
