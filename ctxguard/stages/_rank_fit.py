"""Weights of one's own: what ships, moved as far as judged questions say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ctxguard.logistic import Layer, fit_layer
from ctxguard.stages._index import Floats
from ctxguard.stages._rank_model import CHUNK, Layers, RankModel
from ctxguard.stages._relevance import Scores, chunk_features

__all__ = ["Judged", "refitted"]

_NEAR = 30.0
"""How strongly the weights of pieces are held, in chunks: a few dozen questions move them some."""
_LOOSE = 3.0
"""The same for P of chunks from their pieces, a handful of weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The scores of a question's chunks, and 1 for each that helps."""

    scores: Scores
    relevant: Floats


def refitted(model: RankModel, judged: Sequence[Judged]) -> RankModel:
    """The model with weights fitted to what was judged; itself where nothing can be learned."""
    if not judged:
        return model
    with_vectors = judged[0].scores.vectors
    layers = model.vectors if with_vectors else model.words
    # A chunk is as good as its best piece, so its label is taken for that piece's.
    features = np.concatenate([_best_pieces(one.scores) for one in judged])
    labels = np.concatenate([one.relevant[_filled(one.scores)] for one in judged])
    linked = fit_layer(layers.linked.names, features, labels, strength=_NEAR, prior=layers.linked)
    every = np.concatenate([rows for one in judged for rows in one.scores.features])
    linked = _as_sure(linked, layers.linked, every)
    fitted = replace(layers, linked=linked, chunk=_chunk_layer(layers, linked, judged))
    return replace(model, vectors=fitted) if with_vectors else replace(model, words=fitted)


def _chunk_layer(layers: Layers, linked: Layer, judged: Sequence[Judged]) -> Layer:
    found = [
        chunk_features(
            np.repeat(np.arange(len(one.scores.pieces)), [p.size for p in one.scores.pieces]),
            linked.probability(np.concatenate(one.scores.features)),
            one.scores.cover,
        )
        for one in judged
    ]
    labels = np.concatenate([one.relevant for one in judged])
    return fit_layer(CHUNK, np.concatenate(found), labels, strength=_LOOSE, prior=layers.chunk)


def _best_pieces(scores: Scores) -> Floats:
    """Features of the best piece of each chunk that has any."""
    found = zip(scores.features, scores.pieces, strict=True)
    return np.concatenate([rows[[int(p.argmax())]] if p.size else rows for rows, p in found])


def _filled(scores: Scores) -> list[int]:
    """The chunks that have pieces."""
    return [place for place, p in enumerate(scores.pieces) if p.size]


def _as_sure(layer: Layer, before: Layer, features: Floats) -> Layer:
    """The layer with the intercept at which all pieces are as likely together as before.

    It was fitted on best pieces only, which are relevant far more often than pieces are.
    """
    wanted = float(before.probability(features).sum())
    low, high = -30.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        total = float(replace(layer, intercept=middle).probability(features).sum())
        low, high = (middle, high) if total < wanted else (low, middle)
    return replace(layer, intercept=round((low + high) / 2, 6))
