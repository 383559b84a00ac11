"""What the evidence may use of the budget, and what a chunk costs where it stands."""

from __future__ import annotations

import re

from ctxguard.stages._index import name_of
from ctxguard.text.tokens import EstimateTokenizer, TiktokenTokenizer
from ctxguard.types import Chunk, Context

__all__ = ["Counter", "evidence_limit", "is_divisible", "may_exceed_limit", "shown"]

_TAIL = 32
"""Characters before a separator that decide how it is tokenised. Encodings split text into pieces
(a word, a number, a run of punctuation and line ends) before they merge bytes within a piece."""

_END = re.compile(r"[^\W_]?[\W_]*\Z")
"""A run of letters or of digits ends a piece in every encoding, so that its last one stands for
it; what follows (a full stop, brackets) may be one token with the separator."""

_HEAD = "A"
"""Stands for the start of whatever follows a separator."""
_BEGIN = re.compile(r"[ \t]*[^\s/]")
"""What is never in one piece with a line end before it, in the encodings below: their patterns
have only line ends, "/" and whitespace up to a line end follow one."""
_EXACT = ("cl100k_base", "o200k_base", "o200k_harmony")
_SLICE = 500_000
"""Characters from which on a text is encoded in parts."""


def evidence_limit(context: Context) -> int | None:
    """Tokens that the evidence may use, None when nothing limits it.

    `Budget.context_tokens` is the limit when it is set, as far as instructions and question leave
    it in the window: they cannot give way, while history can. With the window alone, the evidence
    gets what instructions, question and history leave, at least `floors['evidence']`. In both
    cases at most `ceilings['evidence']`.
    """
    budget, count = context.budget, context.analyzer.count
    limits = [budget.context_tokens, budget.ceilings.get("evidence")]
    if budget.prompt_tokens is not None:
        room = budget.prompt_tokens - count(context.instructions) - count(context.question)
        if budget.context_tokens is None:
            history = sum(count(turn.text) + turn.extra_tokens for turn in context.history)
            room = max(room - history, min(budget.floors.get("evidence", 0), room))
        limits.append(max(0, room))
    return min((limit for limit in limits if limit is not None), default=None)


def may_exceed_limit(context: Context) -> bool:
    """Whether something may have to give; the exact count is Select's."""
    limit = evidence_limit(context)
    if limit is None:
        return False
    count = context.analyzer.count
    # Two tokens at most for the blank line between two chunks.
    return sum(count(shown(chunk)) + 2 for chunk in context.chunks) > limit


def shown(chunk: Chunk) -> str:
    """What stands in the prompt for a chunk, before a template is put around it."""
    return chunk.rendered or chunk.text


def is_divisible(chunk: Chunk) -> bool:
    """Whether a chunk can be cut: what the framework renders must hold its text word for word."""
    return bool(chunk.text) and (not chunk.rendered or chunk.text in chunk.rendered)


def _tail(text: str) -> str:
    """The end of a text that decides what a separator after it costs."""
    if text[-1:].isalpha():
        return text[-1]
    found = _END.search(text, max(0, len(text) - _TAIL))
    return found.group() if found else ""


class Counter:
    """Counts chunks as they are written into the prompt: template and separators included."""

    def __init__(self, context: Context, separator: str) -> None:
        self.context = context
        self.separator = separator
        self._joints: dict[str, int] = {}
        self._head = self._encoded(_HEAD)
        # The same number of tokens for every number that a chunk may get: the widest is counted.
        self._number = len(context.chunks)
        tokenizer = context.analyzer.tokenizer
        self._is_known = separator.endswith("\n") and (
            isinstance(tokenizer, EstimateTokenizer)
            or (isinstance(tokenizer, TiktokenTokenizer) and tokenizer.name in _EXACT)
        )

    def written(self, chunk: Chunk) -> str:
        """A chunk as it is written."""
        template = self.context.template
        if template is None:
            return shown(chunk)
        return template.write(
            text=shown(chunk),
            number=self._number,
            id=chunk.id,
            source=chunk.source,
            title=name_of(chunk),
            also_in=chunk.also_in,
            rivals=tuple(str(self._number) for _ in chunk.conflicts),
        )

    def count(self, chunk: Chunk) -> int:
        """Tokens of a chunk as it is written."""
        return self.context.analyzer.count(self.written(chunk))

    def around(self, chunk: Chunk) -> int:
        """Tokens that are written with a chunk and are no text of it."""
        if self.context.template is None and not chunk.rendered:
            return 0
        return max(0, self.count(chunk) - self.context.analyzer.count(chunk.text))

    def joint(self, text: str) -> int:
        """Tokens that a separator after a text adds; fewer than its own where they merge."""
        return self._joint(_tail(text))

    def edges(self, text: str) -> tuple[int, bool, bool]:
        """The joint of a text, and whether its tokens begin and end where it does.

        They begin with it where the separator ends in a line end and the text begins in a visible
        character other than "/"; they end, with the joint, where its tail holds all that may merge
        with a separator. Two texts cost what their parts do where both is so between them.
        """
        tail = _tail(text)
        is_known = self._is_known and len(text) < _SLICE
        begins = is_known and _BEGIN.match(text) is not None
        return self._joint(tail), begins, is_known and tail[:1].isalnum()

    def _joint(self, tail: str) -> int:
        known = self._joints.get(tail)
        if known is None:
            joined = self._encoded(tail + self.separator + _HEAD)
            known = joined - self._encoded(tail) - self._head
            self._joints[tail] = known
        return known

    def tokens(self, text: str) -> int:
        """Tokens of a text that is not seen again."""
        return self._encoded(text)

    def _encoded(self, text: str) -> int:
        # Not through the analyzer: its cache is for texts that will be seen again.
        return len(self.context.analyzer.tokenizer.encode(text))
