"""What a guard does with what the model answered: verify it, gate it, have it put right."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from ctxguard.policy import Policy
from ctxguard.types import Message, Verification
from ctxguard.verification import Asks, Gate, Limits, Repaired, adrive, drive
from ctxguard.verifying import EndsWell, Given, draft_answer, gate_for, judging, repair_answer

__all__ = ["Answers"]


class Answers(ABC):
    """The part of `Guard` that holds answers against the evidence of the run."""

    policy: Policy

    @abstractmethod
    def _count(self, text: str) -> int:
        """The tokens of a text, where a model's reply does not say what it cost."""

    def verify(
        self,
        answer: str,
        evidence: Given = None,
        *,
        question: str | None = None,
        ends_well: EndsWell = None,
    ) -> Verification:
        """What the evidence says of an answer, claim by claim; no model is asked.

        In a run the ledger gets it too, with a flag for each claim that failed.

        Args:
            answer: what the model said, in plain text or Markdown.
            evidence: what it was made from: strings, mappings with the fields of Chunk, or Chunks.
                None: what `prepare` handed on in the run of this context.
            question: what was asked; None: what the run was started with.
            ends_well: tells a framework's control flow, which passes through, from errors of a
                scorer or a check, which the verification notes unless `on_error="raise"`.

        Raises:
            InputError: naming the field; there is neither evidence nor a run.
        """
        return drive(self._verifying(answer, evidence, question, ends_well))

    async def averify(
        self,
        answer: str,
        evidence: Given = None,
        *,
        question: str | None = None,
        ends_well: EndsWell = None,
    ) -> Verification:
        """As `verify`; a scorer is awaited, or runs in a thread unless it is quick."""
        return await adrive(self._verifying(answer, evidence, question, ends_well))

    def _verifying(
        self, answer: str, evidence: Given, question: str | None, ends_well: EndsWell
    ) -> Asks[Verification]:
        by = judging(self.policy, evidence, question, ends_well)
        return by.noted(by.verifier.verifying(answer, by.evidence, by.question))

    def verify_fields(
        self,
        value: object,
        evidence: Given = None,
        *,
        question: str | None = None,
        schema: object = None,
        ends_well: EndsWell = None,
    ) -> Verification:
        """What the evidence says of structured output, field by field; the run's ledger gets it.

        Args:
            value: a JSON text as a model wrote it, whole or cut off; or a mapping, a list, a
                pydantic model, a dataclass.
            evidence: as for `verify`.
            question: as for `verify`.
            schema: a JSON Schema or a class, which says which fields are choices from a list, and
                not judged; None: the class of the value.
            ends_well: as for `verify`.

        Raises:
            InputError: for a value that is no data, or a schema that is none. A text that is no
                JSON is a verdict that says so.
        """
        return drive(self._verifying_fields(value, evidence, question, schema, ends_well))

    async def averify_fields(
        self,
        value: object,
        evidence: Given = None,
        *,
        question: str | None = None,
        schema: object = None,
        ends_well: EndsWell = None,
    ) -> Verification:
        """As `verify_fields`; a scorer is awaited, or runs in a thread unless it is quick."""
        return await adrive(self._verifying_fields(value, evidence, question, schema, ends_well))

    def _verifying_fields(
        self,
        value: object,
        evidence: Given,
        question: str | None,
        schema: object,
        ends_well: EndsWell,
    ) -> Asks[Verification]:
        by = judging(self.policy, evidence, question, ends_well)
        asks = by.verifier.verifying_fields(value, by.evidence, by.question, schema=schema)
        return by.noted(asks)

    def repair(
        self,
        answer: str | Verification,
        evidence: Given = None,
        *,
        question: str | None = None,
        keep: int = 0,
        doubt: str = "",
        ends_well: EndsWell = None,
    ) -> Asks[Repaired]:
        """Asks for what puts an answer right, as the policy's `verification` says.

        Args:
            answer: what the model said, or what `verify` or a gate found in it.
            evidence: as for `verify`.
            question: as for `verify`.
            keep: characters of the answer that a reader has: they are not taken back.
            doubt: why it is asked for anew although no claim failed; blank: it is not.
            ends_well: tells a framework's control flow, which passes through, from errors.

        Returns:
            A generator for `drive` and `adrive`; the run's ledger gets every attempt.
        """
        limits = Limits(keep=keep, doubt=doubt, ends_well=ends_well, count=self._count)
        return repair_answer(self.policy, answer, evidence, question, limits)

    def draft(
        self,
        messages: Iterable[Message],
        evidence: Given = None,
        *,
        question: str | None = None,
        ends_well: EndsWell = None,
    ) -> Asks[Repaired]:
        """Asks the light model for an answer, and the heavy one for the part that is rejected.

        Args:
            messages: the prompt, as the light model is to see it.
            evidence: as for `verify`.
            question: as for `verify`.
            ends_well: as for `repair`.

        Returns:
            A generator for `drive` and `adrive`; the run's ledger gets the draft and every attempt.
        """
        limits = Limits(ends_well=ends_well, count=self._count)
        return draft_answer(self.policy, messages, evidence, question, limits)

    def gate(
        self, evidence: Given = None, *, question: str | None = None, ends_well: EndsWell = None
    ) -> Gate:
        """Releases an answer sentence by sentence; it closes at one that failed.

        With `on_fail="flag"` it goes on. Hand `gate.verification` to `repair` to record it and to
        have the rest put right, with `keep=len(gate.released)`.
        """
        return gate_for(self.policy, evidence, question, ends_well)
