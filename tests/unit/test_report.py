"""`bsgateway report`: the same numbers in each format, and names that stay text in all of them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tzlocal.unix
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.cli import main
from bsgateway.errors import GatewayError
from bsgateway.figures import By, Group, Period, Point, Savings, Sums
from bsgateway.report import as_csv, as_json, dollars, lines, no_formula, over_time
from bsgateway.report_cli import local_zone
from bsgateway.report_html import asset, page
from bsgateway.report_table import NARROW, as_text
from bsgateway.terminal import printable

MIDNIGHT = datetime(2026, 3, 27, 23, tzinfo=timezone.utc)  # in Berlin, two days before a day of 23 hours
BERLIN = Period(
    since=MIDNIGHT,
    until=MIDNIGHT + timedelta(days=2),
    timezone="Europe/Berlin",
    step="day",
    as_of=MIDNIGHT + timedelta(days=2),
)
SCRIPT = "document.title += '!';"
STYLES = ":root { --ink: black; }"

names = st.text(min_size=1, max_size=30)
quick = settings(max_examples=40, deadline=None)


def sums(requests: int, **fields: float) -> Sums:
    found = Sums(requests=requests, **fields)  # type: ignore[arg-type]
    return msgspec.structs.replace(found, saved=found.baseline_cost - found.cost)


EASY = sums(30, routed=30, priced=30, spent=1.5, cost=1.5, baseline_cost=15, prompt_tokens=4_000, completion_tokens=90)
HARD = sums(9, routed=9, priced=8, failed=1, spent=4, cost=4, baseline_cost=4, prompt_tokens=6_000)
NAMED = sums(1, spent=2.25)


def savings(*groups: Group, by: By = "tier", **fields: Any) -> Savings:
    found = groups or (
        Group(name="complex", sums=HARD),
        Group(name=None, sums=NAMED),
        Group(name="simple", sums=EASY),
    )
    total = Sums(**{name: sum(getattr(each.sums, name) for each in found) for name in Sums.__struct_fields__})
    points = (
        Point(at=MIDNIGHT, name="simple", sums=EASY),
        Point(at=MIDNIGHT + timedelta(days=1), name=None, sums=NAMED),
        Point(at=MIDNIGHT, name="complex", sums=HARD),
    )
    made = {"period": BERLIN, "by": by, "total": total, "groups": found, "points": points, **fields}
    return Savings(baseline_models=("claude-opus",), **made)


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))


# The numbers


def test_groups_have_names_for_people() -> None:
    assert [line.name for line in lines(savings())] == ["complex", "not routed by score", "simple"]
    key = Group(name="0123456789abcdef", sums=EASY)
    found = savings(key, msgspec.structs.replace(key, label="laptop"), Group(name=None, sums=EASY), by="key")
    assert [line.name for line in lines(found)] == ["0123456789ab", "laptop", "no key"]


def test_points_of_a_step_are_added_up() -> None:
    (first, both), (second, named) = over_time(savings())
    assert (first, both.requests, both.spent) == (MIDNIGHT, 39, 5.5)
    assert (second, named) == (MIDNIGHT + timedelta(days=1), NAMED)


def test_saved_is_a_share_of_the_top_tier() -> None:
    complex_, named, simple = lines(savings())
    assert (complex_.saved_percent, named.saved_percent, simple.saved_percent) == (0, None, 90)


@pytest.mark.parametrize(
    ("largest", "amount", "written"),
    [
        (1234.5, 1234.5, "$1,234.50"),
        (1234.5, 0.004, "$0.00"),
        (1234.5, -0.001, "$0.00"),
        (12, -1.005, "-$1.00"),
        (0.5, 0.00125, "$0.0013"),
        (0.005, 0.00125, "$0.001250"),
        (0, 0, "$0.00"),
    ],
)
def test_amounts_have_as_many_decimals_as_it_takes(largest: float, amount: float, written: str) -> None:
    assert dollars(savings(Group(name="x", sums=sums(1, spent=largest))))(amount) == written


# JSON and CSV


def test_json_is_the_struct() -> None:
    found = savings()
    assert msgspec.json.decode(as_json(found), type=Savings) == found


def test_csv_has_each_group_in_full() -> None:
    complex_, named, simple = rows_of(as_csv(savings()))
    assert list(simple) == ["tier", "name", *Sums.__struct_fields__, "saved_percent"]
    assert (simple["tier"], simple["requests"], simple["saved"], simple["saved_percent"]) == (
        "simple", "30", "13.5", "90.0",
    )  # fmt: skip
    assert (named["tier"], named["name"], named["saved_percent"]) == ("", "not routed by score", "")
    assert sum(float(row["spent"]) for row in (complex_, named, simple)) == 7.75


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "＝1", "\t=1"])
def test_no_name_is_a_formula(name: str) -> None:
    assert no_formula(name) == f"'{name}"


@quick
@given(names)
def test_a_name_in_csv_is_one_cell_of_one_row(name: str) -> None:
    (row,) = rows_of(as_csv(savings(Group(name="0" * 64, label=name, sums=EASY), by="key")))
    shown = row["name"]
    assert row["requests"] == "30"
    assert shown[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert shown.isprintable()
    assert shown in (printable(name), "'" + printable(name))


# The table


def test_the_table_has_totals_and_says_what_is_assumed() -> None:
    text = as_text(savings()).decode()
    assert "From 2026-03-28 00:00 to 2026-03-30 01:00, Europe/Berlin" in text
    assert re.search(r"^simple +30 +75\.0% +\$1\.50 +\$1\.50 +\$15\.00 +\$13\.50 +90\.0% +4,000 +90$", text, re.M)
    assert re.search(r"^all +40 +100\.0% +\$7\.75 +\$5\.50 +\$19\.00 +\$13\.50 +71\.1% +10,000 +90$", text, re.M)
    assert "39 were routed by score, 38 of them at known prices, compared with claude-opus." in text
    assert " ".join(text.split()).endswith(savings().assumption)


def test_no_number_is_cut_short_on_a_narrow_terminal() -> None:
    text = as_text(savings(), width=72).decode()
    assert "…" not in text
    assert re.search(r"^all +40 +\$7\.75 +\$19\.00 +\$13\.50 +71\.1%$", text, re.M)
    assert NARROW > 72


@quick
@given(names, st.sampled_from([72, 140]))
def test_a_name_in_the_table_moves_nothing(name: str, width: int) -> None:
    text = as_text(savings(Group(name="t", label=name, sums=EASY), by="team"), width).decode()
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(re.findall(r" \$13\.50 +90\.0%", text)) == 3


# The page


class Page(HTMLParser):
    """A page as a browser takes it apart: its tags, the text in each cell and script, and its policy."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.append((tag, ""))
        self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, before = self.texts[-1]
            self.texts[-1] = (tag, before + data)

    def of(self, tag: str) -> list[str]:
        return [text.strip() for name, text in self.texts if name == tag]


def made(found: Savings) -> Page:
    return Page(page(found, script=SCRIPT, styles=STYLES))


def test_the_page_asks_nothing_of_a_network() -> None:
    text = page(savings(), script=SCRIPT, styles=STYLES)
    found = Page(text)
    assert {tag for tag, _ in found.tags}.isdisjoint({"link", "img", "iframe", "base", "form", "object", "embed", "a"})
    assert not [attrs for _, attrs in found.tags if {"src", "href", "style", "action"} & attrs.keys()]
    assert "url(" not in text
    assert "@import" not in text
    assert "://" not in text


def test_what_runs_is_named_by_its_hash() -> None:
    found = made(savings())
    (policy,) = [attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv")]
    styles, scripts = ([text for tag, text in found.texts if tag == name] for name in ("style", "script"))
    assert len(styles) == 1
    assert len(scripts) == 2, "the numbers, and what draws them"
    for directive, text in (("style-src", styles[0]), ("script-src", SCRIPT)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in str(policy)
    assert scripts[1] == SCRIPT
    assert str(policy).startswith("default-src 'none'; ")


def test_the_page_has_its_numbers_as_tables_and_for_its_plots() -> None:
    found = made(savings())
    assert found.of("caption") == ["By tier", "By day"]
    assert made(savings(by="day")).of("caption") == ["By day"]
    (data,) = [text for (tag, attrs), (_, text) in zip(found.tags, found.texts, strict=True) if attrs.get("id")]
    assert msgspec.json.decode(data, type=Savings) == savings()
    assert [attrs["data-chart"] for tag, attrs in found.tags if tag == "figure"] == ["over-time", "by-group"]
    assert {"30", "$13.50", "90.0%", "71.1%", "$7.75"} <= set(found.of("td"))
    assert savings().assumption in found.of("p")


ATTACKS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--",
    "&lt;b&gt;",
    "{{ 7 * 7 }}",
    "javascript:alert(1)",
)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("by", ["key", "model"])
def test_names_stay_text(name: str, by: By) -> None:
    group = Group(name=name if by == "model" else "0" * 64, label=None if by == "model" else name, sums=EASY)
    found = made(savings(group, by=by))
    assert name in found.of("th")
    assert [tag for tag, _ in found.tags].count("script") == 2


@quick
@given(names)
def test_any_name_is_in_the_page_as_it_is(name: str) -> None:
    found = made(savings(Group(name="x", label=name, sums=EASY), by="key"))
    assert [tag for tag, _ in found.tags].count("script") == 2
    (data,) = [text for (_, attrs), (_, text) in zip(found.tags, found.texts, strict=True) if attrs.get("id")]
    assert json.loads(data)["groups"][0]["label"] == name


@pytest.mark.parametrize(("script", "styles"), [("x = '</SCRIPT>'", ""), ("", "a::after { content: '</style>' }")])
def test_a_plot_that_would_end_its_element_is_refused(script: str, styles: str) -> None:
    with pytest.raises(GatewayError, match="make web"):
        page(savings(), script=script, styles=styles)


def test_without_the_built_plots_the_remedy_is_named() -> None:
    with pytest.raises(GatewayError, match=r"web/assets/missing\.js is missing.*`make web`"):
        asset("missing.js")


# The command


def test_wrong_usage_is_said_before_anything_is_read(tmp_path: Path) -> None:
    for arguments, words in (
        (["--since", "tomorrow"], "since: 'tomorrow' is neither a date"),
        (["--since", "1d", "--until", "2d"], "before it begins"),
        (["--tz", "Berlin"], "no time zone"),
        (["--by", "user"], "'user' is not one of"),
    ):
        result = CliRunner().invoke(main, ["report", "-c", str(tmp_path / "gone.yaml"), *arguments])
        assert (result.exit_code, words in result.stderr) == (2, True), result.stderr


@pytest.mark.parametrize(("machine", "zone"), [("Asia/Kathmandu", "Asia/Kathmandu"), ("UTC", "UTC")])
def test_days_begin_by_the_zone_of_the_machine(machine: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tzlocal.unix, "_cache_tz_name", None)
    monkeypatch.setenv("TZ", machine)
    assert local_zone() == zone
