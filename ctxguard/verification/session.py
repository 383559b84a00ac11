"""One answer beside its evidence: from claims to verdicts, as far as it has been written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from ctxguard.errors import InputError
from ctxguard.text.facts import Fact, extract_facts
from ctxguard.text.words import words_of
from ctxguard.types import Claim, Quote, Span, Verdict
from ctxguard.verification._align import Case, case_of
from ctxguard.verification._conflicts import check_conflicts
from ctxguard.verification._findings import findings_of
from ctxguard.verification._language import language_of
from ctxguard.verification._plain import plain_text
from ctxguard.verification._sourcing import Sources, check_citations
from ctxguard.verification._verdicts import not_judged, verdict_of
from ctxguard.verification.asks import Asks, Scoring, adrive, drive
from ctxguard.verification.citations import Citation, CitationMap, find_citations
from ctxguard.verification.evidence import Evidence, terms_of
from ctxguard.verification.scorer import CaseScorer, Support

if TYPE_CHECKING:
    from ctxguard.verification.verifier import Verifier

__all__ = ["Answer", "Check", "Session", "name_of"]

_FOREIGN = 0.6
"""Share of a claim's words that no evidence in another language has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a check is given: an answer and its claims."""

    text: str
    question: str = ""
    claims: tuple[Claim, ...] = ()
    """All parts of the answer, those that claim nothing included."""


Check: TypeAlias = Callable[[Answer, Evidence], Iterable[Verdict]]
"""A check of a caller's own; what it returns is added to the verdicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """What a scorer says of claims."""

    supports: Mapping[Span, Support] = field(default_factory=dict[Span, Support])
    """By the claim's span."""
    error: str = ""
    """Why there is nothing; blank for none."""
    open: frozenset[Span] = frozenset()
    """The spans of the claims that it was asked of then."""


_SURE = Support(probability=1.0)
"""The most that a scorer could have said."""


class Session:
    """One answer beside its evidence, as much of it as there is so far."""

    def __init__(self, verifier: Verifier, evidence: Evidence, question: str = "") -> None:
        """Start before the first claim; `Verifier.session` makes one."""
        self.evidence = evidence
        self.question = question
        self._verifier = verifier
        self._known = CitationMap(evidence.chunks, verifier.labels)
        self._sources = Sources(evidence)
        self._context: tuple[str, ...] = ()
        self._said: tuple[Fact, ...] = ()

    def judge(self, claims: Sequence[Claim], text: str) -> list[Verdict]:
        """The verdicts of the claims that come next, one each.

        Args:
            claims: all parts of the text, those that claim nothing included.
            text: the part of the answer that they are; its facts are said from now on.
        """
        return drive(self.judging(claims, text))

    async def ajudge(self, claims: Sequence[Claim], text: str) -> list[Verdict]:
        """As `judge`; a scorer is awaited, or runs in a thread unless it is quick."""
        return await adrive(self.judging(claims, text))

    def judging(
        self, claims: Sequence[Claim], text: str, *, leads: Mapping[Span, int] | None = None
    ) -> Asks[list[Verdict]]:
        """The same as a generator that asks for nothing but a scorer's numbers.

        What was not answered (it was given up while the scorer worked) can be asked anew.

        Args:
            claims: as for `judge`.
            text: as for `judge`.
            leads: by a claim's span, how many of its first characters only say what it is about,
                as the name of a field: they help to find the place and are not judged.
        """
        leads = leads or {}
        cited = {claim.span: self._citations(claim) for claim in claims if claim.is_checkable}
        cases, context = self._cases(claims, cited, leads)
        stated = {span: case.stated() for span, case in cases.items()}
        scored = yield from self._scored(
            [case for span, case in cases.items() if stated[span] is None]
        )
        self._context = context
        self._said += extract_facts(text)
        return [
            self._judge(case, stated[claim.span], scored, cited[claim.span])
            if (case := cases.get(claim.span))
            else not_judged(claim)
            for claim in claims
        ]

    def conclude(self, answer: str, claims: Sequence[Claim]) -> list[Verdict]:
        """What the caller's own checks say of the whole answer."""
        given = Answer(text=answer, question=self.question, claims=tuple(claims))
        return [
            verdict for check in self._verifier.checks for verdict in self._custom(check, given)
        ]

    def _citations(self, claim: Claim) -> list[Citation]:
        """What a claim cites; a mark that the evidence has in the same place is its own."""
        return [
            citation
            for citation in find_citations(claim.text, self._known)
            if citation.chunks or not self.evidence.holds(citation.text)
        ]

    def _cases(
        self,
        claims: Sequence[Claim],
        cited: Mapping[Span, Sequence[Citation]],
        leads: Mapping[Span, int],
    ) -> tuple[dict[Span, Case], tuple[str, ...]]:
        """The claims that can be judged, aligned to the evidence; the terms of the last one."""
        cases: dict[Span, Case] = {}
        context = self._context
        for claim in claims:
            if claim.is_checkable:
                lead = leads.get(claim.span, 0)
                outside = [citation.span for citation in cited[claim.span]]
                outside += self._unknown(claim.text[:lead])
                case = case_of(
                    claim,
                    self.evidence,
                    text=plain_text(claim.text, outside),
                    context=context,
                    question=self.question,
                    lead=lead,
                )
                context = case.terms
                if any(map(str.isalnum, case.text[lead:])):
                    cases[claim.span] = case
        return cases, context

    def _unknown(self, lead: str) -> list[Span]:
        """The words of a lead that the evidence does not have: they help to find nothing."""
        words = words_of(lead)
        return [
            (int(start), int(end))
            for term, (start, end) in zip(terms_of(words), words.spans, strict=True)
            if not (term and self.evidence.passages_with(term))
        ]

    def _scored(self, cases: Sequence[Case]) -> Asks[_Scored]:
        """What the scorer says, asked once for all claims not stated word for word.

        One that fails says so.

        A field that is a figure and nothing else is left to facts.
        """
        scorer = self._verifier.scorer
        cases = [case for case in cases if not case.lead or any(case.own_terms)]
        if scorer is None or not cases:
            return _Scored()
        claims = tuple(case.text for case in cases)
        try:
            if isinstance(scorer, CaseScorer):
                given = scorer.score_cases(cases)
            else:
                given = yield Scoring(scorer=scorer, claims=claims, passages=self._passages)
            found = _checked(given, len(cases))
        except Exception as error:
            if self._passes(error):
                raise
            said = f"the scorer {name_of(scorer)!r} failed: {type(error).__name__}: {error}"
            return _Scored(error=said, open=frozenset(case.claim.span for case in cases))
        return _Scored(
            supports={case.claim.span: one for case, one in zip(cases, found, strict=True)}
        )

    def _passes(self, error: Exception) -> bool:
        passes = self._verifier.passes
        return passes is not None and passes(error)

    def _judge(
        self, case: Case, stated: Quote | None, scored: _Scored, cited: Sequence[Citation]
    ) -> Verdict:
        claim = case.claim
        if not self.evidence.passages:
            reason = "there is no evidence that could support it"
            return Verdict(
                claim=claim, label="not_found", score=0.0, code="no-evidence", reason=reason
            )
        if stated is None and (language := self._other_language(case)):
            reason = f"it is in another language than the evidence ({language})"
            return not_judged(claim, code="other-language", reason=reason)
        findings = [] if stated else list(findings_of(case))
        findings += check_conflicts(case, self._said)
        findings += check_citations(case, cited, findings, self._sources)
        is_open = claim.span in scored.open
        verdict = verdict_of(
            case,
            [one for one in findings if one.span[1] > claim.span[0] + case.lead],
            threshold=self._verifier.cut,
            curve=self._verifier.calibration and self._verifier.calibration.curve,
            stated=stated,
            support=_SURE if is_open else scored.supports.get(claim.span),
        )
        if not is_open or stated or verdict.failed:  # facts decided, whatever a scorer says
            return verdict
        return replace(
            verdict, label="not_judged", score=0.0, code="scorer-failed", reason=scored.error
        )

    def _other_language(self, case: Case) -> str:
        """The evidence's language where the claim is in another one; blank if it is not."""
        if case.best > _FOREIGN:
            return ""
        ours, theirs = language_of(case.words.keys), self.evidence.language
        return theirs if ours and theirs and ours != theirs else ""

    @cached_property
    def _passages(self) -> list[str]:
        quotes = map(self.evidence.quote_passage, range(len(self.evidence.passages)))
        return [quote.text for quote in quotes]

    def _custom(self, check: Check, answer: Answer) -> Iterator[Verdict]:
        """What a caller's check says; one that fails says so and hides nothing else."""
        try:
            yield from list(check(answer, self.evidence))
        except Exception as error:
            if self._passes(error):
                raise
            name = name_of(check)
            claim = Claim(text=answer.text, span=(0, len(answer.text)))
            reason = f"the check {name!r} failed: {type(error).__name__}: {error}"
            yield not_judged(claim, code="check-failed", reason=reason, score=0.0)


def name_of(part: object) -> str:
    """What a scorer or a check calls itself, else the name of its function or class."""
    for name in ("name", "__name__"):
        known = getattr(part, name, None)
        if isinstance(known, str):
            return known
    return type(part).__name__


def _checked(given: Sequence[Support], count: int) -> Sequence[Support]:
    """What a scorer gave, if it is what a Scorer has to give."""
    found = list(given)
    if len(found) != count:
        raise InputError(f"expected a Support for each of {count:,} claims, got {len(found):,}")
    for one in found:
        if not 0 <= one.probability <= 1:  # which no NaN is
            raise InputError(f"expected a probability from 0 to 1, got {one.probability!r}")
    return found
