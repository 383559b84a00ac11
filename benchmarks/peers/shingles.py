"""Word 5-shingles: containment of two sets, and MinHash LSH of `datasketch`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from benchmarks.peers.base import Filter, FilterPeer

__all__ = ["containment", "minhash"]


def _shingles(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))}


def _contained(left: set[str], right: set[str]) -> float:
    return len(left & right) / min(len(left), len(right))


def containment() -> FilterPeer:
    """What a better-ranked text says is a copy: the share of the smaller of two shingle sets."""

    def at(threshold: float) -> Filter:
        def keep(texts: Sequence[str]) -> dict[int, str]:
            shingles = [_shingles(text) for text in texts]
            kept: list[int] = []
            for index, own in enumerate(shingles):
                if all(_contained(own, shingles[other]) < threshold for other in kept):
                    kept.append(index)
            return {index: texts[index] for index in kept}

        return keep

    def similarity(pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        return [_contained(_shingles(left), _shingles(right)) for left, right in pairs]

    return FilterPeer(
        name="5-shingle containment",
        setting="containment",
        at=at,
        default=0.8,
        sweep=(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
        similarity=similarity,
    )


def minhash() -> FilterPeer:
    """`MinHashLSH` over the same shingles, as its documentation fills it: query, then insert."""
    datasketch: Any = import_module("datasketch")

    def signature(text: str) -> Any:
        found = datasketch.MinHash(num_perm=128)
        found.update_batch([shingle.encode("utf-8", "replace") for shingle in _shingles(text)])
        return found

    def at(threshold: float) -> Filter:
        def keep(texts: Sequence[str]) -> dict[int, str]:
            index = datasketch.MinHashLSH(threshold=threshold, num_perm=128)
            kept: dict[int, str] = {}
            for place, text in enumerate(texts):
                own = signature(text)
                if not index.query(own):
                    index.insert(str(place), own)
                    kept[place] = text
            return kept

        return keep

    def similarity(pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        return [signature(left).jaccard(signature(right)) for left, right in pairs]

    return FilterPeer(
        name="datasketch MinHashLSH",
        setting="threshold",
        at=at,
        default=0.9,
        sweep=(0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        similarity=similarity,
    )
