# ruff: noqa: RUF001 -- the views write a minus sign, the tests read it
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, strategies as st

from ctxguard.ledger import Ledger
from ctxguard.types import Chunk, Decision, Quote
from ctxguard.view import to_html
from tests.view import samples

VOID = {"br", "wbr"}
TAGS = VOID | {
    "b", "bdi", "details", "div", "pre", "span", "summary", "table", "tbody", "td", "th", "tr",
}  # fmt: skip
ATTRIBUTES = {"align", "dir", "open", "style", "title", "width"}

# What JupyterLab's sanitizer (packages/apputils/src/sanitizer.ts) lets pass of the properties used.
_LENGTH = r"(0|\d+(\.\d+)?(px|%))"
_COLOR = r"#[0-9a-f]{6}"
KEPT_BY_JUPYTERLAB = {
    "background": _COLOR,
    "border": rf"1px solid {_COLOR}",
    "border-collapse": "collapse",
    "border-left": rf"4px solid {_COLOR}",
    "border-radius": _LENGTH,
    "border-right": rf"1px solid {_COLOR}",
    "border-top": rf"1px solid {_COLOR}",
    "color": _COLOR,
    "cursor": "pointer",
    "display": "inline-block",
    "font-family": "system-ui,sans-serif|monospace",
    "font-size": _LENGTH,
    "font-weight": "400|600",
    "height": _LENGTH,
    "line-height": r"\d(\.\d)?",
    "margin": rf"{_LENGTH}( {_LENGTH}){{0,3}}",
    "max-width": _LENGTH,
    "overflow": "hidden",
    "overflow-wrap": "break-word",
    "padding": rf"{_LENGTH}( {_LENGTH}){{0,3}}",
    "table-layout": "auto|fixed",
    "text-align": "left|center",
    "vertical-align": "top|middle",
    "white-space": "nowrap|pre-wrap",
    "width": rf"{_LENGTH}|auto",
}


@dataclass
class Node:
    tag: str
    style: dict[str, str]
    text: str = ""
    children: list[Node] = field(default_factory=list["Node"])
    parent: Node | None = None

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()

    def inherited(self, name: str) -> str | None:
        node: Node | None = self
        while node is not None:
            if name in node.style:
                return node.style[name]
            node = node.parent
        return None

    def inner_text(self) -> str:
        return "".join(node.text for node in self.walk())

    def all(self, tag: str) -> list[Node]:
        return [node for node in self.walk() if node.tag == tag]


class Tree(HTMLParser):
    """Parses a fragment, and refuses what is unbalanced or not on the lists above."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.root = self.at = Node("", {})
        self.feed(markup)
        self.close()
        assert self.at is self.root, f"<{self.at.tag}> is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        style = dict(attrs).get("style") or ""
        pairs = (item.partition(":") for item in style.split(";") if item)
        node = Node(tag, {name: value for name, _, value in pairs}, parent=self.at)
        self.at.children.append(node)
        if tag not in VOID:
            self.at = node

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.at.tag
        assert self.at.parent is not None
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.children.append(Node("#text", {}, data, parent=self.at))

    def handle_comment(self, data: str) -> None:
        pytest.fail(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        pytest.fail(f"a declaration: {decl}")

    def handle_pi(self, data: str) -> None:
        pytest.fail(f"a processing instruction: {data}")


def parse(ledger: Ledger) -> Node:
    return Tree(to_html(ledger)).root


def text_of(ledger: Ledger) -> str:
    return " ".join(parse(ledger).inner_text().split())


def luminance(color: str) -> float:
    channels = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


everything = pytest.mark.parametrize("name", samples.ALL)


# -- what hosts do to it --------------------------------------------------------------------------


@everything
def test_every_style_survives_untrusted_jupyterlab(name: str) -> None:
    for node in parse(samples.ALL[name]()).walk():
        for prop, value in node.style.items():
            assert re.fullmatch(KEPT_BY_JUPYTERLAB[prop], value), f"{prop}:{value}"


@everything
def test_every_text_has_a_readable_pair_of_colours_of_its_own(name: str) -> None:
    for node in parse(samples.ALL[name]()).walk():
        if not node.text.strip() or node.inherited("font-size") == "0":
            continue
        ink, paper = node.inherited("color"), node.inherited("background")
        assert ink
        assert paper
        assert contrast(ink, paper) >= 4.5, f"{node.text!r}: {ink} on {paper}"


@everything
def test_tables_undo_the_alignment_of_jupyterlab(name: str) -> None:
    root = parse(samples.ALL[name]())
    for node in (*root.all("td"), *root.all("th")):
        assert "text-align" in node.style
    for node in root.all("tr"):
        assert "background" in node.style  # or JupyterLab stripes the row and colours it on hover
    for node in root.all("table"):
        assert {"margin", "color", "font-size"} <= node.style.keys()


@everything
def test_it_is_one_line_without_markup_that_github_or_jupyterlab_removes(name: str) -> None:
    markup = to_html(samples.ALL[name]())
    assert "\n" not in markup
    assert not re.search(
        r"<(script|style|svg|link|img|iframe|input)|\sclass=|\srole=|var\(", markup
    )


def test_without_styles_the_bar_is_a_row_of_names_shares_and_blocks() -> None:
    root = Tree(re.sub(r' style="[^"]*"', "", to_html(samples.model_call()))).root
    rows = [[cell.inner_text() for cell in row.all("td")] for row in root.all("tr")]
    drawn = next(row for row in rows if any("█" in cell for cell in row))
    assert drawn[2] == "H History 17 % ████"
    assert drawn[4] == "Q Question <1 % █"
    assert drawn[-1] == "· Free 49 % " + "█" * 12
    assert [c.inner_text() for c in root.all("th")] == ["decision", "what", "tokens", "why"]


def test_the_bar_fills_its_width() -> None:
    root = parse(samples.model_call())
    widths = [
        float(cell.style["width"].rstrip("%"))
        for cell in root.all("td")
        if cell.style.get("height")
    ]
    assert len(widths) == 7
    assert sum(widths) == pytest.approx(100, abs=0.1)


# -- text from outside ----------------------------------------------------------------------------


def test_hostile_text_is_text() -> None:
    root = parse(samples.hostile())  # Tree refuses every tag that is not ours
    assert "<script>alert('x')</script><img src=x onerror=alert(1)>" in root.inner_text()
    markup = to_html(samples.hostile())
    markup.encode()
    for character in "\u202e\u2066\u200b\ufeff\x1b\x07\x00":
        assert character not in markup
    assert r"\u202egnp.exe" in root.inner_text()


def test_no_dollar_or_backslash_can_start_a_formula() -> None:
    # MathJax looks for delimiters within runs of text, and skips <pre>.
    for node in parse(samples.hostile()).walk():
        if node.parent is not None and node.parent.tag != "pre":
            assert "$" not in node.text or node.text == "$"
            assert "\\" not in node.text or node.text == "\\"


def test_no_template_marker_is_left() -> None:
    assert not re.search(r"\{[{%#]", to_html(samples.hostile()))
    assert "{{ 7*7 }} {% raw %}" in text_of(samples.hostile())


@given(st.text(st.characters(), max_size=60))
def test_any_text_comes_out_as_it_is_shown(text: str) -> None:
    decision = Decision(stage=text, action="drop", subject="c", code=text, reason=text, twin=text)
    ledger = Ledger(
        run_id="r",
        question=text,
        name=text,
        chunks=(Chunk(id="c", source=text, text=text),),
        decisions=(decision, replace(decision, code="conflict", action="flag")),
        error=f"E: {text}",
    )
    markup = to_html(ledger)
    markup.encode()
    shown = " ".join(Tree(markup).root.inner_text().split())
    if text.isascii() and text.isprintable():
        assert f"Error: the run ended with E: {' '.join(text.split())}".strip() in shown


# -- what is said ---------------------------------------------------------------------------------


def test_totals_bar_and_legend_agree_with_the_ledger() -> None:
    text = text_of(samples.model_call())
    assert "1,560 → 610 tokens" in text
    assert "−61 % · 8 chunks → 3 kept · 76 % of a budget of 800" in text
    assert "3,124 of 8,192 tokens" in text
    legend = re.findall(
        r"(?:Instructions|Tools|History|Evidence|Question|reserve|Free) ([\d,]+) ·", text
    )
    assert sum(int(count.replace(",", "")) for count in legend) == 8192


def test_estimates_are_called_estimates() -> None:
    text = text_of(samples.model_only())
    assert "token counts are conservative estimates" in text
    assert "120 estimated tokens" in text


def test_both_facts_of_a_conflict_stand_in_one_row_in_their_sentences() -> None:
    rows = [row for row in parse(samples.retrieval()).all("tr") if "60 days" in row.inner_text()]
    left, right = rows[0].all("td")
    assert "The notice period is 60 days from the end of the month." in left.inner_text()
    assert "The notice period is 30 days from the end of the month." in right.inner_text()
    assert [b.inner_text() for b in left.all("b")] == ["60 days", "60 days"]
    assert "⚠ Conflict, both versions kept" in text_of(samples.retrieval())


def test_long_facts_are_whole() -> None:
    fact = "not " * 400
    chunk = Chunk(id="c1", text=fact)
    flagged = replace(
        samples.conflict(), evidence=(Quote(chunk_id="c1", span=(0, len(fact)), text=fact),)
    )
    text = text_of(Ledger(run_id="r", chunks=(chunk,), decisions=(flagged,)))
    assert fact.strip() in text


def test_every_drop_names_its_twin_and_unfolds_into_its_text() -> None:
    root = parse(samples.retrieval())
    row = next(row for row in root.all("tr") if "signed-copy.eml" in row.inner_text())
    assert "dropped" in row.inner_text()
    assert "twin contracts/support-2024.pdf #c1 · score 1.00" in row.inner_text()
    folded = row.all("details")[0]
    assert "Fees already paid are refunded pro rata." in folded.all("pre")[0].inner_text()
    assert "ledger.chunk('c4')" in folded.inner_text()


def test_long_texts_say_how_much_is_left_out() -> None:
    chunk = Chunk(id="c", text="x" * 5_000)
    drop = Decision(stage="s", action="drop", subject="c", code="k", reason="r")
    assert "… 3,500 characters more" in text_of(
        Ledger(run_id="r", chunks=(chunk,), decisions=(drop,))
    )


def test_errors_come_first() -> None:
    text = text_of(samples.failed())
    assert text.index("✗ Error: the run ended with RateLimitError") < text.index("610")
    assert "dedupe failed and handed its input on unchanged: KeyError: 'ids'" in text


def test_long_lists_are_counted() -> None:
    failure = samples.failed().errors[0]
    failures = tuple(replace(failure, reason=f"failure {number}") for number in range(12))
    step = samples.retrieval().steps[0]
    ledger = Ledger(
        run_id="r", decisions=failures, steps=(step,) * 40, children=(samples.empty(),) * 12
    )
    text = text_of(ledger)
    assert "and 2 more: ledger.errors" in text
    assert "and 10 more: ledger.steps" in text
    assert "and 2 more: ledger.children" in text


def test_nested_runs_unfold() -> None:
    root = parse(samples.agent())
    folded = [d for d in root.all("details") if "children[0]" in d.inner_text()]
    assert "1,560 → 610 tokens (−61 %), 1 conflict" in folded[0].all("summary")[0].inner_text()
    assert "The notice period is 30 days" in folded[0].inner_text()


def test_an_empty_ledger_says_so() -> None:
    assert text_of(samples.empty()) == (
        "ctxguardNothing was recorded: no retrieval, no model call."
    )


# -- size -----------------------------------------------------------------------------------------


def test_five_hundred_decisions_are_all_there_and_small() -> None:
    markup = to_html(samples.crowd())
    assert len(markup.encode()) < 300_000
    text = " ".join(Tree(markup).root.inner_text().split())
    rows = len(re.findall(r"dropped(?= ?licences)", text))
    assert rows == 300
    assert "200 kept, 24,000 tokens" in text


@pytest.mark.slow
@pytest.mark.parametrize("character", ["$", "<", "'", "\u202e", "\\", "日", "&"])
def test_no_text_makes_it_much_larger(character: str) -> None:
    noise = character * 1_000
    ledger = samples.crowd()
    chunks = tuple(replace(c, text=noise, source=noise[:400] + c.source) for c in ledger.chunks)
    decisions = tuple(replace(d, reason=noise, stage=noise) for d in ledger.decisions)
    conflicts = tuple(
        replace(d, code="conflict", action="flag", twin=chunks[0].id) for d in decisions[1:200]
    )
    ledger = replace(
        ledger,
        chunks=chunks,
        decisions=(*conflicts, *decisions),
        question=noise,
        error=noise,
        children=(ledger, ledger),
    )
    markup = to_html(ledger)
    assert len(markup.encode()) < 300_000
    Tree(markup)
    assert "more" in markup
