"""Pools of passages in which the right answer is known: copies to remove, versions to keep.

A pool is one clause, copies of it made by `COPIES` and versions of it made by `EDITS`, each of
which changes one fact. What a kind cannot change in a clause is left out of that pool.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.copies import COPIES
from benchmarks.edits import EDITS

__all__ = ["COPIES", "EDITS", "Passage", "Pool", "pool_of"]


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a pool."""

    id: str
    text: str
    role: Literal["original", "copy", "version"]
    kind: str


@dataclass(frozen=True, slots=True)
class Pool:
    """A clause with its copies and versions, in the order of a retriever."""

    passages: tuple[Passage, ...]

    def of(self, role: str) -> list[Passage]:
        """The passages with this role."""
        return [passage for passage in self.passages if passage.role == role]


def pool_of(clause: str, seed: int, others: Sequence[str] = ()) -> Pool:
    """The pool of one clause; `others` are unrelated clauses, retrieved along with it."""
    rng = random.Random(seed)
    passages = list(_variants(clause, rng))
    passages += [
        Passage(f"other-{number}", text, "version", "unrelated")
        for number, text in enumerate(others)
    ]
    rng.shuffle(passages)
    return Pool((Passage("original", clause, "original", "original"), *passages))


def _variants(clause: str, rng: random.Random) -> Iterator[Passage]:
    roles_and_changes = (("copy", COPIES), ("version", EDITS))
    for role, changes in roles_and_changes:
        for name, change in changes.items():
            text = change(clause, rng)
            if text is not None and text != clause:
                yield Passage(name, text, "copy" if role == "copy" else "version", name)
