"""Spark: each partition is scored and logged where it lies."""

import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

import driftline

MODEL, VERSION = "spark", "1"
URL = os.environ["DRIFTLINE_URL"]
JOB = datetime.now(UTC)


def score(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Score the frames of a partition and log them; a task that Spark runs again logs the same ids."""
    with driftline.Monitor(MODEL, VERSION, url=URL) as monitor:
        for frame in frames:
            frame["prediction"] = (frame["amount"] > 3).astype(int)
            monitor.log_batch(
                frame,
                prediction="prediction",
                prediction_ids=[f"{JOB:%Y%m%d}-{order}" for order in frame["order_id"]],
                timestamps=JOB,
            )
            yield frame[["order_id", "prediction"]]


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    orders = pd.DataFrame({"order_id": range(1_000), "amount": rng.lognormal(1, 1, 1_000)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.csv")
        orders[["amount"]].assign(prediction=(orders["amount"] > 3).astype(int)).to_csv(path, index=False)
        driftline.upload_reference(MODEL, VERSION, path, url=URL, task="binary", window="1h")

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # where driftline is installed
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    scored = spark.createDataFrame(orders).repartition(4).mapInPandas(score, "order_id long, prediction long")
    print(scored.groupBy("prediction").count().collect())
    spark.stop()
