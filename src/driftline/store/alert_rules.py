"""Alert rules as they are kept: by id, each with where it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier, Placeholder

from driftline.core.rules import Comparison, Measure, Rule, Severity
from driftline.store.errors import NotFound

_COLUMNS = {
    "rule_id": "rule_id",
    "model_id": "model",
    "model_version": "version",
    "feature_name": "feature",
    "segment": "segment",
    "reference_kind": "reference_kind",
    "metric_type": "metric",
    "comparison": "comparison",
    "measure": "measure",
    "threshold": "threshold",
    "band_windows": "band_windows",
    "consecutive_windows": "consecutive_windows",
    "recover_windows": "recover_windows",
    "min_samples": "min_samples",
    "min_maturity": "min_maturity",
    "require_significance": "require_significance",
    "severity": "severity",
    "actions": "actions",
    "owner": "owner",
    "runbook": "runbook",
}
_READ = {"comparison": Comparison, "measure": Measure, "severity": Severity, "actions": tuple}


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule and where it came from: `preset`, `api` or `file`. Times are microseconds."""

    rule: Rule
    origin: str
    created_at: int
    updated_at: int


_SELECT = SQL("SELECT {}, origin, created_at, updated_at FROM alert_rules").format(
    SQL(", ").join(map(Identifier, _COLUMNS))
)
_INSERT = SQL("INSERT INTO alert_rules ({}, origin) VALUES ({}, %(origin)s) ON CONFLICT ({}) DO ").format(
    SQL(", ").join(map(Identifier, _COLUMNS)),
    SQL(", ").join(map(Placeholder, _COLUMNS)),
    Identifier("rule_id"),
)
_UPDATE = SQL("UPDATE SET {}, origin = excluded.origin, updated_at = now()").format(
    SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in _COLUMNS if name != "rule_id")
)


def add_rules(conn: Connection, rules: Sequence[Rule], origin: str) -> None:
    """Write rules; those whose ids are taken are left as they are."""
    _insert(conn, _INSERT + SQL("NOTHING"), rules, origin)


def upsert_rules(conn: Connection, rules: Sequence[Rule], origin: str) -> None:
    """Write rules, replacing those of the same ids."""
    _insert(conn, _INSERT + _UPDATE, rules, origin)


def lock_rules(conn: Connection) -> None:
    """Keep others from changing rules until the end of the transaction; who only reads goes on."""
    conn.execute("LOCK TABLE alert_rules IN SHARE ROW EXCLUSIVE MODE")


def list_rules(
    conn: Connection,
    *,
    origin: str | None = None,
    model_id: str | None = None,
    after: str = "",
    limit: int | None = None,
) -> list[StoredRule]:
    """List rules by id: all, those of an origin, those that may watch a model: by its name, or by a glob."""
    return _list(
        conn,
        " WHERE (%(origin)s::text IS NULL OR origin = %(origin)s)"
        " AND (%(model)s::text IS NULL OR model_id = %(model)s OR model_id ~ '[*?[]')"
        ' AND rule_id > %(after)s COLLATE "C" ORDER BY rule_id COLLATE "C" LIMIT %(limit)s',
        {"origin": origin, "model": model_id, "after": after, "limit": limit},
    )


def find_rules(conn: Connection, rule_ids: Sequence[str]) -> list[StoredRule]:
    """Find those of some rules that are there."""
    return _list(conn, " WHERE rule_id = ANY(%(ids)s)", {"ids": list(rule_ids)})


def get_rule(conn: Connection, rule_id: str) -> StoredRule:
    """Find a rule. Raises NotFound."""
    found = find_rules(conn, [rule_id])
    if not found:
        raise NotFound(f"there is no rule {rule_id!r}")
    return found[0]


def delete_rules(conn: Connection, rule_ids: Sequence[str]) -> None:
    """Delete rules; their alerts end by `workers.alerts.end_rules`."""
    conn.execute("DELETE FROM alert_rules WHERE rule_id = ANY(%s)", (list(rule_ids),))


def _list(conn: Connection, rest: LiteralString, parameters: Mapping[str, object]) -> list[StoredRule]:
    with conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_SELECT + SQL(rest), parameters)
        return [_read(row) for row in cursor.fetchall()]


def _insert(conn: Connection, query: Composed, rules: Sequence[Rule], origin: str) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(query, [{**_write(rule), "origin": origin} for rule in rules])


def _write(rule: Rule) -> dict[str, object]:
    values = {column: getattr(rule, name) for column, name in _COLUMNS.items()}
    return (
        values
        | {name: str(values[name]) for name in ("comparison", "measure", "severity")}
        | {"actions": list(rule.actions)}
    )


def _read(row: Mapping[str, Any]) -> StoredRule:
    values = {
        name: _READ[name](row[column]) if name in _READ else row[column] for column, name in _COLUMNS.items()
    }
    return StoredRule(Rule(**values), row["origin"], row["created_at"], row["updated_at"])
