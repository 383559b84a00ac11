"""BM25 (`bm25s`, its own defaults) over whole chunks and over sentences, titles included."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.embeddings import CachedEncoder
from benchmarks.peers.base import Question, SelectorPeer
from benchmarks.texts import fill, units

__all__ = ["bm25", "dense", "hybrid"]

_NOTE = "titles count; best first, if it fits"


def _bm25_scores(module: Any, question: str, texts: Sequence[str]) -> np.ndarray:
    corpus = module.tokenize(list(texts), stopwords="en", show_progress=False)
    query = module.tokenize([question], stopwords="en", show_progress=False, return_ids=False)[0]
    index = module.BM25()
    index.index(corpus, show_progress=False)
    return index.get_scores(query) if query else np.zeros(len(texts))


def bm25(by: str) -> SelectorPeer:
    """BM25 by "chunk" or by "sentence"."""
    module: Any = import_module("bm25s")

    def select(question: Question, budget: int) -> list[str]:
        pieces, shown = units(question, by)
        scores = _bm25_scores(module, question.text, shown)
        return fill([pieces[at] for at in np.argsort(-scores, kind="stable")], budget)

    return SelectorPeer(name=f"BM25, {by}s", select=select, note=_NOTE)


def dense(encoder: CachedEncoder, by: str) -> SelectorPeer:
    """Cosine to the question, titles included."""

    def select(question: Question, budget: int) -> list[str]:
        pieces, shown = units(question, by)
        scores = encoder(shown) @ encoder([question.text])[0]
        return fill([pieces[at] for at in np.argsort(-scores, kind="stable")], budget)

    return SelectorPeer(name=f"{encoder.name}, {by}s", select=select, note=_NOTE)


def hybrid(encoder: CachedEncoder, by: str) -> SelectorPeer:
    """BM25 and cosine, each standardised, added."""
    module: Any = import_module("bm25s")

    def standard(scores: np.ndarray) -> np.ndarray:
        return (scores - scores.mean()) / (scores.std() + 1e-9)

    def select(question: Question, budget: int) -> list[str]:
        pieces, shown = units(question, by)
        scores = standard(_bm25_scores(module, question.text, shown))
        scores = scores + standard(encoder(shown) @ encoder([question.text])[0])
        return fill([pieces[at] for at in np.argsort(-scores, kind="stable")], budget)

    return SelectorPeer(
        name=f"BM25 + {encoder.name}, {by}s",
        select=select,
        note="titles count; standardised and added",
    )
