"""Cuts: which characters of a message give way, as data that an adapter can apply to blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ctxguard.types import Span

__all__ = ["Cut", "apply_cuts", "evidence_cuts", "middle_cut"]

SHORTEST_RESULT = 32
"""Tokens of a tool result that shortening leaves at least."""
LEFT_OUT = "[left out by ctxguard: over the token budget]"


@dataclass(frozen=True, slots=True)
class Cut:
    """Characters `start` to `end` of a message's text give way to `replacement`."""

    start: int
    end: int
    replacement: str = ""


def apply_cuts(text: str, cuts: Iterable[Cut], offset: int = 0) -> str:
    """The text without what was cut out of it.

    Args:
        text: a message's text, or one block of it.
        cuts: in characters of the whole message's text, in order, not overlapping.
        offset: where this block starts in the message's text.
    """
    parts: list[str] = []
    at = 0
    for cut in cuts:
        start = min(max(cut.start - offset, 0), len(text))
        end = min(max(cut.end - offset, 0), len(text))
        if start >= end and not offset <= cut.start < offset + len(text):
            continue
        parts.append(text[at:start])
        if offset <= cut.start < offset + len(text):
            parts.append(cut.replacement)
        at = max(at, end)
    parts.append(text[at:])
    return "".join(parts)


def evidence_cuts(text: str, gone: Sequence[Span]) -> tuple[Cut, ...]:
    """Cuts for pieces of evidence that leave, each with the blank space that followed it.

    Args:
        text: the message's text.
        gone: characters of the pieces, in order, not overlapping. When nothing else is left of the
            message, a note takes their place, because providers reject empty messages.
    """
    emptied = not apply_cuts(text, [Cut(start, end) for start, end in gone]).strip()
    cuts: list[Cut] = []
    for number, (start, end) in enumerate(gone):
        bound = gone[number + 1][0] if number + 1 < len(gone) else len(text)
        free = start == 0 or text[start - 1].isspace()
        stop = _skip_space(text, end, bound) if free else end
        cuts.append(Cut(start, stop, LEFT_OUT if emptied and number == 0 else ""))
    return tuple(cuts)


def _skip_space(text: str, at: int, bound: int) -> int:
    while at < bound and text[at].isspace():
        at += 1
    return at


def middle_cut(text: str, target: int, count: Callable[[str], int]) -> Cut | None:
    """A cut in the middle of a text, at ends of lines, that leaves at most `target` tokens.

    Two thirds of what stays are the head (schemas, column names), one third the tail (totals,
    errors). None when the text is too short for a cut to leave something worth reading.

    Args:
        text: what is shortened.
        target: tokens that may stay, the note in the gap included.
        count: tokens of a text.
    """
    tokens = count(text)
    if tokens <= SHORTEST_RESULT:
        return None
    target = max(target, SHORTEST_RESULT)
    keep = target
    while keep > 0:
        characters = int(len(text) * keep / tokens)
        start = _line_end(text, characters * 2 // 3)
        end = max(start, _line_start(text, len(text) - characters // 3))
        note = f"\n[… {end - start:,} characters left out by ctxguard: over the token budget …]\n"
        cut = Cut(start, end, note)
        if end > start and count(apply_cuts(text, (cut,))) <= target:
            return cut
        keep = keep * 3 // 4 if keep > 8 else keep - 1  # the note itself costs about 20 tokens
    return None


def _line_end(text: str, at: int) -> int:
    """The end of a line or word at or before `at`, `at` itself when there is none nearby."""
    for mark in ("\n", " "):
        found = text.rfind(mark, max(0, at - 400), at)
        if found > 0:
            return found
    return at


def _line_start(text: str, at: int) -> int:
    """The start of a line or word at or after `at`, `at` itself when there is none nearby."""
    for mark in ("\n", " "):
        found = text.find(mark, at, at + 400)
        if found >= 0:
            return found + 1
    return at
