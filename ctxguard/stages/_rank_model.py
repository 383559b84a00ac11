"""The weights of ranking: small logistic layers, as a readable JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from ctxguard.errors import PolicyError
from ctxguard.logistic import Layer
from ctxguard.stages._linking import LINK
from ctxguard.stages._matching import MATCH
from ctxguard.stages._meaning import FEEDBACK, MEANING

__all__ = [
    "ALONE_VECTORS",
    "ALONE_WORDS",
    "CHUNK",
    "LINKED_VECTORS",
    "LINKED_WORDS",
    "Layers",
    "RankModel",
    "shipped_model",
]

ALONE_WORDS, ALONE_VECTORS = MATCH, (*MATCH, *MEANING)
"""Features of a piece seen on its own, without and with vectors."""
LINKED_WORDS, LINKED_VECTORS = (*ALONE_WORDS, *LINK), (*ALONE_VECTORS, *LINK, *FEEDBACK)
"""Features of a piece with the others in view."""
CHUNK = ("best", "any", "rank", "cover", "most_cover")
"""Features of a chunk, in the order of `chunk_features`."""
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The layers that work on one set of signals."""

    alone: Layer
    """P of a piece, seen on its own."""
    linked: Layer
    """P of a piece, with the others in view."""
    chunk: Layer
    """P of a chunk, from its pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankModel:
    """Weights of `Rank`, with and without vectors."""

    words: Layers
    vectors: Layers

    def to_json(self) -> str:
        """A readable JSON object; `from_json` gives an equal model."""
        data: dict[str, object] = {"format": _FORMAT}
        for name, layers in (("words", self.words), ("vectors", self.vectors)):
            data[name] = {part: _as_data(getattr(layers, part)) for part in _PARTS}
        return json.dumps(data, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RankModel:
        """The model in a JSON text.

        Raises:
            PolicyError: naming what is missing or of a kind that cannot be used.
        """
        try:
            data: object = json.loads(text)
        except ValueError as error:
            raise PolicyError(f"rank model: not JSON ({error})") from error
        table = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
        if table.get("format") != _FORMAT:
            raise PolicyError(f"rank model: expected an object with format {_FORMAT}")
        return cls(
            words=_layers(table, "words", ALONE_WORDS, LINKED_WORDS),
            vectors=_layers(table, "vectors", ALONE_VECTORS, LINKED_VECTORS),
        )

    def save(self, path: str | Path) -> None:
        """Write the model to a file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> RankModel:
        """Read a model from a file.

        Raises:
            PolicyError: when there is none, or it cannot be used.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise PolicyError(f"rank model {path}: {error.strerror or error}") from error


_PARTS = ("alone", "linked", "chunk")


@lru_cache(maxsize=1)
def shipped_model() -> RankModel:
    """The weights that ship, read at first use; `scripts/fit_rank.py` makes them."""
    file = resources.files("ctxguard.stages") / "rank.json"
    return RankModel.from_json(file.read_text(encoding="utf-8"))


def _as_data(layer: Layer) -> dict[str, float]:
    return {"intercept": layer.intercept, **dict(zip(layer.names, layer.weights, strict=True))}


def _layers(
    data: Mapping[str, Any], name: str, alone: tuple[str, ...], linked: tuple[str, ...]
) -> Layers:
    table = data.get(name)
    if not isinstance(table, dict):
        raise PolicyError(f"rank model: expected an object under {name!r}")
    found = cast("dict[str, Any]", table)
    return Layers(
        alone=_layer(found, f"{name}.alone", alone),
        linked=_layer(found, f"{name}.linked", linked),
        chunk=_layer(found, f"{name}.chunk", CHUNK),
    )


def _layer(table: Mapping[str, Any], where: str, names: tuple[str, ...]) -> Layer:
    data: object = table.get(where.rpartition(".")[2])
    known = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    numbers = [_number(known.get(name)) for name in ("intercept", *names)]
    if any(math.isnan(number) for number in numbers):
        raise PolicyError(f"rank model: {where} needs a number for intercept, {', '.join(names)}")
    return Layer(names=names, weights=tuple(numbers[1:]), intercept=numbers[0])


def _number(value: object) -> float:
    """The value as a number, NaN if it is none that a weight can be."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
        return math.nan
    return float(value)
