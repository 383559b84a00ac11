"""How likely each piece of the chunks, and each chunk, helps to answer the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._index import Vocabulary, build_index
from ctxguard.stages._terms import raw_words
from ctxguard.types import Context, Span

__all__ = ["Scores", "TermWeights", "score_pieces"]

TermWeights: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Numbers of terms, ascending, and what each of them counts; equal lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What was found of the pieces and the chunks of a Context, in its order."""

    pieces: tuple[NDArray[np.float64], ...]
    """Per chunk: P(the piece helps to answer the question), one per span."""
    chunks: NDArray[np.float64]
    """P(the chunk helps), shape `(chunks,)`."""
    terms: tuple[tuple[TermWeights, ...], ...]
    """Per chunk and piece: the question's and hop terms that it holds. A term has one number and
    one weight in all pieces, so that what a selection covers is the sum over distinct numbers."""
    names: tuple[str, ...]
    """What the numbers stand for, as stems."""


def score_pieces(
    context: Context, spans: Sequence[Sequence[Span]], *, encoder: object | None = None
) -> Scores:
    """Score all pieces of all chunks together; linear in the length of the texts.

    Args:
        context: the question and the chunks.
        spans: per chunk, the characters of its pieces.
        encoder: text to vectors, an additional signal; None: words only.
    """
    del encoder
    vocabulary = Vocabulary()
    question = vocabulary.number(raw_words(context.question))
    index = build_index(context.chunks, spans, vocabulary)
    asked = np.unique(vocabulary.terms_of(question)) if question.size else question
    asked = asked[asked > 0]
    total = index.pieces
    # First version: BM25 (Robertson and Zaragoza 2009) over piece and title as one field.
    wanted = np.isin(index.words, asked)
    place = np.searchsorted(asked, index.words[wanted])
    tf = np.zeros((index.lengths.size, asked.size))
    np.add.at(tf, (index.rows[wanted], place), 1.0)
    tf = tf[:total] + tf[total:][index.chunk]
    df = (tf > 0).sum(axis=0)
    idf = np.log1p((total - df + 0.5) / (df + 0.5))
    length = index.lengths[:total] / max(1.0, float(index.lengths[:total].mean() if total else 1))
    bm25 = (tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length[:, None])) * idf).sum(axis=1)
    p = bm25 / (bm25 + 4.0)
    chunks = np.zeros(index.chunks)
    np.maximum.at(chunks, index.chunk, p)
    bounds = np.cumsum([len(each) for each in spans])[:-1] if spans else []
    held = [
        (asked[row > 0], idf[row > 0]) for row in tf
    ]
    terms, at = [], 0
    for each in spans:
        terms.append(tuple(held[at : at + len(each)]))
        at += len(each)
    return Scores(
        pieces=tuple(np.split(p, bounds)) if len(spans) else (),
        chunks=chunks,
        terms=tuple(terms),
        names=index.terms,
    )
