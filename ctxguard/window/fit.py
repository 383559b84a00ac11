"""The context window of one model call: everything counted, and made to fit.

What gives way, in this order, until the prompt fits:

1. what exceeds a ceiling (history, evidence, `context_tokens`);
2. exchanges of the history, oldest first, all but the newest;
3. evidence, worst-ranked first, all but the best;
4. the newest exchange of the history;
5. tool results of the current turn, the longest first, shortened in their middle;
6. steps of the current turn, oldest first, all but the last; then the last of the evidence.

Steps 2 to 4 respect `Budget.floors`; the last resort does not. An exchange leaves as a whole, and a
tool call with its results, so no result is ever an orphan. Instructions, tools, the question and
pinned messages never leave: if they alone do not fit, BudgetExceededError says who uses what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ctxguard.errors import BudgetExceededError
from ctxguard.text.analysis import Analyzer
from ctxguard.types import Budget, Chunk, Decision, Message, Segment, SegmentKind
from ctxguard.window.cuts import Cut, apply_cuts, evidence_cuts, middle_cut
from ctxguard.window.structure import (
    Atom,
    EvidenceSpan,
    find_atoms,
    find_evidence,
    find_question,
)

__all__ = ["Fitted", "count_messages", "fit_messages"]

MESSAGE_TOKENS = 5
"""Template tokens around one message. OpenAI's chat format has 3 to 4, ChatML has 5."""
REPLY_TOKENS = 3
"""Template tokens that open the answer (OpenAI's cookbook on counting tokens)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Messages that fit, and how they came to."""

    messages: tuple[Message, ...]
    """The kept ones, in order, their text already cut."""
    positions: tuple[int, ...]
    """Index in the input of each kept message."""
    cuts: Mapping[int, tuple[Cut, ...]] = field(default_factory=dict[int, tuple[Cut, ...]])
    """By index in the input: what to cut out of that message's text, in order, not overlapping."""
    decisions: tuple[Decision, ...] = ()
    segments: tuple[Segment, ...] = ()
    """The prompt that is sent; their tokens add up to `tokens_after` plus the reserve."""
    tokens_before: int = 0
    tokens_after: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything is left out or cut."""
        return bool(self.decisions)


def count_messages(messages: Sequence[Message], tools: str, analyzer: Analyzer) -> int:
    """Tokens of a prompt: texts, tool schemas, and the chat template around them."""
    texts = sum(analyzer.count(m.text) + m.extra_tokens + MESSAGE_TOKENS for m in messages)
    return texts + (analyzer.count(tools) if tools else 0) + REPLY_TOKENS


def fit_messages(
    messages: Sequence[Message],
    *,
    evidence: Sequence[Chunk] = (),
    tools: str = "",
    budget: Budget,
    analyzer: Analyzer,
) -> Fitted:
    """Make messages fit the budget's window and ceilings; see the module for the order.

    Args:
        messages: the whole prompt, in order.
        evidence: chunks that retrieval handed on, best-ranked first; found in the messages by their
            exact text.
        tools: the tool schemas as JSON, blank without tools.
        budget: `window` None means no limit but the ceilings.
        analyzer: counts tokens.

    Raises:
        BudgetExceededError: what is pinned does not fit.
    """
    return _Fit(messages, evidence=evidence, tools=tools, budget=budget, analyzer=analyzer).run()


class _Fit:
    """One fitting; mutable while it runs."""

    def __init__(
        self,
        messages: Sequence[Message],
        *,
        evidence: Sequence[Chunk],
        tools: str,
        budget: Budget,
        analyzer: Analyzer,
    ) -> None:
        self.messages = tuple(messages)
        self.budget = budget
        self.analyzer = analyzer
        self.tools_tokens = analyzer.count(tools) if tools else 0
        self.question = find_question(self.messages)
        self.atoms = find_atoms(self.messages, self.question)
        self.atom_of = {index: atom for atom in self.atoms for index in atom.members}
        self.spans = find_evidence(self.messages, evidence, self._holds_evidence, analyzer.count)
        self.cuts: dict[int, tuple[Cut, ...]] = {}
        self.shortened: set[int] = set()
        self.decisions: list[Decision] = []
        # Running totals: a prompt of thousands of messages is counted once, not once per drop.
        self.sizes = [self._size(message) for message in self.messages]
        self.total = sum(self.sizes) + self.tools_tokens + REPLY_TOKENS
        self.history = sum(self._atom_tokens(a) for a in self.atoms if not a.current)
        self.evidence = sum(span.tokens for span in self.spans)

    # -- the order of giving way ----------------------------------------------------------------

    def run(self) -> Fitted:
        before = self.total
        self._apply_ceilings()
        limit = self.budget.prompt_tokens
        if limit is not None and self.total > limit:
            self._shrink(limit)
        return self._result(before)

    def _apply_ceilings(self) -> None:
        ceiling = self.budget.ceilings.get("history")
        if ceiling is not None:
            for atom in self._exchanges():
                if self.history <= ceiling:
                    break
                self._drop_atom(atom, "over-ceiling", f"history may use {ceiling:,} tokens")
        limits = (self.budget.ceilings.get("evidence"), self.budget.context_tokens)
        allowed = min((limit for limit in limits if limit is not None), default=None)
        if allowed is not None:
            for span in self._worst_first():
                if self.evidence <= allowed:
                    break
                self._drop_span(span, "over-ceiling", f"evidence may use {allowed:,} tokens")

    def _shrink(self, limit: int) -> None:
        why = f"the prompt may use {limit:,} tokens"
        for step in (
            self._drop_old_exchanges,
            self._drop_weak_evidence,
            self._drop_newest_exchange,
            self._shorten_results,
            self._drop_last_resort,
        ):
            for _ in step(why, limit):
                if self.total <= limit:
                    return
        pinned = self._usage()
        raise BudgetExceededError(limit=limit, usage=pinned, pinned=frozenset(pinned))

    def _drop_old_exchanges(self, why: str, _: int) -> Iterator[None]:
        floor = self.budget.floors.get("history", 0)
        for atom in self._exchanges()[:-1]:
            if self.history - self._atom_tokens(atom) < floor:
                return
            self._drop_atom(atom, "over-window", why)
            yield

    def _drop_weak_evidence(self, why: str, _: int) -> Iterator[None]:
        floor = self.budget.floors.get("evidence", 0)
        for span in self._worst_first()[:-1]:
            if self.evidence - span.tokens < floor:
                return
            self._drop_span(span, "over-window", why)
            yield

    def _drop_newest_exchange(self, why: str, _: int) -> Iterator[None]:
        floor = self.budget.floors.get("history", 0)
        for atom in self._exchanges():
            if self.history - self._atom_tokens(atom) >= floor:
                self._drop_atom(atom, "over-window", why)
                yield

    def _shorten_results(self, why: str, limit: int) -> Iterator[None]:
        results = [i for a in self._steps() for i in a.members if self.messages[i].role == "tool"]
        for index in sorted(results, key=lambda index: -self.sizes[index]):
            self._shorten(index, self.total - limit, why)
            yield

    def _drop_last_resort(self, why: str, _: int) -> Iterator[None]:
        for atom in self._exchanges():
            self._drop_atom(atom, "over-window", f"{why}; its floor was given up")
            yield
        for atom in self._steps()[:-1]:
            self._drop_atom(atom, "over-window", why)
            yield
        for span in self._worst_first():
            self._drop_span(span, "over-window", why)
            yield

    # -- what can give way ----------------------------------------------------------------------

    def _exchanges(self) -> list[Atom]:
        return [a for a in self.atoms if not a.current and not a.pinned and not a.gone]

    def _steps(self) -> list[Atom]:
        return [a for a in self.atoms if a.current and not a.pinned and not a.gone]

    def _worst_first(self) -> list[EvidenceSpan]:
        return sorted((s for s in self.spans if self._stands(s)), key=lambda s: -s.rank)

    def _stands(self, span: EvidenceSpan) -> bool:
        return not span.gone and self._kept(span.message) and span.message not in self.shortened

    def _kept(self, index: int) -> bool:
        atom = self.atom_of.get(index)
        return atom is None or not atom.gone

    def _holds_evidence(self, index: int) -> bool:
        """Evidence is looked for where it is answered from: not in history or the model's words."""
        if self.messages[index].role == "assistant":
            return False
        atom = self.atom_of.get(index)
        return atom is None or (atom.current and not atom.pinned)

    # -- giving way -------------------------------------------------------------------------------

    def _drop_atom(self, atom: Atom, code: str, why: str) -> None:
        self.evidence -= sum(s.tokens for s in self._standing_in(atom.members))
        atom.gone = True
        tokens = self._atom_tokens(atom)
        self.total -= tokens
        if not atom.current:
            self.history -= tokens
        what = "with its exchange of the history" if not atom.current else "with its step"
        for index in atom.members:
            message = self.messages[index]
            self.decisions.append(
                Decision(
                    stage="window",
                    action="drop",
                    subject=_id(message, index),
                    code=code,
                    reason=f"left out {what}: {why}",
                    tokens_before=self.sizes[index],
                    tokens_after=0,
                    details={"role": message.role, "text": message.text},
                )
            )

    def _drop_span(self, span: EvidenceSpan, code: str, why: str) -> None:
        span.gone = True
        self.evidence -= span.tokens
        gone = [s for s in self.spans if s.message == span.message and s.gone]
        pieces = sorted((s.start, s.end) for s in gone)
        self._cut(span.message, evidence_cuts(self.messages[span.message].text, pieces))
        self.decisions.append(
            Decision(
                stage="window",
                action="drop",
                subject=span.chunk.id,
                code=code,
                reason=f"evidence ranked {span.rank + 1} left out of the prompt: {why}",
                tokens_before=span.tokens,
                tokens_after=0,
                details={"rank": span.rank + 1, "message": span.message},
            )
        )

    def _shorten(self, index: int, excess: int, why: str) -> None:
        text = self.messages[index].text
        tokens = self.analyzer.count(text)
        cut = middle_cut(text, tokens - excess, self.analyzer.count)
        if cut is None:
            return
        self.evidence -= sum(s.tokens for s in self._standing_in([index]))
        self.shortened.add(index)
        self._cut(index, (cut,))
        self.decisions.append(
            Decision(
                stage="window",
                action="trim",
                subject=_id(self.messages[index], index),
                code="over-window",
                reason=f"tool result shortened in its middle: {why}",
                tokens_before=tokens,
                tokens_after=self.analyzer.count(self._message(index).text),
                details={"removed": [[cut.start, cut.end]], "text": text[cut.start : cut.end]},
            )
        )

    def _cut(self, index: int, cuts: tuple[Cut, ...]) -> None:
        self.cuts[index] = cuts
        size = self._size(self._message(index))
        self.total += size - self.sizes[index]
        self.sizes[index] = size

    # -- reading ----------------------------------------------------------------------------------

    def _size(self, message: Message) -> int:
        return self.analyzer.count(message.text) + message.extra_tokens + MESSAGE_TOKENS

    def _atom_tokens(self, atom: Atom) -> int:
        return sum(self.sizes[index] for index in atom.members)

    def _standing_in(self, members: Sequence[int]) -> list[EvidenceSpan]:
        return [span for span in self.spans if span.message in members and self._stands(span)]

    def _message(self, index: int) -> Message:
        message = self.messages[index]
        cuts = self.cuts.get(index)
        return replace(message, text=apply_cuts(message.text, cuts)) if cuts else message

    def _usage(self) -> dict[str, int]:
        usage: dict[str, int] = {}
        for segment in self._segments():
            if segment.kind != "reserve":
                usage[segment.kind] = usage.get(segment.kind, 0) + segment.tokens
        return usage

    # -- the result -------------------------------------------------------------------------------

    def _segments(self) -> Iterator[Segment]:
        if self.tools_tokens:
            yield Segment(kind="tools", label="tool schemas", tokens=self.tools_tokens, pinned=True)
        for index in range(len(self.messages)):
            if self._kept(index):
                yield from self._message_segments(index)
        yield Segment(kind="question", label="opening of the answer", tokens=REPLY_TOKENS)
        if self.budget.window is not None:
            yield Segment(
                kind="reserve", label="reserved for the answer", tokens=self.budget.reserve
            )

    def _message_segments(self, index: int) -> Iterator[Segment]:
        message = self.messages[index]
        spans = sorted(self._standing_in([index]), key=lambda span: span.start)
        rest = self.sizes[index]
        shares: list[int] = []
        for span in spans:
            shares.append(min(span.tokens, rest))
            rest -= shares[-1]
        kind = self._kind(index)
        # What is neither evidence nor cut, for people; a shortened message holds no evidence.
        others = [Cut(s.start, s.end) for s in self.spans if s.message == index]
        shown = self.cuts[index] if index in self.shortened else sorted(others, key=_start)
        yield Segment(
            kind=kind,
            label=_label(message, kind, index),
            tokens=rest,
            subject=_id(message, index),
            text=apply_cuts(message.text, shown),
            pinned=kind in ("instructions", "question") or message.pinned,
        )
        for span, tokens in zip(spans, shares, strict=True):
            yield Segment(
                kind="evidence",
                label=span.chunk.source or span.chunk.id,
                tokens=tokens,
                subject=span.chunk.id,
                text=span.chunk.text,
            )

    def _kind(self, index: int) -> SegmentKind:
        if self.messages[index].role == "system":
            return "instructions"
        return "question" if index == self.question else "history"

    def _result(self, before: int) -> Fitted:
        kept = [index for index in range(len(self.messages)) if self._kept(index)]
        return Fitted(
            messages=tuple(self._message(index) for index in kept),
            positions=tuple(kept),
            cuts={index: self.cuts[index] for index in kept if index in self.cuts},
            decisions=tuple(self.decisions),
            segments=tuple(self._segments()),
            tokens_before=before,
            tokens_after=self.total,
        )


def _start(cut: Cut) -> int:
    return cut.start


def _id(message: Message, index: int) -> str:
    return message.id or f"message-{index + 1}"


def _label(message: Message, kind: SegmentKind, index: int) -> str:
    if kind == "instructions":
        return "system message"
    if kind == "question":
        return "question"
    return f"message {index + 1} ({message.role})"
