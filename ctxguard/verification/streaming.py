"""Verification of an answer while it is written: a gate, or corrections that follow.

Both read the answer part by part: a sentence, a list item, a row of a table, a line of code. A part
has ended when the first word of the next one shows it, so a reader waits one sentence at most. The
evidence is read once. However the text is cut into pieces, the parts and their verdicts are the
same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ctxguard.types import Chunk, Claim, Span, Verdict, Verification
from ctxguard.verification._parts import Part, Parts
from ctxguard.verification.asks import Asks, adrive, drive
from ctxguard.verification.evidence import Evidence
from ctxguard.verification.verifier import Verifier

__all__ = ["Annotator", "Correction", "Gate", "Release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A part of an answer that may be shown: nothing in it failed."""

    text: str
    """With the white space before it."""
    span: Span
    """Characters of the answer as the model wrote it."""
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A claim that was shown and that the evidence contradicts or does not hold."""

    offset: int
    """Characters of the answer after which it is known: the end of its sentence."""
    claim: Claim
    verdict: Verdict


_Judged: TypeAlias = tuple[Part, tuple[Verdict, ...]]


class _Reader:
    """What was written so far, and what the evidence says of it."""

    def __init__(
        self,
        verifier: Verifier | None = None,
        evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk] = (),
        *,
        question: str | None = None,
    ) -> None:
        """Start before the first character.

        Args:
            verifier: None: `Verifier()`.
            evidence: what the answer is made from; an Evidence keeps what was read of it.
            question: what was asked.

        Raises:
            InputError: for evidence that is no chunks.
        """
        self._session = (verifier or Verifier()).session(evidence, question)
        self._parts = Parts()
        self._draft: list[str] = []
        self._verdicts: list[Verdict] = []
        self._open: deque[Part] = deque()  # has ended and is not judged: a scorer was given up
        self._judged: deque[_Judged] = deque()  # is judged and not handed out, for the same reason
        self._is_finished = False

    @property
    def draft(self) -> str:
        """The answer as the model wrote it, so far."""
        return "".join(self._draft)

    @property
    def evidence(self) -> Evidence:
        """What the answer is held against."""
        return self._session.evidence

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The claims so far that the evidence contradicts or does not hold."""
        return tuple(verdict for verdict in self._verdicts if verdict.failed)

    @property
    def verification(self) -> Verification:
        """The verdicts so far; after `finish` on the whole answer, with checks of one's own."""
        return Verification(
            answer=self.draft, claims=tuple(self._verdicts), question=self._session.question
        )

    def _read(self, text: str, *, is_last: bool) -> Asks[list[_Judged]]:
        if self._is_finished:
            return []
        self._draft.append(text)
        self._open.extend(self._parts.push(text))
        if is_last:
            self._open.extend(self._parts.finish())
        while self._open:
            part = self._open[0]
            verdicts = yield from self._session.judging(part.claims, part.text)
            self._open.popleft()
            self._verdicts.extend(verdicts)
            self._judged.append((part, tuple(verdicts)))
        judged = list(self._judged)
        self._judged.clear()
        return judged

    def _conclude(self) -> list[Verdict]:
        """What checks of one's own say of the whole answer, once."""
        if self._is_finished:
            return []
        self._is_finished = True
        claims = [verdict.claim for verdict in self._verdicts]
        concluded = self._session.conclude(self.draft, claims)
        self._verdicts.extend(concluded)
        return concluded


class Gate(_Reader):
    """Lets through what passed: a part is released when nothing in it failed.

    What failed is withheld, with everything that follows it unless the gate is told to go on: what
    was written after a wrong sentence may rest on it. Checks of one's own read the whole answer,
    when it has been released; what they say is in the verification.
    """

    def __init__(
        self,
        verifier: Verifier | None = None,
        evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk] = (),
        *,
        question: str | None = None,
        closes: bool = True,
    ) -> None:
        """Start before the first character.

        Args:
            verifier: None: `Verifier()`.
            evidence: what the answer is made from; an Evidence keeps what was read of it.
            question: what was asked.
            closes: whether nothing is released after a part that failed, so that it can be
                repaired; False: only what failed is withheld.

        Raises:
            InputError: for evidence that is no chunks.
        """
        super().__init__(verifier, evidence, question=question)
        self._closes = closes
        self._closed = False
        self._released: list[str] = []

    @property
    def closed(self) -> bool:
        """Whether nothing more will be released; what is written is still judged."""
        return self._closed or self._is_finished

    @property
    def released(self) -> str:
        """All that was released; with a gate that closes, the beginning of the draft."""
        return "".join(self._released)

    def push(self, text: str) -> tuple[Release, ...]:
        """What may be shown, now that this text has followed."""
        return drive(self.pushing(text))

    async def apush(self, text: str) -> tuple[Release, ...]:
        """As `push`; a scorer is awaited, or runs in a thread unless it is quick.

        If it is cancelled, the text has been taken, and the next call goes on from there.
        """
        return await adrive(self.pushing(text))

    def finish(self) -> tuple[Release, ...]:
        """What may be shown of the rest: the answer has ended; a second time nothing."""
        return drive(self.finishing())

    async def afinish(self) -> tuple[Release, ...]:
        """As `finish`, awaited as `apush` is."""
        return await adrive(self.finishing())

    def pushing(self, text: str) -> Asks[tuple[Release, ...]]:
        """As `push`, a generator for `drive` and `adrive` that asks for a scorer's numbers."""
        return self._let((yield from self._read(text, is_last=False)))

    def finishing(self) -> Asks[tuple[Release, ...]]:
        """As `finish`, a generator like `pushing`."""
        releases = self._let((yield from self._read("", is_last=True)))
        self._conclude()
        return releases

    def _let(self, judged: list[_Judged]) -> tuple[Release, ...]:
        releases: list[Release] = []
        for part, verdicts in judged:
            if any(verdict.failed for verdict in verdicts):
                self._closed = self._closed or self._closes
            elif not self._closed:
                span = (part.start, part.end)
                releases.append(Release(text=part.text, span=span, verdicts=verdicts))
                self._released.append(part.text)
        return tuple(releases)


class Annotator(_Reader):
    """Says what was wrong with a text that is shown as it comes."""

    def push(self, text: str) -> tuple[Correction, ...]:
        """What is known to be wrong, now that this text has followed and is shown."""
        return drive(self.pushing(text))

    async def apush(self, text: str) -> tuple[Correction, ...]:
        """As `push`; a scorer is awaited, or runs in a thread unless it is quick.

        If it is cancelled, the text has been taken, and the next call goes on from there.
        """
        return await adrive(self.pushing(text))

    def finish(self) -> tuple[Correction, ...]:
        """What is wrong with the rest, and what checks of one's own say of the whole."""
        return drive(self.finishing())

    async def afinish(self) -> tuple[Correction, ...]:
        """As `finish`, awaited as `apush` is."""
        return await adrive(self.finishing())

    def pushing(self, text: str) -> Asks[tuple[Correction, ...]]:
        """As `push`, a generator for `drive` and `adrive` that asks for a scorer's numbers."""
        return self._corrections((yield from self._read(text, is_last=False)))

    def finishing(self) -> Asks[tuple[Correction, ...]]:
        """As `finish`, a generator like `pushing`."""
        found = self._corrections((yield from self._read("", is_last=True)))
        end = sum(map(len, self._draft))
        return (*found, *(_correction(end, one) for one in self._conclude() if one.failed))

    @staticmethod
    def _corrections(judged: list[_Judged]) -> tuple[Correction, ...]:
        return tuple(
            _correction(part.end, verdict)
            for part, verdicts in judged
            for verdict in verdicts
            if verdict.failed
        )


def _correction(offset: int, verdict: Verdict) -> Correction:
    return Correction(offset=offset, claim=verdict.claim, verdict=verdict)
