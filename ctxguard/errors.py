"""Every error that ctxguard raises on purpose.

```text
CtxguardError
├── InputError (ValueError)              a value from the caller; the message names the field
│   └── PolicyError                      a field of the policy; the message names the way out
├── BudgetExceededError                  what is pinned does not fit; `.usage` says who uses what
├── SpendLimitError                      a tenant's limit is reached: `.tenant`, `.retry_after`
├── UngroundedAnswerError                an answer that the evidence does not hold: `.verification`
├── UnsupportedObjectError (TypeError)   guard() knows no adapter for this object
├── StateStoreError                      shared state: locked, full, read-only or gone
└── MissingDependencyError (ImportError) an extra is missing; the message prints the install line
```
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxguard.types import Verification
    from ctxguard.verification.repair import Attempt

__all__ = [
    "BudgetExceededError",
    "CtxguardError",
    "InputError",
    "MissingDependencyError",
    "PolicyError",
    "SpendLimitError",
    "StateStoreError",
    "UngroundedAnswerError",
    "UnsupportedObjectError",
]


class CtxguardError(Exception):
    """Base of every error that ctxguard raises on purpose."""


class InputError(CtxguardError, ValueError):
    """A value that the caller handed in cannot be used; the message names the field."""


class PolicyError(InputError):
    """A field of the policy cannot be used; the message names the field and the way out."""


class BudgetExceededError(CtxguardError):
    """What is pinned (instructions, tools, question) does not fit the prompt's token limit.

    Attributes:
        limit: tokens that the prompt may use (window minus the reserve for the answer).
        usage: tokens per segment kind, as counted; the pinned kinds alone exceed `limit`.
    """

    def __init__(self, *, limit: int, usage: Mapping[str, int], pinned: frozenset[str]) -> None:
        """Build the message, a table of who uses what.

        Args:
            limit: tokens that the prompt may use.
            usage: tokens per segment kind.
            pinned: the kinds in `usage` that may not be cut.
        """
        self.limit = limit
        self.usage = dict(usage)
        self.pinned = pinned
        rows = "\n".join(
            f"  {kind:<14}{tokens:>9,}  {'pinned' if kind in pinned else 'can be left out'}"
            for kind, tokens in sorted(self.usage.items(), key=lambda item: -item[1])
        )
        need = sum(tokens for kind, tokens in self.usage.items() if kind in pinned)
        super().__init__(
            f"the pinned parts need {need:,} tokens, the prompt may use {limit:,}:\n{rows}\n"
            "Raise Budget(window=…), lower Budget(reserve_output=…), or shorten what is pinned: "
            "instructions are never cut silently."
        )


class SpendLimitError(CtxguardError):
    """No route can be taken within what a tenant may spend.

    Attributes:
        tenant: whose limit it is.
        retry_after: seconds until the limit that stands against it begins anew.
    """

    def __init__(self, reason: str, *, tenant: str, retry_after: float) -> None:
        """Build the message.

        Args:
            reason: how the tenant stands.
            tenant: whose limit it is.
            retry_after: seconds.
        """
        self.tenant = tenant
        self.retry_after = retry_after
        whose = f"tenant {tenant!r}" if tenant else "the spend limit"
        super().__init__(f"{whose}: {reason}; it begins anew in {retry_after:,.0f} s")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles as it was raised, its reason included."""
        return _spend_limit_error, (str(self), self.tenant, self.retry_after)


def _spend_limit_error(message: str, tenant: str, retry_after: float) -> SpendLimitError:
    error = SpendLimitError("", tenant=tenant, retry_after=retry_after)
    error.args = (message,)
    return error


class UngroundedAnswerError(CtxguardError):
    """The evidence does not hold an answer, and the policy says `on_fail="raise"`.

    Attributes:
        verification: the answer as it stood at last, and the verdict on each claim.
        attempts: what was tried to put it right.
    """

    def __init__(self, verification: Verification, attempts: tuple[Attempt, ...] = ()) -> None:
        """Build the message: the claims that failed, and why.

        Args:
            verification: of the answer.
            attempts: what was tried to put it right.
        """
        self.verification = verification
        self.attempts = attempts
        failed = verification.failed
        rows = [f"  {verdict.claim.text!r:.200}: {verdict.reason}" for verdict in failed[:_SHOWN]]
        if len(failed) > _SHOWN:
            rows.append(f"  and {len(failed) - _SHOWN:,} more: .verification.failed")
        super().__init__(
            f"the evidence does not hold {len(failed):,} of {len(verification.claims):,} claims:\n"
            + "\n".join(rows)
        )

    def __reduce__(self) -> tuple[type[UngroundedAnswerError], tuple[object, ...]]:
        """Pickles with its verification and attempts."""
        return UngroundedAnswerError, (self.verification, self.attempts)


_SHOWN = 5
"""Claims that the message of an ungrounded answer lists."""


class UnsupportedObjectError(CtxguardError, TypeError):
    """guard() found no adapter for this object; the message lists what is supported."""


class StateStoreError(CtxguardError):
    """A store of shared state cannot do what was asked; the message names the store and says why.

    `SharedState` goes on without its store instead.
    """


class MissingDependencyError(CtxguardError, ImportError):
    """An optional dependency is not installed; the message holds the line that installs it."""
