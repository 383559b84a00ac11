"""Who calls: the tenant that pays, and the conversation whose route is kept.

One contextvar, so that it holds through async tasks, streams and threads with copied contexts.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from ctxguard.errors import InputError

__all__ = ["Caller", "calling_for", "current_caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call it is."""

    tenant: str = ""
    """Whose spend limit it counts against; blank: everybody's who has no name."""
    conversation: str = ""
    """Blank: a call of its own."""


_caller: ContextVar[Caller] = ContextVar("ctxguard_caller", default=Caller())  # noqa: B039 -- it is frozen


def current_caller() -> Caller:
    """Whose call this context makes."""
    return _caller.get()


@contextmanager
def calling_for(*, tenant: str | None = None, conversation: str | None = None) -> Generator[Caller]:
    """Say whose calls the block makes.

    Args:
        tenant: who pays; None: as around the block.
        conversation: which one; None: as around the block.

    Raises:
        InputError: one of them is no text.
    """
    given = {"tenant": tenant, "conversation": conversation}
    for name, value in given.items():
        if value is not None and not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"calling_for({name}=…): expected a str, got {type(value).__name__}")
    around = _caller.get()
    made = replace(around, **{name: value for name, value in given.items() if value is not None})
    token = _caller.set(made)
    try:
        yield made
    finally:
        _caller.reset(token)
