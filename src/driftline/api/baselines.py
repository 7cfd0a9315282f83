"""The baseline of performance that a reference brings: stored, described, and of which positive class it is."""

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import Connection

from driftline.api.numbers import shorten_number
from driftline.api.problem import Refusal
from driftline.core.joining import name_class
from driftline.core.performance import MAIN_METRIC
from driftline.core.reference import Reference
from driftline.core.schema import Task
from driftline.store.baselines import StoredBaseline, list_positive_classes
from driftline.store.models import Model, get_model, update_model
from driftline.store.references import StoredReference


def make_baselines(stored: StoredReference, reference: Reference) -> Iterator[StoredBaseline]:
    """Give what is to be stored of a reference's baseline; nothing without one."""
    baseline = reference.baseline
    if baseline is None:
        return
    for segment, performance in baseline.performances.items():
        yield StoredBaseline(
            stored.model_id,
            stored.model_version,
            stored.grid_id,
            segment,
            performance.n,
            performance.n_eff,
            baseline.classes,
            performance.names,
            performance.values,
            performance.lower,
            performance.upper,
            performance.status,
            stored.computed_at,
        )


def describe_metric(baseline: StoredBaseline | None, name: str) -> dict[str, Any] | None:
    """Describe a metric of a baseline; None where it has none."""
    if baseline is None or name not in baseline.metrics:
        return None
    place = list(baseline.metrics).index(name)
    return {
        **{
            column: shorten_number(float(getattr(baseline, column)[place]))
            for column in ("value", "lower", "upper")
        },
        "status": baseline.metric_status[place],
    }


def describe_baseline(baseline: StoredBaseline | None, task: str | None) -> dict[str, Any] | None:
    """Give the JSON form: the main metric of the task, with its 95 % interval; None without a baseline."""
    if baseline is None or task is None:
        return None
    metric = MAIN_METRIC[Task(task)]
    found = describe_metric(baseline, metric) or {}
    return {
        "status": "ok",
        "rows": baseline.rows,
        "positive_class": baseline.classes[1] if task == Task.BINARY else None,
        "metric": metric,
        **{name: found.get(name) for name in ("value", "lower", "upper")},
        "metric_status": found.get("status"),
    }


def agree_on_class(conn: Connection, model_id: str, reference: Reference) -> None:
    """Refuse a baseline of another positive class than the model's; a model without one takes the baseline's.

    So classes that come later do not change which one is the last, and with it what was measured.
    """
    if reference.baseline is None or reference.schema.task is not Task.BINARY:
        return
    model = get_model(conn, model_id, lock=True)
    wanted, measured = name_positive(model), reference.baseline.classes[1]
    if wanted is None:
        update_model(conn, model_id, {"settings": {**model.settings, "positive_class": measured}})
    elif wanted != measured:
        raise Refusal(
            "conflict",
            f"the reference was measured with positive class {measured!r}, the model has {wanted!r}; build it "
            "with that one",
            field="positive_class",
        )


def choose_positive(conn: Connection, model: Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Complete settings that are to be a model's: its baselines say which class is positive.

    Raises Refusal when the settings say otherwise.
    """
    measured = list_positive_classes(conn, model.model_id) if model.task == Task.BINARY else []
    if not measured:
        return dict(settings)
    wanted = name_class(settings.get("positive_class"), Task.BINARY)
    if wanted is not None and wanted != measured[0]:
        raise Refusal(
            "conflict",
            f"positive_class of model {model.model_id!r} is {measured[0]!r}, not {wanted!r}: its references were "
            "measured so; leave it out, or register another model",
            field="settings.positive_class",
        )
    return {**settings, "positive_class": settings.get("positive_class") or measured[0]}


def name_positive(model: Model) -> str | None:
    """Name the positive class of a model, as classes are named; None when nobody has said it."""
    return name_class(model.settings.get("positive_class"), Task.BINARY)
