"""A scikit-learn pipeline that logs what it predicts."""

import tempfile
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import driftline
from driftline.sdk.integrations.sklearn import monitored

MODEL, VERSION = "sklearn", "1"

data: pd.DataFrame = load_breast_cancer(as_frame=True).frame
train, live = data[:400], data[400:].drop(columns="target")
features = train.drop(columns="target")
pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, train["target"])

# Once, where it is trained: what the model saw, and what it said of it.
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "train.csv")
    features.assign(prediction=pipeline.predict(features)).to_csv(path, index=False)
    driftline.upload_reference(MODEL, VERSION, path, task="binary", window="1h")

# Wherever it predicts.
with driftline.Monitor(MODEL, VERSION) as monitor:
    model = monitored(pipeline, monitor)
    for start in range(0, len(live), 50):
        model.predict_proba(live[start : start + 50])
print(monitor.counts)
