"""Compress: chunks divided into what can be kept on its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.errors import PolicyError
from ctxguard.stages import Compress
from ctxguard.stages._divide import Division, divide
from ctxguard.text.sentences import split_sentences
from ctxguard.text.template import Template
from ctxguard.types import Budget, Chunk, Context
from tests.stages.helpers import by_action, check_laws, removed_by
from tests.stages.pools import pools, texts


def division_of(text: str, *, named: bool = False) -> Division:
    return divide(text, split_sentences(text), named=named)


def pieces_of(text: str) -> list[str]:
    return [text[start:end] for start, end in division_of(text).spans]


def needs_of(text: str, piece: str, *, named: bool = False) -> list[str]:
    """The pieces that the piece with these words needs, as text."""
    division = division_of(text, named=named)
    pieces = pieces_of(text)
    [index] = [n for n, each in enumerate(pieces) if piece in each]
    return [pieces[need] for need in division.needs[index]]


def labels_of(text: str) -> list[str]:
    pieces = pieces_of(text)
    return [pieces[index] for index in sorted(division_of(text).labels)]


# -- prose ---------------------------------------------------------------------------------------


def test_prose_is_divided_by_sentence() -> None:
    assert pieces_of("One is here. Two is there.\nThree.") == [
        "One is here.", "Two is there.", "Three."
    ]  # fmt: skip


def test_other_languages_are_divided_too() -> None:
    assert pieces_of("合同期限为三十日。自签署之日起计算。") == [
        "合同期限为三十日。", "自签署之日起计算。"
    ]  # fmt: skip
    assert len(pieces_of("Die Frist beträgt drei Monate. Sie endet im Mai.")) == 2


def test_a_pronoun_needs_the_sentence_that_names_what_it_stands_for() -> None:
    text = "Ada Lovelace wrote programs. She was born in London. Later she moved. It rained."
    assert needs_of(text, "born") == ["Ada Lovelace wrote programs."]
    assert needs_of(text, "moved") == ["Ada Lovelace wrote programs."], "not the whole chain"
    assert needs_of(text, "born", named=True) == []


def test_this_needs_the_sentence_before() -> None:
    text = "Notice is given by mail. She agrees. Such notice is final. This Agreement ends."
    assert needs_of(text, "final") == ["She agrees."]
    assert needs_of(text, "ends") == [], "This Agreement is a name"


def test_a_pronoun_behind_a_heading_points_to_nothing_above_it() -> None:
    assert needs_of("Bees fly.\n\n# Wasps\nThey fly too.", "They") == ["# Wasps"]


def test_a_defined_term_needs_its_definition() -> None:
    text = '"Fees" means the money. Rent is due. The Fees are due monthly. Feeson is a name.'
    assert needs_of(text, "monthly") == ['"Fees" means the money.']
    assert needs_of(text, "means") == needs_of(text, "Feeson") == []


# -- headings and lists --------------------------------------------------------------------------

CONTRACT = """ARTICLE V
TERMINATION

5.1 Term. The term is five years.
5.2 Ending. Either party may:
(a) end it for cause;
(b) end it on notice, provided that
(i) the notice is written; and
(ii) it is signed.

5.3 Survival. Section 2 survives.
"""


def test_legal_numbering() -> None:
    assert labels_of(CONTRACT) == [
        "ARTICLE V", "TERMINATION", "5.1 Term.", "5.2 Ending.", "5.3 Survival."
    ]  # fmt: skip
    assert needs_of(CONTRACT, "five years") == ["TERMINATION", "5.1 Term."]
    assert needs_of(CONTRACT, "(a)") == ["TERMINATION", "5.2 Ending.", "Either party may:"]
    lead = "(b) end it on notice, provided that"
    assert needs_of(CONTRACT, "(ii)") == ["TERMINATION", "5.2 Ending.", lead]
    assert needs_of(CONTRACT, "Section 2") == ["TERMINATION", "5.3 Survival."]


def test_nested_bullets_need_the_item_above_them() -> None:
    text = "We offer:\n- Basic\n  - per month\n  - per year\n- Pro\n\nThat is all of it."
    assert needs_of(text, "per year") == ["- Basic"]
    assert needs_of(text, "Pro") == needs_of(text, "Basic") == ["We offer:"]
    assert labels_of(text) == []


def test_bullets_step_back_to_the_list_they_are_indented_for() -> None:
    text = "* one\n    + deep\n  - half\n* two"
    assert needs_of(text, "deep") == needs_of(text, "half") == ["* one"]
    assert needs_of(text, "two") == []


def test_letters_go_on_where_a_roman_number_could_begin() -> None:
    text = "It covers:\n(h) heat;\n(i) ice;\n(j) jam."
    assert needs_of(text, "ice") == needs_of(text, "jam") == ["It covers:"]
    assert needs_of("It covers:\n(h) heat:\n(i) ice;\n(ii) jam.", "jam") == ["(h) heat:"]


def test_an_indented_paragraph_goes_on_with_its_item_and_one_at_the_margin_ends_the_list() -> None:
    going_on = "The list:\n- one\n\n  More of one is here.\n\n- two"
    assert needs_of(going_on, "two") == ["The list:"]
    ended = "The list:\n- one\n\nMore of it is here.\n\n- two"
    assert needs_of(ended, "two") == []


def test_numbered_items_are_no_headings() -> None:
    text = "Fruit we sell:\n1. Apple\n2. Pear\n\nThat is all of it."
    assert labels_of(text) == []
    assert needs_of(text, "Pear") == ["Fruit we sell:"]


def test_a_question_on_its_own_line_heads_its_answer() -> None:
    text = "Q: What is it?\nA: A thing. Take care.\n\nQ: Why?\nA: Because."
    assert labels_of(text) == ["Q: What is it?", "Q: Why?"]
    assert needs_of(text, "Because") == ["Q: Why?"]


def test_many_titles_in_a_row_are_a_list_of_names() -> None:
    assert labels_of("Ada Lovelace\nAlan Turing\nGrace Hopper\nThey wrote programs.") == []
    assert labels_of("# A\n## B\n### C\nThey wrote programs.") == ["# A", "## B", "### C"]


def test_a_heading_with_nothing_below_it_is_a_piece_like_others() -> None:
    assert labels_of("It ends here.\n\n# The End") == []


# -- tables and code -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "header"),
    [
        ("| plan | price |\n|---|---:|\n| a | 1 |\n| b | 2 |", 2),
        ("+----+----+\n| x | y |\n+====+====+\n| 1 | 2 |\n| 3 | 4 |", 3),
        ("| plan | price |\n| a | 1 |\n| b | 2 |", 1),
        ("| 1 | a |\n| 2 | b |", 0),
        ("plan\tprice\na\t1\nb\t2", 1),
        ("plan,price,unit\na,1,x\nb,2,y", 1),
        ("plan;price;unit\na;1;x\nb;2;y", 1),
        ("name      qty    price\nfoo       1      2.0\nbar       2      3.1", 1),
        ("name      qty\n----      ---\nfoo       x\nbar       y", 2),
        ("name,town,land\nfoo,a,b\nbar,c,d", 0),
    ],
)
def test_a_row_needs_the_header_of_its_table(table: str, header: int) -> None:
    text = f"The prices are:\n\n{table}\n\nThat is all of it."
    rows = table.split("\n")
    assert pieces_of(text) == ["The prices are:", *rows, "That is all of it."]
    assert labels_of(text) == rows[:header]
    assert needs_of(text, rows[-1]) == ["The prices are:", *rows[:header]]


@pytest.mark.parametrize(
    "text",
    [
        "Berlin, Paris, Rome\nOslo, Bern, Prague\nRiga, Tallinn, Vilnius",
        "a,b,c\nd,e,f",
        "It has two  spaces.\nThis one  has, too.\nAnd  this one.",
        "One | two is here.\nThere is none.",
    ],
)
def test_what_is_no_table(text: str) -> None:
    assert not any(b.kind == "table" for b in _blocks(text))


def test_a_table_without_a_blank_line_around_it_is_found() -> None:
    text = "The prices:\nplan,price,unit\na,1,x\nb,2,y\nThat is all."
    assert pieces_of(text) == text.split("\n")


@pytest.mark.parametrize(
    "code",
    [
        "```python\nx = 1\n\n# no heading\ny = 2\n```",
        "~~~\nLine one. Line two.\n~~~",
        "    def f(x):\n        return g(x)",
        "int main() {\n  puts(x);\n  return 0;\n}",
        "```\nnever closed. Never.",
    ],
)
def test_code_stays_whole(code: str) -> None:
    text = f"Run this:\n\n{code}"
    assert pieces_of(text) == ["Run this:", code.strip()]
    assert needs_of(text, code.strip()) == ["Run this:"]


def test_code_without_fences_is_divided_at_blank_lines() -> None:
    assert len(pieces_of("x = f(1)\ny = g(x)\n\nfor a in b:\n    print(a)")) == 2


def _blocks(text: str) -> Any:
    from ctxguard.stages._blocks import find_blocks

    return find_blocks(text)


# -- laws ----------------------------------------------------------------------------------------

WILD = st.one_of(
    texts(),
    st.text(alphabet="aB1.:|,\t -#`\n(i)\"“means", max_size=120),
    st.lists(st.sampled_from([
        "# Title", "1. One", "(a) two;", "(i) three", "  - four", "| a | b |", "|--|--|", "a,b,c",
        "1,2,3", "```", "x = f(y)", "She said so.", "This ends.", '"Fee" means x.', "The Fee.",
        "Lead:", "", "a  b  c", "\ttab\ttab", "What?", "END",
    ]), max_size=14).map("\n".join),
)  # fmt: skip


@settings(max_examples=400)
@given(text=WILD)
def test_a_division_loses_nothing_but_whitespace(text: str) -> None:
    division = division_of(text)
    assert division == division_of(text)
    at = 0
    for start, end in division.spans:
        assert at <= start < end
        assert not text[at:start].strip()
        assert text[start:end] == text[start:end].strip()
        at = end
    assert not text[at:].strip()
    assert len(division.needs) == len(division.spans)
    for index, needs in enumerate(division.needs):
        assert list(needs) == sorted(set(needs))
        assert index not in needs
        assert all(0 <= need < len(division.spans) for need in needs)


@pytest.mark.parametrize(
    "unit", ["a. ", "a\n", "| a |\n", '"A" means b. ', "(", "x = f(", "a,b,c\n", "- a\n", "# A\n"]
)
def test_long_texts_take_linear_time(unit: str) -> None:
    division = division_of(unit * 20_000)
    assert division.spans


# -- the stage -----------------------------------------------------------------------------------

QUESTION = "How long is the notice period?"
LONG = (
    "The seller delivers the goods. The notice period is 30 days. It begins on receipt.\n"
    "Prices are in euros. The buyer pays the freight."
)


def context_of(*chunks: Chunk | str, limit: int | None = 20, **fields: Any) -> Context:
    return Context(
        question=fields.pop("question", QUESTION),
        chunks=tuple(
            Chunk(id=str(n), text=chunk) if isinstance(chunk, str) else chunk
            for n, chunk in enumerate(chunks)
        ),
        budget=Budget(context_tokens=limit),
        **fields,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"always": 1}, r"Compress\.always: expected True or False"),
        ({"keep_context": None}, r"Compress\.keep_context"),
        ({"min_relevance": 2}, r"Compress\.min_relevance: expected 0 to 1 or None"),
        ({"min_relevance": True}, r"Compress\.min_relevance"),
        ({"min_relevance": float("nan")}, r"Compress\.min_relevance"),
        ({"encoder": "big"}, r"Compress\.encoder: expected an Encoder"),
        ({"gap": None}, r"Compress\.gap: expected a str"),
    ],
)
def test_fields_that_cannot_be_used_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Compress(**fields)


def test_texts_stay_and_pieces_say_what_they_cost_and_are_worth() -> None:
    context = context_of(LONG, LONG.upper())
    result = Compress()(context)
    assert [c.text for c in result.context.chunks] == [c.text for c in context.chunks]
    assert not result.decisions
    pieces = result.context.chunks[0].pieces
    assert [LONG[slice(*piece.span)] for piece in pieces] == pieces_of(LONG)
    assert sum(piece.tokens for piece in pieces) == context.analyzer.count(LONG)
    best = max(pieces, key=lambda piece: piece.relevance or 0)
    assert "notice period" in LONG[slice(*best.span)]
    assert {term for term, _ in best.covers} >= {"notice", "period"}
    assert pieces[2].needs == (1,)


@pytest.mark.parametrize(
    ("limit", "question", "divided"),
    [(None, QUESTION, False), (500, QUESTION, False), (20, " ", False), (20, QUESTION, True)],
)
def test_nothing_is_divided_that_need_not_give(
    limit: int | None,
    question: str,
    divided: bool,
) -> None:
    result = Compress()(context_of(LONG, limit=limit, question=question))
    assert bool(result.context.chunks[0].pieces) is divided


def test_always_divides_without_a_limit() -> None:
    assert Compress(always=True)(context_of(LONG, limit=None)).context.chunks[0].pieces


def test_without_context_every_piece_stands_for_itself() -> None:
    [chunk] = Compress(keep_context=False)(context_of(LONG)).context.chunks
    assert not any(piece.needs for piece in chunk.pieces)


def test_headings_are_worth_nothing_by_themselves() -> None:
    text = "# Notice period\nIt is long. The seller delivers the goods to the buyer in time."
    [chunk] = Compress()(context_of(text, limit=5)).context.chunks
    assert chunk.pieces[0].relevance == 0.0
    assert chunk.pieces[0].covers == ()


def test_what_cannot_be_cut_is_one_piece() -> None:
    chunk = Chunk(id="a", text=f" {LONG} ", rendered="Something else. And more.")
    [divided] = Compress(always=True)(context_of(chunk)).context.chunks
    assert [piece.span for piece in divided.pieces] == [(1, len(LONG) + 1)]


def test_what_cannot_be_cut_is_as_likely_as_its_best_piece() -> None:
    text = "It rains. The notice period is thirty days."
    cut, whole = Chunk(id="a", text=text), Chunk(id="b", text=text, rendered="Something else.")
    [first], [second] = (
        Compress(always=True)(context_of(chunk)).context.chunks for chunk in (cut, whole)
    )
    assert second.pieces[0].relevance == max(piece.relevance or 0 for piece in first.pieces)
    terms = {term for piece in first.pieces for term in piece.covers}
    assert set(second.pieces[0].covers) == terms


def test_the_longest_of_defined_terms_counts() -> None:
    text = (
        '"Date" means a day. "Effective Date" means May 1. On the Effective Date it begins. '
        "Any Date will do. Dates differ."
    )
    found = division_of(text)
    assert found.needs == ((), (), (1,), (0,), ())


def test_a_title_that_the_model_sees_serves_pronouns() -> None:
    text = "Ada wrote programs. She was born in London."
    metadata = {"title": "Ada Lovelace"}
    plain = Chunk(id="a", text=text, metadata=metadata)
    rendered = Chunk(id="b", text=text, metadata=metadata, rendered=f"Ada Lovelace\n{text}")
    first, second = Compress(always=True)(context_of(plain, rendered)).context.chunks
    assert (first.pieces[1].needs, second.pieces[1].needs) == ((0,), ())
    template = Template(chunk="{title}: {text}")
    [shown] = Compress(always=True)(context_of(plain, template=template)).context.chunks
    assert shown.pieces[1].needs == ()


def test_chunks_that_are_divided_stay_as_they_are() -> None:
    once = Compress(always=True)(context_of(LONG)).context
    assert Compress(always=True)(once).context == once
    more = Context(question=QUESTION, chunks=(*once.chunks, Chunk(id="new", text=LONG)))
    again = Compress(always=True)(more).context.chunks
    assert again[0] is once.chunks[0]
    assert len(again[1].pieces) == len(again[0].pieces)


def test_irrelevant_pieces_and_chunks_go_when_that_is_asked_for() -> None:
    other = "The weather was fine in May. Nobody was there."
    context = context_of(LONG, other, limit=None)
    stage = Compress(min_relevance=0.1)
    result = check_laws(stage, context)
    [chunk] = result.context.chunks
    assert chunk.text == "The notice period is 30 days."
    trim, drop = result.decisions
    assert (trim.action, trim.code, drop.action, drop.code) == (
        "trim", "irrelevant", "drop", "irrelevant"
    )  # fmt: skip
    assert trim.threshold == 0.1
    kept = list(LONG)
    for start, end in removed_by(trim):
        kept[start:end] = [""] * (end - start)
    assert "".join(kept) == chunk.text


def test_a_gap_is_marked_and_needs_stay() -> None:
    text = "The notice period is long. Rain fell. The notice period is 9 days. Rain fell again."
    [chunk] = Compress(always=True)(context_of(text, limit=None)).context.chunks
    p = [piece.relevance or 0.0 for piece in chunk.pieces]
    assert max(p[1], p[3]) < min(p[0], p[2])
    stage = Compress(min_relevance=min(p[0], p[2]))
    [chunk] = stage(context_of(text, limit=None)).context.chunks
    assert chunk.text == "The notice period is long. … The notice period is 9 days."
    whole = Compress(min_relevance=0.0)(context_of(text, limit=None))
    assert whole.context.chunks[0].text == text
    assert not whole.decisions


@settings(max_examples=100)
@given(chunks=pools(), least=st.sampled_from([None, 0.05, 0.5]))
def test_compress(chunks: tuple[Chunk, ...], least: float | None) -> None:
    context = Context(question="How many days of notice does the tenant give?", chunks=chunks)
    result = check_laws(Compress(always=True, min_relevance=least), context)
    if least is None:
        assert not by_action(result, "trim", "drop")
    for chunk in result.context.chunks:
        at = 0
        for piece in chunk.pieces:
            assert not chunk.text[at : piece.span[0]].replace("…", " ").strip()
            assert piece.tokens >= 0
            assert piece.relevance is not None
            assert 0 <= piece.relevance <= 1
            at = piece.span[1]


def test_its_points_to_this_where_nothing_stands_before_that() -> None:
    text = "This agreement is governed by the laws of Ohio. Its courts decide. Fees are due in May."
    chunk = Chunk(id="law", text=text)
    found = Compress(always=True)(Context(question="Which courts decide?", chunks=(chunk,)))
    assert [piece.needs for piece in found.context.chunks[0].pieces] == [(), (0,), ()]
