"""Scenarios: series of windows written by people, run through the engine, and the alerts expected of them.

docs/alerts.md describes the format.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftline.core.alert_states import States
from driftline.core.alert_window import JudgedWindow
from driftline.core.alerting import Happening, judge_window
from driftline.core.drift import Status
from driftline.core.errors import InvalidInput
from driftline.core.rule_metric import find_metric
from driftline.core.rules import Rule, select_rules
from driftline.core.window import Window, parse_length

_NAMES = {"model": "model", "version": "1", "segment": "", "reference_kind": "training", "window": "1h"}
_SERIES = {"status": "ok", "n_eff": 10_000.0, "maturity": 1.0}
_FIELDS = ("name", *_NAMES, *_SERIES, "features", "totals", "expect")
_BASELINE, _NATURAL = "baseline_", "natural_"
_EXPECTED = ("rule_id", "feature", "fired", "resolved")


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert: the numbers of the windows, from 1, in which it fired and was resolved (None: still open)."""

    fired: int
    rule_id: str
    feature: str
    resolved: int | None

    def __str__(self) -> str:
        what = f"{self.rule_id}{f' of {self.feature}' if self.feature else ''} fires in window {self.fired}"
        return f"{what}, resolved in {self.resolved}" if self.resolved else f"{what} and stays open"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Windows in order, and the alerts expected of them; None when nothing is said of that."""

    name: str
    windows: tuple[JudgedWindow, ...]
    expected: tuple[Alert, ...] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The alerts of a scenario, in order; `missing` ones were expected, `surplus` ones were not."""

    name: str
    windows: int
    alerts: tuple[Alert, ...]
    missing: tuple[Alert, ...]
    surplus: tuple[Alert, ...]

    @property
    def ok(self) -> bool:
        """Whether all is as expected."""
        return not self.missing and not self.surplus


def read_scenarios(content: object) -> tuple[Scenario, ...]:
    """Read the mapping `{"scenarios": [...]}`; InvalidInput names the scenario, the field and the fix.

    >>> volume = {"name": "night", "totals": {"volume": ["100 x3", 0]}, "expect": []}
    >>> [window.totals["volume"] for window in read_scenarios({"scenarios": [volume]})[0].windows]
    [100.0, 100.0, 100.0, 0.0]
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("scenarios"), list):
        raise InvalidInput("scenarios are a mapping with a list: `scenarios: [...]`", field="scenarios")
    read = []
    for place, entry in enumerate(content["scenarios"], 1):
        named = isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
        said = f"scenario {entry['name']!r}" if named else f"scenario {place}"
        try:
            read.append(_read_scenario(entry, str(entry["name"]) if named else said))
        except InvalidInput as error:
            raise InvalidInput(f"{said}: {error}", field=error.field) from None
    return tuple(read)


def run_scenario(rules: Sequence[Rule], scenario: Scenario) -> Outcome:
    """Run the windows of a scenario through the rules that apply to them.

    >>> from driftline.core.rules import Comparison
    >>> (night,) = read_scenarios({"scenarios": [{"totals": {"volume": ["100 x3", "0 x4"]}}]})
    >>> outcome = run_scenario([Rule("silent", "volume", Comparison.BELOW, 1)], night)
    >>> print(*outcome.alerts)
    silent fires in window 6 and stays open
    """
    states: Mapping[str, States] = {}
    number = {window.window.end: i for i, window in enumerate(scenario.windows, 1)}
    alerts: dict[tuple[str, str, int], Alert] = {}
    for window in scenario.windows:
        whose = (window.model_id, window.model_version, window.segment, window.reference_kind)
        judgement = judge_window(select_rules(rules, *whose), states, window, now=window.window.end)
        states = judgement.states
        for event in judgement.events:
            closed = None if event.happening is Happening.FIRED else number[event.at]
            alert = Alert(number[event.opened], event.rule_id, event.feature, closed)
            alerts[event.rule_id, event.feature, event.opened] = alert
    found = tuple(sorted(alerts.values(), key=_order))
    expected = found if scenario.expected is None else scenario.expected
    missing = tuple(sorted(set(expected) - set(found), key=_order))
    surplus = tuple(sorted(set(found) - set(expected), key=_order))
    return Outcome(scenario.name, len(scenario.windows), found, missing, surplus)


def _order(alert: Alert) -> tuple[int, str, str, float]:
    return alert.fired, alert.rule_id, alert.feature, alert.resolved or math.inf


def _read_scenario(entry: object, name: str) -> Scenario:
    entry = _read_mapping(entry, "a scenario", _FIELDS)
    texts = {key: entry.get(key, default) for key, default in _NAMES.items()}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise InvalidInput(f"{key} is {value!r}; write it as text, in quotes", field=key)
    whole = {key: _read_series(key, entry.get(key, default)) for key, default in _SERIES.items()}
    totals = _read_numbers("totals", entry.get("totals", {}))
    features = entry.get("features", {})
    if not isinstance(features, Mapping):
        raise InvalidInput("features is no mapping; write `name: {metric: [...]}`", field="features")
    columns = {str(feature): _read_numbers(str(feature), said) for feature, said in features.items()}
    every = [*whole.items(), *totals.items(), *((f"{f}.{k}", s) for f, c in columns.items() for k, s in c.items())]
    count = _count_windows(every)
    length = parse_length(texts.pop("window"))
    windows = tuple(_make_window(i, length, texts, whole, totals, columns) for i in range(count))
    return Scenario(name, windows, _read_expected(entry.get("expect"), count))


def _make_window(
    i: int,
    length: int,
    texts: Mapping[str, str],
    whole: Mapping[str, list[Any]],
    totals: Mapping[str, list[Any]],
    features: Mapping[str, Mapping[str, list[Any]]],
) -> JudgedWindow:
    pooled = 0
    while pooled < i and _at(whole["status"], i - pooled - 1) == Status.POOLING:
        pooled += 1
    now = {key: _at(series, i) for key, series in totals.items()}
    values = {find_metric(key).column: value for key, value in now.items() if not key.startswith(_BASELINE)}
    baselines: dict[str, Any] = {_column(key): value for key, value in now.items() if key.startswith(_BASELINE)}
    keys = sorted({key for said in features.values() for key in said} - {"status"})
    rows = {key: np.array([_at(said.get(key, [np.nan]), i) for said in features.values()], float) for key in keys}
    if features and not any("qvalue" in said for said in features.values()):
        rows["qvalue"] = np.zeros(len(features))
    elif features:
        rows["qvalue"] = np.array([_at(said.get("qvalue", [0.0]), i) for said in features.values()], float)
    status = _at(whole["status"], i)
    return JudgedWindow(
        model_id=texts["model"],
        model_version=texts["version"],
        window=Window(i * length, (i + 1) * length),
        pool_start=(i - pooled) * length,
        segment=texts["segment"],
        reference_kind=texts["reference_kind"],
        features=tuple(features),
        columns={_column(key): row for key, row in rows.items() if not key.startswith((_BASELINE, _NATURAL))},
        status=np.array([_at(said.get("status", [status]), i) for said in features.values()], object),
        window_status=status,
        totals=values,
        intervals={key: (value, value) for key, value in values.items()},
        baselines=baselines | {_column(key): row for key, row in rows.items() if key.startswith(_BASELINE)},
        natural={key.removeprefix(_NATURAL): row for key, row in rows.items() if key.startswith(_NATURAL)},
        n_eff=_at(whole["n_eff"], i),
        maturity=_at(whole["maturity"], i),
    )


def _column(key: str) -> str:
    name = key.removeprefix(_BASELINE)
    return name if name == "qvalue" else find_metric(name).column


def _read_numbers(where: str, said: object) -> dict[str, list[Any]]:
    """Read series by metric; besides those of a feature its status, qvalue, baselines and natural variation."""
    if not isinstance(said, Mapping):
        raise InvalidInput(f"{where} is no mapping; write `{where}: {{metric: [...]}}`", field=where)
    for key in said:
        metric = str(key).removeprefix(_BASELINE)
        feature_only = where != "totals" and key in ("status", "qvalue", "natural_psi", "natural_ks")
        if not feature_only and not (find_metric(metric).by_feature if where != "totals" else _is_total(metric)):
            place = "totals" if where != "totals" else "features"
            raise InvalidInput(f"{metric} is not a metric of {where}; write it under {place}", field=where)
    return {str(key): _read_series(str(key), value) for key, value in said.items()}


def _is_total(name: str) -> bool:
    return not find_metric(name).by_feature


def _read_series(key: str, said: object) -> list[Any]:
    """Read a series: a list, whose elements may be repeated as in "0.3 x4", or one value for all windows."""
    if not isinstance(said, list):
        return [_read_value(key, said)]
    series = []
    for element in said:
        value, times = element, 1
        if isinstance(element, str):
            first, _, last = element.rpartition(" x")
            if first and last.isdecimal() and len(last) <= 5:
                value, times = first.strip(), int(last)
        series += [_read_value(key, value)] * times
    return series


def _read_value(key: str, value: Any) -> Any:
    if key == "status":
        if value not in tuple(Status):
            raise InvalidInput(f"status is {value!r}; choose {', '.join(Status)}", field=key)
        return str(value)
    if value == "null" or isinstance(value, bool):
        value = None if value == "null" else str(value)
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        fix = 'write numbers, null, or "0.3 x4" for four windows'
        raise InvalidInput(f"{key} has {value!r}; {fix}", field=key) from None


def _count_windows(every: Sequence[tuple[str, list[Any]]]) -> int:
    counts = {len(series): name for name, series in every if len(series) != 1}
    if not counts:
        raise InvalidInput("no series has two windows or more; write one as a list", field="features")
    if len(counts) > 1:
        said = " and ".join(f"{name} has {count}" for count, name in counts.items())
        raise InvalidInput(f"{said} windows; make them equally many", field=next(iter(counts.values())))
    return next(iter(counts))


def _read_expected(said: object, count: int) -> tuple[Alert, ...] | None:
    if said is None:
        return None
    if not isinstance(said, list):
        raise InvalidInput("expect is no list; write [] when nothing should fire", field="expect")
    expected = []
    for entry in said:
        alert = _read_mapping(entry, "expect", _EXPECTED)
        fired, resolved = alert.get("fired"), alert.get("resolved")
        for name, window in (("fired", fired), ("resolved", resolved)):
            whole = isinstance(window, int) and not isinstance(window, bool) and 1 <= window <= count
            if not whole and (name == "fired" or window is not None):
                raise InvalidInput(f"{name} is {window!r}; give the number of a window, 1 to {count}", field=name)
        if not isinstance(alert.get("rule_id"), str) or not isinstance(alert.get("feature", ""), str):
            raise InvalidInput(
                "expect needs a rule_id, and a feature unless of the model, as text", field="expect"
            )
        expected.append(Alert(int(fired), alert["rule_id"], alert.get("feature", ""), resolved))  # type: ignore[arg-type]
    return tuple(expected)


def _read_mapping(entry: object, what: str, known: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise InvalidInput(f"{what} is no mapping; write `{known[0]}: ...`", field=what)
    if unknown := [str(key) for key in entry if key not in known]:
        raise InvalidInput(f"there is no field {unknown[0]!r}; there are {', '.join(known)}", field=unknown[0])
    return entry


def _at(series: list[Any], i: int) -> Any:
    return series[i] if len(series) > 1 else series[0]
