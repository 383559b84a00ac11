"""What pieces have to do with each other: features of the second layer.

A question may need two passages of which only the first is like it: "When was the director of Jaws
born?" is answered where the name stands that the first passage brings in. So the best pieces lead
to pieces of other chunks with which they share rare terms or whose title they name, twice over
(in the manner of HippoRAG, Gutiérrez et al. 2024, with words in the place of extracted entities).
And in a document cut into chunks an answer goes on in the neighbouring sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._index import Floats, Index, Ints
from ctxguard.stages._matching import Postings, Query

__all__ = ["LINK", "Links", "link_features", "logit"]

LINK = (
    *("alone", "rank", "hop", "hop_title", "hop_cover", "neighbours", "around", "one_document"),
)
"""Features in the order of `link_features`."""

_SEEDS = 12
"""Pieces that others are reached from."""
_SECOND = 0.6
"""What a hop counts beside the piece's own score when the second hop begins."""
_BLOCK = 4096
"""Pieces that are compared with the seeds at once, so that memory stays flat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The terms that lead from the best pieces to others."""

    terms: Ints
    """Terms of the best pieces and their titles that the question does not have, ascending."""
    strongest: Floats
    """What each of them counts, 0 to 1: its rarity times how good the best piece with it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hop:
    """How well each piece is reached, three ways; shape `(pieces,)` each."""

    shared: Floats
    title: Floats
    cover: Floats
    links: Links


def logit(probability: Floats) -> Floats:
    """Log-odds, within ±6.9."""
    clipped = np.clip(probability, 1e-3, 1 - 1e-3)
    return np.log(clipped / (1 - clipped))


def link_features(
    index: Index, postings: Postings, query: Query, alone: Floats
) -> tuple[Floats, Links]:
    """Features of every piece, shape `(pieces, len(LINK))`, and the terms of the first hop.

    Args:
        index: the rows.
        postings: their terms.
        query: the question's terms.
        alone: P of each piece as the first layer sees it.
    """
    base = alone / max(float(alone.max(initial=0)), 1e-9)
    first = _hop(index, postings, query, base)
    reached = base + _SECOND * (first.shared + first.title)
    second = _hop(index, postings, query, reached / max(float(reached.max(initial=0)), 1e-9))
    near, around = _neighbours(index.chunk, alone)
    order = np.empty(alone.size)
    order[np.argsort(-alone, kind="stable")] = np.arange(alone.size)
    columns = [
        logit(alone) / 3,
        1 / (1 + order / 3),
        first.shared,
        first.title,
        second.cover,
        logit(near) / 3 * index.one_document,
        logit(around) / 3 * index.one_document,
        np.full(alone.size, index.one_document),
    ]
    return np.stack(columns, axis=1), first.links


def _hop(index: Index, postings: Postings, query: Query, base: Floats) -> _Hop:
    """From the best pieces to pieces of other chunks."""
    seeds = np.argsort(-base, kind="stable")[:_SEEDS]
    seeds = seeds[base[seeds] > 0]
    terms = _terms_of(index, postings, query, seeds)
    rows = _rows(index, postings, terms)
    pieces, titles = rows[: index.pieces], rows[index.pieces :]
    owner = index.chunk[seeds]
    rarity = postings.chunk_idf[terms].astype(np.float32)
    shared = np.zeros((seeds.size, index.pieces), dtype=np.float32)
    seed_rows = np.maximum(pieces[seeds], titles[owner]) * rarity**2
    for start in range(0, index.pieces, _BLOCK):
        block = slice(start, start + _BLOCK)
        shared[:, block] = seed_rows @ np.maximum(pieces[block], titles[index.chunk[block]]).T
    other = owner[:, None] != index.chunk[None, :]
    shared *= other
    usual = float(np.median(shared.max(axis=1))) if seeds.size else 0.0
    strength = np.minimum(shared / max(usual, 1e-9), 1.5)
    strength /= strength + 0.5
    mentions = np.asarray((pieces[seeds] * rarity) @ titles.T, dtype=np.float32)
    named = _named_titles(index, postings, query, mentions)
    score = base[seeds][:, None]
    return _Hop(
        shared=(score * strength).max(axis=0, initial=0),
        title=(score * (named[:, index.chunk] * other)).max(axis=0, initial=0),
        cover=(strength * _joint_cover(index, query, seeds)).max(axis=0, initial=0),
        links=_links(terms, rarity, pieces[seeds], base[seeds]),
    )


def _terms_of(index: Index, postings: Postings, query: Query, seeds: Ints) -> Ints:
    """Terms of the seeds and of their titles that the question does not have."""
    wanted = np.zeros(index.pieces + index.chunks, dtype=np.bool_)
    wanted[seeds] = True
    wanted[index.pieces + index.chunk[seeds]] = True
    terms = np.unique(postings.term[wanted[postings.row]])
    return terms[query.column[terms] < 0]


def _rows(index: Index, postings: Postings, terms: Ints) -> NDArray[np.float32]:
    """Which row holds which of the terms: 1 or 0, shape `(pieces + chunks, terms)`."""
    column = np.full(len(index.terms), -1, dtype=np.int64)
    column[terms] = np.arange(terms.size)
    place = column[postings.term]
    found = place >= 0
    rows = np.zeros((index.pieces + index.chunks, terms.size), dtype=np.float32)
    rows[postings.row[found], place[found]] = 1
    return rows


def _named_titles(
    index: Index, postings: Postings, query: Query, named: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Which share of each title's terms, the question's aside, each seed names."""
    titles = postings.row >= index.pieces
    term = postings.term[titles]
    weight = postings.chunk_idf[term] * (query.column[term] < 0)
    owner = postings.row[titles] - index.pieces
    whole = np.bincount(owner, weights=weight, minlength=index.chunks).astype(np.float32)
    return np.where(whole > 0, named / np.maximum(whole, 1e-6), 0).astype(np.float32)


def _joint_cover(index: Index, query: Query, seeds: Ints) -> Floats:
    """How much of the question each seed and each piece hold together, titles included."""
    held = (query.counts[: index.pieces] + query.counts[index.pieces :][index.chunk] > 0).astype(
        np.float64
    )
    own = held @ query.weights
    return own[seeds][:, None] + own[None, :] - (held[seeds] * query.weights) @ held.T


def _links(
    terms: Ints, rarity: NDArray[np.float32], held: NDArray[np.float32], score: Floats
) -> Links:
    best = (held * score[:, None].astype(np.float32)).max(axis=0, initial=0)
    weight = best * rarity / max(float(rarity.max(initial=0)), 1e-9)
    return Links(terms=terms, strongest=weight.astype(np.float64))


def _neighbours(chunk: Ints, alone: Floats) -> tuple[Floats, Floats]:
    """P of the better neighbour in the chunk, and of two on each side together."""
    near = np.zeros((4, alone.size))
    for place, distance in enumerate((1, 2)):
        same = chunk[distance:] == chunk[:-distance]
        near[place, distance:] = alone[:-distance] * same
        near[place + 2, : max(0, alone.size - distance)] = alone[distance:] * same
    return np.maximum(near[0], near[2]), (near[0] + near[2] + (near[1] + near[3]) / 2) / 3
