"""LightGBM: its scikit-learn interface is wrapped; of a native Booster the frame and its scores are logged."""

import tempfile
from pathlib import Path

import lightgbm
import pandas as pd
from sklearn.datasets import load_breast_cancer

import driftline
from driftline.sdk.integrations.sklearn import monitored

MODEL, VERSION = "lightgbm", "1"

data: pd.DataFrame = load_breast_cancer(as_frame=True).frame
data.columns = data.columns.str.replace(" ", "_")  # as LightGBM would
train, live = data[:400], data[400:].drop(columns="target")
features = train.drop(columns="target")
classifier = lightgbm.LGBMClassifier(n_estimators=20, verbose=-1).fit(features, train["target"])

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "train.csv")
    features.assign(prediction=classifier.predict(features)).to_csv(path, index=False)
    driftline.upload_reference(MODEL, VERSION, path, task="binary", window="1h")

with driftline.Monitor(MODEL, VERSION) as monitor:
    monitored(classifier, monitor).predict_proba(live[:100])
    monitored(classifier, monitor).predict_proba(live[100:120].to_numpy())  # an array: names are the model's

    scores = classifier.booster_.predict(live[120:])
    monitor.log_batch(live[120:], prediction=(scores > 0.5).astype(int), score=scores)
print(monitor.counts)
