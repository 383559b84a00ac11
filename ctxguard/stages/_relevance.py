"""How likely each piece of the chunks, and each chunk, helps to answer the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._index import Floats, Index, Ints, index_of
from ctxguard.stages._linking import Links, link_features, logit
from ctxguard.stages._matching import Postings, Query, features_of, postings_of, query_of
from ctxguard.stages._rank_model import RankModel, shipped_model
from ctxguard.text.encoders import Encoder, StaticEncoder
from ctxguard.types import Context, Span

__all__ = ["Scores", "TermWeights", "chunk_features", "cover_of", "score_pieces"]

TermWeights: TypeAlias = tuple[Ints, Floats]
"""Numbers of terms, ascending, and what each of them counts; equal lengths."""

_HOP_SHARE = 0.5
"""What a term that leads on counts at most, beside all of the question's terms together: 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What was found of the pieces and the chunks of a Context, in its order."""

    pieces: tuple[Floats, ...]
    """Per chunk: P(the piece helps to answer the question), one per span."""
    chunks: Floats
    """P(the chunk helps), shape `(chunks,)`."""
    terms: tuple[tuple[TermWeights, ...], ...]
    """Per chunk and piece: the question's and hop terms that it holds. A term has one number and
    one weight in all pieces, so that what a selection covers is the sum over distinct numbers."""
    names: tuple[str, ...]
    """A word of each term in lower case, by its number."""
    features: Floats
    """Of each piece, what the last layer saw; shape `(pieces, features)`."""
    vectors: bool
    """Whether word vectors were used."""
    cover: Floats
    """How much of the question each chunk has, its title included; shape `(chunks,)`."""
    asked: frozenset[int]
    """Numbers of the question's own terms; the others in `terms` lead from one chunk to another.
    None at all: the question says nothing, and every P is 0."""


def score_pieces(
    context: Context,
    spans: Sequence[Sequence[Span]],
    *,
    encoder: Encoder | None = None,
    model: RankModel | None = None,
) -> Scores:
    """Score all pieces of all chunks together; near-linear in the length of the texts.

    Args:
        context: the question and the chunks.
        spans: per chunk, the characters of its pieces, in order and without overlap.
        encoder: a `StaticEncoder` for closeness in meaning, word by word; others are too slow for
            single words and are not asked. None: words only.
        model: weights; None: those that ship.
    """
    model = model or shipped_model()
    index = index_of(context, spans)
    postings = postings_of(index)
    query = query_of(index, postings)
    vectors = _vectors(index, encoder)
    weights = model.words if vectors is None else model.vectors
    match = features_of(index, postings, query, vectors)
    alone = weights.alone.probability(match)
    link, links = link_features(index, postings, query, alone)
    features = np.concatenate([match, link], axis=1)
    pieces = weights.linked.probability(features)
    pieces *= query.terms.size > 0
    cover = cover_of(index, query)
    chunks = weights.chunk.probability(chunk_features(index.chunk, pieces, cover))
    chunks *= (query.terms.size > 0) & (np.bincount(index.chunk, minlength=index.chunks) > 0)
    bounds = np.cumsum([len(each) for each in spans])[:-1]
    return Scores(
        pieces=tuple(np.split(pieces, bounds)) if spans else (),
        chunks=chunks,
        terms=_terms(postings, query, links, spans),
        names=index.forms,
        features=features,
        vectors=vectors is not None,
        cover=cover,
        asked=frozenset(query.terms.tolist()),
    )


def cover_of(index: Index, query: Query) -> Floats:
    """How much of the question each chunk has, its title included: 0 to 1.

    Unlike the features of pieces it is no share of the best, so it is low where nothing is good.
    """
    together = query.counts[index.pieces :].copy()
    np.add.at(together, index.chunk, query.counts[: index.pieces])
    return (together > 0) @ query.weights


def chunk_features(chunk: Ints, pieces: Floats, cover: Floats) -> Floats:
    """Features of each chunk, in the order of `CHUNK`.

    Args:
        chunk: the chunk of each piece.
        pieces: P of each piece.
        cover: how much of the question each chunk has.
    """
    chunks = cover.size
    best = np.zeros(chunks)
    np.maximum.at(best, chunk, pieces)
    none = np.bincount(chunk, weights=np.log1p(-np.minimum(pieces, 0.999)), minlength=chunks)
    order = np.empty(chunks)
    order[np.argsort(-best, kind="stable")] = np.arange(chunks)
    most = np.full(chunks, cover.max(initial=0))
    return np.stack(
        [logit(best), logit(1 - np.exp(none)), 1 / (1 + order / 3), cover, most], axis=1
    )


def _vectors(index: Index, encoder: Encoder | None) -> NDArray[np.float32] | None:
    """A unit vector for each term."""
    if not isinstance(encoder, StaticEncoder):
        return None
    return encoder.encode_words(index.forms)


def _terms(
    postings: Postings, query: Query, links: Links, spans: Sequence[Sequence[Span]]
) -> tuple[tuple[TermWeights, ...], ...]:
    """The question's and hop terms of each piece, with what they count."""
    weight = np.zeros(query.column.size)
    leads = links.strongest * (postings.chunks[links.terms] > 1)
    weight[links.terms] = _HOP_SHARE * leads / max(float(leads.sum()), 1e-9)
    weight[query.terms] = query.weights
    counts = weight[postings.term] > 0
    row, term = postings.row[counts], postings.term[counts]
    held = weight[term]
    total = sum(map(len, spans))
    edges = np.searchsorted(row, np.arange(total + 1)).tolist()
    flat = [(term[start:end], held[start:end]) for start, end in pairwise(edges)]
    firsts = np.cumsum([0, *map(len, spans)]).tolist()
    return tuple(tuple(flat[start:end]) for start, end in pairwise(firsts))
