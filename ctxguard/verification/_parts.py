"""An answer that is still being written, in parts that can be judged: sentences, rows, lines.

Where a part ends is decided at fixed places of the text, by what stands before them. How the text
was cut on its way here changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ctxguard.text.sentences import split_sentences
from ctxguard.types import Claim
from ctxguard.verification.claims import split_claims

__all__ = ["Part", "Parts"]

_STOPS = frozenset(".!?\u2026\u061f\u06d4\u0964\u0965")
_PLACE = re.compile(
    r"(?<=\S)(?=\s)|(?<=\n)"  # the end of a word, the end of a line
    r"|(?<=[\u3002\uff01\uff1f\uff61])"  # after a full stop of CJK, what does not close it
    r"[^\s\u300d\u300f\u201d\u2019\uff09\u3011\u300b\u3009\"')\]]"
)
"""Where it may show that a part has ended. What decides stands before it, but for one character."""
_BEFORE = 120
"""Characters before a place that are looked at."""
_MARKER = 8
"""Characters from the start of a line in which its first word follows a list's marker."""
_CLOSED = 16
"""Characters before a word in which a full stop is looked for: quotation marks may follow it."""
_RULE = re.compile(r"[\s|:+=_-]+\Z")
_FENCE = re.compile(r"[ \t]{0,12}(`{3,16}|~{3,16})")
_MATH = re.compile(r"\$\$|\\\[|\\begin\{")
_BLANK = re.compile(r"\n[^\S\n]*\n\Z")
_LONGEST = 4_000
"""Characters of a part; a longer sentence goes on in the next one."""
_TRIED = 64
"""Places at which one part is tried before it is cut, so that time stays linear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What can be judged by itself, with the white space before it."""

    text: str
    start: int
    """Characters of the answer before it."""
    claims: tuple[Claim, ...]
    """Spans are of the answer."""

    @property
    def end(self) -> int:
        """Characters of the answer up to its end."""
        return self.start + len(self.text)


class Parts:
    """Finds the parts of a text that comes in pieces; together they are the text."""

    def __init__(self) -> None:
        """Start before the first character."""
        self._open = ""
        self._start = 0
        self._is_line = True  # whether what is open begins a line
        self._scanned = 0  # characters of what is open in which every place is known
        self._seen = 0  # the last place that was tried
        self._tried = 0
        self._block: _Block | None = None

    def push(self, text: str) -> Iterator[Part]:
        """The parts that have ended, now that this text has followed."""
        self._open += text
        while (part := self._next()) is not None:
            yield part

    def finish(self) -> Iterator[Part]:
        """What is left: the text has ended."""
        while self._open:
            part = self._next()
            if part is not None:
                yield part
            elif self._block is not None:
                yield self._line(len(self._open), self._block, is_last=True)
            elif not self._begins_block(self._open):
                yield self._prose(_first_of(self._open) or len(self._open))

    def _next(self) -> Part | None:
        """The next part, if it has ended."""
        if self._block is None:
            for place in self._places():
                text = self._open[:place]
                if text.endswith("\n") and self._begins_block(text):
                    break
                end = self._end_at(text)
                if end:
                    return self._prose(end)
        if self._block is None:
            return None
        end = self._open.find("\n", self._block.skip(self._open)) + 1
        return self._line(end, self._block) if end else None

    def _take(self, end: int, claims: tuple[Claim, ...]) -> Part:
        part = Part(text=self._open[:end], start=self._start, claims=claims)
        self._open, self._start = self._open[end:], self._start + end
        self._is_line = part.text.endswith("\n")
        self._scanned = self._seen = self._tried = 0
        return part

    # -- prose ------------------------------------------------------------------------------------

    def _places(self) -> Iterator[int]:
        """Where it may show that the part has ended, each once, in order."""
        text = self._open
        for match in _PLACE.finditer(text, self._scanned):
            place = match.end()
            if place > self._seen:
                self._seen = place
                is_sure = match.group() or text[place - 1] == "\n"
                if is_sure or place > _LONGEST or _may_end(text[max(0, place - _BEFORE) : place]):
                    yield place
        self._scanned = max(0, len(text) - 1)

    def _end_at(self, text: str) -> int:
        """Where the first part of a text ends, 0 where it may go on."""
        self._tried += 1
        end = _first_of(text)
        if end:
            return end
        if _BLANK.search(text[-_BEFORE:]) and text.strip() and not _is_in_math(text):
            return len(text.rstrip())
        return _cut(text) if self._tried >= _TRIED or len(text) > _LONGEST else 0

    def _prose(self, end: int) -> Part:
        start = self._start
        claims = tuple(
            replace(claim, span=(claim.span[0] + start, claim.span[1] + start))
            for claim in split_claims(self._open[:end])
        )
        return self._take(end, claims)

    # -- blocks of code ---------------------------------------------------------------------------

    def _begins_block(self, text: str) -> bool:
        """Whether a text is the first line of a block of code, white space before it aside."""
        bare = text.lstrip()
        if not bare.startswith(("```", "~~~")) or "\n" in bare[:-1]:
            return False
        line = text.rfind("\n", 0, len(text) - len(bare)) + 1
        mark = _FENCE.match(text, line)
        if mark is None or not (line or self._is_line):
            return False
        self._block = _Block(mark=mark[1], start=self._start + mark.start(1))
        return True

    def _line(self, end: int, block: _Block, *, is_last: bool = False) -> Part:
        """The next line of a block; the last one has the claim about all of it."""
        text = self._open[:end]
        closing = _FENCE.match(text) if block.lines else None
        if closing and closing[1].startswith(block.mark):
            text, is_last = text[: closing.start(1) + len(block.mark)], True
        block.lines.append(text[max(0, block.start - self._start) :])
        if not is_last:
            return self._take(len(text), ())
        self._block = None
        code = "".join(block.lines).rstrip()
        span = (block.start, block.start + len(code))
        return self._take(len(text), (Claim(text=code, span=span, kind="code"),))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A block of code that is open."""

    mark: str
    start: int
    """Characters of the answer before it."""
    lines: list[str] = field(default_factory=list[str])

    def skip(self, text: str) -> int:
        """Characters before the line that comes next: white space before the first one."""
        return 0 if self.lines else len(text) - len(text.lstrip())


def _may_end(window: str) -> bool:
    """Whether a part may have ended before the last word of these characters."""
    word = window.rsplit(None, 1)[-1]
    before = window[: len(window) - len(word)]
    return "\n" in before[-_MARKER:] or not _STOPS.isdisjoint(before.rstrip()[-_CLOSED:])


def _first_of(text: str) -> int:
    """Where the first sentence ends that another one follows, 0 without one."""
    spans = split_sentences(text)
    for number, (start, end) in enumerate(spans[:-1]):
        if _is_in_math(text[:end]):
            continue
        if number or not _is_row(text[start:end]):
            return end
        below = text[slice(*spans[1])]
        if not _RULE.match(below):
            return end
        if "\n" in text[spans[1][1] :] or len(spans) > 2:  # the rule under a table's header
            return spans[1][1] if "-" in below else end
        return 0
    return 0


def _cut(text: str) -> int:
    """Where a part that is too long ends: before its last word, or anywhere."""
    start = text[:_LONGEST]
    space = max(start.rstrip().rfind(mark) for mark in " \n")
    return space if start[: max(0, space)].strip() else len(start)


def _is_row(sentence: str) -> bool:
    return sentence.startswith("|") or sentence.count("|") > 1 or sentence.count("\t") > 1


def _is_in_math(text: str) -> bool:
    """Whether a text ends inside of a formula."""
    if not _MATH.search(text):
        return False
    return (
        text.count("$$") % 2 == 1
        or text.count("\\[") > text.count("\\]")
        or text.count("\\begin{") > text.count("\\end{")
    )
