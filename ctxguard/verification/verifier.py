"""The verifier: an answer's claims, each held against the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

from ctxguard.errors import InputError
from ctxguard.intake import coerce_chunks, identify_chunks
from ctxguard.text.facts import Fact, extract_facts
from ctxguard.types import Chunk, Claim, Quote, Span, Verdict, Verification
from ctxguard.verification._align import Case, case_of
from ctxguard.verification._conflicts import check_conflicts
from ctxguard.verification._findings import findings_of
from ctxguard.verification._language import language_of
from ctxguard.verification._plain import plain_text
from ctxguard.verification._sourcing import Sources, check_citations
from ctxguard.verification._verdicts import not_judged, verdict_of
from ctxguard.verification.calibration import Calibration, Labelled, calibrate_scores
from ctxguard.verification.citations import Citation, CitationMap, find_citations
from ctxguard.verification.claims import split_claims
from ctxguard.verification.evidence import Evidence
from ctxguard.verification.scorer import CaseScorer, Scorer, Support

__all__ = ["Answer", "Check", "Session", "Verifier"]

_THRESHOLD = 0.5
_SCORES = "2"
"""Of the rules: raised when they score otherwise, so that calibrations made before are refused.
`tests/verification/test_scores.py` fails until it is. A scorer's weights are told by its name."""
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
class Verifier:
    """Holds answers against evidence, with no model unless it is given a scorer.

    Deterministic: the same answer and evidence give the same verdicts. What stands in the evidence
    is data; it is compared and never followed.
    """

    threshold: float | None = None
    """A claim with a lower score is not supported; None: that of the calibration, else that of the
    scorer, else 0.5."""
    scorer: Scorer | None = None
    """Judges what facts do not decide; None: by the words alone."""
    checks: Sequence[Check] = ()
    """Checks of one's own, in addition."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """What citations mean: the mark as it is written → the id of a chunk. A number counts the
    chunks from 1, ids and sources mean themselves."""
    calibration: Calibration | None = None
    """Makes scores probabilities, as `calibrate` or `Calibration.load` give it; None: as they are.
    """

    def __post_init__(self) -> None:
        """Check the threshold, and that the calibration is of such a verifier."""
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(
                f"Verifier.threshold: expected a number from 0 to 1, got {self.threshold!r}"
            )
        if self.calibration is not None:
            self.calibration.check(self.settings)

    @property
    def cut(self) -> float:
        """The score under which a claim is not supported."""
        known = None if self.calibration is None else self.calibration.threshold
        first = known if self.threshold is None else self.threshold
        if first is not None:
            return first
        return self.scorer.threshold if isinstance(self.scorer, CaseScorer) else _THRESHOLD

    @property
    def settings(self) -> Mapping[str, str]:
        """What tells the scores of this verifier from those of others, for people to read."""
        checks = ", ".join(_name_of(check) for check in self.checks)
        scorer = "" if self.scorer is None else _name_of(self.scorer)
        return {"checks": checks, "scorer": scorer, "scores": _SCORES}

    def calibrate(
        self,
        labelled: Iterable[Labelled],
        *,
        target: float | None = 0.05,
        confidence: float = 0.95,
    ) -> Calibration:
        """Fit P(grounded) to scores and pick the threshold that keeps a false-alarm rate.

        The unit is the answer: its score is that of its weakest claim. `replace(verifier,
        calibration=…)` is the verifier that applies it. What a user is to see flagged claim by
        claim is best labelled in answers of one sentence.

        Args:
            labelled: answers with their evidence, drawn as later ones will be.
            target: share of right answers that may be flagged; None: fit probabilities only.
            confidence: how sure the target is to be kept.

        Raises:
            InputError: there are too few right answers for the target (the message says how many
                it takes), none of a kind, or scores do not tell them apart.
        """
        plain = replace(self, calibration=None)
        scores = [
            (plain(one.answer, one.evidence, one.question).score, one.grounded) for one in labelled
        ]
        return calibrate_scores(
            scores, settings=self.settings, target=target, confidence=confidence
        )

    def __call__(
        self,
        answer: str,
        evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk],
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
        session = self.session(evidence, question)
        claims = split_claims(answer)
        verdicts = [*session.judge(claims, answer), *session.conclude(answer, claims)]
        return Verification(answer=answer, claims=tuple(verdicts), question=question or "")

    def session(
        self,
        evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk],
        question: str | None = None,
    ) -> Session:
        """Judges an answer part by part against evidence that is read once: for streams.

        Args:
            evidence: as for a call; an Evidence keeps what was read of it.
            question: what was asked.
        """
        if not isinstance(evidence, Evidence):
            chunks, _ = identify_chunks(coerce_chunks(evidence), {})
            evidence = Evidence(chunks)
        return Session(self, evidence, question or "")


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
        self._said += extract_facts(text)
        cited = {claim.span: self._citations(claim) for claim in claims if claim.is_checkable}
        cases = self._cases(claims, cited)
        stated = {span: case.stated() for span, case in cases.items()}
        supports = self._supports([case for span, case in cases.items() if stated[span] is None])
        return [
            self._judge(case, stated[claim.span], supports.get(claim.span), cited[claim.span])
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
        self, claims: Sequence[Claim], cited: Mapping[Span, Sequence[Citation]]
    ) -> dict[Span, Case]:
        """The claims that can be judged, aligned to the evidence."""
        cases: dict[Span, Case] = {}
        for claim in claims:
            if claim.is_checkable:
                text = plain_text(claim.text, [citation.span for citation in cited[claim.span]])
                case = case_of(
                    claim,
                    self.evidence,
                    text=text,
                    context=self._context,
                    question=self.question,
                )
                self._context = case.terms
                if any(map(str.isalnum, text)):
                    cases[claim.span] = case
        return cases

    def _supports(self, cases: Sequence[Case]) -> dict[Span, Support]:
        """What the scorer says of claims that are not stated word for word, asked once for all."""
        scorer = self._verifier.scorer
        if scorer is None or not cases:
            return {}
        if isinstance(scorer, CaseScorer):
            found = scorer.score_cases(cases)
        else:
            found = scorer.score([case.text for case in cases], self._passages)
        return {case.claim.span: one for case, one in zip(cases, found, strict=True)}

    def _judge(
        self,
        case: Case,
        stated: Quote | None,
        support: Support | None,
        cited: Sequence[Citation],
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
        return verdict_of(
            case,
            findings,
            threshold=self._verifier.cut,
            curve=self._verifier.calibration and self._verifier.calibration.curve,
            stated=stated,
            support=support,
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
            name = _name_of(check)
            claim = Claim(text=answer.text, span=(0, len(answer.text)))
            reason = f"the check {name!r} failed: {type(error).__name__}: {error}"
            yield not_judged(claim, code="check-failed", reason=reason, score=0.0)


def _name_of(part: object) -> str:
    """What a scorer or a check calls itself, else the name of its function or class."""
    for name in ("name", "__name__"):
        known = getattr(part, name, None)
        if isinstance(known, str):
            return known
    return type(part).__name__
