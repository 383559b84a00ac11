"""Encoders: texts to unit vectors, whose product says how near two texts are in meaning.

`StaticEncoder` ships with the package: a row per word piece, added up. It needs no model, asks no
server, and takes about as long as counting the tokens. Who has a better model hands it over with
`as_encoder`.
"""

from __future__ import annotations

import importlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.text._tokenrows import TokenRows, as_offsets
from ctxguard.text._wordpieces import split_pieces, words_of
from ctxguard.text.tokens import Tokenizer

__all__ = [
    "Encoder",
    "SentenceTransformerEncoder",
    "StaticEncoder",
    "as_encoder",
    "static_encoder",
    "unit_rows",
]

_TABLE = "minilm-static.npz"
_MAX_WORDS = 100_000
"""Words whose rows are remembered: 128 numbers each, 50 MB when full. Then it starts again."""

Vectors = NDArray[np.float32]


@runtime_checkable
class Encoder(Protocol):
    """What turns texts into vectors. Anything with these three members will do."""

    @property
    def name(self) -> str:
        """Name of the model, shown in ledgers."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers per vector."""
        ...

    def encode(self, texts: Sequence[str], /) -> Vectors:
        """Unit rows, shape `(len(texts), dimensions)`; a text without a meaning is a zero row."""
        ...


# -- the one that ships ---------------------------------------------------------------------------


class StaticEncoder:
    """A vector per word piece, distilled from all-MiniLM-L6-v2; a text is the sum of its pieces.

    The weight of a piece (little for "the", much for "warranty") is the length of its row. Order
    and negation leave no trace in a sum: what is near may still contradict. Thread-safe.
    `scripts/build_encoder.py` makes the table.
    """

    name = "minilm-static"

    def __init__(self, pieces: Mapping[str, int], rows: Vectors) -> None:
        """Take over a table; `static_encoder()` gives the one that ships.

        Args:
            pieces: word piece → row; pieces inside a word begin with "##".
            rows: shape `(pieces, dimensions)`.
        """
        self.dimensions = int(rows.shape[1])
        self._pieces = pieces
        self._rows = rows
        self._lock = threading.Lock()
        self._words: dict[str, int] = {}
        self._word_rows = _blank(self.dimensions)
        self._tokens: dict[str, TokenRows] = {}

    def encode(self, texts: Sequence[str], /) -> Vectors:
        """Unit rows, shape `(len(texts), dimensions)`; zero for a text without known words."""
        sums = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for text, out in zip(texts, sums, strict=True):
            places, rows = self._known(words_of(text))
            rows.take(places, axis=0).sum(axis=0, out=out)
        return _unit(sums)

    def encode_words(self, words: Sequence[str], /) -> Vectors:
        """Unit rows of single words in lower case, shape `(len(words), dimensions)`."""
        places, rows = self._known(words)
        return _unit(rows.take(places, axis=0))

    def word_weights(self, words: Sequence[str], /) -> Vectors:
        """How much words in lower case weigh in a text, shape `(len(words),)`.

        The length of each row: little for "the", much for "warranty", 0 for what is not known.
        """
        places, rows = self._known(words)
        weights: Vectors = np.linalg.norm(rows.take(places, axis=0), axis=1)
        return weights

    def encode_ids(
        self, ids: NDArray[np.int64], tokenizer: Tokenizer, offsets: Sequence[int] | None = None
    ) -> Vectors | None:
        """Unit rows of runs of tokens, without a second look at their text.

        Args:
            ids: token ids of one text, or of several one after the other.
            tokenizer: whose ids they are.
            offsets: where each run begins, ascending; each ends where the next begins. None: one
                run.

        Returns:
            Shape `(len(offsets), dimensions)`; None if the tokenizer cannot say what its ids mean
            (an estimate), `encode` is then the way.
        """
        table = self._token_rows(tokenizer)
        if table is None:
            return None
        starts = as_offsets(offsets, int(ids.size))
        return _unit(table.sums(ids, starts))

    def _token_rows(self, tokenizer: Tokenizer) -> TokenRows | None:
        table = self._tokens.get(tokenizer.name)
        if table is None:
            table = TokenRows.of(tokenizer, self._pieces, self._rows)
            if table is not None:
                with self._lock:
                    table = self._tokens.setdefault(tokenizer.name, table)
        return table

    def _known(self, words: Sequence[str]) -> tuple[NDArray[np.intp], Vectors]:
        """The places of words, and the rows that they point into; what is new is summed up."""
        with self._lock:
            try:
                places = [self._words[word] for word in words]
            except KeyError:
                self._learn(words)
                places = [self._words[word] for word in words]
            return np.array(places, dtype=np.intp), self._word_rows

    def _learn(self, words: Sequence[str]) -> None:
        """Sum up the pieces of new words. A row that was handed out never changes."""
        new = [word for word in dict.fromkeys(words) if word not in self._words]
        if self._words and len(self._words) + len(new) > _MAX_WORDS:
            self._words, new = {}, list(dict.fromkeys(words))
            self._word_rows = _blank(self.dimensions)
        while len(self._words) + len(new) > len(self._word_rows):
            self._word_rows = np.concatenate([self._word_rows, np.zeros_like(self._word_rows)])
        for word in new:
            place = len(self._words)
            pieces = split_pieces(word, self._pieces)
            if pieces:
                self._word_rows[place] = self._rows[pieces].sum(axis=0)
            self._words[word] = place

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without what was remembered."""
        return (StaticEncoder, (self._pieces, self._rows))

    def __repr__(self) -> str:
        """The name and the size of the table."""
        return f"StaticEncoder({len(self._pieces):,} pieces, {self.dimensions} dimensions)"


@lru_cache(maxsize=1)
def static_encoder() -> StaticEncoder:
    """The StaticEncoder that ships with the package, read at first use (30 ms)."""
    stored = resources.files("ctxguard.text") / "data" / _TABLE
    with resources.as_file(stored) as path, np.load(path, allow_pickle=False) as table:
        rows = table["rows"].astype(np.float32) * table["scales"].astype(np.float32)[:, None]
        pieces = table["pieces"].tobytes().decode("utf-8").split("\n")
    return StaticEncoder({piece: row for row, piece in enumerate(pieces)}, rows)


# -- those of others ------------------------------------------------------------------------------


class SentenceTransformerEncoder:
    """A model of sentence-transformers: its name or folder, or a loaded one."""

    def __init__(self, model: Any, *, batch: int = 64) -> None:  # noqa: ANN401 -- the class is in an optional package
        """Load the model, from disk or from the Hugging Face hub.

        Args:
            model: a name ("sentence-transformers/all-MiniLM-L6-v2"), a folder, or an object with
                `encode`.
            batch: texts per call.

        Raises:
            MissingDependencyError: sentence-transformers is not installed.
            InputError: the model is neither on disk nor can it be downloaded.
        """
        self.name = model if isinstance(model, str) else _name_of(model)
        self._model = _load(model) if isinstance(model, str) else model
        self._batch = batch
        self._dimensions = 0

    @property
    def dimensions(self) -> int:
        """Numbers per vector; encodes a word if the model does not say."""
        return self._dimensions or int(self.encode(["word"]).shape[1])

    def encode(self, texts: Sequence[str], /) -> Vectors:
        """Unit rows, shape `(len(texts), dimensions)`."""
        found = self._model.encode(
            [_printable(text) for text in texts],
            batch_size=self._batch,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        rows = unit_rows(found, dimensions=self._dimensions)
        self._dimensions = int(rows.shape[1])
        return rows


class _EmbeddingsEncoder:
    """An embeddings object of a framework."""

    def __init__(self, embed: Callable[[list[str]], Any], name: str) -> None:
        self._embed = embed
        self.name = name
        self._dimensions = 0

    @property
    def dimensions(self) -> int:
        """Numbers per vector; asks for a word's vector if none was made yet."""
        return self._dimensions or int(self.encode(["word"]).shape[1])

    def encode(self, texts: Sequence[str], /) -> Vectors:
        """Unit rows; a vector of another length than most, or with NaN, is a zero row."""
        found: Any = self._embed([_printable(text) for text in texts]) if texts else ()
        rows = unit_rows(found, dimensions=self._dimensions)
        self._dimensions = int(rows.shape[1])
        return rows


_METHODS = ("embed_documents", "get_text_embedding_batch")
"""Of LangChain's `Embeddings` and of LlamaIndex's `BaseEmbedding`."""


def as_encoder(obj: object) -> Encoder:
    """An Encoder from what a caller has: an Encoder, a framework's embeddings, a loaded model.

    Known by their methods: `embed_documents` (LangChain), `get_text_embedding_batch` (LlamaIndex),
    `encode` with `dimensions` and `name` (an Encoder) or without (a SentenceTransformer).

    Raises:
        InputError: for anything else, naming what would do.
    """
    for method in _METHODS:
        embed = getattr(obj, method, None)
        if callable(embed):
            return _EmbeddingsEncoder(embed, _name_of(obj))
    if isinstance(obj, Encoder):
        return obj
    if callable(getattr(obj, "encode", None)) and not isinstance(obj, str | bytes):
        return SentenceTransformerEncoder(obj)
    raise InputError(
        f"encoder: expected an Encoder, an object with {' or '.join(_METHODS)}, or a "
        f"SentenceTransformer, got {type(obj).__name__}. A model's name goes into "
        "SentenceTransformerEncoder(name)."
    )


def _name_of(obj: object) -> str:
    for attribute in ("model_name", "model", "model_id"):
        name = getattr(obj, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(obj).__name__


def _load(name: str) -> Any:  # noqa: ANN401 -- the class is in an optional package
    try:
        # By name, so that a type checker does not need the package either.
        package: Any = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise MissingDependencyError(
            "SentenceTransformerEncoder needs sentence-transformers:\n"
            "  pip install sentence-transformers"
        ) from error
    try:
        return package.SentenceTransformer(name)
    except OSError as error:
        raise InputError(
            f"SentenceTransformerEncoder: cannot load {name!r}: neither on disk nor from the "
            "Hugging Face hub. Without network (or with HF_HUB_OFFLINE=1), give the folder of a "
            "model that was downloaded before."
        ) from error


def _printable(text: str) -> str:
    """The text with lone surrogates replaced: tokenizers written in Rust refuse them."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


# -- rows -----------------------------------------------------------------------------------------


def unit_rows(vectors: Any, *, dimensions: int = 0) -> Vectors:  # noqa: ANN401 -- whatever a framework calls a vector
    """Unit rows from vectors as they come, shape `(len(vectors), dimensions)`.

    What cannot be compared becomes a zero row: None, NaN or infinite numbers, zero, and another
    length than `dimensions` (0: the length that most have, the first such at a tie).
    """
    rows = [_as_row(vector) for vector in vectors]
    lengths = Counter(row.size for row in rows if row is not None)
    length = dimensions or (lengths.most_common(1)[0][0] if lengths else 0)
    out = np.zeros((len(rows), length), dtype=np.float32)
    for place, row in enumerate(rows):
        if row is not None and row.size == length:
            out[place] = row
    return _unit(out)


def _as_row(vector: object) -> NDArray[np.float32] | None:
    """A vector divided by its largest number; None if it is none."""
    try:
        row = np.asarray(vector, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    largest = float(np.abs(row).max()) if row.size else 0.0
    if not np.isfinite(largest) or not largest:
        return None
    return (row / largest).astype(np.float32)


def _unit(rows: Vectors) -> Vectors:
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    lengths[lengths == 0] = 1
    return rows / lengths[:, None]


def _blank(dimensions: int) -> Vectors:
    return np.zeros((1024, dimensions), dtype=np.float32)
