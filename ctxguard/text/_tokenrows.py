"""Rows of a tokenizer's own tokens: the ids that were counted are also what a vector is made of.

A token that is a word gives what the word gives; one without a space or a capital before it is
mostly the rest of a word, and gives what the same letters give there. Filled as ids turn up:
reading all 200,000 tokens of o200k_base takes seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctxguard.text._wordpieces import split_pieces, words_of
from ctxguard.text.tokens import Tokenizer

__all__ = ["TokenRows", "as_offsets"]

_LIMIT = 1_000_000
"""Ids that are looked up; above are no tokens of a vocabulary (the largest have 260,000)."""
_SHORT = 8
"""Tokens per run up to which all runs are summed in one call; longer ones are summed one by one,
so that what is gathered stays in the processor's cache (10,000 tokens in 50 runs: half the time).
"""


class TokenRows:
    """Row by token id for one tokenizer; thread-safe."""

    def __init__(
        self,
        decode: Callable[[int], bytes],
        pieces: Mapping[str, int],
        rows: NDArray[np.float32],
    ) -> None:
        """Start with nothing filled in.

        Args:
            decode: the bytes of a token; raises KeyError for an id that is none.
            pieces: word piece → row.
            rows: shape `(pieces, dimensions)`.
        """
        self._decode = decode
        self._pieces = pieces
        self._source = rows
        self._lock = threading.Lock()
        # Row 0 is zero: tokens without letters or digits, and ids that are none.
        self._rows = np.zeros((1024, rows.shape[1]), dtype=np.float32)
        self._count = 1
        self._place = np.full(1024, -1, dtype=np.int32)

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, pieces: Mapping[str, int], rows: NDArray[np.float32]
    ) -> TokenRows | None:
        """Those of a tokenizer whose `encoding` tells the bytes of a token, as tiktoken's does."""
        encoding: Any = getattr(tokenizer, "encoding", None)
        decode: Any = getattr(encoding, "decode_single_token_bytes", None)
        return None if decode is None else cls(decode, pieces, rows)

    def sums(self, ids: NDArray[np.int64], starts: NDArray[np.intp]) -> NDArray[np.float32]:
        """The sum of the rows of each run, shape `(len(starts), dimensions)`."""
        places, rows = self._places(ids)
        out = np.zeros((len(starts), rows.shape[1]), dtype=np.float32)
        ends = np.append(starts[1:], ids.size)
        filled = np.flatnonzero(ends > starts)
        if not filled.size:
            return out
        if ids.size <= _SHORT * filled.size:
            first = int(starts[filled[0]])
            gathered = rows.take(places[first:], axis=0)
            out[filled] = np.add.reduceat(gathered, starts[filled] - first, axis=0)
            return out
        for run in filled.tolist():
            rows.take(places[starts[run] : ends[run]], axis=0).sum(axis=0, out=out[run])
        return out

    def _places(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The place of each id, and the rows that the places point into."""
        known = self._place
        try:
            places = known.take(ids)
        except IndexError:
            places = None
        if places is None or (ids.size and (places.min() < 0 or ids.min() < 0)):
            with self._lock:
                ids = np.where((ids >= 0) & (ids < _LIMIT), ids, _LIMIT)
                self._learn(np.unique(ids))
                places = self._place.take(ids)
        return places, self._rows

    def _learn(self, ids: NDArray[np.int64]) -> None:
        """Fill in rows of new ids. Rows stay where they are once they are written."""
        if ids.size and ids[-1] >= len(self._place):
            larger = np.full(int(ids[-1]) + 1, -1, dtype=np.int32)
            larger[: len(self._place)] = self._place
            self._place = larger
        rows, place = self._rows, self._place.copy()
        for token in ids[place.take(ids) < 0].tolist():
            pieces = self._read(token)
            if not pieces:
                place[token] = 0
                continue
            if self._count == len(rows):
                rows = np.concatenate([rows, np.zeros_like(rows)])
            rows[self._count] = self._source[pieces].sum(axis=0)
            place[token] = self._count
            self._count += 1
        self._rows = rows  # before the places: who reads a place finds its row
        self._place = place

    def _read(self, token: int) -> list[int]:
        """The rows of the pieces of a token's text."""
        try:
            text = self._decode(token).decode("utf-8", "ignore")
        except (KeyError, OverflowError):
            return []
        rows: list[int] = []
        inside = text[:1].isalnum() and not text[:1].isupper()
        for word in words_of(text):
            rows += self._inside(word) if inside else split_pieces(word, self._pieces)
            inside = False
        return rows

    def _inside(self, word: str) -> list[int]:
        """The rows of letters without a space before them: mostly the rest of a word."""
        rest = self._pieces.get(f"##{word}")
        return [rest] if rest is not None else split_pieces(word, self._pieces)


def as_offsets(offsets: Sequence[int] | None, size: int) -> NDArray[np.intp]:
    """Where runs begin, ascending and within `0..size`, whatever was handed in."""
    if offsets is None:
        return np.zeros(1, dtype=np.intp)
    starts = np.clip(np.asarray(offsets, dtype=np.intp).reshape(-1), 0, size)
    if any(before > after for before, after in pairwise(starts.tolist())):
        starts = np.maximum.accumulate(starts)
    return starts
