"""One fitting of a model call's messages: timed, and replaceable by its own input."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ctxguard.errors import BudgetExceededError
from ctxguard.intake import asked
from ctxguard.ledger import Step
from ctxguard.models import ModelCard
from ctxguard.pipeline import failed, within
from ctxguard.policy import Policy
from ctxguard.run import Record
from ctxguard.text.analysis import Analyzer
from ctxguard.types import Budget, Chunk, Decision, Message
from ctxguard.window import Fitted, fit_messages

__all__ = ["ModelCall", "Reading", "fit_call", "uncounted"]

Reading: TypeAlias = Callable[[Callable[[str], int] | None], tuple[Message, ...]]
"""Gives the messages; what is not text in them is counted with the function, if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """What a model is about to be called with."""

    read: Reading
    tools: str
    """The tool schemas as JSON."""
    evidence: tuple[Chunk, ...]
    """What retrieval handed on."""
    card: ModelCard
    name: str
    """What calls; blank: the model's name."""
    notes: tuple[Decision, ...] = ()
    """What was decided when the messages were read."""


def fit_call(
    call: ModelCall, policy: Policy, analyzer: Callable[[], Analyzer], budget: Budget
) -> tuple[Fitted, Record]:
    """The messages that fit, and what this call adds to a run.

    Args:
        call: what is fitted.
        policy: what to do, and what to do when it fails.
        analyzer: gives what counts; it may fail.
        budget: the limits of this call; without `policy.window` it only counts.

    Raises:
        BudgetExceededError: what is pinned does not fit.
        Exception: what a tokenizer raised, only with `on_error="raise"`.
    """
    started = time.perf_counter()
    fitted = _fit(call, policy, analyzer, budget)
    step = Step(
        kind="model",
        name=call.name or call.card.name,
        tokens_before=fitted.tokens_before,
        tokens_after=fitted.tokens_after,
        segments=fitted.segments,
    )
    return fitted, Record(
        step=step,
        decisions=(*call.notes, *fitted.decisions),
        timings={"window": time.perf_counter() - started},
        model=call.card.name,
        budget=budget,
        question=asked(call.read(None)),
    )


def uncounted(call: ModelCall, complete: Callable[[Record], Record]) -> tuple[Fitted, Record]:
    """All messages as they are, of a call that nothing limits; `complete` counts them later."""
    messages = call.read(None)
    step = Step(kind="model", name=call.name or call.card.name, tokens_before=0, tokens_after=0)
    return (
        Fitted(messages=messages, positions=tuple(range(len(messages)))),
        Record(step=step, question=asked(messages), complete=complete),
    )


def _fit(
    call: ModelCall, policy: Policy, analyzer: Callable[[], Analyzer], budget: Budget
) -> Fitted:
    try:
        counts = analyzer()
        return within(
            lambda: fit_messages(
                call.read(counts.count),
                evidence=call.evidence,
                tools=call.tools,
                budget=budget if policy.window else Budget(),  # without a window it only counts
                analyzer=counts,
            ),
            counts.tokenizer,
            policy.deadline,
        )
    except BudgetExceededError:
        raise
    except Exception as error:
        if policy.on_error == "raise":
            raise
        messages = call.read(None)
        return Fitted(
            messages=messages,
            positions=tuple(range(len(messages))),
            decisions=(failed("window", error),),
        )
