"""Pages are well formed, hold what was found, and ask no other host for anything."""

import re
from xml.etree import ElementTree

import msgspec
import pytest

from headrace.core.shown import Shown
from headrace.simulator.page import comparison, page
from headrace.simulator.plots import Bar, bars, lines
from headrace.simulator.shown import shown
from headrace.simulator.training import Job
from tests.unit.simulator.builders import a_call, a_run, a_site, a_vendor


@pytest.fixture(scope="module")
def report():
    job = Job(name="<b>tune</b>", accelerator_hours=0.01, gang=1)
    calls = [a_call(at * 100.0) for at in range(50)]
    return a_run([a_site("a<script>"), a_vendor()], calls, jobs=[job], slice_s=10.0).go()


def test_a_page_needs_nothing_else(report):
    for text in (page(report), comparison(report, report)):
        assert not re.search(r"https?://|<script|@import|url\(", text)
        assert "a&lt;script&gt;" in text
        for figure in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            ElementTree.fromstring(figure)


def test_a_page_holds_what_was_found(report):
    text = page(report)
    for part in ("enterprise", "USD a million tokens", "&lt;b&gt;tune&lt;/b&gt;", "within SLO", "How full the pools are"):
        assert part in text


def test_plots_of_nothing_are_plots():
    ElementTree.fromstring(lines("t", "ms", [], {}))
    ElementTree.fromstring(bars("t", "ms", []))


@pytest.mark.parametrize(("value", "told"), [(3.0, "3"), (12_000.0, "12k"), (4.5e9, "4.5B")])
def test_axes_have_round_ends(value, told):
    assert f">{told}<" in bars("t", "u", [Bar("n", value, value * 1.2, value / 2)])


def test_what_the_page_of_the_console_shows_is_the_same(report):
    told = shown(report)
    classes, pools, jobs = told.tables
    assert [row[0] for row in classes.rows] == [one.traffic_class for one in report.classes]
    assert [row[0] for row in pools.rows] == ["a<script>", *(one.pool for one in report.pools[1:])]
    assert all(len(row) == len(table.columns) for table in told.tables for row in table.rows)
    (stack,) = told.stacks
    assert sum(stack.values[0]) == report.served
    assert jobs.rows[0][0] == "<b>tune</b>"
    assert msgspec.json.decode(msgspec.json.encode(told), type=Shown) == told
