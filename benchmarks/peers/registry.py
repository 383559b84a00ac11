"""Which peers can run here, and why the others cannot."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from benchmarks.embeddings import CachedEncoder, minilm, shipped
from benchmarks.peers.base import FilterPeer, SelectorPeer

__all__ = ["encoder_for", "filters", "selectors"]

Peer = TypeVar("Peer", FilterPeer, SelectorPeer)

_INSTALL = "; `make bench` installs it"
_NEEDS_A_MODEL = {
    "LLMLingua": "downloads a model at its first use",
    "LangChain LLMChainExtractor": "asks a large language model",
    "headroom's Kompress": "downloads a model at its first use; headroom runs without it",
}


def encoder_for(wanted: str) -> tuple[CachedEncoder | None, dict[str, str]]:
    """The encoder that all peers share, and what could not be had.

    Args:
        wanted: "minilm", or the shipped one where torch is missing; or "shipped".
    """
    missing: dict[str, str] = {}
    makers = (minilm, shipped) if wanted == "minilm" else (shipped,)
    for make in makers:
        try:
            return make(), missing
        except ImportError as error:
            missing[make.__name__] = str(error)
    return None, missing


def _from(module: str, name: str) -> Callable[..., Any]:
    def make(*arguments: Any) -> Any:
        return getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)(*arguments)

    return make


def _available(
    makers: Sequence[tuple[str, Callable[..., Peer], bool]], encoder: CachedEncoder | None
) -> tuple[list[Peer], dict[str, str]]:
    found: list[Peer] = []
    left_out: dict[str, str] = {}
    for name, make, needs_vectors in makers:
        if needs_vectors and encoder is None:
            left_out[name] = "no encoder is installed" + _INSTALL
            continue
        try:
            found.append(make(encoder) if needs_vectors else make())
        except ImportError as error:
            left_out[name] = f"{error}{_INSTALL}"
    return found, left_out


def filters(encoder: CachedEncoder | None) -> tuple[list[FilterPeer], dict[str, str]]:
    """Every filter that is installed; why each other one is left out."""
    makers: list[tuple[str, Callable[..., FilterPeer], bool]] = [
        ("containment", _from("shingles", "containment"), False),
        ("datasketch", _from("shingles", "minhash"), False),
        ("semhash", _from("semantic", "semhash"), True),
        ("EmbeddingsRedundantFilter", _from("langchain", "redundant"), True),
        ("EmbeddingsClusteringFilter", _from("langchain", "clustering"), True),
    ]
    return _available(makers, encoder)


def selectors(encoder: CachedEncoder | None) -> tuple[list[SelectorPeer], dict[str, str]]:
    """Every selector that is installed; why each other one is left out."""
    lexical: Callable[[str], Callable[..., Any]] = partial(_from, "lexical")

    def by(name: str, unit: str) -> Callable[..., Any]:
        return lambda *encoders: lexical(name)(*encoders, unit)

    makers: list[tuple[str, Callable[..., SelectorPeer], bool]] = []
    for unit in ("chunk", "sentence"):
        makers += [
            (f"BM25, {unit}s", by("bm25", unit), False),
            (f"dense, {unit}s", by("dense", unit), True),
            (f"BM25 + dense, {unit}s", by("hybrid", unit), True),
        ]
    makers += [
        ("LangChain EmbeddingsFilter", _from("langchain", "embeddings_filter"), True),
        (
            "LangChain ContextualCompressionRetriever",
            _from("langchain", "compression_pipeline"),
            True,
        ),
        ("SentenceEmbeddingOptimizer", _from("llamaindex", "sentence_optimizer"), True),
        ("headroom", _from("headroom", "headroom"), False),
    ]
    found, left_out = _available(makers, encoder)
    return found, {**left_out, **_NEEDS_A_MODEL}
