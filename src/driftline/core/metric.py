"""A measured metric: its number and 95 % interval, or why there is none."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class MetricStatus(StrEnum):
    """What a metric is worth; `ok` is a number, everything else is the reason why there is none."""

    OK = "ok"
    TOO_FEW = "too_few"  # fewer than ten independent rows, or than two of a class
    NO_SCORES = "no_scores"  # the model gives none
    INVALID_SCORES = "invalid_scores"  # a score is NaN or infinite, or their shape is not that of the classes
    NOT_PROBABILITIES = "not_probabilities"  # a score is outside 0 to 1, or those of a row do not add up to 1
    INVALID_TRUTH = "invalid_truth"  # a label is NaN, of no known class, or a negative relevance
    INVALID_PREDICTIONS = "invalid_predictions"  # a prediction is NaN, or of no known class
    ONE_CLASS = "one_class"  # all labels are of one class
    MISSING_CLASS = "missing_class"  # a class has no label
    NO_POSITIVES = "no_positives"  # no label is positive, of the class, or relevant
    NO_PREDICTED_POSITIVES = "no_predicted_positives"  # no prediction is positive
    CONSTANT_TRUTH = "constant_truth"  # all labels are the same number
    ZERO_TRUTH = "zero_truth"  # a label is 0, so there is no relative error
    NO_GROUPS = "no_groups"  # nothing says which rows are ranked together
    CONSTANT_SCORE = "constant_score"  # the reference's scores are all the same: they tell rows not apart
    UNSEEN_SCORES = "unseen_scores"  # many scores are beyond any of the reference's
    NOT_ESTIMATED = "not_estimated"  # the task has no estimate
    NO_BASELINE = "no_baseline"  # the reference has no labels to learn from
    UNDEFINED = "undefined"  # the number overflows


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric with its 95 % interval; all NaN unless `status` is `ok`."""

    value: float
    lower: float
    upper: float
    status: MetricStatus = MetricStatus.OK


def unmeasured(status: MetricStatus) -> Measured:
    """Say why there is no number."""
    return Measured(np.nan, np.nan, np.nan, status)
