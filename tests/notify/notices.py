"""Notices to send."""

from typing import Any

from hypothesis import strategies as st

from driftline.core.notice import Breach, Kind, Notice
from driftline.core.rules import Severity

HOUR = 3_600_000_000
FIRED = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z


def make_notice(**changes: Any) -> Notice:
    fields: dict[str, Any] = {
        "kind": Kind.TRIGGER,
        "severity": Severity.CRITICAL,
        "model_id": "fraud",
        "model_version": "3",
        "title": "fraud 3: 2 features drifted",
        "summary": "amount and country moved away from the training data in three windows in a row.",
        "dedup_key": "fraud/3/drift/17",
        "fired_at": FIRED,
        "breaches": (
            Breach("amount", "psi", 0.4172, 0.2),
            Breach("country", "psi", 0.31, 0.2, segment="channel=web"),
        ),
        "windows": tuple((FIRED - n * HOUR, FIRED - (n - 1) * HOUR) for n in (3, 2, 1)),
        "url": "https://driftline.example.com/alerts/17",
        "runbook": "https://wiki.example.com/fraud-drift",
        "owner": "ana@example.com",
        "team": "risk",
    }
    return Notice(**(fields | changes))


def make_huge(**changes: Any) -> Notice:
    """Far more of everything than any provider takes, in characters that are long once they are written."""
    long = "𝒳<&>é\n" * 20_000
    breaches = tuple(Breach(f"{n} {long[:3000]}", "psi", 0.3, 0.2, segment=long[:500]) for n in range(700))
    return make_notice(**(dict.fromkeys(TEXTS, long) | {"breaches": breaches} | changes))


TEXTS = ("title", "summary", "model_id", "model_version", "dedup_key", "owner", "team")
_EVIL = st.sampled_from(
    ["\ud800", "\udfff", "\x00", "\u2028", "&", "<", ">", "<!channel>", "👩‍👩‍👧", "\r\n", '"', "\\", "|"]
)
texts = st.one_of(st.text(max_size=60), st.lists(_EVIL, max_size=1500).map("".join))
numbers = st.floats(allow_nan=True, allow_infinity=True)
breaches = st.builds(Breach, texts, texts, numbers, numbers, texts)
notices = st.builds(
    make_notice,
    kind=st.sampled_from(Kind),
    severity=st.sampled_from(Severity),
    breaches=st.lists(breaches, max_size=30).map(tuple),
    reopens=st.booleans(),
    resolved_at=st.none() | st.integers(FIRED, FIRED + 100 * HOUR),
    approvals=st.lists(
        st.tuples(texts, st.just("https://driftline.example.com/a?b=c&d=e") | texts), max_size=3
    ).map(tuple),
    url=texts | st.just("https://driftline.example.com/a?b=<c>|d&e"),
    **dict.fromkeys(TEXTS, texts),
)
