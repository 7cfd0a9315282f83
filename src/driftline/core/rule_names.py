"""Names of rules for which nobody gave one."""

from collections.abc import Container
from itertools import count

from driftline.core.rules import Rule
from driftline.core.system_rules import SYSTEM_MODEL, is_built_in

_LONGEST = 500  # characters, so that a number fits behind them


def name_rule(rule: Rule, model_id: str, taken: Container[str]) -> str:
    """Name a rule by the model it was made for and what it watches, with a number when the name is taken.

    >>> from driftline.core.rules import Comparison
    >>> rule = Rule("", "psi", Comparison.ABOVE, 0.2, feature="*", segment="country=DE")
    >>> name_rule(rule, "fraud", {"fraud.psi.any.country=DE"})
    'fraud.psi.any.country=DE.2'
    """
    version = "" if rule.version == "*" else rule.version
    parts = (model_id, rule.metric, rule.feature, rule.segment, version)
    name = ".".join("any" if part == "*" else part for part in parts if part)[:_LONGEST]
    if is_built_in(name):  # these are driftline's own
        name = name.removeprefix(f"{SYSTEM_MODEL}.")
    if name not in taken:
        return name
    return next(numbered for number in count(2) if (numbered := f"{name}.{number}") not in taken)
