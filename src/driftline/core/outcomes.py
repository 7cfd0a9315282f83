"""Outcomes: predictions of one window whose truth has become known."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.core.errors import InvalidInput
from driftline.core.schema import Task


@dataclass(frozen=True, slots=True)
class Outcomes:
    """n predictions of one window (and segment) with their labels.

    `truth` and `prediction` [n] are class codes (intp, positions in `classes`) for classification and float64
    for regression; for ranking `truth` is the relevance of the row. `scores` are the probabilities of the
    positive class [n], of every class [n, C], or what is ranked by [n]; None where the model gives none.
    `weights` [n] are sampling weight times label weight. `groups` [n] are hashes of the entity, or of the list
    that is ranked: rows with equal ones are not independent; None when all rows are. `classes` of a binary model
    are (negative, positive).

    >>> outcomes = Outcomes(
    ...     truth=np.array([0, 1, 1]),
    ...     prediction=np.array([0, 1, 0]),
    ...     scores=np.array([0.1, 0.8, 0.4]),
    ...     weights=np.ones(3),
    ...     groups=None,
    ...     classes=("no", "yes"),
    ... )
    >>> outcomes.rows
    3
    """

    truth: NDArray[Any]
    prediction: NDArray[Any]
    scores: NDArray[np.float64] | None
    weights: NDArray[np.float64]
    groups: NDArray[np.int64] | None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse columns of different lengths, and weights that are no weights."""
        rows = len(self.truth)
        for name in ("prediction", "scores", "weights", "groups"):
            column = getattr(self, name)
            if column is not None and len(column) != rows:
                raise InvalidInput(f"{name} has {len(column)} rows, truth has {rows}; give both alike", field=name)
        if not np.isfinite(self.weights).all() or (self.weights < 0).any():
            raise InvalidInput("weights must be finite and not negative", field="weights")

    @property
    def rows(self) -> int:
        """Number of predictions."""
        return len(self.truth)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Outcomes":
        """Select predictions by position, or by a mask."""
        return replace(
            self,
            truth=self.truth[rows],
            prediction=self.prediction[rows],
            scores=None if self.scores is None else self.scores[rows],
            weights=self.weights[rows],
            groups=None if self.groups is None else self.groups[rows],
        )


def find_pairs(
    task: Task | None,
    truth: NDArray[np.float64],
    prediction: NDArray[np.float64],
    scores: NDArray[np.float64] | None,
) -> NDArray[np.bool_]:
    """Tell which rows [n] can be measured; NaN is none: those with a label and, but for ranking, a prediction.

    If some have a score, those without are left out.

    >>> truth, prediction, scores = np.array([[0, 1, np.nan], [0, 1, 1], [0.3, np.nan, 0.2]])
    >>> find_pairs(Task.BINARY, truth, prediction, scores).tolist()
    [True, False, False]
    """
    usable = ~np.isnan(truth)
    if task is not Task.RANKING:
        usable &= ~np.isnan(prediction)
    if scores is not None:
        usable &= ~np.isnan(scores.reshape(len(usable), -1)).any(axis=1)
    return np.asarray(usable, np.bool_)
