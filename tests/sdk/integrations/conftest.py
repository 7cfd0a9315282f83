"""A monitor that remembers what it was told."""

from typing import Any, NamedTuple

import pytest


class Logged(NamedTuple):
    """What `log_batch` was told."""

    features: Any
    prediction: Any
    score: Any
    prediction_ids: Any = None
    entity_ids: Any = None


class Recorder:
    """Takes what a `Monitor` takes."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.batches: list[Logged] = []
        self.flushed = 0

    def may_keep(self, prediction_id: str) -> bool:
        return True

    def log(self, **given: Any) -> str:
        self.logged.append(given)
        return str(given["prediction_id"])

    def flush(self, timeout: float) -> bool:
        self.flushed += 1
        return True

    def log_batch(self, features: Any, prediction: Any, score: Any, **given: Any) -> list[str]:
        self.batches.append(Logged(features, prediction, score, **given))
        return []


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
