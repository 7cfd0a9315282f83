"""Guard rails: why an action does not run now. Pure deciders, each gives a reason, or "" where it has none.

`decide` asks them in order. It is asked when a run is proposed, again while it is blocked, and once more between
approval and start: what held then need not hold now.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase

from driftline.core.action_runs import Status
from driftline.core.moment import format_time
from driftline.core.window import MICROSECONDS


@dataclass(frozen=True, slots=True)
class Policy:
    """What an action is allowed, as its settings say. Durations are microseconds.

    `cooldown` is the least time between two starts for one model; `at_once` runs may go on at a time, for all
    models; `budget` and `fleet_budget` are how many starts
    are allowed in `budget_span`, for one model and for all.
    """

    models: tuple[str, ...] = ("*",)
    approval: bool = True
    approval_within: int = 72 * 3_600_000_000
    cooldown: int = 0
    at_once: int = 5
    budget: int = 3
    fleet_budget: int = 20
    budget_span: int = 7 * 86_400_000_000
    min_windows: int = 0
    min_labels: int = 0
    data_quality_blocks: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when a run is decided. Moments are microseconds.

    `open_alerts` of those that proposed the run still fire; `quality_alerts` names features of the same model
    whose data-quality alerts fire; `starts` are when the action was started for the model, the newest first,
    within the longer of cooldown and budget's span; `fleet_starts` counts those of all models within the span.
    `running` are other runs of the action that go on.
    `windows` and `labels` are closed windows and mature labels since the drift began.
    """

    open_alerts: int = 1
    quality_alerts: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()
    fleet_starts: int = 0
    running: int = 0
    windows: int = 0
    labels: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """A run that has not started. `approve_before` is None until an approval was asked for."""

    model_id: str
    status: Status
    approved: bool = False
    approve_before: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a run becomes, and why. The same status again means that only the reason changed."""

    status: Status
    reason: str = ""


Guard = Callable[[Pending, Policy, Facts, int], str]


def check_models(run: Pending, policy: Policy, _facts: Facts, _now: int) -> str:
    """The settings allow the action for the model."""
    if any(fnmatchcase(run.model_id, pattern) for pattern in policy.models):
        return ""
    return f"the action is only for models {', '.join(policy.models)}"


def check_data_quality(_run: Pending, policy: Policy, facts: Facts, _now: int) -> str:
    """The data of the model are sound.

    >>> run = Pending("fraud", Status.PROPOSED)
    >>> check_data_quality(run, Policy(data_quality_blocks=True), Facts(quality_alerts=("amount",)), 0)
    'data-quality alerts fire for amount: mend the data first'
    """
    if not policy.data_quality_blocks or not facts.quality_alerts:
        return ""
    first, more = facts.quality_alerts[:3], len(facts.quality_alerts) - 3
    names = ", ".join(name or "the model" for name in first) + (f" and {more} more" if more > 0 else "")
    return f"data-quality alerts fire for {names}: mend the data first"


def check_windows(_run: Pending, policy: Policy, facts: Facts, _now: int) -> str:
    """There is enough of the new data to learn from."""
    if facts.windows >= policy.min_windows:
        return ""
    return f"{facts.windows} of {policy.min_windows} windows (min_windows) have closed since it began"


def check_labels(_run: Pending, policy: Policy, facts: Facts, _now: int) -> str:
    """There are enough labels of the new data."""
    if facts.labels >= policy.min_labels:
        return ""
    return f"{facts.labels:,} of {policy.min_labels:,} labels (min_labels) are mature since it began"


def check_running(_run: Pending, policy: Policy, facts: Facts, _now: int) -> str:
    """There is room for another run beside those that go on."""
    if facts.running < policy.at_once:
        return ""
    return f"{facts.running} runs of the action go on; at most {policy.at_once} may (at_once)"


def check_cooldown(_run: Pending, policy: Policy, facts: Facts, now: int) -> str:
    """The last start for the model is long enough ago.

    >>> hour = 3_600_000_000
    >>> run = Pending("fraud", Status.PROPOSED)
    >>> check_cooldown(run, Policy(cooldown=24 * hour), Facts(starts=(0,)), 12 * hour)
    'the action ran for the model at 1970-01-01T00:00:00Z; cooldown until 1970-01-02T00:00:00Z'
    """
    if not facts.starts or now - facts.starts[0] >= policy.cooldown:
        return ""
    last = facts.starts[0] - facts.starts[0] % MICROSECONDS
    until = format_time(last + policy.cooldown)
    return f"the action ran for the model at {format_time(last)}; cooldown until {until}"


def check_budget(_run: Pending, policy: Policy, facts: Facts, now: int) -> str:
    """The model's share of starts is not used up."""
    used = sum(start > now - policy.budget_span for start in facts.starts)
    if used < policy.budget:
        return ""
    return f"the budget of the model is used up: {used} of {policy.budget} starts in {_say(policy.budget_span)}"


def check_fleet_budget(_run: Pending, policy: Policy, facts: Facts, _now: int) -> str:
    """All models together have not used up the starts of the action."""
    if facts.fleet_starts < policy.fleet_budget:
        return ""
    used, span = facts.fleet_starts, _say(policy.budget_span)
    return f"the budget of the fleet is used up: {used} of {policy.fleet_budget} starts in {span}"


GUARDS: tuple[Guard, ...] = (
    check_models,
    check_data_quality,
    check_windows,
    check_labels,
    check_cooldown,
    check_running,
    check_budget,
    check_fleet_budget,
)
"""In the order in which they are asked; the first reason is the one that is told."""


def decide(run: Pending, policy: Policy, facts: Facts, now: int) -> Decision:
    """Decide what becomes of a run that has not started: `STARTING` only when nothing speaks against it.

    >>> decide(Pending("fraud", Status.PROPOSED), Policy(), Facts(), 0)
    Decision(status=<Status.WAITING: 'waiting_for_approval'>, reason='')
    >>> decide(Pending("fraud", Status.APPROVED, approved=True), Policy(), Facts(), 0).status.value
    'starting'
    """
    if not facts.open_alerts:
        return Decision(Status.EXPIRED, "its alerts are over")
    if run.status is Status.WAITING:
        return _wait(run, policy, now)
    reasons = (guard(run, policy, facts, now) for guard in GUARDS)
    if reason := next(filter(None, reasons), ""):
        return Decision(Status.BLOCKED, reason)
    if policy.dry_run:
        return Decision(Status.DRY_RUN, "dry_run is set: it would have started")
    if run.approved:
        return Decision(Status.STARTING)
    return Decision(Status.WAITING) if policy.approval else Decision(Status.APPROVED, "no approval is asked")


def _wait(run: Pending, policy: Policy, now: int) -> Decision:
    if run.approve_before is not None and now >= run.approve_before:
        return Decision(Status.EXPIRED, f"nobody approved it within {_say(policy.approval_within)}")
    return Decision(Status.WAITING)


def _say(micros: int) -> str:
    return str(timedelta(seconds=micros // MICROSECONDS))
