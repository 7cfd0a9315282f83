"""MLflow: models that log what they predict, and references kept with the run that trained the model.

`log_reference` and `upload_reference` need the extra `driftline[compare]`.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.pyfunc import PythonModel

import driftline

if TYPE_CHECKING:
    from driftline.core.reference import Reference
    from driftline.sdk.monitor import Monitor

ARTIFACT = "driftline/reference.driftline"


class MonitoredModel(PythonModel):
    """A model for `mlflow.pyfunc.log_model(python_model=…, artifacts={"model": URI})` that logs each prediction.

    It loads the model at `artifacts["model"]` (any flavour) and opens a monitor where it is served; `options` are
    those of `driftline.Monitor`, and `DRIFTLINE_URL` of the serving environment says where to send. That
    environment needs `driftline` among its requirements.
    """

    def __init__(self, model_id: str, version: str, **options: Any) -> None:
        self.model_id = model_id
        self.version = version
        self.options = options
        self._model: MonitoredPyfunc | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Give what is logged with the run: not the model and the monitor that are open here."""
        return {**self.__dict__, "_model": None}

    def load_context(self, context: Any) -> None:
        """Load the model and open the monitor."""
        self._model = self._open(context)

    def predict(self, context: Any, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Predict, and log the predictions."""
        if self._model is None:
            self._model = self._open(context)
        return self._model.predict(model_input, params)

    def _open(self, context: Any) -> "MonitoredPyfunc":
        monitor = driftline.Monitor(self.model_id, self.version, **self.options)
        return monitored(mlflow.pyfunc.load_model(context.artifacts["model"]), monitor)


def monitored(model: Any, monitor: "Monitor") -> "MonitoredPyfunc":
    """Wrap a loaded model (`mlflow.pyfunc.load_model`), so that each row it predicts is logged."""
    return MonitoredPyfunc(model, monitor)


class MonitoredPyfunc:
    """A loaded model whose `predict` is logged; everything else is the model's."""

    def __init__(self, model: Any, monitor: "Monitor") -> None:
        self._model = model
        self._monitor = monitor

    def __getattr__(self, name: str) -> Any:
        """Give what the model has."""
        if name == "_model":  # not there yet while it is copied
            raise AttributeError(name)
        return getattr(self._model, name)

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Predict, and log what `read_outputs` makes of the predictions."""
        predicted = self._model.predict(data, params=params)
        prediction, score = read_outputs(predicted)
        self._monitor.log_batch(data, prediction, score)
        return predicted


def read_outputs(predicted: Any) -> tuple[Any, Any]:
    """Tell predictions and scores apart: a column, or a frame with `prediction` (or one column) and `score`."""
    if not hasattr(predicted, "columns"):
        return predicted, None
    names = list(predicted.columns)
    main = "prediction" if "prediction" in names else next(iter(names), None)
    return None if main is None else predicted[main], predicted["score"] if "score" in names else None


def log_reference(data: Any, **options: Any) -> "Reference":
    """Build a reference of a run's training data, and log it as an artifact of the active run.

    `data` and `options` are those of `driftline.build_reference`. The data themselves stay where they are.
    """
    from driftline.core.reference import encode_reference  # noqa: PLC0415  needs numpy, which serving does not

    reference = driftline.build_reference(data, **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, Path(ARTIFACT).name)
        path.write_bytes(encode_reference(reference))
        mlflow.log_artifact(str(path), str(Path(ARTIFACT).parent))
    return reference


def upload_reference(run_id: str, model_id: str, version: str, *, url: str | None = None) -> dict[str, Any]:
    """Register a version with the reference that a run logged; gives what the server made of it.

    Raises Unavailable when the server does not answer, Refused when it does not take it.
    """
    from driftline.core.reference import decode_reference  # noqa: PLC0415
    from driftline.core.window import format_length  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=ARTIFACT, dst_path=folder)
        payload = Path(path).read_bytes()
    window = format_length(decode_reference(payload).window_length)
    return driftline.upload_reference(model_id, version, payload, url=url, window=window)
