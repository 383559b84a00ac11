"""What each piece has in common with the question, seen on its own: features of the first layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctxguard.stages._index import Floats, Index, Ints, changes, distinct

__all__ = [
    "MATCH",
    "Postings",
    "Query",
    "below_headings",
    "features_of",
    "postings_of",
    "query_of",
    "rarity_of",
    "relative",
]

MATCH = (
    *("match", "chunk_match", "top_term", "title_asked", "title_match", "phrase", "lead"),
    *("heading", "first", "short", "length", "names", "size"),
)
"""Features in the order of `features_of`."""

_K1, _B = 1.2, 0.75
"""BM25's usual constants (Robertson and Zaragoza 2009)."""
_LEAD = 7
"""Words at the beginning of a piece where a clause has its heading ("12.3 Governing Law.")."""
_SHORT = 6
"""A piece of fewer words is a heading, a label or a fragment."""
_HEADING = 9
"""Up to as many words a line may have to head what follows; "Limitation of Liability" has three."""
_UNDER = 6
"""Pieces below a heading that count as headed by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postings:
    """Which row holds which term how often, function words left out; ordered by row and term."""

    row: Ints
    term: Ints
    count: Ints
    idf: Floats
    """Of each term, how rare it is among the pieces; shape `(terms,)`."""
    chunk_idf: Floats
    """The same among the chunks, their titles included."""
    chunks: Ints
    """Of each term, how many chunks hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The question's terms, and which rows hold them."""

    terms: Ints
    """Distinct, ascending; shape `(asked,)`."""
    column: Ints
    """Of each term of the index: its place among the question's terms, -1 for others."""
    weights: Floats
    """What each asked term counts: its idf, and all of them 1 together; shape `(asked,)`."""
    counts: Floats
    """How often each row holds each asked term; shape `(pieces + chunks, asked)`."""


def postings_of(index: Index) -> Postings:
    """Count the terms of every row."""
    size, bits = index.size, index.size.bit_length()
    said = index.words > 0
    # Rows are in order, and a stable sort profits from that: a quarter of the time.
    keys = np.sort((index.rows[said] << bits) + index.words[said], kind="stable")
    first = np.flatnonzero(changes(keys))
    count = np.diff(first, append=keys.size)
    row, term = keys[first] >> bits, keys[first] & ((1 << bits) - 1)
    piece = slice(int(np.searchsorted(row, index.pieces)))
    owner = np.concatenate([index.chunk, np.arange(index.chunks)])[row]
    held = distinct((owner << bits) + term) & ((1 << bits) - 1)
    chunks = np.bincount(held, minlength=size)
    return Postings(
        row=row,
        term=term,
        count=count,
        idf=rarity_of(np.bincount(term[piece], minlength=size), index.pieces),
        chunk_idf=rarity_of(chunks, index.chunks),
        chunks=chunks,
    )


def query_of(index: Index, postings: Postings) -> Query:
    """Look the question's terms up."""
    terms = distinct(index.question)
    column = np.full(index.size, -1, dtype=np.int64)
    column[terms] = np.arange(terms.size)
    counts = np.zeros((index.pieces + index.chunks, terms.size))
    asked = column[postings.term] >= 0
    counts[postings.row[asked], column[postings.term[asked]]] = postings.count[asked]
    weights = postings.idf[terms]
    return Query(
        terms=terms, column=column, weights=weights / (weights.sum() or 1.0), counts=counts
    )


def features_of(index: Index, postings: Postings, query: Query) -> Floats:
    """Features of every piece that need words only, shape `(pieces, len(MATCH))`.

    Args:
        index: the rows.
        postings: their terms.
        query: the question's terms.
    """
    pieces, chunk = index.pieces, index.chunk
    lengths = np.bincount(index.rows, minlength=pieces + index.chunks)[:pieces].astype(float)
    own, titles = query.counts[:pieces], query.counts[pieces:]
    together = np.zeros_like(titles)
    np.add.at(together, chunk, own)
    held = own > 0
    chunk_lengths = np.bincount(chunk, weights=lengths, minlength=index.chunks).astype(np.float64)
    columns = [
        relative(_bm25(own + titles[chunk], lengths, query.weights)),
        relative(_bm25(together + titles, chunk_lengths, postings.chunk_idf[query.terms]))[chunk],
        (held * query.weights).max(axis=1, initial=0) / query.weights.max(initial=1e-9),
        _title_asked(index, postings, query)[chunk],
        ((titles > 0) @ query.weights)[chunk],
        _phrases(index, postings),
        _leads(index, query),
        below_headings(held @ query.weights, lengths, chunk),
        1 / (1 + index.place),
        (lengths < _SHORT).astype(float),
        np.log1p(lengths) / 5,
        _names(index, query),
        np.full(pieces, np.log1p(pieces) / 5),
    ]
    return np.stack(columns, axis=1)


def rarity_of(held_by: Ints, rows: int) -> Floats:
    """How rare a term is that so many of the rows hold; never below 0."""
    return np.log1p((rows - np.minimum(held_by, rows) + 0.5) / (held_by + 0.5))


def _bm25(counts: Floats, lengths: Floats, weights: Floats) -> Floats:
    size = lengths / max(1.0, float(lengths.mean()) if lengths.size else 1.0)
    norm = _K1 * (1 - _B + _B * size)[:, None]
    return (counts * (_K1 + 1) / (counts + norm)) @ weights


def relative(values: Floats) -> Floats:
    """Shares of the best value."""
    return values / max(float(values.max(initial=0)), 1e-9)


def _title_asked(index: Index, postings: Postings, query: Query) -> Floats:
    """How much of each title the question names: 1 for "the Hotel du Nord" asked about by name."""
    titles = postings.row >= index.pieces
    owner = postings.row[titles] - index.pieces
    weight = postings.chunk_idf[postings.term[titles]]
    asked = query.column[postings.term[titles]] >= 0
    whole = np.bincount(owner, weights=weight, minlength=index.chunks)
    return np.bincount(owner, weights=weight * asked, minlength=index.chunks) / np.maximum(
        whole, 1e-9
    )


def _phrases(index: Index, postings: Postings) -> Floats:
    """How many of the question's pairs of neighbouring terms a piece has as neighbours too."""
    size, pieces = index.size, index.pieces
    asked = distinct(index.question[:-1] * size + index.question[1:])
    if not asked.size:
        return np.zeros(pieces)
    said = index.words > 0
    words, rows = index.words[said], index.rows[said]
    known = np.zeros(size, dtype=np.bool_)
    known[index.question] = True
    both = known[words]
    first = np.flatnonzero(both[:-1] & both[1:])
    pairs = words[first] * size + words[first + 1]
    place = np.minimum(np.searchsorted(asked, pairs), asked.size - 1)
    found = (asked[place] == pairs) & (rows[first] == rows[first + 1]) & (rows[first] < pieces)
    hits = np.zeros((pieces, asked.size))
    hits[rows[first][found], place[found]] = 1
    weight = np.minimum(postings.idf[asked // size], postings.idf[asked % size])
    return hits @ weight / max(float(weight.sum()), 1e-9)


def _leads(index: Index, query: Query) -> Floats:
    """How much of the question stands in the first words of each piece."""
    asked = np.flatnonzero(query.column[index.words] >= 0)
    rows = index.rows[asked]
    leading = (asked - np.searchsorted(index.rows, rows) < _LEAD) & (rows < index.pieces)
    hits = np.zeros((index.pieces, query.terms.size))
    hits[rows[leading], query.column[index.words[asked[leading]]]] = 1
    return hits @ query.weights


def below_headings(covered: Floats, lengths: Floats, chunk: Ints) -> Floats:
    """How much of the question the nearest short line above in the same chunk holds."""
    place = np.arange(lengths.size)
    last = np.full(lengths.size, -1)
    last[1:] = np.maximum.accumulate(np.where(lengths < _HEADING, place, -1))[:-1]
    under = (last >= 0) & (place - last < _UNDER) & (chunk[last] == chunk)
    return np.where(under, covered[last], 0.0)


def _names(index: Index, query: Query) -> Floats:
    """How many names and numbers a piece holds that the question does not; six are as good as any.

    They are what most questions ask for. The first word of a piece is a capital anyway.
    """
    counted = index.named & ~changes(index.rows) & (query.column[index.words] < 0)
    found = np.bincount(index.rows[counted], minlength=index.pieces + index.chunks)
    return np.minimum(found[: index.pieces], 6) / 6
