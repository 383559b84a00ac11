"""Events for whoever listens: what was shown and is wrong, and how an answer ended.

LlamaIndex's dispatcher gets them while the answer is read, in the span that reads it. In a step of
a workflow, its event stream gets them too, each after the text that it is about.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.workflow import Context, Event
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel
from workflows.errors import WorkflowRuntimeError

from ctxguard.answering import Settled
from ctxguard.types import Verification
from ctxguard.verification import Correction

__all__ = [
    "AnswerCorrected",
    "AnswerCorrectedEvent",
    "AnswerVerified",
    "AnswerVerifiedEvent",
    "Passage",
    "tell",
]


class Passage(BaseModel):
    """A piece of a chunk, word for word."""

    chunk_id: str
    """Id of the node."""
    span: tuple[int, int]
    """Characters of the node's text."""
    text: str


class _Correction(BaseModel):
    offset: int
    """Characters of the answer after which it is known."""
    claim: str
    span: tuple[int, int]
    """Characters of the answer that are the claim."""
    label: str
    """'contradicted' or 'not_found'."""
    code: str
    """The reason for machines."""
    reason: str
    """The reason for people, one sentence."""
    score: float
    """That the evidence supports the claim, 0 to 1."""
    quotes: list[Passage]
    """What speaks against the claim first, then what it was judged by."""


class _Ending(BaseModel):
    grounded: bool | None
    """Whether the evidence supports all that is claimed; None: it could not be told."""
    score: float
    """That all of it is supported, 0 to 1."""
    counts: dict[str, int]
    """Claims by label."""
    ending: str
    """'passed', 'repaired', 'flagged' or 'abstained'."""
    answer: str
    """That the reader has."""
    repaired: str | None = None
    """A better answer than the one that the reader has."""


class AnswerCorrected(_Correction, BaseEvent):
    """A claim that was shown, and that the evidence contradicts or does not hold."""

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "AnswerCorrected"


class AnswerVerified(_Ending, BaseEvent):
    """How an answer that was held against its evidence ended."""

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises it."""
        return "AnswerVerified"


class AnswerCorrectedEvent(_Correction, Event):
    """`AnswerCorrected` in the event stream of a workflow."""


class AnswerVerifiedEvent(_Ending, Event):
    """`AnswerVerified` in the event stream of a workflow."""


def tell(corrections: Iterable[Correction], settled: Settled | None = None) -> None:
    """Tell of what is known to be wrong, and of how it ended."""
    for correction in corrections:
        fields = _correction(correction)
        _send(AnswerCorrected(**fields), AnswerCorrectedEvent(**fields))
    if settled is not None and settled.verification is not None:
        fields = _ending(settled, settled.verification)
        _send(AnswerVerified(**fields), AnswerVerifiedEvent(**fields))


def _send(event: BaseEvent, step_event: Event) -> None:
    get_dispatcher(__name__).event(event)
    context = _step_context()
    if context is not None:
        context.write_event_to_stream(step_event)


def _step_context() -> Context | None:
    """The context of the workflow's step that runs here; None outside of one."""
    find = getattr(Context, "get_step_context", None)  # newer than the oldest workflows
    if find is None:
        return None
    try:
        return find()
    except WorkflowRuntimeError:
        return None


def _correction(correction: Correction) -> dict[str, Any]:
    verdict = correction.verdict
    against = [quote for finding in verdict.findings for quote in finding.evidence]
    quotes = dict.fromkeys((*against, *verdict.evidence))
    return {
        "offset": correction.offset,
        "claim": correction.claim.text,
        "span": correction.claim.span,
        "label": verdict.label,
        "code": verdict.code,
        "reason": verdict.reason,
        "score": verdict.score,
        "quotes": [
            Passage(chunk_id=quote.chunk_id, span=quote.span, text=quote.text) for quote in quotes
        ],
    }


def _ending(settled: Settled, verification: Verification) -> dict[str, Any]:
    labels = [verdict.label for verdict in verification.claims]
    return {
        "grounded": verification.grounded,
        "score": verification.score,
        "counts": {label: labels.count(label) for label in sorted(set(labels))},
        "ending": settled.ending,
        "answer": settled.answer,
        "repaired": None if settled.repaired is None else settled.repaired.answer,
    }
