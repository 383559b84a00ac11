"""What happens when something of a user's cannot be read."""

from __future__ import annotations

from typing import Literal

from ctxguard.guard import Guard
from ctxguard.ledger import Step
from ctxguard.run import Record, current_run
from ctxguard.types import Decision

__all__ = ["hand_on"]


def hand_on(error: Exception, guard: Guard, kind: Literal["retrieval", "model"], name: str) -> None:
    """Note that something could not be read, and let it pass as it is, unless the policy minds."""
    if guard.policy.on_error == "raise":
        raise error
    reason = f"could not be read and was handed on unchanged: {type(error).__name__}: {error}"
    decision = Decision(
        stage="input", action="error", subject=name, code="adapter-failed", reason=reason
    )
    run = current_run()
    if run is not None:
        step = Step(kind=kind, name=name, tokens_before=0, tokens_after=0)
        run.add(Record(step=step, decisions=(decision,)))
