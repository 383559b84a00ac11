"""How likely each piece of the chunks, and each chunk, helps to answer the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import cast

import numpy as np

from ctxguard.stages._constraints import constraints_met
from ctxguard.stages._index import Floats, Index, Ints, index_of, name_of
from ctxguard.stages._linking import Links, link_features, logit
from ctxguard.stages._matching import Postings, Query, features_of, postings_of, query_of
from ctxguard.stages._meaning import (
    feedback_features,
    has_near_terms,
    meaning_features,
    meaning_of,
)
from ctxguard.stages._rank_model import RankModel, shipped_model
from ctxguard.text.encoders import Encoder
from ctxguard.types import Context, Span

__all__ = ["Scores", "chunk_features", "cover_of", "score_pieces", "shifted"]

_CONSTRAINT = 1.5
"""What it adds to the logarithm of the odds that a chunk's metadata have the date, the version or
the number that is asked for; a rival takes it off. Enough to tell versions apart, too little to
lift what is about something else."""
_HOP_SHARE = 0.5
"""What a term that leads on counts at most, beside all of the question's terms together: 1."""
_BYTES_PER_PIECE = 512
"""What is kept of a piece weighs at most, features, terms and span (measured: 350)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What was found of the pieces and the chunks of a Context, in its order."""

    pieces: tuple[Floats, ...]
    """Per chunk: P(the piece helps to answer the question), one per span."""
    chunks: Floats
    """P(the chunk helps), shape `(chunks,)`."""
    terms: tuple[tuple[tuple[int, ...], ...], ...]
    """Per chunk and piece: numbers of the question's and hop terms that it holds, ascending."""
    weights: Mapping[int, float]
    """What each of those terms counts, in whichever piece it stands, so that what a selection
    covers is the sum over distinct numbers."""
    names: Mapping[int, str]
    """A word of each of those terms in lower case."""
    features: tuple[Floats, ...]
    """Per chunk: of each piece, what the last layer saw; shape `(pieces, features)` each."""
    vectors: bool
    """Whether vectors were used."""
    cover: Floats
    """How much of the question each chunk has, its title included; shape `(chunks,)`."""
    met: Floats
    """Whether the metadata have the date, the version or the number that is asked for, 1, or a
    rival, -1; in `pieces` and `chunks` already; shape `(chunks,)`."""
    asked: frozenset[int]
    """Numbers of the question's own terms; the others in `terms` lead from one chunk to another.
    Every P is 0 where there is none, or where none occurs nor, by vectors, is near to what does."""


def score_pieces(
    context: Context,
    spans: Sequence[Sequence[Span]],
    *,
    encoder: Encoder | None = None,
    model: RankModel | None = None,
) -> Scores:
    """Score all pieces of all chunks together; near-linear in the length of the texts.

    The order of the chunks does not matter, and the last few results are kept with the analyzer:
    what Rank found, Compress need not find again.

    Args:
        context: the question and the chunks.
        spans: per chunk, the characters of its pieces, in order and without overlap.
        encoder: for closeness in meaning, asked once for a question and its pieces. None: words
            only.
        model: weights; None: those that ship.
    """
    chunks = context.chunks
    # Sums of floats and ties come out the same in whatever order the chunks came in, so that
    # ranking what was ranked moves nothing.
    order = sorted(range(len(chunks)), key=lambda at: (chunks[at].text, chunks[at].id))
    model = model or shipped_model()
    ordered = replace(context, chunks=tuple(chunks[at] for at in order))
    pieces = tuple(tuple(spans[at]) for at in order)
    titles = tuple(name_of(chunk) for chunk in ordered.chunks)
    texts = tuple(chunk.text for chunk in ordered.chunks)
    key = (context.question, _Same(encoder), model, texts, titles, pieces)
    recent = context.analyzer.recent
    found = cast("Scores | None", recent.get(key))
    if found is None:
        found = _scored(ordered, pieces, encoder, model)
        recent.put(key, found, _BYTES_PER_PIECE * sum(map(len, pieces)))
    return _constrained(_arranged(found, order), constraints_met(context.question, chunks))


class _Same:
    """Stands for an object in a key, whatever its own equality; holds it, so its id stays its."""

    __slots__ = ("held",)

    def __init__(self, held: object) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)


def _scored(
    context: Context,
    spans: Sequence[Sequence[Span]],
    encoder: Encoder | None,
    model: RankModel,
) -> Scores:
    index = index_of(context, spans)
    postings = postings_of(index)
    query = query_of(index, postings)
    meaning = None if encoder is None else meaning_of(context, spans, index, encoder)
    weights = model.words if meaning is None else model.vectors
    match = features_of(index, postings, query)
    if meaning is not None:
        close = meaning_features(meaning, index, postings, query)
        match = np.concatenate([match, close], axis=1)
    alone = weights.alone.probability(match)
    link, links = link_features(index, postings, query, alone)
    back = [] if meaning is None else [feedback_features(meaning, index, alone)]
    features = np.concatenate([match, link, *back], axis=1)
    pieces = weights.linked.probability(features)
    cover = cover_of(index, query)
    # Features are shares of the best: without a word in common, or a near one, there is no best,
    # and what they say is noise.
    known = bool(cover.any()) or (meaning is not None and has_near_terms(meaning, query))
    pieces *= known
    chunks = weights.chunk.probability(chunk_features(index.chunk, pieces, cover))
    chunks *= known & (np.bincount(index.chunk, minlength=index.chunks) > 0)
    counts = _counts(postings, query, links)
    said = np.flatnonzero(counts)
    edges = list(pairwise(accumulate(map(len, spans), initial=0)))
    return Scores(
        pieces=tuple(pieces[start:end] for start, end in edges),
        chunks=chunks,
        terms=_terms(index, postings, counts, edges),
        weights=dict(zip(said.tolist(), counts[said].tolist(), strict=True)),
        names=dict(zip(said.tolist(), index.forms_of(said), strict=True)),
        features=tuple(features[start:end] for start, end in edges),
        vectors=meaning is not None,
        cover=cover,
        met=np.zeros(index.chunks),
        asked=frozenset(query.terms.tolist()),
    )


def _arranged(scores: Scores, order: Sequence[int]) -> Scores:
    """Scores in the order of a Context, from those of its chunks in the given one."""
    back = np.empty(len(order), dtype=np.int64)
    back[np.array(order, dtype=np.int64)] = np.arange(len(order))
    places: list[int] = back.tolist()
    return replace(
        scores,
        pieces=tuple(scores.pieces[at] for at in places),
        chunks=scores.chunks[back],
        terms=tuple(scores.terms[at] for at in places),
        features=tuple(scores.features[at] for at in places),
        cover=scores.cover[back],
    )


def _constrained(scores: Scores, met: Floats) -> Scores:
    """Scores with what the question asks for by date, version or number."""
    if not met.any():
        return scores
    return replace(
        scores,
        pieces=tuple(
            shifted(p, _CONSTRAINT * by) for p, by in zip(scores.pieces, met.tolist(), strict=True)
        ),
        chunks=shifted(scores.chunks, _CONSTRAINT * met),
        met=met,
    )


def shifted(p: Floats, by: Floats | float) -> Floats:
    """P with the logarithm of its odds moved; what is impossible stays so."""
    return np.where(p > 0, 1 / (1 + np.exp(-(logit(p) + by))), p)


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


def _counts(postings: Postings, query: Query, links: Links) -> Floats:
    """What each term counts: of the question's, and of those that lead on; shape `(terms,)`."""
    weight = np.zeros(query.column.size)
    leads = links.strongest * (postings.chunks[links.terms] > 1)
    weight[links.terms] = _HOP_SHARE * leads / max(float(leads.sum()), 1e-9)
    weight[query.terms] = query.weights
    return weight


def _terms(
    index: Index, postings: Postings, counts: Floats, edges: Sequence[Span]
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The terms of each piece that count."""
    held = np.flatnonzero(counts[postings.term] > 0)
    flat: list[int] = postings.term[held].tolist()
    bounds = np.searchsorted(postings.row[held], np.arange(index.pieces + 1)).tolist()
    each = [tuple(flat[start:end]) for start, end in pairwise(bounds)]
    return tuple(tuple(each[start:end]) for start, end in edges)
