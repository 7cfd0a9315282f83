"""The stored form of a baseline, kept inside the reference."""

from collections.abc import Collection

import msgspec
import numpy as np

from driftline.core.baseline import Baseline
from driftline.core.category import mend_text
from driftline.core.errors import InvalidPayload
from driftline.core.estimate_payload import decode_estimator, encode_estimator
from driftline.core.metric import MetricStatus
from driftline.core.payload import Block, read_block, read_payload, write_block, write_payload
from driftline.core.performance import Performance, metric_names
from driftline.core.schema import Task
from driftline.core.segment import EVERYTHING

_MAX_BYTES = 1 << 28


class _StoredPerformance(msgspec.Struct):
    numbers: Block
    n: int
    n_eff: float
    status: tuple[MetricStatus, ...]


class _Stored(msgspec.Struct):
    classes: tuple[str, ...]
    positive_class: str | None
    performances: dict[str, _StoredPerformance]
    estimator: bytes


def encode_baseline(baseline: Baseline) -> bytes:
    """Write a baseline."""
    stored = _Stored(
        baseline.classes,
        baseline.positive_class,
        {key: _store_performance(performance) for key, performance in baseline.performances.items()},
        encode_estimator(baseline.estimator, baseline.bands),
    )
    return write_payload(stored, level=3)


def decode_baseline(payload: bytes, task: Task | None, segments: Collection[str]) -> Baseline:
    """Read what `encode_baseline` wrote; InvalidPayload when it is something else, or not of such a model.

    `segments` are the names of all that there can be.
    """
    stored = read_payload(payload, _Stored, _MAX_BYTES)
    estimator, bands = decode_estimator(stored.estimator)
    keys = stored.performances.keys()
    classes = {Task.BINARY: len(stored.classes) == 2, Task.MULTICLASS: bool(stored.classes)}
    if (
        task is None
        or estimator.task is not task
        or EVERYTHING not in keys
        or not keys <= {EVERYTHING, *segments}
        or not classes.get(task, not stored.classes)
        or len(set(stored.classes)) < len(stored.classes)
        or any(mend_text(text) != text for text in (*keys, *stored.classes))
    ):
        raise InvalidPayload("not a baseline of such a model: its parts do not fit together")
    names = metric_names(task, stored.classes)
    performances = {key: _restore_performance(its, names) for key, its in stored.performances.items()}
    return Baseline(stored.classes, stored.positive_class, performances, estimator, bands)


def _store_performance(performance: Performance) -> _StoredPerformance:
    numbers = np.stack([performance.values, performance.lower, performance.upper])
    status = tuple(MetricStatus(each) for each in performance.status)
    return _StoredPerformance(write_block(numbers), performance.n, performance.n_eff, status)


def _restore_performance(stored: _StoredPerformance, names: tuple[str, ...]) -> Performance:
    numbers = read_block(stored.numbers, np.float64)
    is_sane = 0 <= stored.n < 1 << 53 and 0 <= stored.n_eff < 1 << 53
    if numbers.shape != (3, len(names)) or len(stored.status) != len(names) or not is_sane:
        raise InvalidPayload(f"not a baseline: {numbers.shape} numbers for {len(names)} metrics")
    values, lower, upper = numbers
    return Performance(names, values, lower, upper, stored.n, stored.n_eff, stored.status)
