"""Register the model of service.py, serve it, and send it some requests."""

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

import driftline
from service import MODEL, TRAIN, VERSION, classifier

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "train.csv")
    TRAIN.data.assign(prediction=classifier.predict(TRAIN.data)).to_csv(path, index=False)
    driftline.upload_reference(MODEL, VERSION, path, task="multiclass", window="1h")

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--log-level", "warning"]
service = subprocess.Popen(command, cwd=Path(__file__).parent)
try:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(300):
            try:
                client.get("/healthz").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.1)
        for row in TRAIN.data[::3].to_dict("records"):
            answer = client.post("/predict", json=row).raise_for_status()
        print(answer.json(), answer.headers["X-Prediction-Id"])
finally:
    service.terminate()  # the middleware delivers the last rows while the service shuts down
    service.wait(30)
