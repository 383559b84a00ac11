"""What kinds of objects there are: how each is read, and how its copy is made."""

from __future__ import annotations

import functools
import inspect
import types
from collections import UserDict, UserList, deque
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, BaseLanguageModel, BaseLLM
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.stores import BaseStore
from langchain_core.vectorstores import VectorStore
from pydantic import BaseModel

from ctxguard.guard import Guard
from ctxguard.handle import Handle
from ctxguard_langchain.classes import slots_of
from ctxguard_langchain.dynamic import Dynamic, class_of, extends
from ctxguard_langchain.functions import FRAMEWORKS, is_user_module

__all__ = ["UNDERLYING", "Kind", "holds_something", "is_bare", "kind_of", "viewable"]


class Kind(Enum):
    """How an object is read, and how its copy is made."""

    NOTHING = "nothing"
    """Holds nothing to guard, or nobody can tell."""
    RETRIEVER = "retriever"
    MODEL = "model"
    STORE = "vector store"
    LATE = "late"
    """Makes what it runs when it is called."""
    MAKER = "maker"
    """A class of retrievers, models or vector stores, or LangChain's function that makes models."""
    OBJECT = "object"
    FUNCTION = "function"
    METHOD = "method"
    PARTIAL = "partial"
    CACHED = "cached function"
    MAPPING = "mapping"
    SEQUENCE = "sequence"
    TUPLE = "tuple"
    SET = "set"
    MODULE = "module"
    CLASS = "class"
    FOREIGN = "foreign"
    """An object of a package that does not know LangChain."""


_RUNNING = (BaseRetriever, BaseLanguageModel, VectorStore)
_OPAQUE = (
    BaseCache,
    BaseCallbackHandler,
    BaseCallbackManager,
    BaseChatMessageHistory,
    BaseMessage,
    BaseRateLimiter,
    BaseStore,
    Document,
    Embeddings,
    Guard,
    Handle,
    PromptValue,
)
_OPAQUE_MODULES = (
    "ctxguard_langchain.middleware",
    "langgraph.cache",
    "langgraph.channels",
    "langgraph.checkpoint",
    "langgraph.store",
)
_CACHED = type(functools.lru_cache(lambda: None))
UNDERLYING: Mapping[type[Any], str] = {
    staticmethod: "__func__",
    classmethod: "__func__",
    property: "fget",
    functools.cached_property: "func",
    _CACHED: "__wrapped__",
}
"""What a function may be wrapped in when it is an attribute of a class, and where it is then."""


def kind_of(obj: Dynamic) -> Kind:
    """How an object is read."""
    kind = _kind_of_class(class_of(obj))
    if kind is Kind.CLASS and extends(obj, _RUNNING) and not inspect.isabstract(obj):
        return Kind.MAKER
    if (
        kind is Kind.FUNCTION
        and obj.__name__ == "init_chat_model"
        and not is_user_module(obj.__module__)
    ):
        return Kind.MAKER
    return kind


@functools.lru_cache(maxsize=8192)
def _kind_of_class(kind: type[Any]) -> Kind:
    for found, bases in _KINDS:
        if issubclass(kind, bases):
            return found
    if kind.__module__ == "langchain.chat_models.base" and kind.__name__ == "_ConfigurableModel":
        return Kind.LATE
    if kind.__module__.startswith(_OPAQUE_MODULES):
        return Kind.NOTHING
    if issubclass(kind, Runnable | BaseModel | types.SimpleNamespace | UserDict | UserList):
        return Kind.OBJECT
    if kind.__module__.startswith(FRAMEWORKS) or is_user_module(kind.__module__):
        return Kind.OBJECT
    stateful = getattr(kind, "__dictoffset__", 0) != 0
    return Kind.FOREIGN if stateful and kind.__module__ != "builtins" else Kind.NOTHING


def holds_something(values: Iterable[object]) -> bool:
    """Whether any value may hold something; quick for long lists of numbers or texts."""
    return any(_kind_of_class(kind) is not Kind.NOTHING for kind in set(map(class_of, values)))


def is_bare(obj: Dynamic, kind: Kind) -> bool:
    """Whether this is a container that holds nothing to guard: most of those of a graph."""
    if kind is Kind.MAPPING:
        return not holds_something(_Plain.values(obj))  # whatever a subclass makes of reading
    return kind in (Kind.SEQUENCE, Kind.TUPLE, Kind.SET) and not holds_something(obj)


_Plain = dict[Any, Any]
_KINDS: tuple[tuple[Kind, Any], ...] = (
    (Kind.NOTHING, (str, bytes, int, float, type(None), *_OPAQUE, Enum)),
    (Kind.RETRIEVER, BaseRetriever),
    (Kind.MODEL, (BaseChatModel, BaseLLM)),
    (Kind.STORE, VectorStore),
    (Kind.FUNCTION, types.FunctionType),
    (Kind.METHOD, types.MethodType),
    (Kind.PARTIAL, functools.partial),
    (Kind.CACHED, _CACHED),
    (Kind.MAPPING, dict),
    (Kind.SEQUENCE, (list, deque)),
    (Kind.TUPLE, (tuple, frozenset)),
    (Kind.SET, set),
    (Kind.MODULE, types.ModuleType),
    (Kind.CLASS, type),
)


def viewable(obj: Dynamic) -> bool:
    """Whether this is a user's own object, whose state others read and write while the guard runs.

    A copy would soon differ from it, so it gets a second object with the same `__dict__`. A
    pydantic model is a value, and copied.
    """
    kind = class_of(obj)
    if issubclass(kind, BaseModel) or not hasattr(obj, "__dict__") or any(slots_of(kind)):
        return False
    return is_user_module(kind.__module__)
