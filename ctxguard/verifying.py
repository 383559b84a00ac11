"""The check of an answer and its repair, and what the run keeps of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ctxguard.errors import InputError, UngroundedAnswerError
from ctxguard.policy import Policy
from ctxguard.run import Record, Run, current_run
from ctxguard.types import Action, Chunk, Decision, Message, Quote, Verdict, Verification
from ctxguard.verification import (
    Asks,
    Attempt,
    Evidence,
    Gate,
    Limits,
    Repaired,
    Verifier,
    Verify,
    draft,
    repair,
)

__all__ = [
    "EndsWell",
    "Given",
    "Judging",
    "draft_answer",
    "flags_of",
    "gate_for",
    "judging",
    "repair_answer",
    "settings_of",
]

EndsWell: TypeAlias = Callable[[BaseException], bool] | None
"""Tells a framework's control flow, which passes through, from errors."""
Given: TypeAlias = Evidence | Iterable[str | Mapping[str, Any] | Chunk] | None
"""Evidence that is handed in; None: that of the run."""
STAGE = "verify"
_CHANGES: Mapping[str, Action] = {
    "draft": "route",
    "self-check": "rewrite",
    "retrieve": "rewrite",
    "escalate": "escalate",
}
_ASKED: Mapping[str, str] = {
    "draft": "the light model was asked for a draft",
    "self-check": "the model was asked to correct the claims that failed",
    "retrieve": "more evidence was looked for, for the claims that failed",
    "escalate": "the heavy model was asked for the part that failed",
}
_CAME: Mapping[str, str] = {
    "grounded": "the evidence holds all of it",
    "drafted": "the evidence does not hold all of it",
    "better": "more of it is held by the evidence than before",
    "no-better": "it was not taken, because no more of it is held by the evidence",
    "empty-reply": "the reply was empty",
    "no-model": "there is no such model, or it may not be asked",
    "no-retriever": "there is no retriever",
    "nothing-found": "nothing new was found",
    "over-attempts": "not done: no attempts are left",
    "over-tokens": "not done: it would cost more tokens than are left",
    "over-time": "not done: the time is over",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What an answer is judged by, and in which run."""

    verifier: Verifier
    evidence: Evidence
    question: str | None
    run: Run | None

    def noted(self, asks: Asks[Verification]) -> Asks[Verification]:
        """The same requests; the run gets what came of them, with a flag for what failed."""
        began = time.perf_counter()
        verification = yield from asks
        record = Record(
            decisions=tuple(flags_of(verification, self.verifier.cut)),
            timings={STAGE: time.perf_counter() - began},
            question=verification.question,
            verifications=(verification,),
        )
        _note(record, self.run)
        return verification


def judging(
    policy: Policy, evidence: Given, question: str | None, ends_well: EndsWell = None
) -> Judging:
    """By what the policy judges an answer in the run of now."""
    held, asked = _held(policy, evidence, question)
    verifier = settings_of(policy, ends_well).verifier
    return Judging(verifier=verifier, evidence=held, question=asked, run=current_run())


def gate_for(policy: Policy, evidence: Given, question: str | None, ends_well: EndsWell) -> Gate:
    """A gate that closes at the first sentence that failed, unless the policy only flags."""
    settings = settings_of(policy, ends_well)
    held, asked = _held(policy, evidence, question)
    return Gate(settings.verifier, held, question=asked, closes=settings.on_fail != "flag")


def repair_answer(
    policy: Policy,
    answer: str | Verification,
    evidence: Given,
    question: str | None,
    limits: Limits,
) -> Asks[Repaired]:
    """Asks for what puts an answer right; the run of now gets the check and every attempt."""
    if not isinstance(answer, str | Verification):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
        raise InputError(f"answer: expected a str, got {type(answer).__name__}")
    settings = settings_of(policy, limits.ends_well)
    held, asked = _held(policy, evidence, question)
    work = _Noting(held, settings.verifier.cut, current_run())

    def repairing() -> Asks[Repaired]:
        first = answer
        if isinstance(first, str):
            first = yield from settings.verifier.verifying(first, held, asked)
        work.first = work.last = first
        return (yield from repair(first, held, settings, replace(limits, note=work.add)))

    return work.noted(repairing())


def draft_answer(
    policy: Policy,
    messages: Iterable[Message],
    evidence: Given,
    question: str | None,
    limits: Limits,
) -> Asks[Repaired]:
    """Asks for a draft and for the part of it that is rejected; the run of now gets all of it."""
    settings = settings_of(policy, limits.ends_well)
    held, asked = _held(policy, evidence, question)
    work = _Noting(held, settings.verifier.cut, current_run())
    limits = replace(limits, note=work.add)
    asks = draft(tuple(messages), held, settings, question=asked or "", limits=limits)
    return work.noted(asks)


class _Noting:
    """What is tried for one answer, until the run gets it."""

    def __init__(self, held: Evidence, threshold: float, run: Run | None) -> None:
        self.first: Verification | None = None
        self.last: Verification | None = None
        self._held = held
        self._threshold = threshold
        self._run = run
        self._attempts: list[Attempt] = []

    def add(self, attempt: Attempt) -> None:
        """Take an attempt."""
        self._attempts.append(attempt)
        if self.first is None:  # a draft
            self.first = self.last = attempt.verification

    def noted(self, asks: Asks[Repaired]) -> Asks[Repaired]:
        """The same requests; whatever passes through, what was tried is kept."""
        done: Repaired | None = None
        try:
            repaired = yield from asks
            done, self.last = repaired, repaired.verification
        except UngroundedAnswerError as error:
            self.last = error.verification
            raise
        finally:
            _note(self._record(done), self._run)
        return repaired

    def _record(self, repaired: Repaired | None) -> Record:
        """Every attempt, what it cost and what came of it, and what is still wrong in the end."""
        decisions = [_attempt(attempt) for attempt in self._attempts]
        if repaired is not None and repaired.ending == "abstained":
            decisions.append(
                Decision(
                    stage=STAGE,
                    action="rewrite",
                    subject="answer",
                    code="abstained",
                    reason="what the evidence does not hold was left out, and the answer says so",
                )
            )
        last, tried = self.last, (one.verification for one in self._attempts)
        before = (self.first, *tried)
        distinct = {id(one): one for one in before if one and one is not last}.values()
        found = repaired.evidence[len(self._held.chunks) :] if repaired else ()
        flags = flags_of(last, self._threshold) if last else ()
        return Record(
            decisions=(*decisions, *flags),
            chunks=found,
            evidence=found,
            timings={"repair": sum(attempt.seconds for attempt in self._attempts)},
            question=last.question if last else "",
            verifications=(*distinct, last) if last else (),
        )


def settings_of(policy: Policy, ends_well: EndsWell = None) -> Verify:
    """What the policy says of verification; errors pass the verifier as `on_error` has it.

    Args:
        policy: whose `verification`; without one, the default of Verify.
        ends_well: tells a framework's control flow, which passes through, from errors.
    """
    settings = policy.verification or Verify()
    if policy.on_error == "pass" and ends_well is None:
        return settings
    own = settings.verifier.passes

    def passes(error: Exception) -> bool:
        return (
            policy.on_error == "raise"
            or (ends_well is not None and ends_well(error))
            or (own is not None and own(error))
        )

    return replace(settings, verifier=replace(settings.verifier, passes=passes))


def _held(policy: Policy, evidence: Given, question: str | None) -> tuple[Evidence, str | None]:
    """What an answer is held against, and what was asked: by default those of the run."""
    run = current_run()
    if evidence is None:
        if run is None:
            raise InputError(
                "evidence: hand it in, or call verify inside of `with guard.run(question):`, "
                "where prepare was called"
            )
        evidence = run.evidence
    if question is None and run is not None:
        question = run.question
    return settings_of(policy).verifier.session(evidence).evidence, question


def _note(record: Record, run: Run | None) -> None:
    if run is not None:
        run.add(record)


# -- what the run keeps ---------------------------------------------------------------------------


def flags_of(verification: Verification, threshold: float) -> Iterator[Decision]:
    """A decision for each claim that failed, and an error for each part that could not judge.

    Args:
        verification: of an answer.
        threshold: a claim with a lower score failed.
    """
    for verdict in verification.claims:
        if verdict.failed or verdict.code == "check-failed":
            yield _flag(verdict, threshold)
    unscored = [one for one in verification.claims if one.code == "scorer-failed"]
    for reason in dict.fromkeys(one.reason for one in unscored):
        count = sum(one.reason == reason for one in unscored)
        yield Decision(
            stage=STAGE,
            action="error",
            subject="answer",
            code="scorer-failed",
            reason=f"{count:,} claim{'s were' if count > 1 else ' was'} not judged: {reason}",
            details={"claims": count},
        )


def _flag(verdict: Verdict, threshold: float) -> Decision:
    pointer = verdict.claim.pointer
    return Decision(
        stage=STAGE,
        action="flag" if verdict.failed else "error",
        subject="answer",
        code=verdict.code,
        reason=f"{_short(verdict.claim.text)}: {verdict.reason}",
        score=verdict.score,
        threshold=threshold if verdict.failed else None,
        evidence=_quotes(verdict),
        details={
            "claim": verdict.claim.text,
            "span": verdict.claim.span,
            "label": verdict.label,
            **({"pointer": pointer} if pointer else {}),
        },
    )


def _quotes(verdict: Verdict) -> tuple[Quote, ...]:
    """What speaks against a claim first, then the passages that it was judged by."""
    against = [quote for finding in verdict.findings for quote in finding.evidence]
    return tuple(dict.fromkeys((*against, *verdict.evidence)))


def _short(claim: str) -> str:
    words = " ".join(claim.split())
    return repr(words if len(words) <= 160 else f"{words[:159]}…")


def _attempt(attempt: Attempt) -> Decision:
    after = attempt.verification
    action = _CHANGES[attempt.step] if attempt.route and not attempt.error else "flag"
    came = _CAME.get(attempt.code, attempt.error)
    return Decision(
        stage=STAGE,
        action="error" if attempt.error else action,
        subject=attempt.step,
        code=attempt.code,
        reason=f"{_ASKED[attempt.step]}: {came}",
        score=after.score if after else None,
        tokens_after=attempt.tokens if attempt.route else None,
        details={
            "route": attempt.route,
            "tokens": attempt.tokens,
            "seconds": attempt.seconds,
            "failed": len(after.failed) if after else None,
        },
    )
