"""XGBoost: its scikit-learn interface is wrapped; of a native Booster the frame and its scores are logged."""

import tempfile
from pathlib import Path

import pandas as pd
import xgboost
from sklearn.datasets import load_breast_cancer

import driftline
from driftline.sdk.integrations.sklearn import monitored

MODEL, VERSION = "xgboost", "1"

data: pd.DataFrame = load_breast_cancer(as_frame=True).frame
train, live = data[:400], data[400:].drop(columns="target")
features = train.drop(columns="target")
classifier = xgboost.XGBClassifier(n_estimators=20).fit(features, train["target"])

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "train.csv")
    features.assign(prediction=classifier.predict(features)).to_csv(path, index=False)
    driftline.upload_reference(MODEL, VERSION, path, task="binary", window="1h")

with driftline.Monitor(MODEL, VERSION) as monitor:
    monitored(classifier, monitor).predict_proba(live[:100])
    monitored(classifier, monitor).predict_proba(live[100:120].to_numpy())  # an array: names are the model's

    booster = classifier.get_booster()
    scores = booster.predict(xgboost.DMatrix(live[120:]))
    monitor.log_batch(live[120:], prediction=(scores > 0.5).astype(int), score=scores)
print(monitor.counts)
