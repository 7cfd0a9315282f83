"""Guard rails: why an action does not run now."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.action_runs import ENDS, OPEN, STARTED, Status, check_step, may_step
from driftline.core.errors import InvalidInput
from driftline.core.guard_rails import Decision, Facts, Pending, Policy, decide

HOUR = 3_600_000_000
DAY = 24 * HOUR
NOW = 100 * DAY
RUN = Pending("fraud", Status.PROPOSED)
FREE = Policy(approval=False)


def decided(policy: Policy = FREE, facts: Facts | None = None, run: Pending = RUN) -> Decision:
    return decide(run, policy, facts or Facts(), NOW)


@pytest.mark.parametrize(
    ("policy", "facts", "reason"),
    [
        (replace(FREE, models=("credit", "fraud-*")), Facts(), "the action is only for models credit, fraud-*"),
        (
            replace(FREE, data_quality_blocks=True),
            Facts(quality_alerts=("", "a", "b", "c", "d")),
            "data-quality alerts fire for the model, a, b and 2 more: mend the data first",
        ),
        (
            replace(FREE, min_windows=3),
            Facts(windows=2),
            "2 of 3 windows (min_windows) have closed since it began",
        ),
        (
            replace(FREE, min_labels=5000),
            Facts(labels=1200),
            "1,200 of 5,000 labels (min_labels) are mature since it began",
        ),
        (
            replace(FREE, cooldown=DAY),
            Facts(starts=(NOW - 20 * HOUR, NOW - 30 * HOUR)),
            "the action ran for the model at 1970-04-10T04:00:00Z; cooldown until 1970-04-11T04:00:00Z",
        ),
        (
            replace(FREE, budget=2, budget_span=DAY),
            Facts(starts=(NOW - HOUR, NOW - 2 * HOUR, NOW - 2 * DAY)),
            "the budget of the model is used up: 2 of 2 starts in 1 day, 0:00:00",
        ),
        (replace(FREE, at_once=2), Facts(running=2), "2 runs of the action go on; at most 2 may (at_once)"),
        (
            replace(FREE, fleet_budget=4, budget_span=DAY),
            Facts(fleet_starts=4),
            "the budget of the fleet is used up: 4 of 4 starts in 1 day, 0:00:00",
        ),
    ],
)
def test_each_says_why(policy: Policy, facts: Facts, reason: str) -> None:
    assert decided(policy, facts) == Decision(Status.BLOCKED, reason)
    approved = Pending("fraud", Status.APPROVED, approved=True)
    assert decided(policy, facts, approved) == Decision(Status.BLOCKED, reason)


@pytest.mark.parametrize(
    ("policy", "facts"),
    [
        (replace(FREE, models=("fraud",)), Facts()),
        (FREE, Facts(quality_alerts=("amount",))),
        (replace(FREE, cooldown=DAY), Facts(starts=(NOW - DAY,))),
        (replace(FREE, budget=2, budget_span=DAY), Facts(starts=(NOW - HOUR, NOW - DAY))),
    ],
)
def test_none_speaks_against_it(policy: Policy, facts: Facts) -> None:
    assert decided(policy, facts).status is Status.APPROVED
    assert decided(policy, facts, Pending("fraud", Status.APPROVED, approved=True)) == Decision(Status.STARTING)


def test_approval_is_asked_after_the_guard_rails_and_only_once() -> None:
    policy = Policy(approval=True, min_windows=3)
    assert decided(policy).status is Status.BLOCKED
    enough = Facts(windows=3)
    assert decided(policy, enough).status is Status.WAITING
    assert (
        decided(policy, Facts(windows=3), Pending("fraud", Status.BLOCKED, approved=True)).status
        is Status.STARTING
    )


def test_approval_expires() -> None:
    waiting = Pending("fraud", Status.WAITING, approve_before=NOW)
    assert decided(Policy(), run=waiting) == Decision(Status.EXPIRED, "nobody approved it within 3 days, 0:00:00")
    assert decided(Policy(), run=replace(waiting, approve_before=NOW + 1)) == Decision(Status.WAITING)


def test_a_dry_run_asks_nobody() -> None:
    assert decided(Policy(dry_run=True)).status is Status.DRY_RUN


runs = st.builds(
    Pending,
    st.sampled_from(["fraud", "credit"]),
    st.sampled_from(sorted(OPEN - STARTED)),
    st.booleans(),
    st.none() | st.integers(NOW - DAY, NOW + DAY),
)
durations = st.integers(0, 10 * DAY)
policies = st.builds(
    Policy,
    models=st.sampled_from([("*",), ("fraud",)]),
    approval=st.booleans(),
    cooldown=durations,
    budget=st.integers(1, 4),
    at_once=st.integers(1, 3),
    fleet_budget=st.integers(1, 4),
    budget_span=durations,
    min_windows=st.integers(0, 3),
    min_labels=st.integers(0, 3),
    data_quality_blocks=st.booleans(),
    dry_run=st.booleans(),
)
facts = st.builds(
    Facts,
    open_alerts=st.integers(0, 3),
    quality_alerts=st.lists(st.just("amount"), max_size=2).map(tuple),
    starts=st.lists(st.integers(NOW - 20 * DAY, NOW), max_size=5).map(lambda starts: tuple(sorted(starts)[::-1])),
    fleet_starts=st.integers(0, 5),
    running=st.integers(0, 3),
    windows=st.integers(0, 4),
    labels=st.integers(0, 4),
)


@given(runs, policies, facts)
def test_every_decision_is_a_step_there_is_and_says_why(run: Pending, policy: Policy, known: Facts) -> None:
    decision = decide(run, policy, known, NOW)
    assert decision.status is run.status or may_step(run.status, decision.status)
    assert decision.reason or decision.status in (Status.WAITING, Status.STARTING)


@given(runs, policies, facts)
def test_nothing_starts_that_should_not(run: Pending, policy: Policy, known: Facts) -> None:
    if decide(run, policy, known, NOW).status is Status.STARTING:
        assert run.approved
        assert not policy.dry_run
        assert known.open_alerts
        assert sum(start > NOW - policy.budget_span for start in known.starts) < policy.budget
        assert known.fleet_starts < policy.fleet_budget
        assert known.running < policy.at_once
        assert not (policy.data_quality_blocks and known.quality_alerts)


@given(st.lists(st.sampled_from(sorted(Status)), max_size=30))
def test_no_walk_starts_without_approval_or_goes_on_after_an_end(wanted: list[Status]) -> None:
    walk = [Status.PROPOSED]
    for status in wanted:
        if may_step(walk[-1], status):
            walk.append(status)
        else:
            with pytest.raises(InvalidInput, match=f"a run that is {walk[-1]} cannot become {status}"):
                check_step(walk[-1], status)
    if Status.STARTING in walk:
        before = walk[: walk.index(Status.STARTING)]
        assert before[-1] in (
            Status.APPROVED,
            Status.BLOCKED,
        )  # blocked: approved before that; `decide` sees to it
    assert not set(walk[:-1]) & ENDS
