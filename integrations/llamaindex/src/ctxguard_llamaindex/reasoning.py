"""What of a reply is an answer, where an agent reasons and calls its tools in words.

A ReAct agent's model writes `Thought:`, then `Action:` or `Answer:`; a CodeAct agent's writes code
between `<execute>` marks. Only what is meant for the reader is held against evidence. The marks are
those that LlamaIndex's own parsers look for, and the first that is found decides, as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

__all__ = ["Piece", "Reasoning"]

Kind: TypeAlias = Literal["aside", "answer", "call"]
Piece: TypeAlias = tuple[Kind, str]
"""What a part of a reply is, and its text: words on the way, an answer, a call of a tool."""

_STARTS = ("Thought:", "Action:", "Answer:")
_MARKS: Mapping[str, Mapping[str, Kind]] = {
    "plain": {"<execute>": "call"},
    "thinking": {"Action:": "call", "Answer:": "answer"},
}


class Reasoning:
    """Reads a reply that comes in pieces of any size; what is read is handed back once."""

    def __init__(self) -> None:
        """Start before the first character."""
        self._state = "open"  # then "plain" or "thinking", at last "answer" or "call"
        self._held = ""

    def read(self, text: str, *, is_last: bool = False) -> Iterator[Piece]:
        """What is known of the reply, now that this text has followed.

        A few characters are held back while they may be the beginning of a mark.
        """
        self._held += text
        if self._state == "open":
            self._open(is_last=is_last)
        while self._state in _MARKS and self._held:
            before = self._state
            yield from self._to_mark(is_last=is_last)
            if self._state == before:
                break
        if self._state in ("answer", "call") and self._held:
            yield ("answer" if self._state == "answer" else "call"), self._take(len(self._held))

    def _open(self, *, is_last: bool) -> None:
        begun = self._held.lstrip()
        if begun.startswith(_STARTS):
            self._state = "thinking"
        elif is_last or not any(mark.startswith(begun) for mark in _STARTS):
            self._state = "plain"  # blank so far: every mark begins with it

    def _to_mark(self, *, is_last: bool) -> Iterator[Piece]:
        """What comes before the first mark, and the mark itself."""
        marks = _MARKS[self._state]
        words: Kind = "answer" if self._state == "plain" else "aside"
        places = {mark: self._held.find(mark) for mark in marks}
        found = [mark for mark, place in places.items() if place >= 0]
        if not found:
            keep = 0 if is_last else _begun(self._held, marks)
            if len(self._held) > keep:
                yield words, self._take(len(self._held) - keep)
            return
        mark = min(found, key=lambda one: places[one])
        kind = marks[mark]
        if kind == "answer":
            yield "aside", self._take(places[mark] + len(mark))
        elif places[mark]:
            yield words, self._take(places[mark])
        self._state = kind

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        return taken


def _begun(text: str, marks: Mapping[str, Kind]) -> int:
    """Characters at the end of a text that a mark may begin with."""
    longest = max(map(len, marks)) - 1
    return next(
        (
            length
            for length in range(min(longest, len(text)), 0, -1)
            if any(mark.startswith(text[-length:]) for mark in marks)
        ),
        0,
    )
