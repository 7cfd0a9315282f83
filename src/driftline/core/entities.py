"""Entities: whose rows a profile counts. Rows of one entity are no independent evidence.

Five rows of one customer say little more than one. So where models are sampled by entity, an entity counts as one
unit with the weight of all its rows, wherever in the window they are: what must be known of a window, and survive
merging, is the weight by entity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ENTITIES = 2_048


@dataclass(frozen=True, slots=True)
class Entities:
    """Weight by entity, of the entities with the smallest hashes: all of them up to 2,048.

    `hashes` [E] uint64 ascend and `weights` [E] int64 are Σw of each one's rows; `weight` is Σw of all entities.
    An entity among the smallest hashes of a whole is among those of every part it occurs in, so its weight is
    exact, however the rows were split.
    """

    weight: int
    hashes: NDArray[np.uint64]
    weights: NDArray[np.int64]

    def sum_powers(self, power: int) -> int:
        """Σ(Σw)^power over entities: exact up to 2,048, beyond that as if the others were like those.

        Where weights are mixed, small hashes are kept in slices where large ones are not. Then it is too much
        rather than too little, and the effective rows too few.

        >>> count_entities(np.uint64([7, 3, 7]), np.int64([1, 1, 2])).sum_powers(2)
        10
        """
        weights = self.weights.tolist()
        known = sum(weights)
        return self.weight * sum(w**power for w in weights) // known if known else 0


NO_ENTITIES = Entities(0, np.empty(0, np.uint64), np.empty(0, np.int64))


def count_entities(hashes: NDArray[np.uint64], weights: NDArray[np.int64]) -> Entities:
    """Add up the weights of rows by the hash of their entity."""
    found, place = np.unique(hashes, return_inverse=True)
    totals = np.zeros(len(found), np.int64)
    np.add.at(totals, place, weights)
    return Entities(int(weights.sum()), found[:MAX_ENTITIES], totals[:MAX_ENTITIES])


def merge_entities(parts: Sequence[Entities]) -> Entities:
    """Add what was counted in parts; associative and commutative, with `NO_ENTITIES` as identity.

    >>> one = count_entities(np.uint64([3, 5]), np.int64([1, 1]))
    >>> merge_entities([one, NO_ENTITIES, one]).weights.tolist()
    [2, 2]
    """
    counted = [part for part in parts if part.weight]
    if len(counted) < 2:
        return counted[0] if counted else NO_ENTITIES
    merged = count_entities(
        np.concatenate([part.hashes for part in counted]), np.concatenate([part.weights for part in counted])
    )
    return Entities(sum(part.weight for part in counted), merged.hashes, merged.weights)
