"""Repair of an answer that the evidence does not hold, and drafts that only need part of one.

The logic is a generator of requests (`Ask`, `Retrieve`), so that `drive` and `adrive` run the same.
Whatever happens, the beginning of the answer that passed is kept word for word; a reader may have
it already. What a try makes no better is not taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from ctxguard.errors import InputError, UngroundedAnswerError
from ctxguard.intake import coerce_chunks
from ctxguard.text.analysis import default_analyzer
from ctxguard.types import Chunk, Message, Verification
from ctxguard.verification._patches import abstained, accepted_of, joined
from ctxguard.verification._prompts import continuation, correction
from ctxguard.verification.asks import Ask, Asks, Reply, Request, Retrieve, Tier
from ctxguard.verification.evidence import Evidence
from ctxguard.verification.settings import OnFail, Try, Verify
from ctxguard.verification.verifier import Verifier

__all__ = ["Attempt", "Ending", "Limits", "Repaired", "Try", "draft", "repair"]

Ending: TypeAlias = Literal["passed", "repaired", "flagged", "abstained"]
"""Nothing was wrong; all was put right; something still is wrong; only what is known was kept."""

_TRIES: Mapping[OnFail, tuple[Try, ...]] = {
    "flag": (),
    "repair": ("self-check", "retrieve"),
    "escalate": ("self-check", "retrieve", "escalate"),
    "abstain": ("self-check", "retrieve", "escalate"),
    "raise": ("self-check", "retrieve", "escalate"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try, what it cost and what came of it."""

    step: Try
    code: str
    """'grounded', 'drafted', 'better', 'no-better', 'empty-reply', 'failed'; or why there was none:
    'no-model', 'no-retriever', 'nothing-found', 'over-attempts', 'over-tokens', 'over-time'."""
    route: Tier | None = None
    """Which model answered; None: none did."""
    tokens: int = 0
    """Of prompt and answer."""
    seconds: float = 0.0
    verification: Verification | None = None
    """Of the answer that came of it."""
    error: str = ""
    """What a model or a retriever raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """The answer to give, and what led to it."""

    answer: str
    verification: Verification
    """Of the answer."""
    ending: Ending
    attempts: tuple[Attempt, ...] = ()
    evidence: tuple[Chunk, ...] = ()
    """What the answer was held against in the end, what was found on the way included."""

    @property
    def tokens(self) -> int:
        """What all attempts cost."""
        return sum(attempt.tokens for attempt in self.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a caller knows of one repair, beside the settings."""

    keep: int = 0
    """Characters of the answer that a reader has: they are not taken back."""
    ends_well: Callable[[BaseException], bool] | None = None
    """Tells a framework's control flow, which passes through, from errors, which end a try."""
    count: Callable[[str], int] | None = None
    """Tokens of a text, where a reply does not say what it cost; None: o200k_base."""
    clock: Callable[[], float] = time.monotonic
    """Seconds that only grow."""
    doubt: str = ""
    """Why an answer is put to the tries although no claim failed; blank: it is not."""
    note: Callable[[Attempt], object] | None = None
    """Is told of every attempt when it has ended, whatever comes after."""


def repair(
    verification: Verification,
    evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk],
    settings: Verify,
    limits: Limits | None = None,
) -> Asks[Repaired]:
    """Asks for what puts an answer right, as far as the settings go.

    Args:
        verification: of the answer.
        evidence: what it was held against.
        settings: what to do, and within which bounds.
        limits: what a reader has of the answer, and how the caller counts.

    Returns:
        A generator for `drive` and `adrive`.

    Raises:
        UngroundedAnswerError: with `on_fail="raise"`, when nothing helped.
    """
    work = _Work(verification, evidence, settings, limits or Limits())
    doubted = bool(work.limits.doubt)
    for step in _TRIES[settings.on_fail] if settings.tries is None else settings.tries:
        done = not work.best.failed and not (doubted and work.best is verification)
        if done or not (yield from work.take(step)):
            break
    return (yield from work.ended(verification))


def draft(
    messages: Iterable[Message],
    evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk],
    settings: Verify,
    *,
    question: str = "",
    limits: Limits | None = None,
) -> Asks[Repaired]:
    """Asks the light model for an answer, and the heavy one for the part that is rejected.

    The draft is accepted sentence by sentence; what comes before the first sentence that failed is
    kept, and the heavy model goes on from there. Its part is verified too, and asked for again
    while there are attempts left. The draft itself is no attempt and not bounded.

    Args:
        messages: the prompt, as the light model is to see it.
        evidence: what the answer is to be held against.
        settings: the bounds, and what happens to an answer that still fails.
        question: what was asked, for the heavy model.
        limits: as for `repair`.

    Raises:
        InputError: there is no light model.
        Exception: what the light model raised; without a draft there is nothing to go on from.
        UngroundedAnswerError: with `on_fail="raise"`, when nothing helped.
    """
    limits = replace(limits or Limits(), keep=0)
    asked = Ask(messages=tuple(messages))
    began = limits.clock()
    try:
        reply = _reply((yield asked))
    except Exception as error:
        if limits.note is not None:
            said = f"{type(error).__name__}: {error}"
            limits.note(Attempt(step="draft", code="failed", error=said))
        raise
    if reply is None:
        raise InputError("ask: a draft needs a light model, and there is none")
    held = settings.verifier.session(evidence, question).evidence
    verification = yield from settings.verifier.verifying(reply.text, held, question)
    work = _Work(verification, held, settings, limits)
    work.drafted(asked, reply, limits.clock() - began)
    while work.best.failed and (yield from work.take("escalate")):
        pass
    return (yield from work.ended(verification))


class _Costs:
    """What was spent, and what may be."""

    def __init__(self, settings: Verify, limits: Limits) -> None:
        self.clock = limits.clock
        self.asked = 0
        self.tokens = 0
        self._settings = settings
        self._count = limits.count or default_analyzer().count
        self._began = limits.clock()

    def prompt(self, messages: Iterable[Message]) -> int:
        return sum(self._count(message.text) for message in messages)

    def cost(self, ask: Ask, reply: Reply) -> int:
        counted = reply.tokens
        return self.prompt(ask.messages) + self._count(reply.text) if counted is None else counted

    def left(self) -> float | None:
        """Seconds."""
        limit = self._settings.seconds
        return None if limit is None else limit - (self.clock() - self._began)

    def ask(self, messages: tuple[Message, ...], route: Tier) -> Ask | str:
        """The question, or which bound forbids it."""
        if over := self.over():
            return over
        limit, room = self._settings.max_tokens, None
        if limit is not None:
            room = limit - self.tokens - self.prompt(messages)
            if room <= 0:
                return "over-tokens"
        return Ask(messages=messages, route=route, max_tokens=room, seconds=self.left())

    def over(self) -> str:
        """Which bound is reached, blank for none."""
        left = self.left()
        if self.asked >= self._settings.attempts:
            return "over-attempts"
        return "over-time" if left is not None and left <= 0 else ""


class _Work:
    """An answer on its way to a better one."""

    def __init__(
        self,
        verification: Verification,
        evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk],
        settings: Verify,
        limits: Limits,
    ) -> None:
        self.best = verification
        self._attempts: list[Attempt] = []
        self._settings = settings
        self.limits = limits
        self._costs = _Costs(settings, limits)
        self._evidence = self._verifier.session(evidence).evidence

    @property
    def _verifier(self) -> Verifier:
        return self._settings.verifier

    def take(self, step: Try) -> Generator[Request, Any, bool]:
        """One try; False where a bound forbids more."""
        if over := self._costs.over():
            self._note(step, over)
            return False
        found: tuple[Chunk, ...] = ()
        if step == "retrieve":
            found = yield from self._retrieve()
            if not found or not self.best.failed:
                return True
        keep = self.limits.keep
        # What is doubted is asked for anew, from where a reader has it.
        at = accepted_of(self.best, keep) if self.best.failed else keep
        accepted, rest = self.best.answer[:at], self.best.answer[at:]
        question = self.best.question
        if step == "escalate":
            messages = continuation(
                question,
                accepted,
                self._evidence.chunks,
                rejected=rest if self._settings.hand_over else "",
                failed=self.best.failed,
            )
        else:
            messages = correction(question, accepted, rest, self.best.failed, found)
        return (yield from self._ask(step, messages, at))

    def _ask(
        self, step: Try, messages: tuple[Message, ...], at: int
    ) -> Generator[Request, Any, bool]:
        route: Tier = "heavy" if step == "escalate" else "light"
        ask = self._costs.ask(messages, route)
        if isinstance(ask, str):
            self._note(step, ask)
            return False
        began = self._costs.clock()
        try:
            reply = _reply((yield ask))
        except Exception as error:
            self._costs.asked += 1
            self._failed(step, error, route=route, seconds=self._costs.clock() - began)
            return True
        if reply is None:
            self._note(step, "no-model")
            return step != "escalate"
        self._costs.asked += 1
        tokens = self._costs.cost(ask, reply)
        self._costs.tokens += tokens
        code, candidate = yield from self._judge(joined(self.best.answer, at, reply.text))
        self._note(
            step,
            code if reply.text.strip() else "empty-reply",
            route=route,
            tokens=tokens,
            seconds=self._costs.clock() - began,
            verification=candidate,
        )
        if reply.text.strip() and code != "no-better":
            self.best = candidate
        return True

    def _judge(self, answer: str) -> Generator[Request, Any, tuple[str, Verification]]:
        candidate = yield from self._verifier.verifying(answer, self._evidence, self.best.question)
        if not candidate.failed:
            return "grounded", candidate
        return ("better" if _rank(candidate) > _rank(self.best) else "no-better"), candidate

    def _retrieve(self) -> Generator[Request, Any, tuple[Chunk, ...]]:
        """What is new of what was found for the failed claims; the answer is judged by it anew."""
        queries = tuple(dict.fromkeys(verdict.claim.text for verdict in self.best.failed))
        began = self._costs.clock()
        try:
            given = yield Retrieve(queries=queries, seconds=self._costs.left())
            found = () if given is None else tuple(coerce_chunks(given))
        except Exception as error:
            self._failed("retrieve", error, seconds=self._costs.clock() - began)
            return ()
        known = {chunk.text for chunk in self._evidence.chunks}
        ids = {chunk.id for chunk in self._evidence.chunks}
        new = tuple(
            _renamed(chunk, ids)
            for chunk in {c.text: c for c in found}.values()
            if chunk.text not in known
        )
        if not new:
            self._note("retrieve", "no-retriever" if given is None else "nothing-found")
            return ()
        self._evidence = Evidence((*self._evidence.chunks, *new))
        code, candidate = yield from self._judge(self.best.answer)
        self.best = candidate  # the same answer, by more evidence
        if code == "grounded":
            seconds = self._costs.clock() - began
            self._note("retrieve", code, seconds=seconds, verification=candidate)
        return new

    def _failed(self, step: Try, error: Exception, **more: Any) -> None:
        ends_well = self.limits.ends_well
        if ends_well is not None and ends_well(error):
            raise error
        self._note(step, "failed", error=f"{type(error).__name__}: {error}", **more)

    def _note(self, step: Try, code: str, **more: Any) -> None:
        attempt = Attempt(step=step, code=code, **more)
        self._attempts.append(attempt)
        if self.limits.note is not None:
            self.limits.note(attempt)

    def drafted(self, asked: Ask, reply: Reply, seconds: float) -> None:
        """Note the draft that the answer is."""
        self._note(
            "draft",
            "drafted" if self.best.failed else "grounded",
            route="light",
            tokens=self._costs.cost(asked, reply),
            seconds=seconds,
            verification=self.best,
        )

    # -- the end ----------------------------------------------------------------------------------

    def ended(self, started: Verification) -> Asks[Repaired]:
        """The answer to give, by what the settings say of one that failed."""
        on_fail = self._settings.on_fail
        if not self.best.failed:
            return self._result("passed" if self.best is started else "repaired")
        if on_fail == "raise":
            raise UngroundedAnswerError(self.best, tuple(self._attempts))
        if on_fail != "abstain":
            return self._result("flagged")
        answer = abstained(self.best, self.limits.keep, self._settings.abstention)
        self.best = yield from self._verifier.verifying(answer, self._evidence, self.best.question)
        return self._result("abstained")

    def _result(self, ending: Ending) -> Repaired:
        return Repaired(
            answer=self.best.answer,
            verification=self.best,
            ending=ending,
            attempts=tuple(self._attempts),
            evidence=self._evidence.chunks,
        )


def _reply(given: object) -> Reply | None:
    """A model's reply; None where there is no such model."""
    return (
        Reply(text=given) if isinstance(given, str) else given if isinstance(given, Reply) else None
    )


def _rank(verification: Verification) -> tuple[int, float]:
    """Higher is better."""
    return -len(verification.failed), verification.score


def _renamed(chunk: Chunk, taken: set[str]) -> Chunk:
    """The chunk with an id of its own, which is noted."""
    name, number = chunk.id, 1
    while name in taken:
        number += 1
        name = f"{chunk.id}-{number}"
    taken.add(name)
    return replace(chunk, id=name)
