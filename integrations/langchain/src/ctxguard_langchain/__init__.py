"""ctxguard for LangChain and LangGraph: `guard(chain)` finds this package by itself.

```python
from ctxguard import guard

chain = guard(chain)  # or a retriever, model, graph, agent, tool, vector store
chain.invoke("What is the notice period?")
print(chain.ctxguard.last)
```

For agents there is an explicit way, too: `create_agent(…, middleware=[CtxGuardMiddleware()])`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctxguard_langchain.convert import ALSO_IN
from ctxguard_langchain.verifier import GroundednessChecker, GroundednessEvaluator

if TYPE_CHECKING:
    from ctxguard_langchain.middleware import CtxGuardMiddleware

__version__ = "0.1.0"

__all__ = ["ALSO_IN", "CtxGuardMiddleware", "GroundednessChecker", "GroundednessEvaluator"]


def __getattr__(name: str) -> object:
    """The middleware, imported when it is asked for: it needs `langchain`, the rest does not.

    Raises:
        MissingDependencyError: `langchain` is not installed; the message says what to install.
    """
    if name == "CtxGuardMiddleware":
        from ctxguard_langchain.middleware import CtxGuardMiddleware

        return CtxGuardMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
