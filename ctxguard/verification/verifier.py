"""The verifier: an answer's claims, each held against the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ctxguard.errors import InputError
from ctxguard.intake import coerce_chunks, identify_chunks
from ctxguard.types import Chunk, Verification
from ctxguard.verification.asks import Asks, adrive, drive
from ctxguard.verification.calibration import Calibration, Labelled, calibrate_scores
from ctxguard.verification.claims import split_claims
from ctxguard.verification.evidence import Evidence
from ctxguard.verification.fields import read_fields
from ctxguard.verification.scorer import CaseScorer, Scorer
from ctxguard.verification.session import Check, Session, name_of

__all__ = ["Verifier"]

_THRESHOLD = 0.5
_SCORES = "2"
"""Of the rules: raised when they score otherwise, so that calibrations made before are refused.
`tests/verification/test_scores.py` fails until it is. A scorer's weights are told by its name."""


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

    passes: Callable[[Exception], bool] | None = None
    """Which errors of a scorer or a check are raised, as a framework's control flow has to be;
    None: none, each makes a verdict that says so."""

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
        checks = ", ".join(name_of(check) for check in self.checks)
        scorer = "" if self.scorer is None else name_of(self.scorer)
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
        return drive(self.verifying(answer, evidence, question))

    async def averify(
        self,
        answer: str,
        evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk],
        question: str | None = None,
    ) -> Verification:
        """As a call; a scorer is awaited, or runs in a thread unless it is quick."""
        return await adrive(self.verifying(answer, evidence, question))

    def verifying(
        self,
        answer: str,
        evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk],
        question: str | None = None,
    ) -> Asks[Verification]:
        """The same as a generator that asks for nothing but a scorer's numbers."""
        if not isinstance(answer, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"answer: expected a str, got {type(answer).__name__}")
        session = self.session(evidence, question)
        claims = split_claims(answer)
        verdicts = yield from session.judging(claims, answer)
        verdicts += session.conclude(answer, claims)
        return Verification(answer=answer, claims=tuple(verdicts), question=question or "")

    def verify_fields(
        self,
        value: object,
        evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk],
        question: str | None = None,
        *,
        schema: object = None,
    ) -> Verification:
        """What the evidence says of structured output, field by field.

        Args:
            value: a JSON text as a model wrote it, whole or cut off; or a mapping, a list, a
                pydantic model, a dataclass: the verification's answer is then its JSON.
            evidence: as for a call.
            question: what was asked.
            schema: a JSON Schema or a class, which says which fields are choices from a list, and
                not judged; None: the class of the value.

        Raises:
            InputError: for a value that is no data, a schema that is none, evidence that is no
                chunks. A text that is no JSON is a verdict that says so.
        """
        return drive(self.verifying_fields(value, evidence, question, schema=schema))

    async def averify_fields(
        self,
        value: object,
        evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk],
        question: str | None = None,
        *,
        schema: object = None,
    ) -> Verification:
        """As `verify_fields`; a scorer is awaited, or runs in a thread unless it is quick."""
        return await adrive(self.verifying_fields(value, evidence, question, schema=schema))

    def verifying_fields(
        self,
        value: object,
        evidence: Evidence | Iterable[str | Mapping[str, Any] | Chunk],
        question: str | None = None,
        *,
        schema: object = None,
    ) -> Asks[Verification]:
        """The same as a generator that asks for nothing but a scorer's numbers."""
        session = self.session(evidence, question)
        fields = read_fields(value, session.evidence, schema)
        text, claims, leads = fields.statements()
        judged = yield from session.judging(claims, text, leads=leads)
        verdicts = fields.verdicts(judged)
        verdicts += session.conclude(fields.text, [verdict.claim for verdict in verdicts])
        return Verification(answer=fields.text, claims=tuple(verdicts), question=question or "")

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
