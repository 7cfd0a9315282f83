"""A scoring service as teams write it, for `sdk_overhead.py`: FastAPI, scikit-learn, 500 features, one worker.

POST /monitor?on=1 makes the service log every prediction with `driftline.Monitor`, on=0 stops that: the same
process is measured with and without. Usage: service.py PORT; the monitor is set up by DRIFTLINE_*.
"""

import sys
from typing import Any

import msgspec
import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from sklearn.linear_model import LogisticRegression

from driftline import Monitor

FEATURES = 500


def train() -> Any:
    """Train a small model on random data."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((2_000, FEATURES))
    classes = rows[:, :20].sum(axis=1) + rng.standard_normal(2_000) > 0
    return LogisticRegression().fit(rows, classes)


def make_app() -> FastAPI:
    """Make the service."""
    app = FastAPI()
    model = train()
    decode = msgspec.json.Decoder(dict[str, float]).decode
    monitors: list[Monitor] = []

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, float]:
        features = decode(await request.body())
        row = np.fromiter(features.values(), np.float64, FEATURES).reshape(1, -1)
        score = float(model.predict_proba(row)[0, 1])
        prediction = int(score > 0.5)
        if monitors:
            monitors[0].log(features, prediction, score)
        return {"prediction": prediction, "score": score}

    @app.post("/monitor")
    def switch(on: int) -> dict[str, int]:
        """Begin or end monitoring; gives how many predictions were kept."""
        kept = monitors[0].counts.kept if monitors else 0
        while monitors:
            monitors.pop().close()
        if on:
            monitors.append(Monitor("m", "1"))
            monitors[0].flush()
        return {"kept": kept}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
