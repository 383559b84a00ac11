"""The choke points: where a retriever's documents and a model's messages pass the guard.

Every public way into a retriever or a model ends in one of a few methods. A hooked class overrides
those, and only those that its base has of its own: LangChain tells by comparing methods whether a
class streams or is natively async.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore

from ctxguard.handle import Handle
from ctxguard_langchain.apply import (
    fit_input,
    fit_messages,
    fit_prompt,
    fit_prompts,
    prepare_documents,
    prepare_scored,
)
from ctxguard_langchain.binding import remembering
from ctxguard_langchain.caches import CacheField, salt_of
from ctxguard_langchain.calls import entries
from ctxguard_langchain.classes import Derived
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.entering import SHAPES, routed
from ctxguard_langchain.flags import asking, retrieving
from ctxguard_langchain.functions import is_user_module
from ctxguard_langchain.planning import model_due, model_plan
from ctxguard_langchain.shapes import Args, Choke, Kwargs, acall, astream, call, stream
from ctxguard_langchain.stepping import never
from ctxguard_langchain.structured import structuring

__all__ = [
    "SEARCHES",
    "bypasses",
    "choke_points",
    "hooked",
    "is_hookable",
    "routed_entries",
]


def _unchanged(_handle: Handle, _obj: Dynamic, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    return args, kwargs


def _as_is(_handle: Handle, _obj: Dynamic, _question: str, result: Dynamic) -> Dynamic:
    return result


def _fit(name: str, fit: Callable[..., Any]) -> Callable[..., tuple[Args, Kwargs]]:
    def before(handle: Handle, obj: Dynamic, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        if args:
            return (fit(handle, obj, args[0], kwargs), *args[1:]), kwargs
        return args, {**kwargs, name: fit(handle, obj, kwargs[name], kwargs)}

    return before


def _prepare(prepare: Callable[..., Any]) -> Callable[[Handle, Any, str, Any], Any]:
    def after(handle: Handle, obj: Dynamic, question: str, result: Dynamic) -> Dynamic:
        return prepare(handle, class_of(obj).__name__, question, result)

    return after


_DOCUMENTS = Choke(retrieving, _unchanged, _prepare(prepare_documents), answers=False)
_SCORED = Choke(retrieving, _unchanged, _prepare(prepare_scored), answers=False)
_MESSAGES = Choke(asking, _fit("messages", fit_messages), _as_is)
_PROMPTS = Choke(asking, _fit("prompts", fit_prompts), _as_is)
_INPUT = Choke(asking, _fit("input", fit_input), _as_is)
_PROMPT = Choke(asking, _fit("prompt", fit_prompt), _as_is)


# -- which methods ------------------------------------------------------------------------------


def _own(base: type[Any], name: str, root: type[Any]) -> Callable[..., Any] | None:
    """A class's own implementation, None where it has the framework's default."""
    found = getattr(base, name, None)
    return None if found is None or found is getattr(root, name, None) else found


def _retriever(base: type[Any]) -> dict[str, Any]:
    shapes = {
        "_get_relevant_documents": call,
        "_aget_relevant_documents": acall,
        # A class that overrides these (EnsembleRetriever does) never comes to those above.
        "invoke": call,
        "ainvoke": acall,
    }
    return {
        name: shape(own, _DOCUMENTS)
        for name, shape in shapes.items()
        if (own := _own(base, name, BaseRetriever)) is not None
    }


def bypasses(kind: type[Any], names: Iterable[str]) -> Iterator[str]:
    """Entry points of a model that its author wrote anew, without the method below them."""
    root = BaseChatModel if issubclass(kind, BaseChatModel) else BaseLLM
    for name in names:
        method = inspect.unwrap(getattr(kind, name))
        code = getattr(method, "__code__", None)
        if method is getattr(root, name) or code is None or not is_user_module(method.__module__):
            continue
        if not {"super", "_generate", "_agenerate", "_stream", "_astream"} & set(code.co_names):
            yield name


def _bypassing(base: type[Any]) -> dict[str, Any]:
    return {
        name: _ENTRY_SHAPES[name](getattr(base, name), _INPUT)
        for name in bypasses(base, _ENTRY_SHAPES)
    }


def _is_finish(event: Dynamic) -> bool:
    """Whether this is the last event that a consumer asks for; the producer is not asked again."""
    return isinstance(event, dict) and cast("Kwargs", event).get("event") == "message-finish"


_ENTRY_SHAPES = {"invoke": call, "ainvoke": acall, "stream": stream, "astream": astream}
_CHAT_SHAPES: Mapping[str, Callable[..., Callable[..., Any]]] = {
    "_generate": call,
    "_agenerate": acall,
    "_stream": stream,
    "_astream": astream,
    "_stream_chat_model_events": functools.partial(stream, ends=_is_finish),
    "_astream_chat_model_events": functools.partial(astream, ends=_is_finish),
}


def _chat_model(base: type[Any]) -> dict[str, Any]:
    space: dict[str, Any] = {
        name: shape(own, _MESSAGES)
        for name, shape in _CHAT_SHAPES.items()
        if (own := _own(base, name, BaseChatModel)) is not None
    }
    key: Callable[..., str] = base._get_llm_string  # noqa: SLF001 -- what a shared cache tells models apart by

    @functools.wraps(key)
    def _get_llm_string(self: Dynamic, *args: Any, **kwargs: Any) -> str:
        return key(self, *args, **kwargs) + salt_of(self)

    space |= {**entries(base), **_bypassing(base), "_get_llm_string": _get_llm_string}
    binds = _own(base, "bind_tools", BaseChatModel)  # LangChain asks whether a class has its own
    if binds is not None:
        space["bind_tools"] = remembering(binds)
    space["with_structured_output"] = structuring(base.with_structured_output)
    return {**space, **routed_entries(base, space)}


def routed_entries(base: type[Any], space: Mapping[str, Any]) -> dict[str, Any]:
    """The public methods of a class of models, which take a route before anything else.

    Args:
        base: the class.
        space: those that are hooked already.
    """
    ends = {"_iter_v2_events": _is_finish, "_aiter_v2_events": _is_finish}
    return {
        name: routed(shape, method, model_due, model_plan, ends.get(name, never))
        for name, shape in SHAPES.items()
        if (method := space.get(name) or _model_method(base, name)) is not None
    }


def _model_method(base: type[Any], name: str) -> Callable[..., Any] | None:
    """A method of a class of models; a stream of inputs is no call of one."""
    return None if name in ("transform", "atransform") else getattr(base, name, None)


def _completion_model(base: type[Any]) -> dict[str, Any]:
    space: dict[str, Any] = {}
    for name, shape, choke in (
        ("_generate", call, _PROMPTS),
        ("_agenerate", acall, _PROMPTS),
        ("_stream", stream, _PROMPT),
        ("_astream", astream, _PROMPT),
    ):
        own = _own(base, name, BaseLLM)
        if own is not None:
            space[name] = shape(own, choke)
    space |= {**entries(base), **_bypassing(base)}
    return {**space, **routed_entries(base, space), "cache": CacheField()}


SEARCHES: Mapping[str, Any] = {
    **{
        f"{prefix}{name}": (shape, _DOCUMENTS)
        for prefix, shape in (("", call), ("a", acall))
        for name in (
            "search",
            "similarity_search",
            "similarity_search_by_vector",
            "max_marginal_relevance_search",
            "max_marginal_relevance_search_by_vector",
        )
    },
    **{
        f"{prefix}{name}": (shape, _SCORED)
        for prefix, shape in (("", call), ("a", acall))
        for name in ("similarity_search_with_score", "similarity_search_with_relevance_scores")
    },
}
"""The methods of a vector store that return documents."""


def _vector_store(base: type[Any]) -> dict[str, Any]:
    return {
        name: shape(own, choke)
        for name, (shape, choke) in SEARCHES.items()
        if (own := getattr(base, name, None)) is not None
    }


# -- classes ------------------------------------------------------------------------------------

_SPACES: Mapping[type[Any], Callable[[type[Any]], dict[str, Any]]] = {
    BaseRetriever: _retriever,
    BaseChatModel: _chat_model,
    BaseLLM: _completion_model,
    VectorStore: _vector_store,
}
_HOOKED = {
    root: Derived(space, leaf=True, view=root is VectorStore) for root, space in _SPACES.items()
}
_STORES_IN_PLACE = Derived(_vector_store, leaf=True)


_KEYED_BY = ("_get_llm_string", "cache")
"""What tells a guarded model from a plain one in a cache; see `blocks` for a block's."""


def choke_points(kind: type[Any]) -> dict[str, Any]:
    """The hooked form of each method of a plain class that a call goes through."""
    make = next(make for root, make in _SPACES.items() if issubclass(kind, root))
    return {name: hook for name, hook in make(kind).items() if name not in _KEYED_BY}


def is_hookable(kind: type[Any]) -> bool:
    """Whether this is a class of retrievers, models or vector stores."""
    return issubclass(kind, tuple(_HOOKED))


def hooked(kind: type[Any], *, in_place: bool = False) -> type[Any]:
    """The class of a guarded retriever, model or vector store.

    Args:
        kind: the plain class.
        in_place: of the object itself, whose layout stays what it is; a view has a slot more.

    Raises:
        TypeError: for any other class.
    """
    for root, derived in _HOOKED.items():
        if issubclass(kind, root):
            return _STORES_IN_PLACE(kind) if in_place and root is VectorStore else derived(kind)
    raise TypeError(f"{kind.__name__} neither retrieves nor asks a model")
