"""Whether a reference has a baseline, and why not."""

from enum import StrEnum

from driftline.core.reference import Reference
from driftline.core.schema import PREDICTION, Task


class BaselineStatus(StrEnum):
    """What a reference says about the performance of its model."""

    OK = "ok"
    NO_PREDICTIONS = "no_predictions"
    NO_TASK = "no_task"
    NO_LABELS = "no_labels"


def baseline_status(reference: Reference) -> BaselineStatus:
    """Tell what a baseline lacks first."""
    if reference.baseline is not None:
        return BaselineStatus.OK
    predicted = reference.names.index(PREDICTION)
    if (
        reference.schema.task is not Task.RANKING
        and not reference.profile.counts[predicted, : reference.grid.cells].any()
    ):
        return BaselineStatus.NO_PREDICTIONS
    return BaselineStatus.NO_TASK if reference.schema.task is None else BaselineStatus.NO_LABELS


def explain_baseline(reference: Reference) -> str:
    """Say in words why there is no baseline, and what would make one; nothing where there is one."""
    schema = reference.schema
    return {
        BaselineStatus.OK: "",
        BaselineStatus.NO_PREDICTIONS: f"the data have no predictions in column {schema.prediction!r}; add "
        "what the model says of these rows, and what came true",
        BaselineStatus.NO_TASK: f"it is not known what the model predicts; say its task: {', '.join(Task)}",
        BaselineStatus.NO_LABELS: f"the data have no labels in column {schema.label!r}; add what came true, "
        "of rows that the model was not trained on, or name the column",
    }[baseline_status(reference)]
