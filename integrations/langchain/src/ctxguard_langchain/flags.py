"""Whose policy is being applied in this context, for what is called inside of a choke point.

A retriever of retrievers, or a model whose async method calls its sync one: the outermost applies
the policy, once. One inside of it that has a guard with another policy was given it by somebody,
and applies its own.
"""

from __future__ import annotations

from contextvars import ContextVar

from ctxguard.handle import Handle

__all__ = ["asking", "retrieving"]

retrieving: ContextVar[Handle | None] = ContextVar("ctxguard_retrieving", default=None)
asking: ContextVar[Handle | None] = ContextVar("ctxguard_asking", default=None)
