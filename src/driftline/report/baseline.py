"""How well a model did on its reference: in a line, and as JSON."""

from typing import Any

import numpy as np

from driftline.core.baseline import Baseline
from driftline.core.baseline_status import baseline_status, explain_baseline
from driftline.core.performance import MAIN_METRIC, Performance
from driftline.core.reference import Reference
from driftline.core.schema import Task
from driftline.core.segment import EVERYTHING
from driftline.report.words import format_number, plural


def say_baseline(reference: Reference) -> str:
    """Say how well the model did, by the main metric of its task, or why that is not known."""
    if reference.baseline is None:
        return f"No baseline: {explain_baseline(reference)}."
    performance = reference.baseline.performances[EVERYTHING]
    metric, positive = _say_metric(performance, reference), _say_positive(reference.baseline)
    return f"Baseline on {plural(performance.n, 'labelled row')}: {metric}{positive}."


def _say_metric(performance: Performance, reference: Reference) -> str:
    name = MAIN_METRIC[reference.schema.task or Task.BINARY]
    place = performance.names.index(name)
    value, low, high = (
        format_number(float(numbers[place]))
        for numbers in (performance.values, performance.lower, performance.upper)
    )
    if not np.isfinite(performance.values[place]):
        return f"{name} has no number ({performance.status[place]})"
    return f"{name} {value}, and with 95 % probability between {low} and {high}"


def _say_positive(baseline: Baseline) -> str:
    return f"; class {baseline.classes[1]!r} is the positive one" if len(baseline.classes) == 2 else ""


def describe_baseline(reference: Reference) -> dict[str, Any]:
    """Give the JSON form: every metric of everything and of each segment."""
    baseline = reference.baseline
    described: dict[str, Any] = {"status": str(baseline_status(reference))}
    if baseline is None:
        return described | {"detail": explain_baseline(reference)}
    return described | {
        "classes": list(baseline.classes),
        "segments": [
            {"segment": key, "rows": performance.n, "n_eff": performance.n_eff}
            | {"metrics": _describe_metrics(performance)}
            for key, performance in baseline.performances.items()
        ],
    }


def _describe_metrics(performance: Performance) -> list[dict[str, Any]]:
    columns = (performance.values, performance.lower, performance.upper)
    numbers = [[number if np.isfinite(number) else None for number in column.tolist()] for column in columns]
    return [
        {"metric": name, "value": value, "lower": lower, "upper": upper, "status": str(status)}
        for name, value, lower, upper, status in zip(performance.names, *numbers, performance.status, strict=True)
    ]
