"""Weights below the announced N: recorded with the predictions that have them, so that their labels are kept."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_EVERY_S = 60.0
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Holder:
    """The version whose predictions have a weight; one registered again under the same name is another."""

    model_id: str
    model_version: str
    created_at: int


class SeenWeights:
    """What this process has recorded in the last minute; for use by several threads at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recorded: dict[Holder, tuple[int, float]] = {}

    def select_due(self, weights: Mapping[Holder, int]) -> dict[Holder, int]:
        """Select what is still to be recorded: nothing as small was in the last minute."""
        now = self._clock()
        return {holder: weight for holder, weight in weights.items() if not self._covers(holder, weight, now)}

    def remember(self, weights: Mapping[Holder, int]) -> None:
        """Remember what was recorded, after the commit."""
        now = self._clock()
        if len(self._recorded) + len(weights) > _MOST:
            self._recorded.clear()
        for holder, weight in weights.items():
            self._recorded[holder] = (weight, now)

    def _covers(self, holder: Holder, weight: int, now: float) -> bool:
        smallest, at = self._recorded.get(holder, (weight + 1, now))
        return smallest <= weight and now - at < _EVERY_S
