"""What a prompt is made of: exchanges, tool calls with their results, and the evidence in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ctxguard.types import Chunk, Message

__all__ = ["Atom", "EvidenceSpan", "find_atoms", "find_evidence", "find_question"]

SHORTEST_EVIDENCE = 24
"""Characters. A shorter chunk may stand in the prompt by chance, so it is never cut out of it."""


@dataclass(slots=True)
class Atom:
    """Messages that leave together."""

    members: list[int]
    pinned: bool
    current: bool
    """Belongs to the turn that is being answered."""
    gone: bool = False


@dataclass(slots=True)
class EvidenceSpan:
    """A chunk's text inside a message."""

    chunk: Chunk
    rank: int
    message: int
    start: int
    end: int
    tokens: int
    gone: bool = False


def find_question(messages: Sequence[Message]) -> int | None:
    """Index of the message that is being answered: the last one of the user."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role == "user":
            return index
    return None


def find_atoms(messages: Sequence[Message], question: int | None) -> list[Atom]:
    """What can leave: exchanges before the question, calls with their results after it."""
    atoms: list[Atom] = []
    callers: dict[str, Atom] = {}
    for index, message in enumerate(messages):
        if message.role == "system" or index == question:
            continue
        current = question is None or index > question
        atom = callers.get(message.tool_call_id or "") if message.role == "tool" else None
        joins = not current and bool(atoms) and message.role != "user"
        if atom is None and joins and not atoms[-1].current:
            atom = atoms[-1]
        if atom is None:
            atom = Atom(members=[], pinned=False, current=current)
            atoms.append(atom)
        atom.members.append(index)
        atom.pinned = atom.pinned or message.pinned
        callers.update(dict.fromkeys(message.tool_calls, atom))
    return atoms


def find_evidence(
    messages: Sequence[Message],
    evidence: Sequence[Chunk],
    holds: Callable[[int], bool],
    count: Callable[[str], int],
) -> list[EvidenceSpan]:
    """Where the evidence stands: each chunk's text, word for word, without overlaps.

    Layout has moved the chunks, so their rank is what it noted, not their position; the bests of
    several retrievals come before the seconds.
    """
    spans: list[EvidenceSpan] = []
    taken: dict[int, list[tuple[int, int]]] = {}
    for rank, chunk in enumerate(sorted(evidence, key=_rank)):
        forms = [text for text in (chunk.rendered, chunk.text) if len(text) >= SHORTEST_EVIDENCE]
        for index, message in enumerate(messages):
            if message.pinned or not holds(index):
                continue
            for start, end in _occurrences(message.text, forms, taken.setdefault(index, [])):
                taken[index].append((start, end))
                tokens = count(message.text[start:end])
                spans.append(EvidenceSpan(chunk, rank, index, start, end, tokens))
    return spans


def _rank(chunk: Chunk) -> int:
    return chunk.rank or 0


def _occurrences(
    text: str, forms: Sequence[str], taken: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """The first place of the first form that stands in the text and is not taken."""
    for form in forms:
        start = text.find(form)
        while start >= 0:
            end = start + len(form)
            if all(end <= s or e <= start for s, e in taken):
                yield start, end
                return
            start = text.find(form, start + 1)
