"""ctxguard for LangChain and LangGraph.

`ctxguard.guard()` finds this package by itself; import it for the agent middleware.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxguard_langchain.middleware import CtxGuardMiddleware

__all__ = ["CtxGuardMiddleware"]


def __getattr__(name: str) -> object:
    """Import the middleware when it is asked for: it needs `langchain`, the rest does not."""
    if name == "CtxGuardMiddleware":
        from ctxguard_langchain.middleware import CtxGuardMiddleware

        return CtxGuardMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
