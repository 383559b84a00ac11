"""Model calls whose reply is no answer: those of a model that is called, and what is asked aside.

A reranker, a memory or an evaluator asks a model for something that no reader is given, a
synthesizer asks several times for one answer. What they are told passes unjudged.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.evaluation import BaseEvaluator
from llama_index.core.indices.query.query_transform.base import BaseQueryTransform
from llama_index.core.memory import BaseMemoryBlock
from llama_index.core.memory.types import BaseMemory
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.question_gen.types import BaseQuestionGenerator
from llama_index.core.selectors import BaseSelector

from ctxguard_llamaindex.scope import Method, Result, bound, due, retrieval

__all__ = ["ASKS_ASIDE", "aside", "asides_of", "calling", "is_aside", "is_calling"]

ASKS_ASIDE: tuple[tuple[type[Any], tuple[str, ...]], ...] = (
    (BaseNodePostprocessor, ("postprocess_nodes", "apostprocess_nodes")),
    (BaseMemory, ("get", "aget", "put", "aput", "put_messages", "aput_messages")),
    (BaseMemoryBlock, ("aget", "aput")),
    (BaseSelector, ("select", "aselect")),
    (BaseQuestionGenerator, ("generate", "agenerate")),
    (BaseQueryTransform, ("run",)),
    (BaseEvaluator, ("evaluate", "aevaluate")),
    (BaseChatEngine, ("_condense_question", "_acondense_question")),
)
"""Who asks a model for what is no answer, and in which methods."""

# Models whose method runs here: `achat` that calls `chat` that calls `complete` is one model call.
_calling: ContextVar[frozenset[int]] = ContextVar(
    "ctxguard_llamaindex_calling", default=frozenset()
)
_aside: ContextVar[bool] = ContextVar("ctxguard_llamaindex_aside", default=False)


@contextmanager
def calling(model: object) -> Generator[None]:
    """A method of the model runs in this block; what it calls of itself is the same call."""
    token = _calling.set(_calling.get() | {id(model)})
    try:
        yield
    finally:
        _calling.reset(token)


def is_calling(model: object) -> bool:
    """Whether a method of the model runs here."""
    return id(model) in _calling.get()


@contextmanager
def aside() -> Generator[None]:
    """What models reply in this block is no answer."""
    token = _aside.set(True)
    try:
        yield
    finally:
        _aside.reset(token)


def is_aside() -> bool:
    """Whether what a model replies here is no answer; a retriever's own questions have none."""
    return _aside.get() or retrieval() is not None


def asides_of(plain: type[Any], methods: Mapping[str, Method]) -> dict[str, Method]:
    """The methods of a class in which it asks aside, by name.

    Args:
        plain: any class.
        methods: those that its guarded class has already.
    """
    return {
        name: _asks_aside(methods.get(name) or getattr(plain, name))
        for base, names in ASKS_ASIDE
        if issubclass(plain, base)
        for name in names
        if hasattr(plain, name)
    }


def _asks_aside(plain: Method) -> Method:
    @functools.wraps(plain)
    async def asynchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        if not _verifies(self):
            return await bound(plain, self)(*args, **kwargs)
        with aside():
            return await bound(plain, self)(*args, **kwargs)

    @functools.wraps(plain)
    def synchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        if not _verifies(self):
            return bound(plain, self)(*args, **kwargs)
        with aside():
            return bound(plain, self)(*args, **kwargs)

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous


def _verifies(obj: object) -> bool:
    handle = due(obj)
    return handle is not None and handle.policy.verifies
