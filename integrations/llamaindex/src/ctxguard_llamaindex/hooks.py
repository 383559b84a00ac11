"""What guarded classes do differently, and retrievers: they prepare what they find.

Each replacement calls the method that it replaces, with arguments passed as they came: LlamaIndex
calls by keyword, and its events record the difference.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.chat_engine.types import BaseChatEngine

from ctxguard.guard import Guard
from ctxguard.run import current_run
from ctxguard_llamaindex.asides import asides_of
from ctxguard_llamaindex.asking import source_of
from ctxguard_llamaindex.convert import chunks_of, nodes_of, question_of
from ctxguard_llamaindex.depth import adepth_of, at_depth, depth_of
from ctxguard_llamaindex.engines import routed
from ctxguard_llamaindex.failing import hand_on
from ctxguard_llamaindex.models import model_methods
from ctxguard_llamaindex.scope import (
    Call,
    Method,
    Result,
    bound,
    defines,
    due,
    entry_points,
    outermost,
    retrieval,
)
from ctxguard_llamaindex.synthesizers import makes_synthesizers, synthesizer_methods

__all__ = ["choke_points", "prepare_nodes", "replacements"]

_MAKES_SYNTHESIZER = "_get_response_synthesizer"


def replacements(plain: type[Any]) -> dict[str, Method]:
    """The methods that the guarded subclass of a class has of its own, by name."""
    methods = dict(entry_points(plain, routed))
    methods.update(choke_points(plain))
    methods.update(asides_of(plain, methods))
    methods.update(synthesizer_methods(plain, methods))
    return methods


def choke_points(plain: type[Any], *, in_block: bool = False) -> dict[str, Method]:
    """The methods of a class through which what it retrieves, or what it asks a model, goes.

    Args:
        plain: any class.
        in_block: for the class itself, whose subclasses may differ; see `blocks`.
    """
    methods: dict[str, Method] = {}
    if issubclass(plain, BaseRetriever):
        methods.update(_retriever_methods(plain, in_block=in_block))
    if issubclass(plain, BaseLLM):
        methods.update(model_methods(plain))
    if issubclass(plain, BaseChatEngine) and hasattr(plain, _MAKES_SYNTHESIZER):
        methods[_MAKES_SYNTHESIZER] = makes_synthesizers(getattr(plain, _MAKES_SYNTHESIZER))
    return methods


# -- retrievers ----------------------------------------------------------------------------------


def prepare_nodes(guard: Guard, question: str, nodes: Sequence[Any], name: str) -> Sequence[Any]:
    """The nodes that the policy keeps, in its order; the current run gets a record of it."""
    try:
        chunks, places = chunks_of(nodes)
    except Exception as error:
        hand_on(error, guard, "retrieval", name)
        return nodes
    prepared = guard.prepare(question, chunks, name=name)
    return nodes_of(nodes, chunks, places, prepared)


def _retriever_methods(plain: type[Any], *, in_block: bool) -> dict[str, Method]:
    """Replacements of a retriever.

    What a retriever finds is complete once index nodes were followed to what they stand for, and
    not yet reported to the dispatcher: `_handle_recursive_retrieval`. A class with a `retrieve` of
    its own may do more after that, so there the result counts.
    """
    methods: dict[str, Method] = {}
    for prefix in ("", "a"):
        outside = f"{prefix}retrieve"
        follow = f"_{prefix}handle_recursive_retrieval"
        if defines(plain, outside) is BaseRetriever:
            method = getattr(plain, follow)
            methods[follow] = _prepares_found(method, outside if in_block else "")
        for name in (outside, f"_{outside}"):
            methods[name] = _outermost_prepares(getattr(plain, name))
    return methods


def _prepare(self: object, question: str, nodes: Sequence[Any]) -> Sequence[Any]:
    handle = due(self)
    return nodes if handle is None else prepare_nodes(handle.guard, question, nodes, _name(self))


def _offer(retriever: BaseRetriever, guard: Guard) -> None:
    """Let an answer of the run that fails be held against more of what this retriever finds."""
    run = current_run()
    if run is not None and guard.policy.repairs:
        run.offer(source_of(retriever))


def _name(obj: object) -> str:
    return type(obj).__name__


def _prepares_found(plain: Method, outside: str = "") -> Method:
    """The method that completes what was found.

    Args:
        plain: the method that is replaced.
        outside: what must not be overridden by the object's class; blank: the caller knows that.
    """

    def prepare(self: object, query_bundle: object, nodes: Sequence[Any]) -> Sequence[Any]:
        current = retrieval()
        if current is None or current.owner is not self or current.prepared:
            return nodes
        if outside and defines(type(self), outside) is not BaseRetriever:
            return nodes
        current.prepared = True
        return _prepare(self, question_of(query_bundle), nodes)

    @functools.wraps(plain)
    async def asynchronous(self: object, query_bundle: object, nodes: Sequence[Any]) -> Result:
        found = await bound(plain, self)(query_bundle, nodes)
        return prepare(self, query_bundle, found)

    @functools.wraps(plain)
    def synchronous(self: object, query_bundle: object, nodes: Sequence[Any]) -> Result:
        return prepare(self, query_bundle, bound(plain, self)(query_bundle, nodes))

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous


def _outermost_prepares(plain: Method) -> Method:
    def asked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        return question_of(*args, *kwargs.values())

    @functools.wraps(plain)
    async def asynchronous(self: BaseRetriever, *args: Any, **kwargs: Any) -> Result:
        handle = due(self)
        if retrieval() is not None or handle is None:
            return await bound(plain, self)(*args, **kwargs)
        call = Call(handle, asked(args, kwargs), _name(self))
        with call.step():
            searched = at_depth(self, await adepth_of(handle, asked(args, kwargs)))
            with outermost(searched) as current:
                _offer(self, handle.guard)
                nodes = await bound(plain, searched)(*args, **kwargs)
                if current is not None and not current.prepared:
                    nodes = _prepare(self, asked(args, kwargs), nodes)
        return call.follow(nodes)

    @functools.wraps(plain)
    def synchronous(self: BaseRetriever, *args: Any, **kwargs: Any) -> Result:
        handle = due(self)
        if retrieval() is not None or handle is None:
            return bound(plain, self)(*args, **kwargs)
        call = Call(handle, asked(args, kwargs), _name(self))
        with call.step():
            searched = at_depth(self, depth_of(handle, asked(args, kwargs)))
            with outermost(searched) as current:
                _offer(self, handle.guard)
                nodes = bound(plain, searched)(*args, **kwargs)
                if current is not None and not current.prepared:
                    nodes = _prepare(self, asked(args, kwargs), nodes)
        return call.follow(nodes)

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous
