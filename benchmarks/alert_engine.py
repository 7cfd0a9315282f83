"""How long rules take: 1,000 models of 500 features each, judged by 5 rules of all features, one window."""

from time import perf_counter, process_time

import numpy as np

from driftline.core.alert_states import States, decode_states, encode_states
from driftline.core.alert_window import JudgedWindow
from driftline.core.alerting import judge_window
from driftline.core.rules import Comparison, Rule
from driftline.core.window import Window
from records import Record, make_parser, report

MODELS, FEATURES, WINDOWS = 1_000, 500, 12
HOUR = 3_600_000_000
RULES = (
    Rule("psi", "psi", Comparison.ABOVE_NATURAL, 0.2, feature="*"),
    Rule("ks", "ks", Comparison.ABOVE, 0.18, feature="*"),
    Rule("chi2", "chi2_pvalue", Comparison.BELOW, 0.01, feature="*"),
    Rule("missing", "missing_rate", Comparison.DROP_FROM_BASELINE, 0.3, feature="*"),
    Rule("range", "out_of_range_rate", Comparison.OUTSIDE_BAND, 3, feature="*", band_windows=8),
)
COLUMNS = ("psi_score", "ks_statistic", "chi2_pvalue", "missing_rate", "out_of_range_rate", "qvalue")


def make_window(rng: np.random.Generator, model: int, number: int) -> JudgedWindow:
    """A window of which a tenth of the numbers are beyond their thresholds, and some are not defined."""
    columns = {name: rng.exponential(0.09, FEATURES) for name in COLUMNS}
    columns["ks_statistic"][:50] = np.nan
    columns["qvalue"] = rng.uniform(0, 0.02, FEATURES)
    return JudgedWindow(
        model_id=f"model-{model}",
        model_version="1",
        window=Window(number * HOUR, (number + 1) * HOUR),
        pool_start=number * HOUR,
        features=NAMES[model],
        columns=columns,
        status=np.array(["ok"] * (FEATURES - 9) + ["missing"] * 9, object),
        baselines={"missing_rate": np.full(FEATURES, 0.05)},
        natural={"psi": np.full(FEATURES, 0.1)},
        n_eff=1_000,
    )


NAMES = {model: tuple(f"feature_{i}_{model}" for i in range(FEATURES)) for model in range(MODELS)}


def main() -> None:
    options = make_parser(__doc__).parse_args()
    rng = np.random.default_rng(5)
    states: list[dict[str, States]] = [{} for _ in range(MODELS)]
    seconds, processor, events = [], [], 0
    for number in range(WINDOWS):
        windows = [make_window(rng, model, number) for model in range(MODELS)]
        start, started = perf_counter(), process_time()
        for model, window in enumerate(windows):
            judgement = judge_window(RULES, states[model], window, now=0)
            states[model] = dict(judgement.states)
            events += len(judgement.events)
        seconds.append(perf_counter() - start)
        processor.append(process_time() - started)
    start = perf_counter()
    payloads = [encode_states(each) for each in states[0].values()]
    encoded = perf_counter() - start
    start = perf_counter()
    for payload in payloads:
        decode_states(payload)
    records = [
        Record("judge all models, slowest window", max(seconds[1:]), "s", 2),
        Record("judge all models, median window", float(np.median(seconds[1:])), "s"),
        Record("processor time, slowest window", max(processor[1:]), "s"),
        Record("alerts fired and resolved", events, ""),
        Record("write a model's states", encoded * 1000, "ms"),
        Record("read a model's states", (perf_counter() - start) * 1000, "ms"),
        Record("a model's states", sum(map(len, payloads)) / 1000, "kB"),
    ]
    report(f"{MODELS:,} models x {FEATURES} features x {len(RULES)} rules", records, options)


if __name__ == "__main__":
    main()
