"""False alarms of the usual threshold and of the presets in months without drift, and how late they see drift.

Every model has a reference of 28 days with timestamps; benchmarks/seasonal_traffic.py says how its traffic is
made. Each rule watches all 500 inputs; what the presets watch as they are installed, and with 20 inputs named, is
counted from the same alerts, as features do not know of one another in a rule.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from alert_delays import CALM, DRIFTS, Delays, measure_delays
from driftline.core.alert_states import States
from driftline.core.alerting import Happening, judge_window
from driftline.core.drift import Status
from driftline.core.rule_presets import Preset, make_preset
from driftline.core.rules import MODEL_LEVEL, Comparison, Rule
from driftline.core.schema import PREDICTION, SCORE
from records import Record, make_parser, report
from seasonal_traffic import LAYOUT, OUTPUTS, make_traffic
from watched_traffic import (
    SEGMENT,
    WatchedModel,
    check_counts,
    count_hour,
    cut_reference,
    judge_hours,
    watch_model,
)

MONTH = 30 * 24
NAMED = 20
"""So many inputs are taken for named, chosen at random."""

_USUAL = {"metric": "psi_raw", "comparison": Comparison.ABOVE, "threshold": 0.2, "require_significance": False}
ONCE = Rule("(a) psi_raw > 0.2 once", feature="*", consecutive_windows=1, recover_windows=1, **_USUAL)
THRICE = Rule("(b) psi_raw > 0.2, 3 in a row", feature="*", **_USUAL)
PRESETS = {preset: make_preset(preset, preset, outputs=(PREDICTION, SCORE), features=("*",)) for preset in Preset}
RULES = (ONCE, THRICE, *(rule for rules in PRESETS.values() for rule in rules))
WATCHED = {
    ONCE.rule_id: ONCE,
    THRICE.rule_id: THRICE,
    **{
        f"(c) {name}": rule
        for name, rules in PRESETS.items()
        for rule in rules
        if rule.rule_id.endswith("drift.*")
    },
}
"""What watches every input's drift, by the name in the tables."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What became of one model: alerts by (rule, whose), verdicts, the natural psi of its inputs, and delays.

    Whose: of the `model` and its outputs, of a `named` input, or of an `other` one; those of `calm` inputs, and
    those fired by a pool of several windows, are counted again.
    """

    months: int
    verdicts: int
    alerts: Counter[tuple[str, str]]
    natural: NDArray[np.float64]
    delays: list[Delays]


def watch(number: int, months: int, repetitions: int, days: int) -> Watched:
    """Simulate one model."""
    rng = np.random.default_rng([5, number])
    model = watch_model(make_traffic(rng, days * 24, months * MONTH))
    for hour in rng.integers(days * 24, days * 24 + MONTH, 5):
        check_counts(model, int(hour))
    named = set(rng.choice(np.flatnonzero(~OUTPUTS), NAMED, replace=False).tolist())
    alerts, verdicts = count_alerts(model, named)
    delays = measure_delays(model, list(WATCHED.values()), repetitions, rng)
    return Watched(months, verdicts, alerts, model.natural.psi[0][~OUTPUTS], delays)


def count_alerts(model: WatchedModel, named: set[int]) -> tuple[Counter[tuple[str, str]], int]:
    """Judge all hours after the reference, and count the alerts that fire, and the verdicts."""
    hours = range(model.traffic.reference_hours, len(model.traffic.rows))
    calm = model.natural.psi[0] <= CALM
    alerts: Counter[tuple[str, str]] = Counter()
    states: dict[str, States] = {}
    verdicts = 0
    profiles = ((hour, count_hour(model, hour)) for hour in hours)
    for window in judge_hours(model, cut_reference(model.reference), profiles):
        verdicts += window.window_status == Status.OK
        judgement = judge_window(RULES, states, window, now=0)
        states = dict(judgement.states)
        for event in judgement.events:
            if event.happening is not Happening.FIRED:
                continue
            if event.feature in (MODEL_LEVEL, PREDICTION, SCORE):
                alerts[event.rule_id, "model"] += 1
                continue
            f = LAYOUT.index[event.feature]
            alerts[event.rule_id, "named" if f in named else "other"] += 1
            alerts[event.rule_id, "calm"] += bool(calm[f])
            alerts[event.rule_id, "pooled"] += window.pool_start < window.window.start
    return alerts, verdicts


def report_alarms(watched: Sequence[Watched]) -> list[Record]:
    """Count false alerts per model-month: of all inputs, of named and calm ones, and of what presets install."""
    months = sum(each.months for each in watched)
    alerts: Counter[tuple[str, str]] = sum((each.alerts for each in watched), Counter())
    natural = np.concatenate([each.natural for each in watched])
    records = [
        Record("model-months without drift", months, "", 300, "higher"),
        Record("verdicts a model-month", sum(each.verdicts for each in watched) / months, ""),
        *(
            Record(f"natural psi of inputs, {q:.0%} quantile", float(np.quantile(natural, q)), "")
            for q in (0.1, 0.5, 0.9, 0.99)
        ),
        Record(f"calm inputs: natural psi is at most {CALM}", float((natural <= CALM).mean()), "share"),
    ]
    for who, whose in (("all", ("named", "other")), (f"{NAMED} named", ("named",)), ("calm", ("calm",))):
        rates = {name: sum(alerts[rule.rule_id, w] for w in whose) / months for name, rule in WATCHED.items()}
        for name, rate in rates.items():
            records.append(Record(f"{who} inputs, {name}", rate, "alerts / model-month"))
            if name != ONCE.rule_id and rates[ONCE.rule_id]:
                records.append(
                    Record(f"{who} inputs, {name}: fewer than (a)", 1 - rate / rates[ONCE.rule_id], "share")
                )
    for name, rule in WATCHED.items():
        if total := alerts[rule.rule_id, "named"] + alerts[rule.rule_id, "other"]:
            records.append(
                Record(f"all inputs, {name}: by pools", alerts[rule.rule_id, "pooled"] / total, "share")
            )
    for preset, rules in PRESETS.items():
        records += _report_preset(preset, rules, alerts)
    return records


def _report_preset(preset: Preset, rules: Sequence[Rule], alerts: Counter[tuple[str, str]]) -> list[Record]:
    """Count all alerts of a preset, as installed and with inputs named, and say of what rules."""
    installed = {rule.rule_id.removeprefix(f"{preset}."): alerts[rule.rule_id, "model"] for rule in rules}
    named = {rule.rule_id.removeprefix(f"{preset}."): alerts[rule.rule_id, "named"] for rule in rules}
    budget = 0 if preset is Preset.DEFAULT else None
    whole, more = sum(installed.values()), sum(named.values())
    return [
        Record(f"{preset} as installed: all months", whole, "alerts", budget),
        Record(f"{preset} with {NAMED} inputs named: all months", whole + more, "alerts", budget),
        *(
            Record(f"{preset}: of those by {rule}", count, "alerts")
            for rule, count in (installed | {rule: count for rule, count in named.items() if count}).items()
            if count
        ),
    ]


def report_delays(watched: Sequence[Watched]) -> list[Record]:
    """Say how many windows each rule took for each drift, and how often it saw it at all."""
    records = []
    every = [delays for each in watched for delays in each.delays]
    for drift in DRIFTS:
        for segment in ("", SEGMENT) if drift.segment else ("",):
            for name, rule in WATCHED.items():
                key = (drift.name, rule.rule_id, segment)
                windows = np.concatenate([d.windows for d in every if (d.drift, d.rule_id, d.segment) == key])
                records += _report_delay(f"{drift.name}, rule of {segment or 'all'}, {name}", windows)
    return records


def _report_delay(where: str, windows: NDArray[np.float64]) -> list[Record]:
    records = [Record(f"{where}: seen", float((~np.isnan(windows)).mean()), f"share of {len(windows):,}")]
    for name, q in (("median", 0.5), ("90 %", 0.9)):
        delay = float(np.quantile(np.nan_to_num(windows, nan=np.inf), q, method="higher"))
        records += [Record(f"{where}: {name}", delay, "windows")] if np.isfinite(delay) else []
    if not np.isnan(windows).all():
        records.append(Record(f"{where}: mean of those seen", float(np.nanmean(windows)), "windows"))
    return records


def main() -> None:
    """Simulate and report."""
    parser = make_parser(__doc__)
    parser.add_argument("--models", type=int, default=20, help="each with a reference of its own (default 20)")
    parser.add_argument("--months", type=int, default=15, help="without drift, of each model (default 15)")
    parser.add_argument("--repetitions", type=int, default=3, help="of each drift, a model (default 3)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a month of one model with a reference of 7 days")
    options = parser.parse_args()
    if options.quick:
        options.models, options.months, options.repetitions = 1, 1, 1
    run = partial(watch, months=options.months, repetitions=options.repetitions, days=7 if options.quick else 28)
    with get_context("spawn").Pool(min(options.processes, options.models)) as pool:
        found = pool.imap_unordered(run, range(options.models))
        watched = list(track(found, "models", total=options.models))
    report(f"False alarms, {options.models} models", report_alarms(watched) + report_delays(watched), options)


if __name__ == "__main__":
    main()
