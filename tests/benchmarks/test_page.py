"""The page of the benchmarks says what their results say."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from benchmarks import page, plot

FOUND = page.results()


def test_the_page_s_tables_are_those_of_the_results() -> None:
    text = page.PAGE.read_text("utf-8")
    assert page.filled(text, FOUND) == text
    for name in page.tables(FOUND):
        assert f"<!-- results: {name} -->" in text


@pytest.mark.parametrize(("name", "made"), page.plots(FOUND).items())
def test_the_plots_are_those_of_the_results(name: str, made: str) -> None:
    assert (page.ASSETS / name).read_text("utf-8") == made
    assert ET.fromstring(made).tag.endswith("svg")  # noqa: S314 -- our own bytes


def test_figures_are_short() -> None:
    assert page.figure({"value": 0.834, "low": 0.79, "high": 1.0}) == ".83 [.79, 1.00]"
    assert page.figure(None) == "–"  # noqa: RUF001 -- what a table shows


def systems(*places: tuple[float, float]) -> dict[str, object]:
    def at(value: float) -> dict[str, float]:
        return {"value": value, "low": value, "high": value}

    return {
        "systems": {
            f"system {number} & co": {"copies removed": at(x), "versions kept": at(y)}
            for number, (x, y) in enumerate(places)
        }
    }


def numbers(drawn: str) -> list[tuple[float, float]]:
    marks = [mark for mark in ET.fromstring(drawn).iter() if mark.tag.endswith("text")]  # noqa: S314 -- our own bytes
    return [
        (float(mark.attrib["x"]), float(mark.attrib["y"]))
        for mark in marks
        if (mark.text or "").isdigit()
        and mark.get("text-anchor") == "middle"
        and float(mark.attrib["y"]) < 420  # those below are the axis
    ]


def test_numbers_of_equal_dots_do_not_overlap() -> None:
    found = numbers(plot.versions_plot(systems(*[(0.9, 0.5)] * 8)))
    assert len(found) == 8
    for first in found:
        for second in found:
            apart = abs(first[0] - second[0]) >= 15 or abs(first[1] - second[1]) >= 13
            assert first == second or apart
    assert len(set(found)) == 8
