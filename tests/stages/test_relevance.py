"""P of pieces: what speaks for a sentence, and what never may happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ctxguard.errors import InputError, PolicyError
from ctxguard.logistic import Layer, fit_layer
from ctxguard.stages import _index, _linking, _relevance
from ctxguard.stages._divide import spans_of
from ctxguard.stages._index import index_of, name_of, title_of
from ctxguard.stages._matching import MATCH, features_of, postings_of, query_of
from ctxguard.stages._rank_model import RankModel, shipped_model
from ctxguard.stages._relevance import Scores, score_pieces
from ctxguard.stages._vocabulary import Vocabulary
from ctxguard.text.analysis import Analyzer
from ctxguard.text.encoders import static_encoder
from ctxguard.text.terms import term_of
from ctxguard.text.tokens import tokenizer_for
from ctxguard.types import Chunk, Context


def scored(question: str, *chunks: Chunk, vectors: bool = False) -> Scores:
    # An analyzer of its own, which has kept no result.
    context = Context(question=question, chunks=chunks, analyzer=Analyzer(tokenizer_for()))
    spans = [context.analyzer.analyse(chunk.text).sentences for chunk in chunks]
    return score_pieces(context, spans, encoder=static_encoder() if vectors else None)


def passage(id_: str, text: str, title: str = "") -> Chunk:
    return Chunk(id=id_, text=text, metadata={"title": title} if title else {})


def feature(name: str, question: str, *chunks: Chunk) -> list[float]:
    context = Context(question=question, chunks=chunks)
    index = index_of(context, [context.analyzer.analyse(one.text).sentences for one in chunks])
    postings = postings_of(index)
    found = features_of(index, postings, query_of(index, postings))
    return found[:, MATCH.index(name)].tolist()


LIGHTHOUSES = (
    passage("a", "The harbour of Orrin has two piers. Ships wait outside at low tide.", "Orrin"),
    passage("b", "Skerry Light was built by Anna Voss. It stands on bare rock.", "Skerry Light"),
    passage("c", "Anna Voss studied in Bergen. She was born in Tromvik in 1861.", "Anna Voss"),
    passage("d", "Tides are caused by the moon. They come twice a day.", "Tide"),
    passage("e", "Bread is baked from flour and water. Salt is added.", "Bread"),
)


# -- terms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forms",
    [
        "terminate terminates terminated terminating Termination",
        "renew renewal renewed renews",
        "assign assigned assignment ASSIGNMENTS",
        "liable liability",
        "insure insured insurance insurer",
        "compete competing competition competitor",
        "expire expires expiration expiry",
        "party parties",
        "licence license licences",
        "exclusive exclusively exclusivity",
        "stop stopped stopping",
        "box boxes",
        "labour labor",
    ],
)
def test_forms_of_a_word_are_one_term(forms: str) -> None:
    assert len({term_of(form) for form in forms.split()}) == 1


@pytest.mark.parametrize("pair", ["nation station", "king bring", "gas glass", "thirty thirteen"])
def test_other_words_are_other_terms(pair: str) -> None:
    first, second = pair.split()
    assert term_of(first) != term_of(second)


def test_function_words_and_numbers() -> None:
    assert term_of("Which") == ""
    assert term_of("2014") == "2014"
    assert term_of("a" * 50) == "a" * 50
    assert term_of("größer") == "grösser"


# -- names of chunks ------------------------------------------------------------------------------


def test_the_name_is_the_title_else_the_end_of_the_source() -> None:
    titled = Chunk(id="1", text="x", source="a/b.pdf", metadata={"title": "T", "Header 2": "H"})
    assert name_of(titled) == "T H"
    assert name_of(Chunk(id="1", text="x", source="a/b.pdf")) == "b.pdf"
    assert name_of(Chunk(id="1", text="x", metadata={"title": 3})) == ""


def test_a_short_first_line_is_a_heading() -> None:
    assert title_of(Chunk(id="1", text="Term\nIt is a year."), "c.pdf") == "c.pdf Term"
    assert title_of(Chunk(id="1", text="It ends.\nAnd begins."), "") == ""
    assert title_of(Chunk(id="1", text="It is one line only"), "") == ""


# -- features -------------------------------------------------------------------------------------


def test_rare_terms_count_more_than_common_ones() -> None:
    fees = [Chunk(id=str(n), text=f"The fee of kind {n} is due.") for n in range(8)]
    rare = Chunk(id="rare", text="The escrow opens.")
    match = feature("match", "Which fee goes to escrow?", *fees, rare)
    assert match[-1] == max(match)
    assert match[-1] > 2 * match[0]


def test_a_title_asked_by_name_counts_as_a_whole() -> None:
    asked = feature("title_asked", "Who built Skerry Light?", *LIGHTHOUSES)
    assert asked[2:4] == [1.0, 1.0]
    assert asked[0] == 0


def test_a_phrase_counts_beyond_its_words() -> None:
    whole = Chunk(id="1", text="The notice period is long.")
    apart = Chunk(id="2", text="The period begins with a notice.")
    found = feature("phrase", "How long is the notice period?", whole, apart)
    assert found[0] > found[1] == 0


def test_what_stands_under_a_heading_is_about_it() -> None:
    text = "# Governing Law\n\nNorway's rules apply. Nothing else does.\n\n# Fees\n\nNone are due."
    found = feature("heading", "Which law governs?", Chunk(id="1", text=text))
    assert found[0] == 0
    assert found[1] > 0
    assert found[4] == 0


# -- scores ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", [False, True])
def test_the_sentence_that_answers_is_best(vectors: bool) -> None:
    scores = scored("Who built Skerry Light?", *LIGHTHOUSES, vectors=vectors)
    assert np.argmax(np.concatenate(scores.pieces)) == 2
    assert np.argmax(scores.chunks) == 1
    assert scores.vectors is vectors


def test_a_second_hop_leads_to_the_passage_that_the_question_does_not_name() -> None:
    question = "Where was the woman born who built Skerry Light?"
    linked = scored(question, *LIGHTHOUSES)
    others = [place for place in range(5) if place not in (1, 2)]
    assert linked.chunks[2] > linked.chunks[others].max()
    # Without the passage that names her, nothing leads to her.
    cut = scored(question, *LIGHTHOUSES[:1], *LIGHTHOUSES[2:])
    assert cut.chunks[1] < linked.chunks[2]


def test_terms_of_pieces_are_shared_numbers_with_one_weight() -> None:
    scores = scored("Who built Skerry Light?", *LIGHTHOUSES)
    for terms in (terms for pieces in scores.terms for terms in pieces):
        assert list(terms) == sorted(set(terms))
    seen = {
        term: scores.weights[term] for pieces in scores.terms for held in pieces for term in held
    }
    asked = {scores.names[term] for term in scores.asked}
    assert asked == {"built", "skerry", "light"}
    assert sum(seen[term] for term in scores.asked) == pytest.approx(1)
    assert {scores.names[term] for term in seen if term not in scores.asked} >= {"anna", "voss"}


def test_no_question_no_probability() -> None:
    for question in ("", "  ", "What is it?", "\ud800"):
        scores = scored(question, *LIGHTHOUSES)
        assert not scores.asked
        assert not np.concatenate(scores.pieces).any()
        assert not scores.chunks.any()


def test_chunks_without_pieces_are_not_likely() -> None:
    scores = scored("Who built it?", passage("a", ""), passage("b", "They built it."))
    assert scores.chunks[0] == 0 < scores.chunks[1]
    assert scores.pieces[0].size == 0


def test_words_outside_the_pieces_are_not_read() -> None:
    context = Context(question="Who built it?", chunks=(passage("a", "built built. It rains."),))
    (pieces,) = score_pieces(context, [[(13, 22)]]).terms
    assert pieces == ((),)


def test_the_order_of_the_chunks_changes_no_score() -> None:
    question = "Where was the woman born who built Skerry Light?"
    one, other = scored(question, *LIGHTHOUSES), scored(question, *LIGHTHOUSES[::-1])
    assert one.chunks.tolist() == other.chunks[::-1].tolist()
    assert [p.tolist() for p in one.pieces] == [p.tolist() for p in other.pieces[::-1]]
    assert one.terms == other.terms[::-1]
    assert one.weights == other.weights


def test_what_was_read_before_changes_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    question = "Where was the woman born who built Skerry Light?"
    scored("Anna Voss lit other lights; who was born?", passage("z", "Voss built ships in 1861."))
    known = scored(question, *LIGHTHOUSES)
    monkeypatch.setattr(_index, "current_vocabulary", Vocabulary)
    fresh = scored(question, *LIGHTHOUSES)
    assert fresh.chunks.tolist() == known.chunks.tolist()
    assert (fresh.names, fresh.weights) == (known.names, known.weights)


def test_a_result_that_is_kept_is_the_one_that_is_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = Context(
        question="Who built Skerry Light?", chunks=LIGHTHOUSES, analyzer=Analyzer(tokenizer_for())
    )
    first = score_pieces(context, spans_of(context))
    turned = replace(context, chunks=LIGHTHOUSES[::-1], question="Who lit it?")
    other = score_pieces(turned, spans_of(turned))
    monkeypatch.setattr(_relevance, "_scored", None)  # may not be asked again
    again = score_pieces(replace(turned, question=context.question), spans_of(turned))
    assert again.chunks.tolist() == first.chunks[::-1].tolist()
    assert again.chunks.tolist() != other.chunks.tolist()


def test_another_title_is_another_result() -> None:
    question = "Who built Skerry Light?"
    text = "It was built by Anna Voss."
    plain, named = passage("a", text), passage("a", text, "Skerry Light")
    assert scored(question, plain).cover[0] < scored(question, named).cover[0]


@given(
    st.lists(
        st.lists(st.sampled_from(["ann", "bob", "cat", "dog", "elk", "fox"]), max_size=6),
        min_size=2,
        max_size=6,
    ),
    st.integers(0, 3),
)
def test_sums_over_postings_are_those_of_the_whole_matrix(
    rows: list[list[str]], titles: int
) -> None:
    chunks = [
        passage(str(n), " ".join(row) + ".", " ".join(row[:titles])) for n, row in enumerate(rows)
    ]
    context = Context(question="Is there an ann?", chunks=tuple(chunks))
    index = index_of(context, spans_of(context))
    postings = postings_of(index)
    query = query_of(index, postings)
    seeds = np.arange(min(2, index.pieces))
    bridge = _linking._bridge(index, postings, query, seeds)
    dense = np.zeros((index.pieces + index.chunks, index.size), dtype=np.float32)
    dense[postings.row, postings.term] = 1
    dense = dense[:, bridge.terms]
    lead = np.arange(1, 1 + 2 * bridge.terms.size, dtype=np.float32).reshape(2, -1)[: seeds.size]
    owner = index.chunk[seeds]
    both = np.maximum(dense[: index.pieces], dense[index.pieces :][index.chunk])
    expected = (lead @ both.T) * (owner[:, None] != index.chunk)
    np.testing.assert_allclose(_linking._shared(index, bridge, lead, owner), expected)
    np.testing.assert_array_equal(bridge.of_rows(seeds), dense[seeds])


def test_the_second_half_of_a_large_pool_is_linked_too() -> None:
    fill = [passage(f"f{n}", f"Filler number {n} says little.") for n in range(4200)]
    chunks = (LIGHTHOUSES[1], *fill, LIGHTHOUSES[2])
    scores = scored("Where was the builder of Skerry Light born?", *chunks)
    assert scores.chunks[-1] > scores.chunks[1:-1].max()


class Tenancy:
    """An encoder of a caller's own, without a hash: texts about an end are near to each other."""

    name = "tenancy"
    dimensions = 2
    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __eq__(self, other: object) -> bool:
        return True

    def encode(self, texts: Sequence[str], /) -> Any:
        self.asked.append(list(texts))
        return [[1, 0] if "end" in text or "terminat" in text else [0, 3] for text in texts]


LEASE = tuple(
    Chunk(id=str(n), text=text, source="lease.pdf")
    for n, text in enumerate(
        (
            "The tenant pays the rent to the landlord on the first day of a month.",
            "Upon termination of this lease, the keys are handed to the landlord.",
            "The landlord keeps the roof of the building in repair.",
        )
    )
)


def test_an_encoder_of_ones_own_is_asked_once_for_everything() -> None:
    context = Context(question="What does the landlord get at the end?", chunks=LEASE)
    encoder = Tenancy()
    scores = score_pieces(context, spans_of(context), encoder=encoder)
    again = score_pieces(context, spans_of(context), encoder=encoder)
    assert scores.vectors
    assert len(encoder.asked) == 1
    assert encoder.asked[0][0] == context.question
    assert sorted(encoder.asked[0][1:]) == sorted(chunk.text for chunk in LEASE)
    assert again.chunks.tolist() == scores.chunks.tolist()
    assert scores.chunks.argmax() == 1
    words = score_pieces(context, spans_of(context))
    assert scores.chunks[1] - scores.chunks[0] > words.chunks[1] - words.chunks[0]


def test_two_encoders_that_say_they_are_equal_are_two() -> None:
    context = Context(question="What does the landlord get at the end?", chunks=LEASE)
    first, second = Tenancy(), Tenancy()
    assert first == second
    score_pieces(context, spans_of(context), encoder=first)
    score_pieces(context, spans_of(context), encoder=second)
    assert len(first.asked) == len(second.asked) == 1


def test_an_encoder_is_not_asked_where_vectors_count_for_nothing() -> None:
    encoder = Tenancy()
    context = Context(question="Who built Skerry Light?", chunks=LIGHTHOUSES)
    assert score_pieces(context, spans_of(context), encoder=encoder).vectors
    assert encoder.asked == []


def test_an_encoder_that_gives_too_few_vectors_is_named() -> None:
    class Short(Tenancy):
        def encode(self, texts: Sequence[str], /) -> Any:
            return super().encode(texts[1:])

    context = Context(question="What does the landlord get?", chunks=LEASE)
    with pytest.raises(InputError, match="tenancy gave 3 vectors for 4 texts"):
        score_pieces(context, spans_of(context), encoder=Short())


words = st.sampled_from(
    ["Skerry", "light", "built", "Anna", "is", "the", "1861", "\ud800", "灯", "\0"]
)
texts = st.lists(words, max_size=12).map(" ".join) | st.text(max_size=30)


@given(question=texts, given_texts=st.lists(texts, max_size=6), vectors=st.booleans())
def test_probabilities_whatever_comes_in(
    question: str, given_texts: list[str], vectors: bool
) -> None:
    chunks = [passage(str(n), text) for n, text in enumerate(given_texts)]
    scores = scored(question, *chunks, vectors=vectors)
    assert len(scores.pieces) == len(scores.terms) == scores.chunks.size == len(chunks)
    for p in (*scores.pieces, scores.chunks):
        assert np.isfinite(p).all()
        assert ((p >= 0) & (p <= 1)).all()
    for held, pieces in zip(scores.terms, scores.pieces, strict=True):
        assert len(held) == pieces.size


# -- the model ------------------------------------------------------------------------------------


def test_a_model_survives_its_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("model") / "rank.json"
    shipped_model().save(path)
    assert RankModel.load(path) == shipped_model()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "format 1"),
        ('{"format": 1}', "under 'words'"),
        ('{"format": 1, "words": {}}', "words.alone needs a number"),
        ('{"format": 1, "words": {"alone": {"intercept": "x"}}}', "words.alone needs a number"),
    ],
)
def test_what_is_no_model_says_so(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        RankModel.from_json(text)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(PolicyError, match=r"nowhere\.json: No such file"):
        RankModel.load("nowhere.json")


def test_a_layer_learns_and_keeps_near_its_prior() -> None:
    features = np.array([[0.0], [0.2], [0.8], [1.0]] * 10)
    labels = np.array([0.0, 0.0, 1.0, 1.0] * 10)
    learned = fit_layer(["x"], features, labels, strength=0.1)
    assert learned.probability(np.array([[0.0], [1.0]])).round().tolist() == [0, 1]
    prior = Layer(names=("x",), weights=(-1.0,), intercept=0.0)
    held = fit_layer(["x"], features, labels, strength=1e6, prior=prior)
    assert held.weights[0] == pytest.approx(-1, abs=0.01)
    alike = fit_layer(["x"], features, np.ones(40), prior=prior)
    assert alike == replace(prior, intercept=alike.intercept)
    assert fit_layer(["x"], np.zeros((0, 1)), np.zeros(0), prior=prior) == prior


def test_a_prior_that_is_far_off_is_left_behind() -> None:
    features, labels = np.repeat([[0.0], [1.0]], 30, axis=0), np.repeat([1.0, 0.0], 30)
    sure = Layer(names=("x",), weights=(40.0,), intercept=-20.0)
    learned = fit_layer(["x"], features, labels, strength=0.01, prior=sure)
    assert learned.probability(np.array([[0.0], [1.0]])).round(1).tolist() == [1, 0]
