"""The index of a question's chunks: which piece holds which terms, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._terms import raw_words, term_of
from ctxguard.types import Chunk, Span

__all__ = ["Index", "Vocabulary", "build_index", "title_of"]

_TITLE_KEYS = ("title", "heading", "headings", "section", "header", "subject", "file_name")
"""Metadata under which loaders and splitters keep what a passage is called."""
_MAX_TITLE = 200
"""Characters of a title that are read."""


class Vocabulary(dict[str, int]):
    """Number of each written word, given at first sight, and of the term that it is a form of."""

    def __init__(self) -> None:
        """Begin with term 0, which stands for all function words."""
        super().__init__()
        self.terms: dict[str, int] = {"": 0}
        self._term_of: list[int] = []
        self._named: list[bool] = []

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self._term_of)
        self._term_of.append(self.terms.setdefault(term_of(word), len(self.terms)))
        self._named.append(word[0].isupper() or word[0].isdigit())
        return number

    def number(self, words: Iterable[str]) -> NDArray[np.int64]:
        """Numbers of written words."""
        return np.array(list(map(self.__getitem__, words)), dtype=np.int64)

    def terms_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The term of each written word."""
        return np.array(self._term_of, dtype=np.int64)[numbers]

    def named(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each word begins with a capital or is a number."""
        return np.array(self._named, dtype=np.bool_)[numbers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Words of all pieces, then of all titles, one after the other; `rows` counts both.

    Row r < pieces is a piece, row pieces + c the title of chunk c.
    """

    words: NDArray[np.int64]
    """Term of each word in reading order, shape `(words,)`; 0: a function word."""
    rows: NDArray[np.int64]
    """The row that each word stands in, shape `(words,)`, ascending."""
    lengths: NDArray[np.int64]
    """Words per row, shape `(pieces + chunks,)`."""
    chunk: NDArray[np.int64]
    """The chunk that each piece belongs to, shape `(pieces,)`."""
    place: NDArray[np.int64]
    """Place of each piece in its chunk, 0 is the first; shape `(pieces,)`."""
    chunks: int
    terms: tuple[str, ...]
    """What the numbers of terms stand for."""
    named: NDArray[np.bool_]
    """Per word: begins with a capital or is a number."""

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return int(self.chunk.size)


def title_of(chunk: Chunk) -> str:
    """What a chunk is called: its metadata's title and headings, else the name of its source."""
    found: list[str] = []
    for key in _TITLE_KEYS:
        value = chunk.metadata.get(key)
        if isinstance(value, str) and value not in found:
            found.append(value)
    found.extend(
        value
        for key, value in chunk.metadata.items()
        if isinstance(value, str) and key.lower().startswith("header ")
    )
    if not found:
        found.append(chunk.source.replace("\\", "/").rstrip("/").rpartition("/")[2])
    return " ".join(found)[:_MAX_TITLE]


def build_index(
    chunks: Sequence[Chunk], spans: Sequence[Sequence[Span]], vocabulary: Vocabulary
) -> Index:
    """Number the words of every piece and title; linear in the length of the texts."""
    lists = [
        raw_words(chunk.text[start:end])
        for chunk, pieces in zip(chunks, spans, strict=True)
        for start, end in pieces
    ]
    lists += [raw_words(title_of(chunk)) for chunk in chunks]
    lengths = np.array([len(words) for words in lists], dtype=np.int64)
    numbers = vocabulary.number(word for words in lists for word in words)
    counts = np.array([len(pieces) for pieces in spans], dtype=np.int64)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return Index(
        words=vocabulary.terms_of(numbers),
        rows=np.repeat(np.arange(lengths.size), lengths),
        lengths=lengths,
        chunk=np.repeat(np.arange(counts.size), counts),
        place=np.arange(first.size) - first,
        chunks=len(chunks),
        terms=tuple(vocabulary.terms),
        named=vocabulary.named(numbers),
    )
