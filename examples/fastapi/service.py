"""A FastAPI service whose predictions are logged by middleware: `uvicorn service:app`."""

import pandas as pd
from fastapi import FastAPI
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import driftline
from driftline.sdk.integrations.asgi import MonitorMiddleware

MODEL, VERSION = "fastapi", "1"

TRAIN = load_iris(as_frame=True)
classifier = LogisticRegression(max_iter=1_000).fit(TRAIN.data, TRAIN.target_names[TRAIN.target])

app = FastAPI()
app.add_middleware(MonitorMiddleware, monitor=driftline.Monitor(MODEL, VERSION), routes=["/predict"])


@app.post("/predict")
def predict(features: dict[str, float]) -> dict[str, str | float]:
    """Tell the species of a flower; the id of the prediction is in the header X-Prediction-Id."""
    scores = classifier.predict_proba(pd.DataFrame([features])[list(TRAIN.feature_names)])[0]
    return {"prediction": classifier.classes_[scores.argmax()], "score": scores.max()}


@app.get("/healthz")
def healthz() -> str:
    """Say that the service is up; nothing is logged of it."""
    return "ok"
