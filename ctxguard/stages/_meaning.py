"""What each piece has in common with the question in meaning, where the words differ.

Contracts answer "What goes on after the agreement ends?" with "upon termination". Sentence vectors
bring the two together. Passages that a question was written from have its words, and vectors only
blur what they say: so features count as far as the chunks are parts of one document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxguard.errors import InputError
from ctxguard.stages._index import Floats, Index, Ints
from ctxguard.stages._matching import Postings, Query, below_headings, rarity_of, relative
from ctxguard.text.encoders import Encoder, StaticEncoder, static_encoder, unit_rows
from ctxguard.types import Context, Span

__all__ = [
    "FEEDBACK",
    "MEANING",
    "Meaning",
    "feedback_features",
    "has_near_terms",
    "meaning_features",
    "meaning_of",
]

MEANING = ("near", "meaning", "chunk_meaning", "around_meaning", "heading_meaning")
"""Features of a piece seen on its own, in the order of `meaning_features`."""
FEEDBACK = ("feedback",)
"""Features of a piece with the others in view, in the order of `feedback_features`."""

_NEAR = 0.5
"""Cosine from which two words count as near in meaning; below it stand words of one topic."""
_BEST = 10
"""Pieces that the question is joined with. With 5 or 20 it is the same, within the noise."""

_Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """Vectors of the question, of the pieces and of the terms: unit length, or zero."""

    question: _Vectors
    """Shape `(dimensions,)`."""
    pieces: _Vectors
    """Shape `(pieces, dimensions)`."""
    terms: _Vectors
    """Shape `(terms, dimensions)`."""


def meaning_of(
    context: Context, spans: Sequence[Sequence[Span]], index: Index, encoder: Encoder
) -> Meaning:
    """Vectors of a Context's pieces, from the token ids that were counted where it is possible.

    Where each chunk is a document of its own they would count for nothing, and are zero: an
    encoder that takes its time is not asked for them.

    Args:
        context: the question and the chunks.
        spans: per chunk, the characters of its pieces. What stands between two of them is taken
            for a part of the first: `divide` leaves out whitespace only.
        index: of the same pieces.
        encoder: whose vectors. One that is no `StaticEncoder` is asked once, for the question and
            all pieces together; single words keep the table's vectors, since a model of sentences
            has seen few words alone.
    """
    words = encoder if isinstance(encoder, StaticEncoder) else static_encoder()
    terms = words.encode_words(index.forms)
    if not (index.one_document and index.pieces):
        nothing = np.zeros((1 + index.pieces, words.dimensions), dtype=np.float32)
        return Meaning(question=nothing[0], pieces=nothing[1:], terms=terms)
    if isinstance(encoder, StaticEncoder):
        question, rows = encoder.encode([context.question])[0], _rows_of(context, spans, encoder)
    else:
        question, rows = _asked(encoder, [context.question, *_texts_of(context, spans)])
    return Meaning(question=question, pieces=rows, terms=terms)


def _rows_of(context: Context, spans: Sequence[Sequence[Span]], encoder: StaticEncoder) -> _Vectors:
    """A unit row for each piece."""
    analyses = context.analyzer.analyse_all([chunk.text for chunk in context.chunks])
    # As if the texts stood one after the other, a character apart.
    bases = np.cumsum([0, *(len(one.text) + 1 for one in analyses[:-1])])
    ends = np.concatenate([one.token_ends for one in analyses])
    ends = ends + np.repeat(bases, [one.tokens for one in analyses])
    starts = np.fromiter((start for pieces in spans for start, _ in pieces), dtype=np.int64)
    starts += np.repeat(bases, [len(pieces) for pieces in spans])
    first = np.searchsorted(ends, starts, side="right")
    ids = np.concatenate([one.ids for one in analyses])
    rows = encoder.encode_ids(ids, context.analyzer.tokenizer, first.tolist())
    if rows is not None:
        return rows
    return encoder.encode(_texts_of(context, spans))


def _asked(encoder: Encoder, texts: list[str]) -> tuple[_Vectors, _Vectors]:
    """The unit row of the first text, and those of the others, from somebody's own class."""
    rows = unit_rows(encoder.encode(texts))
    if len(rows) != len(texts):
        raise InputError(
            f"encoder: {encoder.name} gave {len(rows)} vectors for {len(texts)} texts; encode() "
            "has to return one row per text"
        )
    return rows[0], rows[1:]


def _texts_of(context: Context, spans: Sequence[Sequence[Span]]) -> list[str]:
    return [
        chunk.text[start:end]
        for chunk, pieces in zip(context.chunks, spans, strict=True)
        for start, end in pieces
    ]


def meaning_features(meaning: Meaning, index: Index, postings: Postings, query: Query) -> Floats:
    """Features of every piece, shape `(pieces, len(MEANING))`.

    Args:
        meaning: the vectors.
        index: the rows.
        postings: their terms.
        query: the question's terms.
    """
    rows, chunk = meaning.pieces, index.chunk
    lengths = np.bincount(index.rows, minlength=index.pieces + index.chunks)[: index.pieces]
    toward = (rows @ meaning.question).astype(np.float64)
    close = _share(toward)
    columns = [
        close,
        _share(_of_chunks(rows, toward, chunk, index.chunks))[chunk],
        _share(_around(rows, toward, chunk)),
        below_headings(close, lengths.astype(np.float64), chunk),
    ]
    near = relative(_near(meaning, index, postings, query))
    return np.stack([near, *(column * index.one_document for column in columns)], axis=1)


def feedback_features(meaning: Meaning, index: Index, alone: Floats) -> Floats:
    """How near each piece is to the question and the best pieces together.

    Pseudo-relevance feedback (Rocchio 1971): what was found by its words says how the document
    speaks of it. Shape `(pieces, len(FEEDBACK))`.

    Args:
        meaning: the vectors.
        index: the rows.
        alone: P of each piece as the first layer sees it.
    """
    best = np.argsort(-alone, kind="stable")[:_BEST]
    joined = (alone[best].astype(np.float32)[:, None] * meaning.pieces[best]).sum(axis=0)
    joined /= max(float(np.linalg.norm(joined)), 1e-9)
    found = _share((meaning.pieces @ (meaning.question + joined)).astype(np.float64))
    return (found * index.one_document)[:, None]


def has_near_terms(meaning: Meaning, query: Query) -> bool:
    """Whether any term of the chunks is near to one of the question's that it is not itself."""
    likeness = meaning.terms[query.terms] @ meaning.terms.T
    likeness[:, query.terms] = 0
    return bool((likeness > _NEAR).any())


def _share(cosines: Floats) -> Floats:
    """Shares of the best cosine; below zero, texts have nothing to do with each other."""
    return relative(np.maximum(cosines, 0))


def _of_chunks(rows: _Vectors, toward: Floats, chunk: Ints, chunks: int) -> Floats:
    """Cosine of each chunk, the sum of its pieces, with the question; 0 without pieces."""
    found = np.zeros(chunks)
    if not chunk.size:
        return found
    starts = np.flatnonzero(np.diff(chunk, prepend=-1))
    sums = np.add.reduceat(rows, starts, axis=0)
    length = np.sqrt(np.einsum("ij,ij->i", sums, sums, dtype=np.float64))
    found[chunk[starts]] = np.add.reduceat(toward, starts) / np.maximum(length, 1e-9)
    return found


def _around(rows: _Vectors, toward: Floats, chunk: Ints) -> Floats:
    """Cosine of each piece and its two neighbours together with the question.

    The length of a sum of rows is what their products say, so no row is added up.
    """
    size = toward.size
    along = toward.copy()
    square = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    length = square.copy()
    if size > 1:
        same = chunk[1:] == chunk[:-1]
        along[1:] += toward[:-1] * same
        along[:-1] += toward[1:] * same
        product = np.einsum("ij,ij->i", rows[1:], rows[:-1], dtype=np.float64)
        length[1:] += (square[:-1] + 2 * product) * same
        length[:-1] += (square[1:] + 2 * product) * same
    if size > 2:
        product = np.einsum("ij,ij->i", rows[2:], rows[:-2], dtype=np.float64)
        length[1:-1] += 2 * product * (chunk[2:] == chunk[:-2])
    return along / np.sqrt(np.maximum(length, 1e-9))


def _near(meaning: Meaning, index: Index, postings: Postings, query: Query) -> Floats:
    """How much of the question each piece says in its own or in near words."""
    likeness = meaning.terms[query.terms] @ meaning.terms.T
    shared = np.clip((likeness.astype(np.float64) - _NEAR) / (1 - _NEAR), 0, 1)
    shared[np.arange(query.terms.size), query.terms] = 1
    piece = postings.row < index.pieces
    row, term = postings.row[piece], postings.term[piece]
    total = np.zeros(index.pieces)
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    if starts.size:
        best = np.maximum.reduceat(shared[:, term], starts, axis=1)
        total[row[starts]] = rarity_of(best.sum(axis=1), index.pieces) @ best
    return total
