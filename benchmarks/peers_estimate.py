"""NannyML's estimates on the data sets that it ships, kept for `estimate.py --peers FOLDER`.

To be run in an environment of its own, as NannyML 0.13.1 needs pandas below 3 and names not all that it imports:

    python3.11 -m venv nml
    nml/bin/python -m pip install nannyml==0.13.1 statsmodels 'pandas<3'
    nml/bin/python benchmarks/peers_estimate.py FOLDER
"""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

# What is the truth, the prediction, the score; how many rows a window has.
BINARY = {
    "work from home": ("load_synthetic_binary_classification_dataset", "work_home_actual", 1_000),
    "car loan": ("load_synthetic_car_loan_dataset", "repaid", 1_000),
    "California housing": ("load_modified_california_housing_dataset", "clf_target", 588),
    "US census": ("load_us_census_ma_employment_data", "employed", 5_000),
}
METRICS = {
    "binary": ["accuracy", "precision", "recall", "f1", "roc_auc"],
    "multiclass": ["accuracy", "f1", "roc_auc"],
    "regression": ["rmse", "mae"],
}


def load(loader: str) -> tuple[Any, Any, Any]:
    """Read a data set: the reference, the windows to come, and the labels of these by id."""
    from nannyml import datasets  # noqa: PLC0415

    reference, analysis, labels = getattr(datasets, loader)()
    return reference, analysis, analysis[["id"]].merge(labels, on="id")


def estimate(calculator: Any, reference: Any, analysis: Any, metrics: list[str]) -> dict[str, Any]:
    """Give the estimates, their sampling errors and the time that they took."""
    calculator.fit(reference)
    start = perf_counter()
    frame = calculator.estimate(analysis).to_df()
    seconds = perf_counter() - start
    frame = frame[frame[("chunk", "period")] == "analysis"]
    return {
        "value": np.stack([frame[(metric, "value")] for metric in metrics], axis=1).astype(float),
        "error": np.stack([frame[(metric, "sampling_error")] for metric in metrics], axis=1).astype(float),
        "start": frame[("chunk", "start_index")].to_numpy(),
        "end": frame[("chunk", "end_index")].to_numpy() + 1,
        "metrics": np.array(metrics),
        "seconds": seconds,
    }


def run_binary(loader: str, truth: str, rows: int) -> dict[str, Any]:
    """Run CBPE on a data set of two classes."""
    import nannyml as nml  # noqa: PLC0415

    reference, analysis, labels = load(loader)
    prediction = "prediction" if "prediction" in reference else "y_pred"
    score = "predicted_probability" if "predicted_probability" in reference else "y_pred_proba"
    calculator = nml.CBPE(
        metrics=METRICS["binary"],
        y_true=truth,
        y_pred=prediction,
        y_pred_proba=score,
        problem_type="classification_binary",
        chunk_size=rows,
    )
    return {
        "task": "binary",
        **estimate(calculator, reference, analysis, METRICS["binary"]),
        **{
            f"{name}_{what}": frame[column].to_numpy(float)
            for what, column in (("prediction", prediction), ("scores", score))
            for name, frame in (("reference", reference), ("window", analysis))
        },
        "reference_truth": reference[truth].to_numpy(float),
        "window_truth": labels[truth].to_numpy(float),
    }


def run_multiclass() -> dict[str, Any]:
    """Run CBPE on three kinds of credit card."""
    import nannyml as nml  # noqa: PLC0415

    reference, analysis, labels = load("load_synthetic_multiclass_classification_dataset")
    classes = sorted(reference["y_true"].unique())
    scores = {name: f"y_pred_proba_{name}" for name in classes}
    calculator = nml.CBPE(
        metrics=METRICS["multiclass"],
        y_true="y_true",
        y_pred="y_pred",
        y_pred_proba=scores,
        problem_type="classification_multiclass",
        chunk_size=1_000,
    )
    return {
        "task": "multiclass",
        **estimate(calculator, reference, analysis, METRICS["multiclass"]),
        **{
            f"{name}_{what}": np.searchsorted(classes, frame[column].to_numpy(str)).astype(float)
            for what, name, frame, column in (
                ("prediction", "reference", reference, "y_pred"),
                ("prediction", "window", analysis, "y_pred"),
                ("truth", "reference", reference, "y_true"),
                ("truth", "window", labels, "y_true"),
            )
        },
        "reference_scores": reference[list(scores.values())].to_numpy(float),
        "window_scores": analysis[list(scores.values())].to_numpy(float),
    }


def run_regression() -> dict[str, Any]:
    """Run DLE on the prices of cars."""
    import nannyml as nml  # noqa: PLC0415

    reference, analysis, labels = load("load_synthetic_car_price_dataset")
    features = ["car_age", "km_driven", "price_new", "accident_count", "door_count", "fuel", "transmission"]
    calculator = nml.DLE(
        metrics=METRICS["regression"],
        y_true="y_true",
        y_pred="y_pred",
        feature_column_names=features,
        chunk_size=1_000,
    )
    codes = {
        name: np.column_stack(
            [
                frame[column].to_numpy(float)
                if reference[column].dtype.kind in "if"
                else np.searchsorted(sorted(reference[column].unique()), frame[column].to_numpy(str))
                for column in features
            ]
        )
        for name, frame in (("reference_features", reference), ("window_features", analysis))
    }
    return {
        "task": "regression",
        **estimate(calculator, reference, analysis, METRICS["regression"]),
        **codes,
        "reference_prediction": reference["y_pred"].to_numpy(float),
        "window_prediction": analysis["y_pred"].to_numpy(float),
        "reference_truth": reference["y_true"].to_numpy(float),
        "window_truth": labels["y_true"].to_numpy(float),
    }


RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    **{name: lambda options=options: run_binary(*options) for name, options in BINARY.items()},
    "credit card": run_multiclass,
    "car price": run_regression,
}


def main() -> None:
    """Estimate, and keep what was estimated with the data."""
    import nannyml as nml  # noqa: PLC0415

    nml.disable_usage_logging()
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, run in RUNS.items():
        kept = run()
        np.savez_compressed(folder / f"{name}.npz", **kept)
        print(f"{name}: {len(kept['start'])} windows in {kept['seconds']:.2f} s")


if __name__ == "__main__":
    main()
