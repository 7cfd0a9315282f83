"""Notices as JSON, as they wait to be sent. What is sent is made from them by each destination."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from driftline.core.category import mend_text
from driftline.core.notice import Breach, Kind, Notice
from driftline.core.rules import Severity


def write_notice(notice: Notice) -> dict[str, Any]:
    """Give the JSON form. Numbers that are not finite become text, and what no database can hold becomes U+FFFD.

    >>> notice = Notice(Kind.TRIGGER, Severity.HIGH, "fraud", "3", "drift", "", "k", 0)
    >>> read_notice(write_notice(notice)) == notice
    True
    """
    content: dict[str, Any] = _write(asdict(notice))
    return content


def read_notice(content: Mapping[str, Any]) -> Notice:
    """Read the JSON form."""
    breaches = tuple(
        Breach(**{**breach, "value": float(breach["value"]), "threshold": float(breach["threshold"])})
        for breach in content["breaches"]
    )
    return Notice(
        **{
            **content,
            "kind": Kind(content["kind"]),
            "severity": Severity(content["severity"]),
            "breaches": breaches,
            "approvals": tuple((action, url) for action, url in content.get("approvals", ())),
            "windows": tuple((int(start), int(end)) for start, end in content["windows"]),
        }
    )


def _write(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _write(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_write(each) for each in value]
    if isinstance(value, str):
        return mend_text(value)
    return str(float(value)) if isinstance(value, float) and not math.isfinite(value) else value
