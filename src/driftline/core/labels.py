"""Labels of one model: what came true, by the keys that join it with predictions."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Value: TypeAlias = bool | int | float | str | None
"""A class or a number; None withdraws the label: as if there had never been one."""


@dataclass(frozen=True, slots=True)
class Labels:
    """n labels of one model, in the order in which they were sent.

    `keys` are prediction ids, or entity ids with `by_entity`. Times are microseconds since the epoch (UTC), [n]
    int64: `timestamps` say when the prediction was made (NO_TIME: not said; an entity's label is then of its
    newest prediction before `known_at`), `known_at` when the value became known: of two labels with one key the
    one known later wins. `weights` [n] float64 are positive, 1 as a rule.
    """

    model_id: str
    by_entity: bool
    keys: tuple[str, ...]
    values: tuple[Value, ...]
    timestamps: NDArray[np.int64]
    known_at: NDArray[np.int64]
    weights: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Number of labels."""
        return len(self.keys)

    def take(self, rows: NDArray[np.intp]) -> "Labels":
        """Select labels by position."""
        return Labels(
            self.model_id,
            self.by_entity,
            tuple(self.keys[i] for i in rows),
            tuple(self.values[i] for i in rows),
            self.timestamps[rows],
            self.known_at[rows],
            self.weights[rows],
        )
