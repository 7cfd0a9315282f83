"""The page: self-contained, escaped, small enough at 500 features, and in a real browser where there is one."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import driftline

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</style><b>",
    "{{ 7 * 7 }}",
    "a&amp;b",
    "x" * 250,
    "日本語",
    "\u202eevil",
]
VOID = {"meta", "input", "br", "img", "link", "path", "use"}


class Page(HTMLParser):
    """Collects tags, attributes, visible text and scripts; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open[-1:] == ["script"] else self.text).append(data)

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.tags
            if name == tag and all(value in (found.get(key) or "").split() for key, value in attributes.items())
        ]


@pytest.fixture(scope="module")
def hostile() -> driftline.Report:
    rng = np.random.default_rng(0)
    before = pd.DataFrame({name: rng.normal(size=1000) for name in HOSTILE[:-2]})
    after = before + 1
    for i, name in enumerate(HOSTILE[-2:]):
        before[name] = rng.choice(HOSTILE[:4], 1000)
        after[name] = [HOSTILE[i]] * 800 + HOSTILE[4:6] * 100
    after["<i>only now</i>"] = 1
    return driftline.compare(before, after)


@pytest.fixture(scope="module")
def wide() -> driftline.Report:
    rng = np.random.default_rng(0)
    before = pd.DataFrame({f"feature number {i}": rng.lognormal(size=3000) for i in range(460)})
    after = pd.DataFrame({name: rng.lognormal(1, 1, size=1000) for name in before})
    for i in range(40):
        values = [f"{'a rather long category' * 2} {j}" for j in range(300)]
        before[f"category {i}"] = rng.choice(values, 3000)
        after[f"category {i}"] = rng.choice([*values[:5], "new" * 30], 1000)
    return driftline.compare(before, after)


def test_nothing_of_the_data_becomes_markup(hostile):
    page = Page(hostile.to_html())
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    text = "".join(page.text)
    for name in HOSTILE[:5]:
        assert name in text
    assert "alert" not in "".join(page.scripts)


def test_the_notebook_form_is_escaped_too(hostile):
    page = Page(hostile._repr_html_())
    assert not page.all("script")
    assert not page.all("img")
    assert "<script>alert(1)</script>" in "".join(page.text)


def test_it_needs_nothing_else(hostile):
    html = hostile.to_html()
    assert not re.search(r"(src|href)=\"(?!#)", html)
    assert "http" not in html.replace("http-equiv", "")
    assert "@import" not in html
    assert "url(" not in html


def test_every_drifted_feature_has_its_distribution_within_five_megabytes(wide):
    assert wide.counts["drifted"] == 500
    html = wide.to_html()
    assert len(html.encode()) < 5_000_000
    page = Page(html)
    assert len(page.all("svg", **{"class": "spark"})) == 500
    assert len(page.all("svg", **{"class": "plot"})) == 460
    assert len(page.all("table", **{"class": "cats"})) == 40
    drawn = {found["id"] for found in page.all("g")}
    assert {found["href"] for found in page.all("use")} <= {f"#{name}" for name in drawn}
    assert len(drawn) == 500


def test_beyond_a_thousand_features_the_rest_have_numbers_only(monkeypatch, wide):
    monkeypatch.setattr("driftline.report.page.MOST_CHARTS", 100)
    page = Page(wide.to_html())
    assert len(page.all("g")) == 100
    assert "Only the first 100 features have a chart" in "".join(page.text)


def test_paths_are_drawn_within_their_box(wide):
    for found in Page(wide.to_html()).all("path"):
        numbers = [float(number) for number in re.findall(r"V([\d.]+)", found["d"])]
        assert numbers
        assert 0 <= min(numbers) <= max(numbers) <= 100


def test_verdict_and_colours_have_words(reference, drifted):
    report = driftline.compare(reference, drifted)
    page = Page(report.to_html())
    text = "".join(page.text)
    assert "3 of 5 features drifted" in text
    for word in ("drifted", "stable", "reference (area)", "current (line)"):
        assert word in text
    for found in page.all("svg"):
        assert found.get("aria-label") or found.get("aria-hidden")
    for found in page.all("input") + page.all("select"):
        assert found.get("aria-label")


@pytest.mark.parametrize("rows", [0, 1, 60])
def test_a_page_without_a_verdict(reference, make, rows):
    report = driftline.compare(reference, make(rows + 1)[:rows])
    page = Page(report.to_html())
    assert "No verdict" in "".join(page.text)
    Page(report._repr_html_())


def test_the_notebook_form_is_short(wide):
    html = wide._repr_html_()
    assert len(html) < 30_000
    assert "490 more features" in html


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_search_filters_and_order_work_in_a_browser(reference, drifted, tmp_path):
    html = driftline.compare(reference, drifted).to_html()
    check = """<script>
      function names() {
        return Array.from(document.querySelectorAll(".features > li:not([hidden]) .name"))
          .map(function (name) { return name.firstChild.data; }).join(",");
      }
      function say(what) { document.title += "|" + what + "=" + names(); }
      document.title = "";
      say("start");
      var search = document.getElementById("search"), sort = document.getElementById("sort");
      search.value = "AGE"; search.dispatchEvent(new Event("input")); say("search");
      search.value = "nothing"; search.dispatchEvent(new Event("input"));
      document.title += "|empty=" + !document.querySelector(".empty").hidden;
      search.value = ""; search.dispatchEvent(new Event("input"));
      sort.value = "name"; sort.dispatchEvent(new Event("change")); say("sorted");
      document.querySelector("[data-show=stable]").click(); say("stable");
      document.getElementById("fold").click();
      document.title += "|open=" + document.querySelectorAll("li:not([hidden]) details[open]").length;
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(html.replace("</body>", check), "utf-8")
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        page.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    title = re.search(r"<title>(.*?)</title>", dom).group(1)
    said = dict(part.split("=", 1) for part in title.split("|") if part)
    assert set(said["start"].split(",")) == {"amount", "country", "age", "member", "signed_up"}
    assert said["search"] == "age"
    assert said["empty"] == "true"
    assert said["sorted"] == "age,amount,country,member,signed_up"
    assert said["stable"] == "member,signed_up"
    assert said["open"] == "2"
