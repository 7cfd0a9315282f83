"""Rules as people write them, in YAML or JSON, and back; every error names the rule, the field and the fix."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from driftline.core.category import mend_text
from driftline.core.errors import InvalidInput
from driftline.core.rule_metric import METRICS, Kind, find_metric
from driftline.core.rules import MODEL_LEVEL, Comparison, Measure, Rule, Severity
from driftline.core.schema import MAX_NAME, MAX_TEXT
from driftline.core.system_rules import SYSTEM_MODEL, is_built_in

_FIELDS = {field.name: field for field in fields(Rule)}
_CHOICES: Mapping[str, type[StrEnum]] = {"comparison": Comparison, "measure": Measure, "severity": Severity}
_RANGES: Mapping[str, tuple[float, float]] = {
    "threshold": (-math.inf, math.inf),
    "min_samples": (0, math.inf),
    "min_maturity": (0, 1),
    "consecutive_windows": (1, 1000),
    "recover_windows": (1, 1000),
    "band_windows": (8, 1000),
}
_WHOLE = ("consecutive_windows", "recover_windows", "band_windows")
_NATURAL = ("psi", "ks")
_REFERENCES = ("training", "rolling", "seasonal")
_LONGEST = {"rule_id": 2 * MAX_NAME, "runbook": MAX_TEXT}  # characters; of other texts as many as a name has
_MOST_ACTIONS = 20


def read_rules(content: object) -> tuple[Rule, ...]:
    """Read the mapping `{"rules": [...]}`, whose elements have the fields of `Rule`.

    >>> volume = {"rule_id": "silent", "metric": "volume", "comparison": "below", "threshold": 1}
    >>> read_rules({"rules": [volume]})[0].severity
    <Severity.MEDIUM: 'MEDIUM'>
    >>> read_rules({"rules": [{**volume, "metric": "volumes"}]})
    Traceback (most recent call last):
    ...
    driftline.core.errors.InvalidInput: rule 'silent': there is no metric 'volumes'; did you mean volume?
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("rules"), list):
        raise InvalidInput("rules are a mapping with a list: `rules: [...]`", field="rules")
    if unknown := sorted(str(key) for key in content.keys() - {"rules"}):
        raise InvalidInput(f"there is no field {unknown[0]!r} beside `rules`; leave it out", field=unknown[0])
    rules = tuple(read_rule(entry, place) for place, entry in enumerate(content["rules"], 1))
    seen: set[str] = set()
    for rule in rules:
        if rule.rule_id in seen:
            raise InvalidInput(f"rule {rule.rule_id!r}: two rules have this rule_id; rename one", field="rule_id")
        seen.add(rule.rule_id)
    return rules


def read_rule(entry: object, place: int = 1) -> Rule:
    """Read one rule; `place` names it in an error when it has no `rule_id`."""
    if not isinstance(entry, Mapping):
        raise InvalidInput(f"rule {place} is no mapping; write it as `- rule_id: ...`", field="rules")
    name = entry.get("rule_id")
    said = f"rule {name!r}" if isinstance(name, str) and name else f"rule {place}"
    try:
        _check_names(entry)
        rule = Rule(**{str(key): _read_field(str(key), value) for key, value in entry.items()})
        _check_rule(rule)
    except InvalidInput as error:
        raise InvalidInput(f"{said}: {error}", field=error.field) from None
    return rule


def write_rules(rules: Sequence[Rule]) -> dict[str, Any]:
    """Write rules as `read_rules` reads them, without the fields that have their default."""
    return {"rules": [write_rule(rule) for rule in rules]}


def write_rule(rule: Rule) -> dict[str, Any]:
    """Write one rule.

    >>> write_rule(Rule("silent", "volume", Comparison.BELOW, 1))
    {'rule_id': 'silent', 'metric': 'volume', 'comparison': 'below', 'threshold': 1}
    """
    return {
        name: value for name, value in write_fields(rule).items() if getattr(rule, name) != _FIELDS[name].default
    }


def write_fields(rule: Rule) -> dict[str, Any]:
    """Write all fields of a rule, as JSON has them.

    >>> write_fields(Rule("silent", "volume", Comparison.BELOW, 1))["actions"]
    []
    """
    return {
        name: list(rule.actions) if name == "actions" else str(value) if name in _CHOICES else value
        for name, value in ((name, getattr(rule, name)) for name in _FIELDS)
    }


def _check_names(entry: Mapping[Any, Any]) -> None:
    for key in entry:
        if key not in _FIELDS:
            close = get_close_matches(str(key), _FIELDS, n=2)
            fix = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(_FIELDS)}"
            raise InvalidInput(f"there is no field {str(key)!r}; {fix}", field=str(key))
    for name, field in _FIELDS.items():
        if field.default is MISSING and name not in entry:
            raise InvalidInput(f"{name} is missing; give it", field=name)


def _read_field(name: str, value: object) -> Any:
    if name in _CHOICES:
        return _read_choice(name, value)
    if name in _RANGES:
        return _read_number(name, value)
    if name == "require_significance":
        if not isinstance(value, bool):
            raise InvalidInput(f"{name} is {value!r}; write true or false", field=name)
        return value
    if name == "actions":
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each for each in value):
            raise InvalidInput(f"{name} is {value!r}; write a list of names", field=name)
        if len(value) > _MOST_ACTIONS:
            raise InvalidInput(f"{name} has {len(value)} names; give at most {_MOST_ACTIONS}", field=name)
        return tuple(_read_text(name, each) for each in value)
    return _read_text(name, value)


def _read_text(name: str, value: object) -> str:
    if not isinstance(value, str) or mend_text(value) != value:
        raise InvalidInput(f"{name} is {value!r}; write it as text, in quotes", field=name)
    longest = _LONGEST.get(name, MAX_NAME)
    if len(value) > longest:
        raise InvalidInput(f"{name} has {len(value):,} characters; give at most {longest:,}", field=name)
    return value


def _read_choice(name: str, value: object) -> StrEnum:
    try:
        return _CHOICES[name](str(value))
    except ValueError:
        raise InvalidInput(f"{name} is {value!r}; choose {', '.join(_CHOICES[name])}", field=name) from None


def _read_number(name: str, value: object) -> float:
    least, most = _RANGES[name]
    whole = name in _WHOLE
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise InvalidInput(f"{name} is {value!r}; write a {'whole ' * whole}number", field=name)
    if not abs(value) <= sys.float_info.max:
        raise InvalidInput(f"{name} is not finite, or too large; write a number", field=name)
    if not least <= value <= most:
        raise InvalidInput(f"{name} is {value}; choose one from {least} to {most}", field=name)
    return value


def _check_rule(rule: Rule) -> None:
    """Refuse what could never fire, or not as it was meant."""
    for name in ("rule_id", "model", "version"):
        if not getattr(rule, name):
            raise InvalidInput(f"{name} is empty; give a name{', or * for all' * (name != 'rule_id')}", field=name)
    if is_built_in(rule.rule_id):
        fix = f"choose another one, that does not begin with {SYSTEM_MODEL}."
        raise InvalidInput(f"rule_id {rule.rule_id!r} is one of driftline's own; {fix}", field="rule_id")
    if rule.reference_kind not in _REFERENCES:
        fix = f"choose {', '.join(_REFERENCES)}"
        raise InvalidInput(f"reference_kind is {rule.reference_kind!r}; {fix}", field="reference_kind")
    metric = find_metric(rule.metric)
    if rule.feature == MODEL_LEVEL and not metric.by_model:
        raise InvalidInput(
            f"{rule.metric} is a metric of features; give a feature: a name, a glob, __score__ or __prediction__",
            field="feature",
        )
    if rule.feature != MODEL_LEVEL and not metric.by_feature:
        raise InvalidInput(
            f"{rule.metric} is a metric of the model as a whole; leave feature out, or watch one of "
            f"{', '.join(each.name for each in METRICS.values() if each.by_feature)}",
            field="feature",
        )
    _check_comparison(rule, metric.kind)


def _check_comparison(rule: Rule, kind: Kind) -> None:
    pvalue = find_metric(rule.metric).is_pvalue
    if pvalue and rule.comparison is not Comparison.BELOW:
        raise InvalidInput(f"a small {rule.metric} means drift; compare it with below", field="comparison")
    if rule.comparison is Comparison.ABOVE_NATURAL and rule.metric not in _NATURAL:
        fix = f"choose above, or one of the metrics {', '.join(_NATURAL)}"
        raise InvalidInput(f"the natural variation of {rule.metric} is not known; {fix}", field="comparison")
    if rule.comparison is Comparison.DROP_FROM_BASELINE:
        if kind in (Kind.DRIFT, Kind.SHARE):
            fix = "it is a distance from the reference already; compare it with above"
            raise InvalidInput(f"{rule.metric} has no baseline: {fix}", field="comparison")
        if kind in (Kind.SYSTEM, Kind.VERSION):
            raise InvalidInput(f"{rule.metric} has no baseline: compare it with above", field="comparison")
        if rule.threshold < 0:
            raise InvalidInput(f"threshold is {rule.threshold}; a drop is 0 or more", field="threshold")
    elif rule.measure is not Measure.AMOUNT:
        raise InvalidInput(
            f"measure only belongs to drop_from_baseline, not to {rule.comparison}", field="measure"
        )
    if rule.comparison is Comparison.OUTSIDE_BAND and rule.threshold <= 0:
        fix = "give the standard deviations, such as 3"
        raise InvalidInput(f"threshold is {rule.threshold}; {fix}", field="threshold")
