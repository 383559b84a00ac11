"""The index of a question and its chunks: which piece holds which terms, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._vocabulary import Vocabulary, current_vocabulary
from ctxguard.text.analysis import Analyzer
from ctxguard.types import Chunk, Context, JsonValue, Span

__all__ = [
    "Bools",
    "Floats",
    "Index",
    "Ints",
    "changes",
    "distinct",
    "index_of",
    "name_of",
    "title_of",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_TITLE_KEYS = ("title", "heading", "headings", "section", "header", "subject")
"""Metadata under which loaders and splitters keep what a passage is called."""
_SPLITTER_KEY = "header "
"""Begins the keys of markdown splitters: "Header 1", "Header 2"."""
_MAX_TITLE = 200
"""Characters of a title that are read."""
_MAX_HEADING = 80
"""Characters that the first line of a text may have to be its heading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spelled:
    """A word of each term, by its number in a vocabulary."""

    vocabulary: Vocabulary
    words: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The words of all pieces, then of all titles; both are rows.

    Row r < `pieces` is a piece, row `pieces + c` the title of chunk c.
    """

    question: Ints
    """Terms of the question's words in order, function words left out."""
    words: Ints
    """Term of each word, ordered by row, in reading order within a row; 0: a function word."""
    rows: Ints
    """The row of each word, ascending."""
    named: Bools
    """Per word: begins with a capital or a digit."""
    chunk: Ints
    """The chunk of each piece, ascending; shape `(pieces,)`."""
    place: Ints
    """Place of each piece within its chunk, 0 is the first."""
    chunks: int
    size: int
    """How many terms there are; 0 is none."""
    spelled: _Spelled
    """How they are written."""
    one_document: float
    """How far the chunks are parts of one document, by their names: 0 each its own, 1 all of one;
    0.5 where they have none."""

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return int(self.chunk.size)

    @property
    def forms(self) -> tuple[str, ...]:
        """A word of each term, in lower case; the first is blank."""
        return self.forms_of(np.arange(self.size))

    def forms_of(self, terms: Ints) -> tuple[str, ...]:
        """A word of each of these terms, in lower case."""
        known = self.spelled.vocabulary.forms
        words: list[int] = self.spelled.words[terms].tolist()
        return tuple([known[word] for word in words])


def name_of(chunk: Chunk) -> str:
    """What the metadata calls a chunk, else the last part of its source."""
    name = ""
    if chunk.metadata:
        named = [_text(chunk.metadata, key) for key in _TITLE_KEYS]
        named += [
            value
            for key, value in chunk.metadata.items()
            if isinstance(value, str) and key.lower().startswith(_SPLITTER_KEY)
        ]
        name = " ".join(dict.fromkeys(part for part in named if part.strip()))
    if not name and chunk.source:
        name = chunk.source.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return name[:_MAX_TITLE]


def title_of(chunk: Chunk, name: str) -> str:
    """The name of a chunk and, where its text begins with a short line, that heading."""
    line, found, _ = chunk.text[: _MAX_HEADING + 1].lstrip().partition("\n")
    line = line.strip()
    if not found or not line or line[-1] in ".!?,;" or line in name:
        return name
    return f"{name} {line}"


def index_of(context: Context, spans: Sequence[Sequence[Span]]) -> Index:
    """Read the question, the pieces and the titles once; near-linear in the length of the texts."""
    chunks = context.chunks
    names = [name_of(chunk) for chunk in chunks]
    titles = [title_of(chunk, name) for chunk, name in zip(chunks, names, strict=True)]
    read = _Reading(context.analyzer, [*(one.text for one in chunks), *titles, context.question])
    counts = np.array([len(pieces) for pieces in spans], dtype=np.int64)
    chunk = np.repeat(np.arange(counts.size), counts)
    rows = read.rows(spans, chunk)
    kept = rows >= 0
    asked = read.terms[rows == read.last_row]
    kept[rows == read.last_row] = False
    return Index(
        question=asked[asked > 0],
        words=read.terms[kept],
        rows=rows[kept],
        named=read.named[kept],
        chunk=chunk,
        place=np.arange(chunk.size) - np.repeat(np.cumsum(counts) - counts, counts),
        chunks=len(chunks),
        size=read.forms.size,
        spelled=_Spelled(vocabulary=read.vocabulary, words=read.forms),
        one_document=_one_document(names),
    )


class _Reading:
    """The words of texts one after the other: where each begins, its term, and if it is a name."""

    def __init__(self, analyzer: Analyzer, texts: Sequence[str]) -> None:
        found = analyzer.words_of(texts)
        self._offsets = np.cumsum([0, *(len(text) + 1 for text in texts)])
        self._sizes = np.array([len(words) for words in found])
        spans = np.concatenate([words.spans for words in found])
        hashes = np.concatenate([words.hashes for words in found])
        first = spans[:, 0].astype(np.int64)
        self.starts: Ints = first + np.repeat(self._offsets[:-1], self._sizes)
        joined = "\0".join(texts)

        def spell(place: int) -> str:
            start = int(self.starts[place])
            return joined[start : start + int(spans[place, 1] - spans[place, 0])]

        self.vocabulary = current_vocabulary()
        numbers = self.vocabulary.numbers_of(hashes, spell)
        self.terms, self.forms = _local(self.vocabulary, numbers)
        self.named: Bools = _begin_named(joined, self.starts)

    def rows(self, spans: Sequence[Sequence[Span]], chunk: Ints) -> Ints:
        """The row of each word, ascending but for -1 where it stands in none; then the question."""
        flat = chain.from_iterable(chain.from_iterable(spans))
        edges = np.fromiter(flat, dtype=np.int64).reshape(-1, 2)
        edges += self._offsets[chunk][:, None]
        # Where pieces begin and end among the words: between two of them stands no piece.
        cuts = np.searchsorted(self.starts, edges.reshape(-1))
        titles = self._sizes.size - len(spans)
        texts = int(self._sizes[: len(spans)].sum())
        lengths = np.diff(np.concatenate([[0], cuts, [texts]]))
        rows = np.full(lengths.size + titles, -1)
        rows[1 : lengths.size : 2] = np.arange(chunk.size)
        rows[lengths.size :] = np.arange(chunk.size, chunk.size + titles)
        self.last_row = int(chunk.size + titles - 1)
        return np.repeat(rows, np.concatenate([lengths, self._sizes[len(spans) :]]))


def _local(vocabulary: Vocabulary, numbers: Ints) -> tuple[Ints, Ints]:
    """The terms of words, numbered in the order of their words' hashes, and a word of each.

    Numbers of the vocabulary depend on what was read before; sums and ties may not.
    """
    met = np.zeros(len(vocabulary), dtype=np.bool_)
    met[numbers] = True
    words = np.flatnonzero(met)
    words = words[np.argsort(vocabulary.hashes[words])]
    terms = vocabulary.terms[words]
    words, terms = words[terms > 0], terms[terms > 0]
    first = np.full(int(terms.max(initial=0)) + 1, -1)
    first[terms[::-1]] = np.arange(terms.size)[::-1]
    leads = first[terms] == np.arange(terms.size)
    number = np.zeros(first.size, dtype=np.int64)
    number[terms[leads]] = np.arange(1, int(leads.sum()) + 1)
    by_word = np.zeros(len(vocabulary), dtype=np.int64)
    by_word[words] = number[terms]
    return by_word[numbers], np.concatenate([[0], words[leads]])


def _begin_named(text: str, starts: Ints) -> Bools:
    """Whether the word at each place of a text begins with a capital or a digit."""
    if text.isascii():
        codes = np.frombuffer(text.encode(), dtype=np.uint8)[starts]
        return (codes < 91) & ((codes > 64) | (codes < 58))
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)[starts]
    named = (letters < 91) & ((letters > 64) | (letters < 58))
    beyond = letters > 127
    if beyond.any():
        distinct, which = np.unique(letters[beyond], return_inverse=True)
        upper = [chr(code).isupper() for code in distinct.tolist()]
        named[beyond] = np.array(upper, dtype=np.bool_)[which.reshape(-1)]
    return named


def distinct(numbers: Ints) -> Ints:
    """The distinct numbers, ascending; by hashing, as numpy does, it takes 3.7 times as long.

    A stable sort is the faster one here: it finds the runs that are in order.
    """
    ordered = np.sort(numbers, kind="stable")
    return ordered[changes(ordered)]


def changes(numbers: Ints) -> Bools:
    """Where a run of equal numbers begins."""
    new = np.ones(numbers.size, dtype=np.bool_)
    np.not_equal(numbers[1:], numbers[:-1], out=new[1:])
    return new


def _one_document(names: Sequence[str]) -> float:
    named = [name for name in names if name]
    if not named:
        return 0.5
    return 1 - len(set(named)) / len(named) if len(named) > 1 else 0.0


def _text(metadata: Mapping[str, JsonValue], key: str) -> str:
    value = metadata.get(key)
    return value if isinstance(value, str) else ""
