"""Estimators with scikit-learn's interface (its own, XGBoost's, LightGBM's …): what they predict is logged."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftline.sdk.monitor import Monitor

_logger = logging.getLogger("driftline")


def monitored(estimator: Any, monitor: "Monitor") -> "MonitoredEstimator":
    """Wrap a fitted estimator or pipeline, so that each row it predicts is logged.

    Features have the names of the frame's columns or, for arrays, those that the estimator was fitted with;
    without either they are in the order of the schema.
    """
    return MonitoredEstimator(estimator, monitor)


class MonitoredEstimator:
    """An estimator whose `predict` and `predict_proba` are logged; everything else is the estimator's.

    Both take `prediction_ids` and `entity_ids`, one a row. Whoever needs both calls of the same rows gives both
    the same ids: an id counts once.
    """

    def __init__(self, estimator: Any, monitor: "Monitor") -> None:
        self._estimator = estimator
        self._monitor = monitor
        self._warned = False

    def __getattr__(self, name: str) -> Any:
        """Give what the estimator has."""
        if name == "_estimator":  # not there yet while it is unpickled or copied
            raise AttributeError(name)
        return getattr(self._estimator, name)

    def predict(
        self,
        X: Any,  # noqa: N803  scikit-learn's name
        *,
        prediction_ids: Sequence[Any] | None = None,
        entity_ids: Sequence[Any] | None = None,
        **given: Any,
    ) -> Any:
        """Predict, and log the predictions."""
        predicted = self._estimator.predict(X, **given)
        self._log(X, predicted, None, prediction_ids, entity_ids)
        return predicted

    def predict_proba(
        self,
        X: Any,  # noqa: N803
        *,
        prediction_ids: Sequence[Any] | None = None,
        entity_ids: Sequence[Any] | None = None,
        **given: Any,
    ) -> Any:
        """Predict probabilities, and log them with the likeliest class; of two classes that of the second."""
        scores = self._estimator.predict_proba(X, **given)
        self._log(X, None, scores, prediction_ids, entity_ids)
        return scores

    def _log(self, rows: Any, predicted: Any, scores: Any, prediction_ids: Any, entity_ids: Any) -> None:
        try:
            if scores is not None:
                predicted = self._estimator.classes_[scores.argmax(axis=1)]
                scores = scores[:, 1] if scores.shape[1] == 2 else scores
            self._monitor.log_batch(
                name_columns(rows, self._estimator),
                predicted,
                scores,
                prediction_ids=prediction_ids,
                entity_ids=entity_ids,
            )
        except Exception as error:  # it has predicted: what cannot be read is no fault of the service
            if not self._warned:
                self._warned = True
                _logger.warning(
                    "driftline: the predictions of %s cannot be read (%s: %s); log them with Monitor.log_batch",
                    type(self._estimator).__name__,
                    type(error).__name__,
                    error,
                )


def name_columns(rows: Any, estimator: Any) -> Any:
    """Give an array's columns their names where the estimator knows them; frames have names of their own."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None or hasattr(rows, "columns") or getattr(rows, "ndim", 0) != 2 or len(names) != rows.shape[1]:
        return rows
    return {str(name): rows[:, position] for position, name in enumerate(names)}
