"""The weights of learned groundedness: a small network over the signs of words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

import numpy as np

from ctxguard.verification._reading import Floats
from ctxguard.verification._relations import Relations
from ctxguard.verification._wordsigns import SIGNS, Signs
from ctxguard.verification.scorer import Weighing

__all__ = ["SOFTNESS", "Network", "load_weights", "weights_digest"]

_TABLE = "groundedness.npz"
SOFTNESS = 0.3
"""How far several doubtful words count more than the worst of them; 0: not at all."""
_CLIP = 4.0
"""Standard deviations beyond which a sign says no more."""
_NOTHING = -9.0
"""Odds of a claim in which no word tells anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A hidden layer over signs and projected vectors, once per word; words are pooled."""

    mean: Floats
    spread: Floats
    """Of the signs; shape `(len(SIGNS),)`."""
    own: Floats
    """Projection of a word's vector, shape `(r, dimensions)`."""
    product: Floats
    """Projection of its product with that of the nearest word, shape `(r, dimensions)`."""
    hidden: Floats
    """Shape `(h, len(SIGNS) + 2 r)`."""
    hidden_bias: Floats
    out: Floats
    """Shape `(h,)`."""
    pooling: Floats
    """Intercept of a word's odds; slope and intercept of a claim's, calibration included."""
    findings: Floats
    """What findings weigh beside it: anywhere, and by the share of the best passage."""

    @property
    def weighing(self) -> Weighing:
        """How findings are weighed against what the words say."""
        anywhere, aligned = self.findings.tolist()
        return Weighing(anywhere=anywhere, aligned=aligned)

    def word_odds(self, signs: Signs) -> Floats:
        """Log odds that each word has no support."""
        scaled = np.clip((signs.rows - self.mean) / self.spread, -_CLIP, _CLIP)
        own = signs.vectors @ self.own.T
        product = (signs.vectors * signs.nearest) @ self.product.T
        inputs = np.concatenate([scaled, own, product], axis=1)
        hidden = np.maximum(inputs @ self.hidden.T + self.hidden_bias, 0)
        return hidden @ self.out + self.pooling[0]

    def claim_odds(self, words: Floats) -> float:
        """Log odds that a claim has no support, from those of its telling words."""
        most = float(words.max(initial=_NOTHING))
        pooled = most + SOFTNESS * float(np.log(np.exp((words - most) / SOFTNESS).sum() + 1e-9))
        return pooled * float(self.pooling[1]) + float(self.pooling[2])


def weights_digest() -> str:
    """What tells the weights that ship from those of other releases: of a hash, eight digits."""
    stored = resources.files("ctxguard.verification") / _TABLE
    return hashlib.sha256(stored.read_bytes()).hexdigest()[:8]


def load_weights(table: Mapping[str, Any] | None = None) -> tuple[Network, Relations]:
    """The network and the relations in a table; None: those that ship with the package.

    Raises:
        KeyError: for a table that lacks one of the arrays.
        ValueError: for one of other signs.
    """
    if table is None:
        stored = resources.files("ctxguard.verification") / _TABLE
        with resources.as_file(stored) as path, np.load(path, allow_pickle=False) as found:
            return load_weights(dict(found))
    read = {name: np.asarray(array, dtype=np.float32) for name, array in table.items()}
    if len(read["mean"]) != len(SIGNS):
        raise ValueError(f"groundedness: {len(SIGNS)} signs, weights for {len(read['mean'])}")
    network = Network(**{field.name: read[field.name] for field in fields(Network)})
    relations = Relations(
        projection=read["projection"], weights=read["relations"], bias=read["relations_bias"]
    )
    return network, relations
