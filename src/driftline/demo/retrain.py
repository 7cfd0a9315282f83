"""The trainer that the demo's action starts: `python -m driftline.demo.retrain`, as a team's own job would be.

It reads the request on standard input, trains on the latest three months that the model has seen, registers the
new version with its reference, and leaves the trained model in the file that DRIFTLINE_DEMO_MODEL names.
"""

import json
import os
import pickle
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pandas as pd

from driftline.demo.flights import TIME_ZONE, Flights, load_flights, predict_unseen, train_model
from driftline.demo.replay import read_end, register_model

MODEL_FILE = "DRIFTLINE_DEMO_MODEL"
MONTHS = 3


def retrain(client: httpx.Client, version: str, file: Path) -> int:
    """Train, register and keep a version; gives the number of flights that it was trained on."""
    recent = choose_recent(load_flights(), read_end(client))
    model = train_model(recent)
    part = file.with_suffix(".part")
    part.write_bytes(pickle.dumps(model))
    part.rename(file)  # before the registration, which says that all is done
    register_model(client, predict_unseen(recent), version)
    return len(recent)


def choose_recent(flights: Flights, until: pd.Timestamp) -> pd.DataFrame:
    """Choose the flights of the three months before a time, whose outcome was known by then."""
    every = pd.concat([flights.training, flights.production])
    since = until - pd.DateOffset(months=MONTHS)
    chosen = (every["timestamp"] >= since) & (every["timestamp"] < until)
    return every[chosen & ~(every["known_at"] > until)]


def main() -> None:
    """Run as a command of the action."""
    request = json.load(sys.stdin)
    address = urlsplit(request["registration"]["register_url"])
    version = str(int(request["model_version"]) + 1)
    with httpx.Client(base_url=f"{address.scheme}://{address.netloc}", timeout=60) as client:
        rows = retrain(client, version, Path(os.environ[MODEL_FILE]))
    print(f"version {version}: trained on {rows:,} flights, in {TIME_ZONE}")


if __name__ == "__main__":
    main()
