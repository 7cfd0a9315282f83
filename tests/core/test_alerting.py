"""The engine against a tiny model of one subject: no order of windows loses an alert or fires one twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.alert_states import States, decode_states, encode_states
from driftline.core.alert_window import JudgedWindow
from driftline.core.alerting import Event, Happening, end_alerts, judge_window
from driftline.core.errors import InvalidPayload
from driftline.core.rules import Comparison, Measure, Rule
from driftline.core.window import Window

HOUR = 3_600_000_000
FEATURES = ("amount", "country", "__score__")
HIGH, BETWEEN, LOW = 0.3, 0.19, 0.05  # of a threshold of 0.2, whose recover threshold is 0.18


def psi_rule(**fields: object) -> Rule:
    return Rule(
        **{"rule_id": "psi", "metric": "psi", "comparison": Comparison.ABOVE, "threshold": 0.2, "feature": "*"}
        | fields
    )  # type: ignore[arg-type]


def make_window(
    number: int,
    values: list[float],
    *,
    pool: int | None = None,
    status: list[str] | None = None,
    features: tuple[str, ...] = FEATURES,
    column: str = "psi_score",
    **more: object,
) -> JudgedWindow:
    columns = {column: np.array(values), "qvalue": np.zeros(len(values))}
    said = {
        "model_id": "fraud",
        "model_version": "3",
        "window": Window(number * HOUR, (number + 1) * HOUR),
        "pool_start": (number if pool is None else pool) * HOUR,
        "features": features,
        "columns": columns,
        "status": np.array(status or ["ok"] * len(values), object),
        "n_eff": 1000.0,
    }
    return JudgedWindow(**{**said, **more})  # type: ignore[arg-type]


def run(rule: Rule, windows: list[JudgedWindow]) -> list[Event]:
    states: dict[str, States] = {}
    events: list[Event] = []
    for window in windows:
        judgement = judge_window([rule], states, window, now=0)
        states, events = dict(judgement.states), [*events, *judgement.events]
    return events


def say(events: list[Event]) -> list[tuple[str, str, int]]:
    """What happened to which feature in which window."""
    return [(str(event.happening), event.feature, event.windows[-1].start // HOUR) for event in events]


class Subject:
    """The reference model: one subject, one window at a time, in plain words."""

    def __init__(self, needed: int, recover: int) -> None:
        self.needed, self.recover = needed, recover
        self.open, self.count, self.judged_until = False, 0, -1
        self.log: list[tuple[str, int]] = []

    def see(self, pool: int, number: int, value: float | None) -> None:
        if value is None or pool < self.judged_until:
            return
        self.judged_until = number + 1
        counts = value == LOW if self.open else value == HIGH
        self.count = self.count + 1 if counts else 0
        if self.count == (self.recover if self.open else self.needed):
            self.log.append(("resolved" if self.open else "fired", number))
            self.open, self.count = not self.open, 0


VALUES = st.sampled_from([HIGH, HIGH, HIGH, LOW, LOW, BETWEEN, None])
STEPS = st.lists(
    st.tuples(
        st.integers(-3, 2),  # how far to go: back is a recomputation, 0 the same window once more
        st.integers(0, 2),  # windows before it in its pool
        st.tuples(VALUES, VALUES),
        st.booleans(),  # a restart
        st.booleans(),  # tried twice, as after a lost commit
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 4), st.integers(1, 4))
def test_no_sequence_loses_an_alert_or_fires_one_twice(
    steps: list[tuple[int, int, tuple[float | None, ...], bool, bool]], needed: int, recover: int
) -> None:
    rule = psi_rule(consecutive_windows=needed, recover_windows=recover)
    subjects = [Subject(needed, recover) for _ in range(2)]
    states: dict[str, States] = {}
    events: list[Event] = []
    number = 3
    for move, pooled, values, restart, twice in steps:
        number = max(number + move, 3)
        status = ["too_few" if value is None else "ok" for value in values] + ["pooling"]
        numbers = [HIGH if value is None else value for value in values] + [HIGH]
        window = make_window(number, numbers, pool=number - pooled, status=status)
        judgement = judge_window([rule], states, window, now=0)
        if twice:
            again = judge_window([rule], states, window, now=0)
            assert again.events == judgement.events
        states, events = dict(judgement.states), [*events, *judgement.events]
        if restart:
            states = {key: decode_states(encode_states(each)) for key, each in states.items()}
        for subject, value in zip(subjects, values, strict=True):
            subject.see(number - pooled, number, value)
    for subject, feature in zip(subjects, FEATURES, strict=False):
        mine = [event for event in events if event.feature == feature]
        assert [(str(event.happening), event.windows[-1].end // HOUR - 1) for event in mine] == subject.log
        for event in mine:
            assert len(event.windows) == (needed if event.happening is Happening.FIRED else recover)
            ends = [window.end for window in event.windows]
            assert all(before <= after.start for before, after in zip(ends, event.windows[1:], strict=False))
        opened = [event.opened for event in mine if event.happening is Happening.FIRED]
        assert len(set(opened)) == len(opened)
        assert [e.opened for e in mine if e.happening is Happening.RESOLVED] == opened[: len(mine) - len(opened)]


def test_an_alert_names_its_number_threshold_and_windows() -> None:
    values = [0.1, 0.3, 0.4, 0.5, 0.05, 0.05, 0.05]
    fired, resolved = run(psi_rule(), [make_window(i, [value, 0, 9]) for i, value in enumerate(values)])
    assert (fired.value, fired.threshold, fired.feature) == (0.5, 0.2, "amount")
    assert fired.windows == tuple(Window(i * HOUR, (i + 1) * HOUR) for i in (1, 2, 3))
    assert resolved.windows == tuple(Window(i * HOUR, (i + 1) * HOUR) for i in (4, 5, 6))
    assert resolved.opened == fired.opened == 4 * HOUR


def test_between_the_two_thresholds_an_alert_stays() -> None:
    values = [0.3, 0.3, 0.3, 0.05, 0.05, 0.19, 0.05, 0.05, 0.05]
    events = run(psi_rule(), [make_window(i, [value, 0, 0]) for i, value in enumerate(values)])
    assert say(events) == [("fired", "amount", 2), ("resolved", "amount", 8)]


def test_what_is_not_significant_neither_fires_nor_keeps_firing() -> None:
    windows = [make_window(i, [0.3, 0.3, 0]) for i in range(8)]
    for i, window in enumerate(windows):
        window.columns["qvalue"][:] = (0.001 if i < 4 else 0.5), 0.01, 0
    assert say(run(psi_rule(), windows)) == [("fired", "amount", 2), ("resolved", "amount", 6)]
    careless = run(psi_rule(require_significance=False), windows)
    assert say(careless) == [("fired", "amount", 2), ("fired", "country", 2)]


def test_twice_the_natural_variation_raises_the_threshold() -> None:
    natural = {"psi": np.array([0.16, np.nan, 0.14])}
    windows = [make_window(i, [0.3, 0.3, 0.3], natural=natural) for i in range(3)]
    rule = psi_rule(comparison=Comparison.ABOVE_NATURAL)
    assert say(run(rule, windows)) == [("fired", "country", 2)]
    assert say(run(psi_rule(), windows)) == [("fired", "amount", 2), ("fired", "country", 2)]
    higher = [make_window(i, [0.33, 0.33, 0.33], natural=natural) for i in range(3)]
    fired = run(rule, higher)
    assert [(event.feature, event.threshold) for event in fired] == [("amount", 0.32), ("country", 0.2)]


def performance(number: int, value: float, upper: float, maturity: float = 1.0) -> JudgedWindow:
    name = "performance_roc_auc"
    return JudgedWindow(
        "fraud",
        "3",
        Window(number * HOUR, (number + 1) * HOUR),
        number * HOUR,
        totals={name: value},
        intervals={name: (value - 0.1, upper)},
        baselines={name: 0.9},
        maturity=maturity,
    )


def drop_rule(**fields: object) -> Rule:
    said = {"measure": Measure.SHARE, "consecutive_windows": 1, "recover_windows": 1} | fields
    return Rule("auc", "performance_roc_auc", Comparison.DROP_FROM_BASELINE, 0.1, **said)  # type: ignore[arg-type]


def test_a_drop_is_a_share_of_the_baseline_and_significant() -> None:
    (event,) = run(drop_rule(), [performance(0, 0.82, 0.85), performance(1, 0.8, 0.95), performance(2, 0.8, 0.85)])
    assert event.windows == (Window(2 * HOUR, 3 * HOUR),)
    assert event.threshold == pytest.approx(0.81)


def test_labels_are_judged_at_the_first_mature_verdict() -> None:
    young, mature, corrected = performance(0, 0.5, 0.6, 0.5), performance(0, 0.95, 0.99), performance(0, 0.5, 0.6)
    assert run(drop_rule(), [young]) == []
    assert run(drop_rule(), [young, mature, corrected]) == []
    assert len(run(drop_rule(), [young, corrected, mature])) == 1
    assert run(drop_rule(), [performance(0, 0.5, 0.6, np.nan)]) == []


def test_more_errors_are_a_drop_and_a_bias_counts_by_its_size() -> None:
    for metric, value, interval, baseline in (
        ("performance_rmse", 3.0, (2.5, 3.5), 2.0),
        ("performance_bias", -1.0, (-1.5, -0.5), 0.1),
    ):
        window = performance(0, 0, 0)
        window = JudgedWindow(
            "fraud",
            "3",
            window.window,
            0,
            totals={metric: value},
            intervals={metric: interval},
            baselines={metric: baseline},
            maturity=1.0,
        )
        rule = Rule("worse", metric, Comparison.DROP_FROM_BASELINE, 0.5, consecutive_windows=1)
        assert len(run(rule, [window])) == 1


def test_a_band_does_not_follow_an_incident() -> None:
    rule = Rule("volume", "volume", Comparison.OUTSIDE_BAND, 3, band_windows=10, consecutive_windows=2)
    values = [100, 103, 98, 101, 99, 102, 97, 100, 101, 20, 20, *[25] * 30, 100, 101, 99]
    windows = [make_window(i, [0, 0, 0], totals={"volume": float(v)}) for i, v in enumerate(values)]
    assert say(run(rule, windows)) == [("fired", "", 10), ("resolved", "", len(values) - 1)]


def test_too_few_rows_are_no_excuse_for_the_volume() -> None:
    rule = Rule("silent", "volume", Comparison.BELOW, 10, consecutive_windows=2)
    windows = [
        make_window(i, [0, 0, 0], pool=0, window_status="pooling", totals={"volume": 3.0}) for i in range(2)
    ]
    assert say(run(rule, windows)) == [("fired", "", 1)]
    assert (
        run(rule, [make_window(i, [0, 0, 0], window_status="partial", totals={"volume": 3.0}) for i in range(2)])
        == []
    )


def test_at_model_level_the_worst_feature_counts_and_is_named() -> None:
    rule = Rule("missing", "missing_rate", Comparison.DROP_FROM_BASELINE, 0.3, consecutive_windows=1)
    baselines = {"missing_rate": np.array([0.9, 0.0, 0.0])}
    window = make_window(0, [0.95, 0.5, 0.1], column="missing_rate", baselines=baselines)
    (event,) = run(rule, [window])
    assert (event.feature, event.worst, event.value, event.threshold) == ("", "country", 0.5, 0.3)
    nothing = make_window(0, [1.0] * 3, column="missing_rate", status=["missing"] * 3, baselines=baselines)
    assert run(rule, [nothing]) == []


def test_min_samples() -> None:
    windows = [make_window(i, [0.3, 0, 0], n_eff=50.0) for i in range(3)]
    assert run(psi_rule(min_samples=100), windows) == []
    assert len(run(psi_rule(min_samples=50), windows)) == 1


def test_features_come_and_go_and_their_states_stay_with_them() -> None:
    rule = psi_rule(feature="*")
    judgement = judge_window([rule], {}, make_window(0, [0.3, 0.3, 0]), now=0)
    judgement = judge_window([rule], judgement.states, make_window(1, [0.3, 0.3, 0]), now=0)
    other = ("new", "country", "amount")
    third = judge_window([rule], judgement.states, make_window(2, [0.3, 0.05, 0.3], features=other), now=0)
    assert say(list(third.events)) == [("fired", "amount", 2)]
    (ended,) = judge_window([rule], third.states, make_window(3, [0, 0], features=other[:2]), now=7).events
    assert (ended.happening, ended.feature, ended.opened, ended.at) == (Happening.ENDED, "amount", 3 * HOUR, 7)
    (deleted,) = end_alerts(rule, third.states["psi"], "fraud", "3", "", now=8)
    assert deleted.opened == ended.opened


@pytest.mark.parametrize("needed", [1, 2, 5])
def test_an_edited_rule_goes_on_from_where_it_stood(needed: int) -> None:
    first = psi_rule(consecutive_windows=4, recover_windows=1)
    states = judge_window([first], {}, make_window(0, [0.3, 0, 0]), now=0).states
    states = judge_window([first], states, make_window(1, [0.3, 0, 0]), now=0).states
    edited = psi_rule(consecutive_windows=needed, recover_windows=1)
    fired = []
    for number in range(2, 8):
        judgement = judge_window([edited], states, make_window(number, [0.3, 0, 0]), now=0)
        states, fired = judgement.states, [*fired, *judgement.events]
    assert say(fired) == [("fired", "amount", max(2, needed - 1))]
    assert len(fired[0].windows) == needed


@given(st.binary(max_size=200))
def test_other_bytes_are_no_states(payload: bytes) -> None:
    with pytest.raises(InvalidPayload):
        decode_states(payload)


def test_labels_and_drift_of_one_window_come_apart() -> None:
    rules = [psi_rule(), drop_rule(consecutive_windows=3)]
    states: dict[str, States] = {}
    events: list[Event] = []
    drifted = [make_window(number, [0.3, 0, 0]) for number in range(3)]
    labelled = [performance(number, 0.5, 0.6) for number in range(3)]
    for window in (labelled[0], drifted[0], drifted[1], labelled[1], labelled[2], drifted[2]):
        judgement = judge_window(rules, states, window, now=0)
        states, events = dict(judgement.states), [*events, *judgement.events]
    assert say(events) == [("fired", "", 2), ("fired", "amount", 2)]
