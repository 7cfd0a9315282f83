"""Silences: what they match, from when until when, and which are refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.errors import InvalidInput
from driftline.core.rules import Severity
from driftline.core.silence import Matcher, Silence, check_silence, find_silence, read_matcher
from tests.timelines import START, make_alert

ALERT = make_alert(1, "amount@country=DE", Severity.HIGH, START)
WHOLE = make_alert(2, "model", Severity.CRITICAL, START)
VALUES = {
    "model": "fraud",
    "version": "3",
    "feature": "amount",
    "segment": "country=DE",
    "rule": "rule.amount@country=DE",
    "metric": "psi",
    "severity": "HIGH",
}


def under(matcher: Matcher, starts_at: int, ends_at: int, number: int = 1) -> Silence:
    return Silence(number, matcher, starts_at, ends_at, "ana", "new sensors")


@given(
    st.dictionaries(st.sampled_from(sorted(VALUES)), st.sampled_from(["same", "glob", "any", "other"]), min_size=1)
)
def test_all_fields_that_are_given_must_match(chosen: dict[str, str]) -> None:
    written = {
        name: {"same": VALUES[name], "glob": VALUES[name][:1] + "*", "any": "*", "other": f"{VALUES[name]}?"}[how]
        for name, how in chosen.items()
    }
    written = {name: value if name != "severity" or value != "HIGH?" else "LOW" for name, value in written.items()}
    assert read_matcher(written).matches(ALERT) == ("other" not in chosen.values())
    assert read_matcher(written).to_dict() == written


@pytest.mark.parametrize(
    ("matcher", "matches"),
    [
        (Matcher(feature=""), False),
        (Matcher(segment=""), False),
        (Matcher(feature="AMOUNT"), False),
        (Matcher(feature="[ab]mount"), True),
        (Matcher(feature="amoun"), False),
        (Matcher(severity="H*"), True),
    ],
)
def test_names_match_whole_and_empty_means_none(matcher: Matcher, matches: bool) -> None:
    assert matcher.matches(ALERT) == matches


def test_empty_fields_mean_the_model_and_all_rows() -> None:
    assert Matcher(feature="", segment="").matches(WHOLE)
    assert Matcher(feature="*").matches(WHOLE)


def test_a_name_may_look_like_a_glob() -> None:
    assert Matcher(feature="x[0]").matches(replace(ALERT, feature="x[0]"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "must match something"),
        ({"features": "a"}, "did you mean feature"),
        ({"colour": "a"}, "it can match model, version"),
        ({"feature": None}, "write a name or a glob"),
        ({"feature": 3}, "write a name or a glob"),
        ({"feature": "\x00"}, "write a name or a glob"),
        ({"severity": "high"}, "use CRITICAL, HIGH, MEDIUM, LOW"),
    ],
)
def test_what_is_no_matcher(content: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_matcher(content)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ((10, 10, "ana", "why"), "ends_at"),
        ((0, 5, "ana", "why"), "ends_at"),
        ((0, 10, " ", "why"), "author"),
        ((0, 10, "ana", ""), "comment"),
    ],
)
def test_what_is_no_silence(fields: tuple[int, int, str, str], says: str) -> None:
    check_silence(0, 10, "ana", "why", now=5)
    with pytest.raises(InvalidInput, match=says):
        check_silence(*fields, now=5)


def test_it_holds_from_its_start_to_before_its_end() -> None:
    silence = under(Matcher(model="fraud"), 10, 20)
    held = [find_silence(ALERT, [silence], now) is not None for now in (9, 10, 19, 20)]
    assert held == [False, True, True, False]


def test_of_several_the_longest_is_named() -> None:
    silences = [under(Matcher(model="fraud"), 0, end, number) for number, end in enumerate((20, 30, 25))]
    silences.append(under(Matcher(model="churn"), 0, 99, 9))
    found = find_silence(ALERT, silences, 10)
    assert found is not None
    assert found.silence_id == 1
