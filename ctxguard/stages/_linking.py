"""What pieces have to do with each other: features of the second layer.

A question may need two passages of which only the first is like it: "When was the director of Jaws
born?" is answered where the name stands that the first passage brings in. So the best pieces lead
to pieces of other chunks with which they share rare terms or whose title they name, twice over
(in the manner of HippoRAG, Gutiérrez et al. 2024, with words in the place of extracted entities).
And in a document cut into chunks an answer goes on in the neighbouring sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._index import Bools, Floats, Index, Ints, changes
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
_POSTINGS = 1 << 16
"""Postings that are added up at once, for the same reason."""


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
    bridge = _bridge(index, postings, query, seeds)
    owner = index.chunk[seeds]
    rarity = postings.chunk_idf[bridge.terms].astype(np.float32)
    held = bridge.of_rows(seeds)
    lead = np.maximum(held, bridge.of_rows(index.pieces + owner)) * rarity**2
    shared = _shared(index, bridge, lead, owner)
    usual = median(shared.max(axis=1).tolist()) if seeds.size else 0.0
    named = _named_titles(index, postings, query, bridge.title_sums(held * rarity))
    hop = _Hop(
        shared=np.zeros(index.pieces),
        title=np.zeros(index.pieces),
        cover=np.zeros(index.pieces),
        links=_links(bridge.terms, rarity, held, base[seeds]),
    )
    score = base[seeds][:, None]
    for start in range(0, index.pieces, _BLOCK):
        block = slice(start, start + _BLOCK)
        strength = np.minimum(shared[:, block] / max(usual, 1e-9), 1.5)
        strength /= strength + 0.5
        chunk = index.chunk[block]
        joint = _joint_cover(index, query, seeds, block)
        hop.shared[block] = (score * strength).max(axis=0, initial=0)
        hop.cover[block] = (strength * joint).max(axis=0, initial=0)
        if named.any():
            hop.title[block] = (score * (named[:, chunk] * (owner[:, None] != chunk))).max(
                axis=0, initial=0
            )
    return hop


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bridge:
    """The postings of those terms by which seeds lead to other pieces."""

    terms: Ints
    """Of the seeds and of their titles, those of the question left out; ascending."""
    row: Ints
    """Of each posting, ascending."""
    column: Ints
    """Of each posting: the place of its term in `terms`."""
    rows: int
    pieces: int

    def of_rows(self, rows: Ints) -> NDArray[np.float32]:
        """Which of the terms some rows hold: 1 or 0, shape `(rows, terms)`."""
        held = np.zeros((rows.size, self.terms.size), dtype=np.float32)
        first = np.searchsorted(self.row, rows).tolist()
        last = np.searchsorted(self.row, rows, side="right").tolist()
        for place, (start, end) in enumerate(zip(first, last, strict=True)):
            held[place, self.column[start:end]] = 1
        return held

    def sums(self, weights: NDArray[np.float32], *, but: Bools) -> NDArray[np.float32]:
        """What the terms of each piece count together, per seed; shape `(seeds, pieces)`.

        Args:
            weights: what a term counts for a seed, shape `(seeds, terms)`.
            but: postings of pieces that count for nothing.
        """
        kept = np.flatnonzero(~but)
        return _sums(weights, self.row[kept], self.column[kept], self.pieces)

    def title_sums(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same of titles; shape `(seeds, chunks)`."""
        split = int(np.searchsorted(self.row, self.pieces))
        titles = self.row[split:] - self.pieces
        return _sums(weights, titles, self.column[split:], self.rows - self.pieces)

    def in_title(self, chunk: Ints) -> Bools:
        """Whether the title of its chunk holds the term of each posting of a piece."""
        split = int(np.searchsorted(self.row, self.pieces))
        size = max(1, self.terms.size)
        titles = (self.row[split:] - self.pieces) * size + self.column[split:]
        own = chunk[self.row[:split]] * size + self.column[:split]
        place = np.minimum(np.searchsorted(titles, own), titles.size - 1)
        return titles[place] == own if titles.size else np.zeros(split, dtype=np.bool_)


def _sums(weights: NDArray[np.float32], row: Ints, column: Ints, rows: int) -> NDArray[np.float32]:
    sums = np.zeros((len(weights), rows), dtype=np.float32)
    for start in range(0, row.size, _POSTINGS):
        held = row[start : start + _POSTINGS]
        first = np.flatnonzero(changes(held))
        counts = weights.take(column[start : start + _POSTINGS], axis=1)
        sums[:, held[first]] += np.add.reduceat(counts, first, axis=1)
    return sums


def _bridge(index: Index, postings: Postings, query: Query, seeds: Ints) -> _Bridge:
    rows = index.pieces + index.chunks
    wanted = np.zeros(rows, dtype=np.bool_)
    wanted[seeds] = True
    wanted[index.pieces + index.chunk[seeds]] = True
    leads = np.zeros(index.size, dtype=np.bool_)
    leads[postings.term[wanted[postings.row]]] = True
    leads[query.terms] = False
    found = np.flatnonzero(leads[postings.term])
    return _Bridge(
        terms=np.flatnonzero(leads),
        row=postings.row[found],
        column=(np.cumsum(leads) - 1)[postings.term[found]],
        rows=rows,
        pieces=index.pieces,
    )


def _shared(
    index: Index, bridge: _Bridge, lead: NDArray[np.float32], owner: Ints
) -> NDArray[np.float32]:
    """What each piece of another chunk, its title included, has in common with each seed."""
    both = bridge.in_title(index.chunk)
    shared = bridge.sums(lead, but=both)
    titles = bridge.title_sums(lead)
    if titles.any():
        shared += titles[:, index.chunk]
    shared *= owner[:, None] != index.chunk
    return shared


def _named_titles(
    index: Index, postings: Postings, query: Query, named: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Which share of each title's terms, the question's aside, each seed names."""
    if not named.any():
        return named
    titles = postings.row >= index.pieces
    term = postings.term[titles]
    weight = postings.chunk_idf[term] * (query.column[term] < 0)
    owner = postings.row[titles] - index.pieces
    whole = np.bincount(owner, weights=weight, minlength=index.chunks).astype(np.float32)
    return np.where(whole > 0, named / np.maximum(whole, 1e-6), 0).astype(np.float32)


def _joint_cover(index: Index, query: Query, seeds: Ints, block: slice) -> Floats:
    """How much of the question each seed and each piece hold together, titles included."""
    titles = query.counts[index.pieces :]
    held = query.counts[: index.pieces][block] + titles[index.chunk[block]] > 0
    seed = query.counts[seeds] + titles[index.chunk[seeds]] > 0
    own = held @ query.weights
    return (seed @ query.weights)[:, None] + own - (seed * query.weights) @ held.T


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
