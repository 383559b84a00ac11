"""What a workflow's caller hands in with the call, where no guard has looked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from llama_index.core.workflow import StartEvent

from ctxguard.handle import CoverageWarning, Handle, Unreached
from ctxguard_llamaindex.classes import plain_type
from ctxguard_llamaindex.kinds import is_left_alone, why_not
from ctxguard_llamaindex.walk import Walk

__all__ = ["warn_unguarded"]

_CALLER = 3
"""Frames from the warning to the line that called `run`."""


def warn_unguarded(
    called: object, args: tuple[Any, ...], kwargs: Mapping[str, Any], handle: Handle
) -> None:
    """Warn of arguments that retrieve or ask a model without a guard: a memory, a retriever.

    They belong to the caller, who goes on to read a memory, so none is replaced with a copy.
    """
    missing = [item for name, value in _named(args, kwargs) for item in _found(name, value, handle)]
    if missing:
        lines = "\n".join(f"  {item.path} ({item.type}) {item.reason}" for item in missing)
        message = f"{plain_type(called).__name__}.run: not guarded:\n{lines}"
        warnings.warn(message, CoverageWarning, stacklevel=_CALLER)


def _named(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Arguments by name, an event as its fields. A context cannot hold what is not serializable."""
    given = {**{f"argument {n}": value for n, value in enumerate(args, start=1)}, **kwargs}
    for name, value in given.items():
        if isinstance(value, StartEvent):
            yield from ((field, getattr(value, field)) for field in type(value).model_fields)
            yield from value.items()
        else:
            yield name, value


def _found(name: str, value: object, handle: Handle) -> Iterator[Unreached]:
    if reason := why_not(value):
        yield Unreached(name, type(value).__name__, reason)
    elif not is_left_alone(value):
        yield from Walk(value, handle).unguarded(name)
