"""Select over pieces: worth per token, versions together, and what every budget would keep."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.errors import PolicyError
from ctxguard.stages import Compress, Select
from ctxguard.text.template import Template
from ctxguard.types import Budget, Chunk, Context, Piece, StageResult
from tests.stages.helpers import by_action, check_laws, ids, removed_by
from tests.stages.pools import pools

QUESTION = "How many days of notice does the tenant give before the end of the month?"


def chunk_of(name: str, *sentences: str, p: Sequence[float] = (), **fields: Any) -> Chunk:
    """A chunk of these sentences as pieces, each with its P; `needs` by index."""
    needs: dict[int, tuple[int, ...]] = fields.pop("needs", {})
    covers: dict[int, tuple[tuple[str, float], ...]] = fields.pop("covers", {})
    pieces: list[Piece] = []
    at = 0
    for index, sentence in enumerate(sentences):
        pieces.append(
            Piece(
                span=(at, at + len(sentence)),
                tokens=count(("" if index == 0 else " ") + sentence),
                relevance=p[index],
                needs=needs.get(index, ()),
                covers=covers.get(index, ()),
            )
        )
        at += len(sentence) + 1
    return Chunk(id=name, text=" ".join(sentences), pieces=tuple(pieces), **fields)


def count(text: str) -> int:
    return Context().analyzer.count(text)


def select(*chunks: Chunk, limit: int, **fields: Any) -> StageResult:
    return Select(**fields)(Context(chunks=chunks, budget=Budget(context_tokens=limit)))


def texts(result: StageResult) -> list[str]:
    return [chunk.text for chunk in result.context.chunks]


A = ("Cats sleep all day long.", "Notice is thirty days.", "Dogs bark at the moon.", "Rain is wet.")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gap": 1}, r"Select\.gap: expected a str"),
        ({"coverage": "much"}, r"Select\.coverage: expected a number"),
        ({"coverage": True}, r"Select\.coverage: expected a number"),
        ({"coverage": -1}, r"Select\.coverage: expected a number from 0"),
        ({"coverage": float("nan")}, r"Select\.coverage: expected a number from 0"),
    ],
)
def test_fields_that_cannot_be_used_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Select(**fields)


# -- pieces --------------------------------------------------------------------------------------


def test_the_piece_that_helps_stays_word_for_word() -> None:
    chunk = chunk_of("a", *A, p=(0.1, 0.9, 0.1, 0.1))
    result = select(chunk, limit=count(A[1]))
    assert texts(result) == ["Notice is thirty days."]
    trim, keep = result.decisions
    assert (trim.action, trim.code, keep.action, keep.code) == (
        "trim", "over-budget", "keep", "fits"
    )  # fmt: skip
    assert trim.score == 0.9
    assert removed_by(trim) == [[0, 25], [47, 83]]
    assert (trim.tokens_before, trim.tokens_after) == (count(chunk.text), keep.tokens_after)


def test_what_is_left_out_between_two_pieces_is_marked() -> None:
    chunk = chunk_of("a", *A, p=(0.1, 0.9, 0.1, 0.8))
    short = "Notice is thirty days. … Rain is wet."
    assert texts(select(chunk, limit=count(short))) == [short]
    result = select(chunk, limit=count(short) + 3, gap="[cut]")
    assert texts(result) == ["Notice is thirty days. [cut] Rain is wet."]
    assert result.decisions[0].details["gap"] == "[cut]"


def test_a_removed_row_leaves_a_line() -> None:
    text = "| a | 1 |\n| b | 2 |\n| c | 3 |"
    pieces = tuple(
        Piece(span=(n * 10, n * 10 + 9), tokens=6, relevance=p)
        for n, p in enumerate((0.9, 0.0, 0.8))
    )
    result = select(Chunk(id="t", text=text, pieces=pieces), limit=13)
    assert texts(result) == ["| a | 1 |\n…\n| c | 3 |"]


def test_pieces_that_stay_keep_their_places_and_needs() -> None:
    chunk = chunk_of("a", *A, p=(0.1, 0.9, 0.1, 0.8), needs={3: (1, 2)})
    [kept] = select(chunk_of("a", *A, p=(0.1, 0.9, 0.1, 0.8)), limit=11).context.chunks
    assert [kept.text[slice(*piece.span)] for piece in kept.pieces] == [A[1], A[3]]
    [kept] = select(chunk, limit=17).context.chunks
    assert kept.text == " ".join(A[1:])
    assert kept.pieces[2].needs == (0, 1)


def test_a_piece_brings_what_it_needs_or_stays_out() -> None:
    chunk = chunk_of("a", *A, p=(0.0, 0.1, 0.2, 0.9), needs={3: (0,)})
    assert texts(select(chunk, limit=11)) == ["Cats sleep all day long. … Rain is wet."]
    assert texts(select(chunk, limit=10)) == ["Dogs bark at the moon."]


def test_what_is_worth_nothing_by_itself_is_not_there_by_itself() -> None:
    chunk = chunk_of("a", "Heading", A[1], p=(0.0, 0.9), needs={1: (0,)})
    assert texts(select(chunk, limit=5)) == []
    assert texts(select(chunk, chunk_of("b", "Yes.", p=(0.1,)), limit=5)) == ["Yes."]


def test_a_covered_term_adds_nothing_again() -> None:
    notice = (("notice", 1.0),)
    one = chunk_of("a", "Notice is thirty days.", p=(0.9,), covers={0: notice})
    same = chunk_of("b", "Notice is for all days.", p=(0.8,), covers={0: notice})
    other = chunk_of("c", "The rent is not low.", p=(0.7,), covers={0: (("rent", 1.0),)})
    limit = count(f"{one.text}\n\n{same.text}") + 1
    assert ids(select(one, same, other, limit=limit, coverage=1)) == ["a", "c"]
    assert ids(select(one, same, other, limit=limit, coverage=0)) == ["a", "b"]


def test_the_best_single_unit_wins_over_small_change() -> None:
    large = chunk_of("large", " ".join(["An answer with all that is asked for."] * 4), p=(0.9,))
    small = [chunk_of(f"s{n}", "Hm.", p=(0.1,)) for n in range(3)]
    assert ids(select(*small, large, limit=large.pieces[0].tokens)) == ["large"]


def test_rendered_forms_are_cut_alike_and_their_headers_paid_once() -> None:
    text = " ".join(A)
    chunk = replace(chunk_of("a", *A, p=(0.1, 0.9, 0.1, 0.8)), rendered=f"title: pets\n{text}")
    header = count(chunk.rendered) - count(text)
    assert texts(select(chunk, limit=count(A[3]) + header - 1)) == []
    [kept] = select(chunk, limit=11 + header).context.chunks
    assert kept.rendered == "title: pets\nNotice is thirty days. … Rain is wet."


def test_undivided_chunks_are_chosen_by_their_relevance() -> None:
    chunks = [Chunk(id=str(n), text=A[n], relevance=p) for n, p in enumerate((0.1, 0.9, 0.5))]
    result = select(*chunks, limit=13)
    assert ids(result) == ["1", "2"]
    assert "helps with P 0.10" in result.decisions[0].reason


# -- conflicts -----------------------------------------------------------------------------------


def rivals(p: float = 0.9) -> tuple[Chunk, Chunk]:
    """Two versions of a chunk: the first sentence is the same, the second differs."""
    return (
        chunk_of("old", "Mail it to us.", "Notice is 30 days.", p=(0.1, p), conflicts=("new",)),
        chunk_of("new", "Mail it to us.", "Notice is 60 days.", p=(0.1, 0.2), conflicts=("old",)),
    )


def test_the_rival_fact_comes_along() -> None:
    filler = chunk_of("x", "Rain is rather wet today.", p=(0.6,))
    old, new = rivals()
    limit = count("Notice is 30 days.\n\nNotice is 60 days.")
    assert texts(select(old, new, filler, limit=limit)) == [
        "Notice is 30 days.", "Notice is 60 days."
    ]  # fmt: skip


def test_both_versions_stay_out_when_one_alone_would_fit() -> None:
    best = chunk_of("x", "Rain is wet.", p=(1.0,))
    old, new = rivals(p=0.3)
    limit = count(f"{best.text}\n\n{old.text}")
    result = select(best, old, new, limit=limit)
    assert ids(result) == ["x", "old", "new"], "what they have in common is no rival"
    assert "30" not in str(texts(result))
    assert "60" not in str(texts(result))


def test_a_group_that_no_budget_of_the_size_holds_is_said_to_be_split() -> None:
    old, new = (replace(chunk, pieces=()) for chunk in rivals())
    result = select(replace(old, relevance=0.9), replace(new, relevance=0.9), limit=12)
    assert ids(result) == ["old"]
    [flag] = by_action(result, "flag")
    assert (flag.subject, flag.code) == ("old", "rival-left-out")
    assert flag.details == {"rivals": ["new"]}


def test_conflicts_with_what_is_not_there_do_not_matter() -> None:
    old, _ = rivals()
    result = select(old, limit=6)
    assert texts(result) == ["Notice is 30 days."]
    assert not by_action(result, "flag")


def test_a_hundred_versions_are_not_kept_together() -> None:
    names = [str(n) for n in range(100)]
    chunks = [
        Chunk(id=n, text=f"Notice is {n} days.", relevance=0.5, conflicts=tuple(names))
        for n in names
    ]
    result = select(*chunks, limit=300)
    assert 10 < len(result.context.chunks) < 100
    assert len(by_action(result, "flag")) == len(result.context.chunks)


# -- what was trimmed ----------------------------------------------------------------------------


def trimmed(p: float, rest: float = 0.1) -> tuple[Chunk, Chunk]:
    """A chunk that leans on another, whose second sentence helps most."""
    return (
        chunk_of("short", "Notice is 30 days.", p=(p,), leans_on=("whole",)),
        chunk_of("whole", "Rain is wet.", "It goes by mail.", p=(0.0, rest)),
    )


def test_what_holds_the_rest_comes_along() -> None:
    other = chunk_of("x", "Cats sleep.", p=(0.3,))
    short, whole = trimmed(0.9)
    limit = count("Notice is 30 days.\n\nIt goes by mail.")
    assert texts(select(short, whole, other, limit=limit)) == [
        "Notice is 30 days.", "It goes by mail."
    ]  # fmt: skip
    alone = replace(short, leans_on=())
    assert ids(select(alone, whole, other, limit=limit)) == ["short", "x"]


def test_a_trimmed_chunk_stays_out_with_what_holds_the_rest() -> None:
    short, whole = trimmed(0.5)
    best = chunk_of("x", "Cats sleep all day.", p=(1.0,))
    limit = count(f"{best.text}\n\n{short.text}") + 1
    assert "short" not in ids(select(best, short, whole, limit=limit))
    assert ids(select(best, replace(short, leans_on=()), whole, limit=limit)) == ["x", "short"]


def test_a_trimmed_chunk_stays_where_no_budget_of_the_size_holds_both() -> None:
    short, whole = trimmed(0.9)
    assert ids(select(short, whole, limit=count(short.text))) == ["short"]


def test_without_relevance_what_holds_the_rest_comes_along_too() -> None:
    short, whole = (replace(chunk, pieces=()) for chunk in trimmed(0.9))
    limit = count(f"{short.text}\n\n{whole.text}")
    filler = Chunk(id="x", text="Cats sleep all day long.")
    assert ids(select(short, filler, whole, limit=limit)) == ["short", "whole"]


def test_a_heading_alone_asks_for_no_rest() -> None:
    page = chunk_of("page", "Heading", "Rain.", p=(0.0, 0.1), leans_on=("whole", "gone", "page"))
    result = select(page, trimmed(0.9, rest=0.9)[1], limit=count("Heading. It goes by mail."))
    assert "Heading" not in str(texts(result))


# -- templates -----------------------------------------------------------------------------------


def test_what_a_template_writes_is_counted() -> None:
    template = Template(chunk="[{number}] {source}\n{text}", separator="\n---\n")
    chunks = tuple(Chunk(id=str(n), text=f"Fact {n}.", source="a.pdf") for n in range(12))
    for limit in range(1, 150, 7):
        budget = Budget(context_tokens=limit)
        result = Select()(Context(chunks=chunks, budget=budget, template=template))
        written = template.separator.join(
            template.write(text=c.text, number=n, id=c.id, source=c.source)
            for n, c in enumerate(result.context.chunks, start=1)
        )
        assert not written or count(written) <= limit
    assert len(Select()(Context(chunks=chunks, template=template)).context.chunks) == 12


# -- the path ------------------------------------------------------------------------------------


def test_the_path_of_two_pieces() -> None:
    chunk = chunk_of("a", "Notice is thirty days.", "Rain.", p=(0.9, 0.1))
    path = Select().path(Context(chunks=(chunk,)))
    both = count(chunk.text)
    assert path.at(0).kept == path.at(1).kept == ()
    points = path.breakpoints
    assert [(p.budget, p.tokens) for p in points] == [(2, 2), (5, 5), (both, both)]
    assert [[k.spans for k in p.entered] for p in points] == [
        [((23, 28),)], [((0, 22),)], [((23, 28),)]
    ]  # fmt: skip
    assert [k.spans for k in points[1].left] == [((23, 28),)]
    plain = json.loads(json.dumps(path.to_json()))
    assert plain["full"] == both
    assert plain["breakpoints"][0] == {
        "budget": 2, "tokens": 2, "entered": [{"id": "a", "spans": [[23, 28]]}], "left": []
    }  # fmt: skip


def test_no_chunks_have_a_path_too() -> None:
    path = Select().path(Context())
    assert path.breakpoints == ()
    assert path.at(5).kept == ()


def test_chunks_cut_to_their_first_sentences_are_on_the_path() -> None:
    text = "This is the first one. This is the second one. This is the third one."
    path = Select().path(Context(chunks=(Chunk(id="a", text=text),)))
    assert [[k.spans for k in p.entered] for p in path.breakpoints] == [
        [((0, 22),)], [((0, 46),)], [((0, 69),)]
    ]  # fmt: skip


@settings(max_examples=100)
@given(chunks=pools(), limit=st.one_of(st.integers(1, 60), st.integers(60, 600)))
def test_pieces_keep_the_laws(chunks: tuple[Chunk, ...], limit: int) -> None:
    context = Context(question=QUESTION, chunks=chunks, budget=Budget(context_tokens=limit))
    context = Compress(always=True)(context).context
    result = check_laws(Select(), context)
    joined = "\n\n".join(chunk.rendered or chunk.text for chunk in result.context.chunks)
    assert context.analyzer.count(joined) <= limit
    came_in = {chunk.id: chunk for chunk in context.chunks}
    trims = {decision.subject: decision for decision in by_action(result, "trim")}
    for chunk in result.context.chunks:
        given_ = came_in[chunk.id]
        if chunk.id not in trims:
            assert chunk.text == given_.text
            continue
        parts: list[str] = []
        at = 0
        for start, end in [*removed_by(trims[chunk.id]), [len(given_.text)] * 2]:
            parts.append(given_.text[at:start])
            at = end
        assert all(part in chunk.text for part in parts), "word for word"


@settings(max_examples=150)
@given(
    values=st.lists(st.tuples(st.integers(1, 12), st.floats(0.01, 1)), min_size=1, max_size=7),
    limit=st.integers(1, 40),
)
def test_the_choice_is_within_the_guarantee(values: list[tuple[int, float]], limit: int) -> None:
    """At least (1 - 1/e) / 2 of the best of all subsets, for separate chunks."""
    chunks = [
        Chunk(id=str(n), text=" ".join(["word"] * size) + ".", relevance=p)
        for n, (size, p) in enumerate(values)
    ]
    context = Context(chunks=tuple(chunks), budget=Budget(context_tokens=limit))
    path = Select().path(context)

    def worth(names: Sequence[str]) -> float:
        return sum(chunk.relevance or 0 for chunk in chunks if chunk.id in names)

    kept = [
        each for each in path.at(limit).kept if each.spans[0][1] == len(chunks[int(each.id)].text)
    ]
    best = 0.0
    for size in range(1, len(chunks) + 1):
        for some in combinations(chunks, size):
            if count("\n\n".join(chunk.text for chunk in some)) <= limit:
                best = max(best, worth([chunk.id for chunk in some]))
    assert worth([each.id for each in kept]) >= best * 0.316 - 1e-9
