"""The index of a question and its chunks: which piece holds which terms, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxguard.stages._terms import remember, remembered
from ctxguard.text.analysis import Analyzer
from ctxguard.text.lexicon import WordHashes
from ctxguard.types import Chunk, Context, JsonValue, Span

__all__ = ["Bools", "Floats", "Index", "Ints", "index_of", "name_of", "title_of"]

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
    terms: tuple[str, ...]
    """What the numbers of terms stand for: stems; the first is blank."""
    forms: tuple[str, ...]
    """A word of each term, in lower case."""
    one_document: float
    """How far the chunks are parts of one document, by their names: 0 each its own, 1 all of one;
    0.5 where they have none."""

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return int(self.chunk.size)


def name_of(chunk: Chunk) -> str:
    """What the metadata calls a chunk, else the last part of its source."""
    named = [_text(chunk.metadata, key) for key in _TITLE_KEYS]
    named += [
        value
        for key, value in chunk.metadata.items()
        if isinstance(value, str) and key.lower().startswith(_SPLITTER_KEY)
    ]
    name = " ".join(dict.fromkeys(part for part in named if part.strip()))
    return (name or chunk.source.replace("\\", "/").rstrip("/").rpartition("/")[2])[:_MAX_TITLE]


def title_of(chunk: Chunk) -> str:
    """The name of a chunk and, where its text begins with a short line, that heading."""
    name = name_of(chunk)
    line, found, _ = chunk.text[: _MAX_HEADING + 1].lstrip().partition("\n")
    line = line.strip()
    if not found or not line or line[-1] in ".!?,;" or line in name:
        return name
    return f"{name} {line}"


def index_of(context: Context, spans: Sequence[Sequence[Span]]) -> Index:
    """Read the question, the pieces and the titles once; near-linear in the length of the texts."""
    chunks = context.chunks
    titles = [title_of(chunk) for chunk in chunks]
    texts = [context.question, *titles, *(chunk.text for chunk in chunks)]
    read = _Reading(context.analyzer, texts)
    counts = np.array([len(pieces) for pieces in spans], dtype=np.int64)
    chunk = np.repeat(np.arange(counts.size), counts)
    total, known = int(chunk.size), len(titles)
    rows = np.where(read.text <= known, total + read.text - 1, -1)
    in_text = read.text > known
    rows[in_text] = _piece_of(read.span[in_text], read.text[in_text] - known - 1, texts, spans)
    asked = read.terms[read.text == 0]
    kept = (rows >= 0) & (read.text > 0)
    order = np.argsort(rows[kept], kind="stable")
    return Index(
        question=asked[asked > 0],
        words=read.terms[kept][order],
        rows=rows[kept][order],
        named=read.named[kept][order],
        chunk=chunk,
        place=np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts),
        chunks=len(chunks),
        terms=read.names,
        forms=read.forms,
        one_document=_one_document(chunks),
    )


class _Reading:
    """The words of texts one after the other: text, span, term, and whether each is a name."""

    def __init__(self, analyzer: Analyzer, texts: Sequence[str]) -> None:
        found = analyzer.words_of(texts)
        sizes = [len(words) for words in found]
        self.text: Ints = np.repeat(np.arange(len(texts)), sizes)
        self.span: NDArray[np.int32] = np.concatenate([words.spans for words in found])
        hashes = np.concatenate([words.hashes for words in found])
        first, which = _numbered(hashes)
        known = remembered()
        distinct: list[int] = hashes[first].tolist()
        words = [known.get(word) for word in distinct]
        for place, word in enumerate(words):
            if word is None:
                at = int(first[place])
                start, end = int(self.span[at, 0]), int(self.span[at, 1])
                words[place] = remember(distinct[place], texts[int(self.text[at])][start:end])
        numbers: dict[str, int] = {"": 0}
        forms: list[str] = [""]
        terms: list[int] = []
        for form, term in filter(None, words):
            number = numbers.get(term)
            if number is None:
                number = numbers[term] = len(forms)
                forms.append(form)
            terms.append(number)
        self.terms: Ints = np.array(terms, dtype=np.int64)[which]
        self.names = tuple(numbers)
        self.forms = tuple(forms)
        self.named: Bools = _begin_named(texts, found)


def _numbered(hashes: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """Where each distinct hash occurs first, in order of the hashes, and which one each is."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    new = np.ones(ordered.size, dtype=np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    which = np.empty(ordered.size, dtype=np.int64)
    which[order] = np.cumsum(new) - 1
    return order[new], which


def _piece_of(
    words: NDArray[np.int32], owner: Ints, texts: Sequence[str], spans: Sequence[Sequence[Span]]
) -> Ints:
    """The piece that each word of the chunks begins in, -1 where it stands in none."""
    sizes = [len(text) + 1 for text in texts[len(texts) - len(spans) :]]
    offsets = np.cumsum([0, *sizes])
    edges = np.array([edge for pieces in spans for edge in pieces], dtype=np.int64).reshape(-1, 2)
    counts = [len(pieces) for pieces in spans]
    edges += np.repeat(offsets[:-1], counts)[:, None]
    starts = words[:, 0] + offsets[owner]
    pieces = np.searchsorted(edges[:, 0], starts, side="right") - 1
    if not edges.size:
        return np.full(starts.size, -1)
    return np.where((pieces >= 0) & (starts < edges[pieces, 1]), pieces, -1)


def _begin_named(texts: Sequence[str], found: Sequence[WordHashes]) -> Bools:
    """Whether each word begins with a capital or a digit."""
    codes = [np.zeros(0, dtype=np.uint32)]
    for text, words in zip(texts, found, strict=True):
        if len(words):
            letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
            codes.append(letters[words.spans[:, 0]])
    letters = np.concatenate(codes)
    named = (letters < 91) & ((letters > 64) | (letters < 58))
    beyond = letters > 127
    if beyond.any():
        distinct, which = np.unique(letters[beyond], return_inverse=True)
        upper = [chr(code).isupper() for code in distinct.tolist()]
        named[beyond] = np.array(upper, dtype=np.bool_)[which.reshape(-1)]
    return named


def _one_document(chunks: Sequence[Chunk]) -> float:
    named = [name for name in map(name_of, chunks) if name]
    if not named:
        return 0.5
    return 1 - len(set(named)) / len(named) if len(named) > 1 else 0.0


def _text(metadata: Mapping[str, JsonValue], key: str) -> str:
    value = metadata.get(key)
    return value if isinstance(value, str) else ""
