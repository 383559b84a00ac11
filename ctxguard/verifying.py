"""The check of an answer and its repair, and what the run keeps of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from ctxguard.errors import InputError, UngroundedAnswerError
from ctxguard.policy import Policy
from ctxguard.run import Record, Run, current_run
from ctxguard.types import Action, Chunk, Decision, Quote, Verdict, Verification
from ctxguard.verification import Asks, Attempt, Evidence, Gate, Limits, Repaired, Verify, repair

__all__ = ["Given", "flags_of", "gate_for", "repair_answer", "verify_answer"]

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
    "no-model": "there is no such model",
    "no-retriever": "there is no retriever",
    "nothing-found": "nothing new was found",
    "over-attempts": "not done: no attempts are left",
    "over-tokens": "not done: it would cost more tokens than are left",
    "over-time": "not done: the time is over",
}


def verify_answer(
    policy: Policy, answer: str, evidence: Given, question: str | None
) -> Verification:
    """What the evidence says of an answer; the run gets a flag for each claim that failed."""
    began = time.perf_counter()
    verifier = _settings(policy).verifier
    held, asked = _held(policy, evidence, question)
    verification = verifier(answer, held, question=asked)
    _note(
        Record(
            decisions=tuple(flags_of(verification, verifier.cut)),
            timings={STAGE: time.perf_counter() - began},
            question=verification.question,
            verifications=(verification,),
        ),
        current_run(),
    )
    return verification


def gate_for(policy: Policy, evidence: Given, question: str | None) -> Gate:
    """A gate that closes at the first sentence that failed, unless the policy only flags."""
    settings = _settings(policy)
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
    settings, run = _settings(policy), current_run()
    held, asked = _held(policy, evidence, question)
    verification = settings.verifier(answer, held, asked) if isinstance(answer, str) else answer
    return _repairing(verification, held, settings, limits, run)


def _repairing(
    verification: Verification, held: Evidence, settings: Verify, limits: Limits, run: Run | None
) -> Asks[Repaired]:
    threshold = settings.verifier.cut
    attempts: list[Attempt] = []
    result: list[Repaired] = []
    last = verification
    try:
        repaired = yield from repair(
            verification, held, settings, replace(limits, note=attempts.append)
        )
        result.append(repaired)
        last = repaired.verification
    except UngroundedAnswerError as error:
        last = error.verification
        raise
    finally:  # whatever passes through, what was tried is kept
        done = result[0] if result else None
        _note(_record(verification, attempts, last, threshold, done, held), run)
    return repaired


def _settings(policy: Policy) -> Verify:
    return policy.verification or Verify()


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
    return _settings(policy).verifier.session(evidence).evidence, question


def _note(record: Record, run: Run | None) -> None:
    if run is not None:
        run.add(record)


# -- what the run keeps ---------------------------------------------------------------------------


def _record(
    first: Verification,
    attempts: Iterable[Attempt],
    last: Verification,
    threshold: float,
    repaired: Repaired | None,
    held: Evidence,
) -> Record:
    """Every attempt, what it cost and what came of it, and what is still wrong in the end."""
    decisions = [_attempt(attempt) for attempt in attempts]
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
    before = (first, *(one.verification for one in attempts if one.verification))
    distinct = {id(one): one for one in before if one is not last}.values()
    found = repaired.evidence[len(held.chunks) :] if repaired else ()
    return Record(
        decisions=(*decisions, *flags_of(last, threshold)),
        chunks=found,
        evidence=found,
        timings={"repair": sum(attempt.seconds for attempt in attempts)},
        question=last.question,
        verifications=(*distinct, last),
    )


def flags_of(verification: Verification, threshold: float) -> Iterator[Decision]:
    """A decision for each claim of an answer that failed, with the quotes that speak against it."""
    for verdict in verification.claims:
        if verdict.failed or verdict.code == "check-failed":
            yield Decision(
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
