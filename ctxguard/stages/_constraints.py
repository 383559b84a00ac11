"""What a question asks for by date, version or number, and which chunks' metadata have it.

"the 2024 agreement" is about the chunk of `agreement_2024.pdf`, whatever the words inside say.
Words of the text and of its title, names among them, are counted elsewhere; here only what stands
beside the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ctxguard.stages._index import Floats
from ctxguard.text.facts import Fact, FactKind, extract_facts
from ctxguard.types import Chunk

__all__ = ["constraints_met"]

_SHAPES: dict[FactKind, re.Pattern[str]] = {
    "year": re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)"),
    "date": re.compile(r"(?<!\d)(?:19|20)\d\d-\d\d-\d\d"),
    "version": re.compile(r"(?<![\d.])\d+(?:\.\d+)+(?![\d.])"),
}
"""What a rival looks like: another year than the one asked for, another version."""
_CALLED: frozenset[FactKind] = frozenset({"identifier", "reference"})
"""Asked for by what they are called: no other one is known to be a rival."""
_LONG = 200
"""Characters of a value that are read: longer ones are texts, not labels."""


@dataclass(frozen=True, slots=True)
class _Constraint:
    kind: FactKind
    pattern: re.Pattern[str]


def constraints_met(question: str, chunks: Sequence[Chunk]) -> Floats:
    """For each chunk 1 where its metadata have what is asked for, -1 where they have a rival.

    0 where they say nothing, and everywhere when no chunk has what is asked for: then the question
    means something else by it. Shape `(chunks,)`.
    """
    met = np.zeros(len(chunks))
    asked = list(_asked(question))
    if not asked or not any(chunk.metadata or chunk.source for chunk in chunks):
        return met
    labels = [_label(chunk) for chunk in chunks]
    for constraint in asked:
        hits = np.array([bool(constraint.pattern.search(label)) for label in labels])
        shape = _SHAPES.get(constraint.kind)
        if not hits.any():
            continue
        if shape is not None:
            rivals = np.array([bool(shape.search(label)) for label in labels]) & ~hits
            met -= rivals
        met += hits
    return np.clip(met, -1, 1)


def _asked(question: str) -> Iterator[_Constraint]:
    for fact in extract_facts(question):
        if pattern := _pattern(fact):
            yield _Constraint(fact.kind, pattern)


def _pattern(fact: Fact) -> re.Pattern[str] | None:
    """What stands for a fact of the question in a label; None for kinds that select nothing."""
    if fact.kind not in _SHAPES and fact.kind not in _CALLED:
        return None
    if fact.value.startswith("?"):
        return None
    value = fact.value if fact.kind in ("year", "date") else fact.text
    value = re.sub(r"^(?:v|version|rev(?:ision)?)\.?\s*(?=\d)", "", value, flags=re.IGNORECASE)
    words = re.findall(r"[^\W_]+(?:\.[^\W_]+)*", value)
    if not words:
        return None
    joined = r"[\W_]+".join(map(re.escape, words))
    return re.compile(rf"(?<![^\W_])(?<!\d\.){joined}(?![^\W_])(?!\.\d)", re.IGNORECASE)


def _label(chunk: Chunk) -> str:
    """What is written beside a chunk's text, one value per line."""
    values = (chunk.source, *chunk.metadata.values())
    told = (str(value) for value in values if isinstance(value, str | int | float))
    return "\n".join(value for value in told if len(value) <= _LONG)
