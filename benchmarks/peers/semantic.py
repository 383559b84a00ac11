"""semhash, with the benchmark's encoder in the place of the model that it would download."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from benchmarks.embeddings import CachedEncoder
from benchmarks.peers.base import Filter, FilterPeer, cosine, first_of_each

__all__ = ["semhash"]


class _Model:
    """What semhash asks of a model."""

    def __init__(self, encoder: CachedEncoder) -> None:
        self._encoder = encoder

    def encode(self, sentences: Sequence[str], **_: Any) -> Any:
        return self._encoder(sentences)


def semhash(encoder: CachedEncoder) -> FilterPeer:
    """`SemHash.self_deduplicate`."""
    module: Any = import_module("semhash")
    model = _Model(encoder)

    def at(threshold: float) -> Filter:
        def keep(texts: Sequence[str]) -> dict[int, str]:
            index = module.SemHash.from_records(records=list(texts), model=model)
            selected = index.self_deduplicate(threshold=threshold).selected
            return first_of_each(texts, selected)

        return keep

    return FilterPeer(
        name="semhash",
        setting="threshold",
        at=at,
        default=0.9,
        sweep=(0.8, 0.85, 0.9, 0.95, 0.97, 0.99, 0.995),
        similarity=cosine(encoder),
    )
