"""Closeness in meaning: what it finds where words differ, and where it keeps out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ctxguard.stages._divide import spans_of
from ctxguard.stages._index import Floats, Index, index_of
from ctxguard.stages._matching import Postings, Query, postings_of, query_of
from ctxguard.stages._meaning import (
    FEEDBACK,
    MEANING,
    Meaning,
    feedback_features,
    has_near_terms,
    meaning_features,
    meaning_of,
)
from ctxguard.stages._relevance import score_pieces
from ctxguard.text.analysis import Analyzer
from ctxguard.text.encoders import static_encoder
from ctxguard.text.tokens import EstimateTokenizer
from ctxguard.types import Chunk, Context

QUESTION = "What happens when a party is bought by another company?"
ACQUIRED = "If either firm is acquired or merges, the rights pass to the successor."
OTHERS = (
    "Invoices are paid within thirty days.",
    "The goods are packed in wooden crates.",
    "Samples are kept at four degrees.",
)


def pool(question: str, *texts: str, source: str = "lease.pdf") -> Context:
    chunks = tuple(Chunk(id=str(n), text=text, source=source) for n, text in enumerate(texts))
    return Context(question=question, chunks=chunks)


def read(context: Context) -> tuple[Meaning, Index, Postings, Query]:
    spans = spans_of(context)
    index = index_of(context, spans)
    postings = postings_of(index)
    meaning = meaning_of(context, spans, index, static_encoder())
    return meaning, index, postings, query_of(index, postings)


def features(context: Context) -> dict[str, list[float]]:
    meaning, index, postings, query = read(context)
    found = meaning_features(meaning, index, postings, query)
    found[:, 1:] /= index.one_document
    return {name: found[:, place].tolist() for place, name in enumerate(MEANING)}


def test_rows_are_those_of_the_pieces_own_texts() -> None:
    context = pool(
        QUESTION, "  One thing. Another thing!\n\n- a row\n- more", "", "灯 and a lamp. The end."
    )
    meaning, *_ = read(context)
    texts = [
        chunk.text[start:end]
        for chunk, spans in zip(context.chunks, spans_of(context), strict=True)
        for start, end in spans
    ]
    own = static_encoder().encode(texts)
    alike = np.einsum("ij,ij->i", own, meaning.pieces)
    assert alike.tolist() == pytest.approx((own**2).sum(axis=1).tolist(), abs=0.02)


def test_without_the_bytes_of_tokens_the_texts_are_read() -> None:
    context = pool(QUESTION, ACQUIRED, *OTHERS)
    plain = Context(
        question=QUESTION, chunks=context.chunks, analyzer=Analyzer(EstimateTokenizer())
    )
    known, guessed = read(context)[0], read(plain)[0]
    assert np.allclose(known.pieces, guessed.pieces, atol=0.02)


def test_a_clause_in_other_words_is_the_nearest() -> None:
    found = features(pool(QUESTION, *OTHERS, ACQUIRED))
    assert found["meaning"].index(1.0) == found["chunk_meaning"].index(1.0) == 3


def test_near_words_count() -> None:
    found = features(
        pool(
            "When does the doctor get money?",
            "Physicians must be paid at once.",
            "Bridges must be painted at once.",
        )
    )
    assert found["near"][0] == 1.0
    assert found["near"][1] < 0.5


def test_a_piece_is_seen_with_its_neighbours_and_its_heading() -> None:
    text = "Takeover of a company\n\nIt is settled as follows here below in this part of the text."
    found = features(pool(QUESTION, text, *OTHERS))
    assert found["heading_meaning"][0] == 0
    assert found["heading_meaning"][1] > 0.9
    assert found["around_meaning"][1] > found["meaning"][1]


def test_neighbours_are_added_up_as_vectors_are() -> None:
    context = pool(QUESTION, " ".join((ACQUIRED, *OTHERS)), OTHERS[1])
    meaning, index, postings, query = read(context)
    rows = meaning.pieces
    groups = [rows[:2], rows[:3], rows[1:4], rows[2:4], rows[4:]]
    sums = np.array([group.sum(axis=0) for group in groups])
    cosines = sums @ meaning.question / np.linalg.norm(sums, axis=1)
    found = meaning_features(meaning, index, postings, query)[:, MEANING.index("around_meaning")]
    found /= index.one_document
    assert found.tolist() == pytest.approx((np.maximum(cosines, 0) / cosines.max()).tolist(), 1e-5)


def test_documents_of_their_own_are_compared_by_words_only() -> None:
    chunks = tuple(
        Chunk(id=str(n), text=text, metadata={"title": f"T{n}"})
        for n, text in enumerate((ACQUIRED, *OTHERS))
    )
    context = Context(question=QUESTION, chunks=chunks)
    meaning, index, postings, query = read(context)
    assert not meaning.pieces.any()
    found = meaning_features(meaning, index, postings, query)
    assert found[:, MEANING.index("near")].any()
    assert not found[:, MEANING.index("near") + 1 :].any()


def test_feedback_leads_from_the_best_piece_to_what_is_like_it() -> None:
    context = pool(
        "Who pays the bill?", "The bill is paid by freight.", *OTHERS, "Freight goes by rail."
    )
    meaning, index, _, _ = read(context)

    def with_best(place: int) -> Floats:
        alone = np.full(index.pieces, 1e-6)
        alone[place] = 0.9
        return feedback_features(meaning, index, alone)[:, 0]

    assert with_best(0)[4] > with_best(2)[4]
    assert with_best(0).argmax() == 0


def test_what_is_in_no_word_near_is_not_known() -> None:
    near, *_, query = read(pool("When does the doctor get money?", "Physicians are busy."))
    assert has_near_terms(near, query)
    far, *_, query = read(pool("How many moons does Saturn have?", "Invoices are paid."))
    assert not has_near_terms(far, query)
    context = pool("How many moons does Saturn have?", *OTHERS)
    scores = score_pieces(context, spans_of(context), encoder=static_encoder())
    assert not scores.chunks.any()


words = st.sampled_from(["party", "bought", "company", "the", "60", "\ud800", "灯", "\0", "x.\n"])
given_texts = st.lists(st.lists(words, max_size=8).map(" ".join), max_size=6)


@given(question=st.lists(words, max_size=5).map(" ".join), texts=given_texts)
def test_shares_whatever_comes_in(question: str, texts: list[str]) -> None:
    meaning, index, postings, query = read(pool(question, *texts))
    seen = meaning_features(meaning, index, postings, query)
    back = feedback_features(meaning, index, np.zeros(index.pieces))
    assert seen.shape == (index.pieces, len(MEANING))
    assert back.shape == (index.pieces, len(FEEDBACK))
    both = np.concatenate([seen, back], axis=1)
    assert ((both >= 0) & (both <= 1 + 1e-9)).all()
