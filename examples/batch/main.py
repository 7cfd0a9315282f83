"""A batch job: tables are scored chunk by chunk, and each chunk is logged. Run again, nothing counts twice."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import driftline

MODEL, VERSION = "batch", "1"
JOB = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)  # what the job is about, not when it runs

data: pd.DataFrame = load_breast_cancer(as_frame=True).frame
train, live = data[:400], data[400:].drop(columns="target")
features = train.drop(columns="target")
pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, train["target"])

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "train.csv")
    features.assign(prediction=pipeline.predict(features)).to_csv(path, index=False)
    driftline.upload_reference(MODEL, VERSION, path, task="binary", window="1h")

for _attempt in range(2):  # as after a failure
    with driftline.Monitor(MODEL, VERSION) as monitor:
        for start in range(0, len(live), 50):
            chunk = live[start : start + 50]
            monitor.log_batch(
                chunk,
                prediction=pipeline.predict(chunk),
                score=pipeline.predict_proba(chunk)[:, 1],
                prediction_ids=[f"{JOB:%Y%m%d%H}-{row}" for row in chunk.index],
                timestamps=JOB,
            )
    print(monitor.counts)
