"""Register the model of service.py, serve it, and send it some requests."""

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import bentoml

import driftline
from service import MODEL, TRAIN, VERSION, classifier

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "train.csv")
    TRAIN.data.assign(prediction=classifier.predict(TRAIN.data)).to_csv(path, index=False)
    driftline.upload_reference(MODEL, VERSION, path, task="multiclass", window="1h")

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
command = [sys.executable, "-m", "bentoml", "serve", "service:Iris", "--port", str(port)]
service = subprocess.Popen(command, cwd=Path(__file__).parent)
try:
    with bentoml.SyncHTTPClient(f"http://127.0.0.1:{port}", server_ready_timeout=60) as client:
        for row in TRAIN.data[::3].to_dict("records"):
            answer = client.predict(features=row)
        print(answer)
finally:
    service.terminate()
    service.wait(30)
