"""What became of the labels of one flush: counted by model and import, and how long they took."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from driftline.core.joining import Outcome
from driftline.store.label_counts import LabelCounts, add_counts
from driftline.workers.arriving_labels import ArrivingLabels

NO_IMPORT = 0
WAITED = -1
"""In the place of its import: the label was counted as waiting before."""
COPIED = -2
"""The label is one that another version's prediction has."""


@dataclass(slots=True)
class LabelTally:
    """Counts by (model number, place in the list of imports, name of the count)."""

    counts: Counter[tuple[int, int, str]] = field(default_factory=Counter)

    def count(self, labels: ArrivingLabels, outcome: NDArray[np.int8], late: NDArray[np.bool_]) -> None:
        """Count labels that found their prediction."""
        for code in Outcome:
            self.add(labels, outcome == code, code.name.lower())
        self.add(labels, late & (outcome != Outcome.DUPLICATE), "late")

    def count_waiting(self, labels: ArrivingLabels, outcome: NDArray[np.int8], waits: NDArray[np.bool_]) -> None:
        """Count labels of which some wait for their prediction."""
        self.add(labels, waits, "waiting")
        for code in Outcome:
            self.add(labels, ~waits & (outcome == code), code.name.lower())

    def add(self, labels: ArrivingLabels, chosen: NDArray[np.bool_], name: str, times: int = 1) -> None:
        """Count the chosen labels under a name."""
        self.add_rows(labels.model_no[chosen], labels.imported[chosen], name, times)

    def add_rows(
        self, model_no: NDArray[np.int32], imported: NDArray[np.int32], name: str, times: int = 1
    ) -> None:
        """Count labels of these models and imports under a name."""
        if not len(model_no):
            return
        keys, counts = np.unique(np.stack([model_no, imported]), axis=1, return_counts=True)
        for (number, place), count in zip(keys.T.tolist(), counts.tolist(), strict=True):
            self.counts[number, place, name] += times * count

    def refuse(self, model_no: int, imported: int, count: int) -> None:
        """Count labels that cannot be used."""
        self.counts[model_no, imported, "refused"] += count

    def store(self, conn: Connection, imports: Sequence[str]) -> None:
        """Add the counts to those of the models, and to those of `imports`, the first of which is ''."""
        totals: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
        for (model_no, imported, name), count in self.counts.items():
            if imported == COPIED:
                continue
            totals[model_no, ""][name] += count
            if imported > NO_IMPORT:  # what waited is not known to be of an import any more
                totals[model_no, imports[imported]][name] += count
        add_counts(conn, {key: LabelCounts(**its) for key, its in totals.items()})
