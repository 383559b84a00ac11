"""The verifier: an answer's claims, each held against the evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ctxguard.errors import InputError
from ctxguard.intake import coerce_chunks, identify_chunks
from ctxguard.text.facts import Fact, extract_facts
from ctxguard.text.thesaurus import default_thesaurus
from ctxguard.types import Chunk, Claim, Finding, Label, Quote, Verdict, Verification
from ctxguard.verification._align import Case, case_of
from ctxguard.verification._conflicts import check_conflicts
from ctxguard.verification._figures import check_values
from ctxguard.verification._language import language_of
from ctxguard.verification._names import check_names
from ctxguard.verification._negation import check_negation
from ctxguard.verification._opposites import check_opposites
from ctxguard.verification._plain import plain_text
from ctxguard.verification._quotations import check_quotations
from ctxguard.verification.citations import Citation, CitationMap, find_citations
from ctxguard.verification.claims import split_claims
from ctxguard.verification.evidence import Evidence
from ctxguard.verification.scorer import Scorer, Support, lexical_support

__all__ = ["Answer", "Check", "Verifier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a check is given: an answer and its claims."""

    text: str
    question: str = ""
    claims: tuple[Claim, ...] = ()
    """All parts of the answer, those that claim nothing included."""


Check: TypeAlias = Callable[[Answer, Evidence], Iterable[Verdict]]
"""A check of a caller's own; what it returns is added to the verdicts."""

_WRONG_SOURCE = 0.8
"""That a citation is wrong where another chunk holds the claim and the cited one does not."""
_UNKNOWN_SOURCE = 0.9
"""That one is wrong which points at nothing that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Holds answers against evidence, with no model unless it is given a scorer.

    Deterministic: the same answer and evidence give the same verdicts. What stands in the evidence
    is data; it is compared and never followed.
    """

    threshold: float = 0.5
    """A claim with a lower score is not supported."""
    scorer: Scorer | None = None
    """Judges what facts do not decide; None: by the words alone."""
    checks: Sequence[Check] = ()
    """Checks of one's own, in addition."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """What citations mean: the mark as it is written → the id of a chunk. A number counts the
    chunks from 1, ids and sources mean themselves."""

    def __post_init__(self) -> None:
        """Check the threshold."""
        if not 0 <= self.threshold <= 1:
            raise InputError(
                f"Verifier.threshold: expected a number from 0 to 1, got {self.threshold!r}"
            )

    def __call__(
        self,
        answer: str,
        evidence: Iterable[str | Mapping[str, Any] | Chunk],
        question: str | None = None,
    ) -> Verification:
        """What the evidence says of an answer, claim by claim.

        Args:
            answer: the answer, in plain text or Markdown.
            evidence: what it was made from, in the order in which the model saw it.
            question: what was asked.

        Raises:
            InputError: for an answer that is no string, or evidence that is no chunks.
        """
        if not isinstance(answer, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"answer: expected a str, got {type(answer).__name__}")
        chunks, _ = identify_chunks(coerce_chunks(evidence), {})
        run = _Run(self, answer, Evidence(chunks), question or "")
        return Verification(answer=answer, claims=tuple(run.verdicts()), question=question or "")


class _Run:
    """One answer beside its evidence."""

    def __init__(self, verifier: Verifier, text: str, evidence: Evidence, question: str) -> None:
        self._verifier = verifier
        self._evidence = evidence
        self._answer = Answer(text=text, question=question, claims=split_claims(text))
        self._known = CitationMap(evidence.chunks, verifier.labels)
        self._facts: tuple[Fact, ...] | None = None
        self._cited: dict[tuple[int, ...], Evidence] = {}

    def verdicts(self) -> Iterator[Verdict]:
        """The verdicts of all claims, then those of the caller's checks."""
        claims = self._answer.claims
        citations = {
            claim.span: list(find_citations(claim.text, self._known))
            for claim in claims
            if claim.is_checkable
            and ("[" in claim.text or "(" in claim.text or "\u3010" in claim.text)
        }
        cases = self._cases(citations)
        supports = self._supports(list(cases.values()))
        for claim in claims:
            case = cases.get(claim.span)
            if case is None:
                yield self._not_judged(claim)
                continue
            yield self._judge(case, supports.get(claim.span), citations.get(claim.span, ()))
        for check in self._verifier.checks:
            yield from self._custom(check)

    def _cases(self, citations: Mapping[Any, Sequence[Citation]]) -> dict[Any, Case]:
        """The claims that can be judged, aligned to the evidence."""
        cases: dict[Any, Case] = {}
        context: tuple[str, ...] = ()
        for claim in self._answer.claims:
            if not claim.is_checkable:
                continue
            marks = [citation.span for citation in citations.get(claim.span, ())]
            text = plain_text(claim.text, marks)
            case = case_of(claim, self._evidence, text=text, context=context)
            context = case.terms
            if any(key.isalnum() or len(key) > 1 for key in case.words.keys):
                cases[claim.span] = case
        return cases

    def _supports(self, cases: Sequence[Case]) -> dict[Any, Support]:
        """What the scorer says, asked once for all claims."""
        scorer = self._verifier.scorer
        if scorer is None or not cases:
            return {}
        quotes = map(self._evidence.quote_passage, range(len(self._evidence.passages)))
        passages = [quote.text for quote in quotes]
        found = scorer.score([case.text for case in cases], passages)
        return {case.claim.span: one for case, one in zip(cases, found, strict=True)}

    # -- one claim --------------------------------------------------------------------------------

    def _not_judged(self, claim: Claim, code: str = "", reason: str = "") -> Verdict:
        reasons = {
            "question": "a question claims nothing",
            "hedge": "it is offered as a guess",
            "refusal": "it says what is not known",
            "chat": "it is small talk",
            "heading": "a heading claims nothing",
            "code": "code is not judged",
            "math": "formulas are not judged",
        }
        return Verdict(
            claim=claim,
            label="not_judged",
            score=1.0,
            code=code or (claim.kind if claim.kind in reasons else "nothing-claimed"),
            reason=reason or reasons.get(claim.kind, "it has no word that claims something"),
        )

    def _judge(self, case: Case, support: Support | None, citations: Sequence[Citation]) -> Verdict:
        claim = case.claim
        if not self._evidence.passages:
            return Verdict(
                claim=claim,
                label="not_found",
                score=0.0,
                code="no-evidence",
                reason="there is no evidence that could support it",
            )
        stated = self._evidence.find(case.text)
        if stated is None and (other := self._other_language(case)):
            return self._not_judged(
                claim, "other-language", f"it is in another language than the evidence ({other})"
            )
        findings = list(() if stated else self._findings(case))
        findings += check_conflicts(case, self._answer_facts())
        findings += self._check_citations(case, citations, findings)
        p = 1.0 if stated else self._probability(case, support)
        return self._verdict(case, findings, p, stated, support)

    def _findings(self, case: Case) -> Iterator[Finding]:
        yield from check_values(case)
        yield from check_names(case)
        yield from check_quotations(case)
        yield from check_negation(case)
        yield from check_opposites(case, default_thesaurus())

    def _probability(self, case: Case, support: Support | None) -> float:
        return lexical_support(case) if support is None else support.probability

    def _verdict(
        self,
        case: Case,
        findings: Sequence[Finding],
        p: float,
        stated: Quote | None,
        support: Support | None,
    ) -> Verdict:
        against = [one for one in findings if one.label in ("contradicted", "not_found")]
        score = p * math.prod(1 - one.certainty for one in against)
        worst = max(against, key=lambda one: one.certainty, default=None)
        label: Label = "supported"
        code, reason = "supported", "the evidence supports it"
        if score < self._verifier.threshold:
            decides = worst is not None and (1 - worst.certainty) <= p
            label = worst.label if worst and decides else "not_found"
            code = worst.code if worst and decides else "not-stated"
            reason = worst.reason if worst and decides else "the evidence does not say so"
        elif stated:
            code, reason = "stated", f"{stated.chunk_id!r} says so word for word"
        evidence = (stated,) if stated else self._quotes(case, support)
        return Verdict(
            claim=case.claim,
            label=label,
            score=score,
            code=code,
            reason=reason,
            findings=tuple(findings),
            evidence=evidence,
        )

    def _quotes(self, case: Case, support: Support | None) -> tuple[Quote, ...]:
        if support is None or not 0 <= support.passage < len(self._evidence.passages):
            return case.quotes()
        best = self._evidence.quote_passage(support.passage)
        return (best, *(quote for quote in case.quotes() if quote != best))

    def _other_language(self, case: Case) -> str:
        """The evidence's language where the claim is in another one; blank if it is not."""
        ours = language_of(case.words.keys)
        theirs = self._evidence.language
        return theirs if ours and theirs and ours != theirs else ""

    def _answer_facts(self) -> tuple[Fact, ...]:
        if self._facts is None:
            self._facts = extract_facts(self._answer.text)
        return self._facts

    # -- citations --------------------------------------------------------------------------------

    def _check_citations(
        self, case: Case, citations: Sequence[Citation], findings: Sequence[Finding]
    ) -> Iterator[Finding]:
        start = case.claim.span[0]
        for citation in citations:
            span = start + citation.span[0], start + citation.span[1]
            made = Finding(
                code="citation-unknown",
                reason=f"{citation.text!r} points at nothing in the evidence",
                span=span,
                text=citation.text,
                label="not_found",
                certainty=_UNKNOWN_SOURCE,
            )
            if not citation.chunks:
                yield made
        cited = tuple(dict.fromkeys(chunk for one in citations for chunk in one.chunks))
        failed = any(one.label != "supported" and one.certainty >= 0.5 for one in findings)
        if not cited or failed or len(cited) == len(self._evidence.chunks):
            return
        if not self._holds(case, cited):
            citation = next(one for one in citations if one.chunks)
            names = " and ".join(repr(self._evidence.chunks[chunk].id) for chunk in cited)
            yield Finding(
                code="citation-differs",
                reason=f"the cited {names} does not say so, other evidence does",
                span=(start + citation.span[0], start + citation.span[1]),
                text=citation.text,
                label="not_found",
                certainty=_WRONG_SOURCE,
                evidence=case.quotes()[:1],
            )

    def _holds(self, case: Case, cited: tuple[int, ...]) -> bool:
        """Whether the cited chunks alone hold the claim as well as all of the evidence does."""
        if cited not in self._cited:
            self._cited[cited] = Evidence([self._evidence.chunks[chunk] for chunk in cited])
        alone = case_of(case.claim, self._cited[cited], text=case.text)
        if self._cited[cited].find(alone.text) is not None:
            return True
        score = lexical_support(alone)
        for finding in self._findings(alone):
            if finding.label != "supported":
                score *= 1 - finding.certainty
        near = [one.number for one in case.aligned]
        places = {self._evidence.passages[number].chunk for number in near[:1]}
        return score >= self._verifier.threshold and (
            not places.isdisjoint(cited) or alone.overlap >= _ENOUGH * case.overlap
        )

    # -- checks of a caller -----------------------------------------------------------------------

    def _custom(self, check: Check) -> Iterator[Verdict]:
        """What a caller's check says; one that fails says so and hides nothing else."""
        try:
            yield from list(check(self._answer, self._evidence))
        except Exception as error:
            name = getattr(check, "__name__", type(check).__name__)
            text = self._answer.text
            verdict = self._not_judged(
                Claim(text=text, span=(0, len(text))),
                "check-failed",
                f"the check {name!r} failed: {type(error).__name__}: {error}",
            )
            yield replace(verdict, score=0.0)


_ENOUGH = 0.6
"""Of the words that all evidence has of a claim, those that the cited chunks have."""
