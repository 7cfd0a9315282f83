"""The rules by which driftline watches itself. They are built in: silence them, as nobody can delete them.

What is wrong with driftline is an alert of the model `driftline`, whose features are its
parts and the destinations; what a model lacks is an alert of that model, so that its team is told.
"""

from driftline.core.rules import Comparison, Rule, Severity
from driftline.core.window import MICROSECONDS

SYSTEM_MODEL = "driftline"
"""The model that driftline's own alerts are of; no other can have its name."""
STEP = 60 * MICROSECONDS
"""The windows in which driftline's parts are judged, microseconds."""
VERSION_STEP = 10 * STEP
"""Those in which versions are."""

SYSTEM_RULES = (
    Rule(
        "driftline.consumer_lag",
        "consumer_lag",
        Comparison.ABOVE,
        120,
        model=SYSTEM_MODEL,
        feature="*",
        severity=Severity.HIGH,
    ),
    Rule(
        "driftline.cycle_delay",
        "cycle_delay",
        Comparison.ABOVE,
        120,
        model=SYSTEM_MODEL,
        feature="*",
        severity=Severity.HIGH,
    ),
    Rule(
        "driftline.delivery_failures",
        "delivery_failures",
        Comparison.ABOVE,
        0,
        model=SYSTEM_MODEL,
        feature="*",
        consecutive_windows=1,
        recover_windows=1,
        severity=Severity.HIGH,
    ),
    Rule(
        "driftline.reference_missing",
        "reference_missing",
        Comparison.ABOVE,
        3600,
        consecutive_windows=1,
        recover_windows=1,
        severity=Severity.MEDIUM,
    ),
    Rule(
        "driftline.reference_outdated",
        "reference_outdated",
        Comparison.ABOVE,
        30 * 86_400,
        consecutive_windows=1,
        recover_windows=1,
        severity=Severity.LOW,
    ),
    Rule(
        "driftline.failed_windows",
        "failed_windows",
        Comparison.ABOVE,
        0,
        consecutive_windows=1,
        recover_windows=1,
        severity=Severity.HIGH,
    ),
)
"""Thresholds are seconds, but of `delivery_failures` notices and of `failed_windows` windows."""


def find_system_rule(rule_id: str) -> Rule | None:
    """Find one of driftline's own rules; None for another id."""
    return next((rule for rule in SYSTEM_RULES if rule.rule_id == rule_id), None)


def is_built_in(rule_id: str) -> bool:
    """Tell whether a rule's id is one of driftline's own.

    >>> is_built_in("driftline.consumer_lag"), is_built_in("fraud.no_data")
    (True, False)
    """
    return rule_id.startswith(f"{SYSTEM_MODEL}.")
