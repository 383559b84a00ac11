"""An answer as claims: what it states, part by part, each with its exact place.

Blocks of code and of mathematics stand for themselves, tables and lists go row by row, running text
sentence by sentence, and a long sentence where a new statement of its own begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ctxguard.text.sentences import split_sentences
from ctxguard.types import Claim, ClaimKind, Span
from ctxguard.verification._kinds import kind_of

__all__ = ["split_claims"]


def split_claims(answer: str) -> tuple[Claim, ...]:
    """The parts of an answer in its order; they cover all that is not whitespace, once.

    Takes time linear in the length of the answer.

    Returns:
        Claims with `answer[start:end] == text`. What states nothing is there too, with its kind.
    """
    claims: list[Claim] = []
    position = 0
    for start, end, kind in _blocks(answer):
        claims += _prose(answer, position, start)
        claims.append(_claim(answer, (start, end), kind))
        position = end
    return (*claims, *_prose(answer, position, len(answer)))


def _claim(answer: str, span: Span, kind: ClaimKind) -> Claim:
    return Claim(text=answer[slice(*span)], span=span, kind=kind)


# -- blocks ---------------------------------------------------------------------------------------

_OPENER = re.compile(
    r"^[ \t]{0,12}(?P<fence>`{3,16}|~{3,16})[^\n]*|\$\$|\\\[|\\begin\{(?P<name>[a-z]{1,20}\*?)\}",
    re.MULTILINE,
)
_CLOSERS = {"$$": "$$", "\\[": "\\]"}


def _blocks(answer: str) -> Iterator[tuple[int, int, ClaimKind]]:
    """Blocks of code and mathematics, in order."""
    position = 0
    unclosed: set[str] = set()  # looked for to the end once, so that time stays linear
    while opener := _OPENER.search(answer, position):
        fence = opener["fence"]
        start = opener.start("fence") if fence else opener.start()
        mark = opener.group()
        close = fence or _CLOSERS.get(mark) or f"\\end{{{opener['name']}}}"
        position = opener.end()
        end = -1 if close in unclosed else _end_of(answer, close, position, is_fence=bool(fence))
        if end < 0:
            unclosed.add(close)
            if not fence:
                continue
            end = len(answer.rstrip())  # as Markdown has it: what is not closed goes on to the end
        yield start, max(end, start + len(mark.strip())), "code" if fence else "math"
        position = max(end, position)


def _end_of(answer: str, close: str, start: int, *, is_fence: bool) -> int:
    """Where the block ends that a mark closes, -1 where none does."""
    if not is_fence:
        place = answer.find(close, start)
        return place if place < 0 else place + len(close)
    found = re.compile(rf"\n[ \t]{{0,12}}{re.escape(close)}").search(answer, start)
    return found.end() if found else -1


# -- prose ----------------------------------------------------------------------------------------

_HEADING = re.compile(r"#{1,6}\s|[\W_]+\Z")
_RULE = re.compile(r"[\s|:+=_-]+\Z")
_LEAD = re.compile(r"[:\uff1a][*_\s]*\Z")
_BOLD = re.compile(r"(?:[-*+\u2022]\s+)?(?:\*\*|__)[^*_\n]{1,80}(?:\*\*|__):?\Z")
_JOINT = re.compile(
    r";\s+|,\s+(?=(?:but|while|whereas|although|though|yet)\s)"
    r"|,\s+(?=(?:and|so)\s(?:it|they|he|she|we|there)\s)"
    r"|,\s+(?=(?:and|so)\s(?:the|this|these|those|its|their|his|her|no|each|all)\s"  # a list, else
    r"[^,;.]{0,60}\b(?:is|are|was|were|has|have|had|will|shall|may|must|can|does|did)\s)",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")
_SHORT = 4
"""Words that a part of a sentence needs to be a statement of its own."""
_NEAR = 200
"""Characters beside a joint in which they are counted."""
_TITLE = 8
"""Words of a line without a verb that may be a heading, or lead to a list."""


def _prose(answer: str, start: int, end: int) -> Iterator[Claim]:
    part = answer[start:end]
    spans = split_sentences(part)
    for number, (first, past) in enumerate(spans):
        text = part[first:past]
        is_row = text.startswith("|") or text.count("|") > 1 or text.count("\t") > 1
        kind = _line_kind(text)
        if is_row and kind != "heading":
            below = part[slice(*spans[number + 1])] if number + 1 < len(spans) else ""
            kind = "heading" if "-" in below and _RULE.match(below) else "row"
        if kind != "statement":
            yield _claim(answer, (start + first, start + past), kind)
            continue
        for from_, to in _statements(text):
            span = start + first + from_, start + first + to
            yield _claim(answer, span, kind_of(answer[slice(*span)]))


def _line_kind(text: str) -> ClaimKind:
    """What a sentence is by its form."""
    if _HEADING.match(text) or _RULE.match(text) or _BOLD.match(text):
        return "heading"
    is_lead = _LEAD.search(text[-12:]) and len(_WORD.findall(text[:200])) <= _TITLE
    return "heading" if is_lead and not any(map(str.isdigit, text)) else "statement"


def _statements(sentence: str) -> Iterator[Span]:
    """A sentence in parts that state something by themselves."""
    begin = 0
    depth_at = _open_marks(sentence)
    for joint in _JOINT.finditer(sentence):
        if depth_at[joint.start()]:
            continue
        before = sentence[max(begin, joint.start() - _NEAR) : joint.start()]
        after = sentence[joint.end() : joint.end() + _NEAR]
        if min(len(_WORD.findall(before)), len(_WORD.findall(after))) >= _SHORT:
            yield begin, joint.start() + len(joint.group().rstrip())
            begin = joint.end()
    yield begin, len(sentence)


def _open_marks(sentence: str) -> list[int]:
    """For each character, how many brackets and quotations are open there."""
    depth, quoted = 0, False
    depths: list[int] = []
    for character in sentence:
        if character in "([{\u201c\u00ab":
            depth += 1
        elif character in ")]}\u201d\u00bb":
            depth = max(0, depth - 1)
        elif character == '"':
            quoted = not quoted
        depths.append(depth + quoted)
    return depths
