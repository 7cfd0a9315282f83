"""A BentoML service that logs what it predicts: `bentoml serve service:Iris`."""

from typing import Any

import bentoml
import pandas as pd
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import driftline

MODEL, VERSION = "bentoml", "1"

TRAIN = load_iris(as_frame=True)
classifier = LogisticRegression(max_iter=1_000).fit(TRAIN.data, TRAIN.target_names[TRAIN.target])


@bentoml.service(workers=2)
class Iris:
    """Tells the species of a flower. Each worker has a monitor of its own."""

    def __init__(self) -> None:
        self.monitor = driftline.Monitor(MODEL, VERSION)

    @bentoml.api
    def predict(self, features: dict[str, float]) -> dict[str, Any]:
        """Predict, and log the prediction; its id goes to the caller, who may know the truth later."""
        scores = classifier.predict_proba(pd.DataFrame([features])[list(TRAIN.feature_names)])[0]
        species, score = str(classifier.classes_[scores.argmax()]), float(scores.max())
        return {"prediction": species, "prediction_id": self.monitor.log(features, species, score)}

    @bentoml.on_shutdown
    def close(self) -> None:
        """Deliver the last rows."""
        self.monitor.close()
