"""What KServe's and Seldon's payload loggers send, to the URLs in the manifests; no cluster is needed."""

import csv
import json
import os
import random
import tempfile
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

import driftline

MODEL, VERSION = "kserve", "1"
SERVER = os.environ["DRIFTLINE_URL"]
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
HERE = Path(__file__).parent


def find_target(logger: dict[str, Any]) -> str:
    """Give the URL of a manifest's logger on the server at hand."""
    assert logger["mode"] == "all", "request and response make a prediction together"
    url = urlsplit(logger["url"])
    return f"{SERVER}{url.path}?{url.query}"


def send(target: str, kind: str, call: str, content: object, **attributes: str) -> None:
    """Send one event in binary mode."""
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-type": kind,
        "ce-source": "http://localhost:9081/",
        "ce-id": call,
        "ce-time": datetime.now(UTC).isoformat(),
        **{f"ce-{name}": value for name, value in attributes.items()},
    }
    with urllib.request.urlopen(urllib.request.Request(target, json.dumps(content).encode(), headers)) as answer:
        assert answer.status == 202


rng = random.Random(0)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "train.csv")
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*NAMES, "prediction"])
        table.writerows([*(rng.gauss(mean, 0.5) for mean in (5.8, 3.1, 3.8, 1.2)), row % 3] for row in range(300))
    driftline.upload_reference(MODEL, VERSION, path, task="multiclass", window="1h")

kserve = yaml.safe_load((HERE / "inferenceservice.yaml").read_text())["spec"]["predictor"]
target = find_target(kserve["logger"])
for call in range(20):  # two flowers a call
    number = str(uuid.uuid4())
    asked = {"instances": [[6.8, 2.8, 4.8, 1.4 + call / 100], [6.0, 3.4, 4.5, 1.6]]}
    send(target, "org.kubeflow.serving.inference.request", number, asked, inferenceservicename="iris")
    answered = {"predictions": [1, 1]}
    send(target, "org.kubeflow.serving.inference.response", number, answered, inferenceservicename="iris")

seldon = yaml.safe_load((HERE / "seldondeployment.yaml").read_text())["spec"]["predictors"][0]["graph"]
target = find_target(seldon["logger"])
for call in range(10):  # events have ids of their own beside the call's
    number = str(uuid.uuid4())
    answered = {"data": {"names": ["0", "1", "2"], "ndarray": [[0.1, 0.7, 0.2]]}}
    send(target, "io.seldon.serving.inference.response", str(uuid.uuid4()), answered, requestid=number)
    asked = {"data": {"names": NAMES, "ndarray": [[6.8, 2.8, 4.8, 1.4 + call / 100]]}}
    send(target, "io.seldon.serving.inference.request", str(uuid.uuid4()), asked, requestid=number)
