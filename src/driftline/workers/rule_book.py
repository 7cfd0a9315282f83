"""The rule book: which rules watch a model, read again when somebody has changed them."""

import time
from collections import defaultdict
from collections.abc import Iterable

from psycopg import Connection

from driftline.core.rules import Rule
from driftline.store.alert_rules import list_rules

_FRESH_S = 2.0
_GLOB = frozenset("*?[")


class RuleBook:
    """All rules, at most two seconds old. Not for use by several threads at once."""

    def __init__(self) -> None:
        self._read_at = -_FRESH_S
        self._edition: tuple[int, int] | None = None
        self._of_model: dict[str, list[Rule]] = {}
        self._of_many: list[Rule] = []

    def find(self, conn: Connection, model_id: str, version: str) -> tuple[Rule, ...]:
        """Give the rules that may watch a segment of a version under some kind of reference."""
        if time.monotonic() - self._read_at > _FRESH_S:
            self._read(conn)
            self._read_at = time.monotonic()
        rules = [*self._of_model.get(model_id, ()), *self._of_many]
        return tuple(rule for rule in rules if rule.watches(model_id, version))

    def _read(self, conn: Connection) -> None:
        row = conn.execute(
            "SELECT count(*), coalesce(sum(xmin::text::bigint), 0)::bigint FROM alert_rules"
        ).fetchone()
        assert row is not None
        if row != self._edition:
            self._sort(each.rule for each in list_rules(conn))
            self._edition = row

    def _sort(self, rules: Iterable[Rule]) -> None:
        self._of_model, self._of_many = defaultdict(list), []
        for rule in rules:
            if _GLOB & set(rule.model):
                self._of_many.append(rule)
            else:
                self._of_model[rule.model].append(rule)
