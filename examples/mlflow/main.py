"""MLflow: the reference is an artifact of the run, and the model that is served logs what it predicts."""

import tempfile
from pathlib import Path

import mlflow
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import driftline
from driftline.sdk.integrations.mlflow import MonitoredModel, log_reference, monitored, upload_reference

MODEL, VERSION = "mlflow", "1"

data: pd.DataFrame = load_breast_cancer(as_frame=True).frame
train, live = data[:400], data[400:].drop(columns="target")
features = train.drop(columns="target")
pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, train["target"])

with tempfile.TemporaryDirectory() as folder:
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.create_experiment("demo", artifact_location=Path(folder, "artifacts").as_uri())
    mlflow.set_experiment("demo")

    # Training: the model, the summary of its training data, and the same model as one that logs.
    with mlflow.start_run() as run:
        plain = mlflow.sklearn.log_model(pipeline, name="model")
        log_reference(features.assign(prediction=pipeline.predict(features)), task="binary", window="1h")
        logging = mlflow.pyfunc.log_model(
            name="monitored",
            python_model=MonitoredModel(MODEL, VERSION),
            artifacts={"model": plain.model_uri},
            pip_requirements=["driftline", "scikit-learn"],
        )

    # Releasing: driftline learns of the version from the run.
    upload_reference(run.info.run_id, MODEL, VERSION)

    # Serving, as `mlflow models serve` does it, and as a service of one's own does.
    mlflow.pyfunc.load_model(logging.model_uri).predict(live[:100])
    with driftline.Monitor(MODEL, VERSION) as monitor:
        monitored(mlflow.pyfunc.load_model(plain.model_uri), monitor).predict(live[100:])
    print(monitor.counts)
