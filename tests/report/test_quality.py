"""Data-quality findings: each sort of bad data is named, once, with the gravest first."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import driftline
from driftline.core.reference import Reference
from driftline.core.window import DAY
from driftline.report.basis import build_from, choose_schema
from driftline.report.dataset import Dataset
from driftline.report.quality import QualityFinding, Severity, Side, group_findings, sort_findings

RNG = np.random.default_rng(0)
ROWS = 2000
BIG = [f"value {i}" for i in range(10_000)]


def junk(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(amount=[*frame["amount"].astype(str)[:-5], *["oops"] * 5])


CURRENT: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str, str, int | None]] = {
    # what happens to the current data: column, problem, count
    "column gone": (lambda f: f.drop(columns="amount"), "amount", "missing_column", ROWS),
    "column added": (lambda f: f.assign(new=1), "new", "extra_column", ROWS),
    "strings among numbers": (junk, "amount", "not_a_number", 5),
    "strings among objects": (
        lambda f: f.assign(amount=[*f["amount"][:-5].tolist(), *["oops"] * 5]),
        "amount",
        "not_a_number",
        5,
    ),
    "numbers as text": (lambda f: f.assign(age=f["age"].astype(str)), "age", "numbers_as_text", ROWS),
    "numbers became text": (
        lambda f: f.assign(amount=RNG.choice(["low", "high"], ROWS)),
        "amount",
        "type_changed",
        ROWS,
    ),
    "text became numbers": (lambda f: f.assign(country=RNG.normal(size=ROWS)), "country", "type_changed", ROWS),
    "datetimes became text": (lambda f: f.assign(signed_up="soon"), "signed_up", "type_changed", ROWS),
    "infinite": (lambda f: f.assign(amount=[*[np.inf] * 7, *f["amount"][7:]]), "amount", "infinite", 7),
    "all missing": (lambda f: f.assign(amount=np.nan), "amount", "all_missing", ROWS),
    "all missing text": (lambda f: f.assign(country=None), "country", "all_missing", ROWS),
    "more missing": (lambda f: f.assign(amount=f["amount"].where(f.index % 5 > 0)), "amount", "missing_rose", 400),
    "constant": (lambda f: f.assign(age=40), "age", "constant", ROWS),
    "constant text": (lambda f: f.assign(country="DE"), "country", "constant", ROWS),
    "new category": (
        lambda f: f.assign(country=f["country"].where(f.index % 10 > 0, "PL")),
        "country",
        "new_categories",
        200,
    ),
    "out of range": (lambda f: f.assign(age=f["age"] + 60 * (f.index % 4 == 0)), "age", "out_of_range", None),
    "nested": (lambda f: f.assign(amount=[[1.0]] * ROWS), "amount", "unreadable", None),
}
REFERENCE: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str, str, int | None]] = {
    "strings among numbers": (junk, "amount", "not_a_number", 5),
    "infinite": (lambda f: f.assign(amount=[*[-np.inf] * 7, *f["amount"][7:]]), "amount", "infinite", 7),
    "all missing": (lambda f: f.assign(amount=np.nan), "amount", "all_missing", ROWS),
    "constant": (lambda f: f.assign(age=40), "age", "constant", ROWS),
    "constant flag": (lambda f: f.assign(member=True), "member", "constant", ROWS),
    "constant text": (lambda f: f.assign(country="DE"), "country", "constant", ROWS),
    "identifier": (lambda f: f.assign(country=BIG[:ROWS]), "country", "identifier", ROWS),
    "numeric identifier": (lambda f: f.assign(age=np.arange(ROWS) + 10**9), "age", "identifier", ROWS),
    "short numeric identifier": (lambda f: f.assign(age=np.arange(ROWS)), "age", "identifier", ROWS),
    "many categories": (lambda f: f.assign(country=BIG[: ROWS // 2] * 2), "country", "many_categories", 1000),
    "nested": (lambda f: f.assign(amount=[[1.0]] * ROWS), "amount", "unreadable", None),
    "decimal commas": (
        lambda f: f.assign(amount=f["amount"].round(2).astype(str).str.replace(".", ",")),
        "amount",
        "foreign_numbers",
        ROWS,
    ),
    "thousands": (
        lambda f: f.assign(amount=(f["amount"] * 1000).map("{:,.2f}".format)),
        "amount",
        "foreign_numbers",
        ROWS,
    ),
}


def named(report: driftline.Report, column: str) -> list[QualityFinding]:
    return [finding for finding in report.findings if finding.column == column]


@pytest.mark.parametrize("case", CURRENT)
def test_bad_current_data_are_a_finding(reference, make, case):
    change, column, problem, count = CURRENT[case]
    report = driftline.compare(reference, change(make(ROWS, seed=8)))
    (finding,) = named(report, column)
    assert (finding.problem, finding.side) == (problem, Side.CURRENT)
    if count is not None:
        assert finding.count == count
    assert len(report.features) == 5
    assert len(report.findings) == 1


@pytest.mark.parametrize("case", REFERENCE)
def test_bad_reference_data_are_a_finding(make, same, case):
    change, column, problem, count = REFERENCE[case]
    report = driftline.compare(change(make(ROWS, seed=8)), same)
    finding = next(finding for finding in named(report, column) if finding.problem == problem)
    assert finding.side is Side.REFERENCE
    if count is not None:
        assert finding.count == count


def test_text_that_is_meant_is_no_foreign_number(make):
    before, after = (make(ROWS, seed=seed).assign(pair=RNG.choice(["1,2", "2,3"], ROWS)) for seed in (8, 9))
    assert [finding.problem for finding in named(driftline.compare(before, after), "pair")] == ["foreign_numbers"]
    assert named(driftline.compare(before, after, categorical=["pair"]), "pair") == []
    mixed = [frame.assign(pair=RNG.choice(["1,2", "x"], ROWS)) for frame in (before, after)]
    assert named(driftline.compare(*mixed), "pair") == []


def test_new_values_are_usual_where_most_are_new(make):
    names = [f"user {i}" for i in range(3000)]
    before, after = (make(ROWS, seed=seed).assign(user=RNG.choice(names, ROWS)) for seed in (8, 9))
    found = {finding.problem: finding for finding in named(driftline.compare(before, after), "user")}
    assert found["new_categories"].severity is Severity.NOTE


def test_types_that_cannot_be_read_are_named(make):
    before = make(ROWS)
    odd = before.assign(month=pd.period_range("2020", periods=ROWS, freq="D"), lists=[[1]] * ROWS)
    found = driftline.compare(odd, odd).findings
    assert {(finding.column, finding.problem) for finding in found} == {
        ("month", "unreadable"),
        ("lists", "unreadable"),
    }
    said = {finding.column: finding.message for finding in found}
    assert "period" in said["month"]
    assert "list<" in said["lists"]


def test_clean_data_have_no_findings(reference, same):
    assert driftline.compare(reference, same).findings == ()


def test_ten_thousand_categories_are_compared(make):
    rng = np.random.default_rng(2)
    before = make(50_000).assign(country=rng.choice(BIG, 50_000))
    after = make(ROWS, seed=1).assign(country=rng.choice(BIG, ROWS))
    report = driftline.compare(before, after)
    assert not report.drifted
    few = after.assign(country=rng.choice(before["country"].value_counts().index[:20], ROWS))
    assert driftline.compare(before, few)["country"].drifted


def test_harmless_changes_of_type_are_none(make):
    rng = np.random.default_rng(3)
    before = make(ROWS).assign(code=rng.choice(["1", "2"], ROWS), flag=rng.random(ROWS) < 0.5)
    after = make(ROWS, seed=1).assign(code=rng.choice([1, 2], ROWS), flag=(rng.random(ROWS) < 0.5).astype(int))
    report = driftline.compare(before, after)
    assert report.findings == ()
    assert not report.drifted
    counted = after.assign(flag=rng.integers(0, 5, ROWS))
    assert ("flag", "type_changed") in {
        (finding.column, finding.problem) for finding in driftline.compare(before, counted).findings
    }


def test_a_built_reference_knows_types_too(reference, make):
    dataset = Dataset(reference, "training")
    built = build_from(dataset, choose_schema(dataset), window_length=DAY, window_rows=None)
    assert isinstance(built, Reference)
    report = driftline.compare(built, make(ROWS, seed=8).assign(amount="much"))
    assert [finding.problem for finding in named(report, "amount")] == ["type_changed"]


def test_the_gravest_findings_come_first(reference, make):
    frame = make(ROWS, seed=8).assign(new=1, amount=np.nan, country="DE")
    found = driftline.compare(reference, frame).findings
    assert [finding.severity for finding in found] == [Severity.ERROR, Severity.WARNING, Severity.NOTE]
    assert sort_findings(reversed(found)) == found


def test_findings_of_one_sort_are_said_together():
    found = [
        QualityFinding(f"c{i}", Side.CURRENT, "extra_column", Severity.NOTE, 1, "only in the current data")
        for i in range(9)
    ]
    (group,) = group_findings(found)
    assert group.message == (
        "9 columns are only in the current data, so they were not compared: c0, c1, c2, c3, c4 and 4 more"
    )
    assert group.findings == tuple(found)
    assert [group.message for group in group_findings(found[:2])] == [str(finding) for finding in found[:2]]
