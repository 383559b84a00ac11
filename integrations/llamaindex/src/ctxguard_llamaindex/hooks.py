"""What guarded classes do differently: retrievers prepare what they find, models fit their prompt.

Each replacement calls the method that it replaces, with arguments passed as they came: LlamaIndex
calls by keyword, and its events record the difference.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.structured_llm import StructuredLLM

from ctxguard.guard import Guard
from ctxguard.ledger import Step
from ctxguard.run import Record, current_run
from ctxguard.types import Decision
from ctxguard_llamaindex.convert import (
    card_of,
    chunks_of,
    cut_prompt,
    messages_of,
    nodes_of,
    prompt_of,
    question_of,
    tools_of,
    with_fitted,
)
from ctxguard_llamaindex.scope import (
    Call,
    Method,
    Result,
    bound,
    due,
    entry_points,
    outermost,
    retrieval,
)

__all__ = ["choke_points", "prepare_nodes", "replacements"]

Argument: TypeAlias = Any
"""Whatever the method that is replaced takes."""


def replacements(plain: type[Any]) -> dict[str, Method]:
    """The methods that the guarded subclass of a class has of its own, by name."""
    methods = dict(entry_points(plain))
    methods.update(choke_points(plain))
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
        methods.update(_model_methods(plain))
    return methods


def _defines(plain: type[Any], name: str) -> type[Any]:
    """The class that a method is from; span decorators make the methods incomparable."""
    return next(kind for kind in plain.__mro__ if name in vars(kind))


# -- retrievers ----------------------------------------------------------------------------------


def prepare_nodes(guard: Guard, question: str, nodes: Sequence[Any], name: str) -> Sequence[Any]:
    """The nodes that the policy keeps, in its order; the current run gets a record of it."""
    try:
        chunks, places = chunks_of(nodes)
    except Exception as error:
        _hand_on(error, guard, "retrieval", name)
        return nodes
    prepared = guard.prepare(question, chunks, name=name)
    return nodes_of(nodes, chunks, places, prepared)


def _hand_on(
    error: Exception, guard: Guard, kind: Literal["retrieval", "model"], name: str
) -> None:
    """Note that something could not be read, and let it pass as it is, unless the policy minds."""
    if guard.policy.on_error == "raise":
        raise error
    reason = f"could not be read and was handed on unchanged: {type(error).__name__}: {error}"
    decision = Decision(
        stage="input", action="error", subject=name, code="adapter-failed", reason=reason
    )
    run = current_run()
    if run is not None:
        step = Step(kind=kind, name=name, tokens_before=0, tokens_after=0)
        run.add(Record(step=step, decisions=(decision,)))


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
        if _defines(plain, outside) is BaseRetriever:
            method = getattr(plain, follow)
            methods[follow] = _prepares_found(method, outside if in_block else "")
        for name in (outside, f"_{outside}"):
            methods[name] = _outermost_prepares(getattr(plain, name))
    return methods


def _prepare(self: object, question: str, nodes: Sequence[Any]) -> Sequence[Any]:
    handle = due(self)
    return nodes if handle is None else prepare_nodes(handle.guard, question, nodes, _name(self))


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
        if outside and _defines(type(self), outside) is not BaseRetriever:
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
    async def asynchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        handle = due(self)
        if retrieval() is not None or handle is None:
            return await bound(plain, self)(*args, **kwargs)
        call = Call(handle, asked(args, kwargs), _name(self))
        with call.step(), outermost(self) as current:
            nodes = await bound(plain, self)(*args, **kwargs)
            if current is not None and not current.prepared:
                nodes = _prepare(self, asked(args, kwargs), nodes)
        return call.follow(nodes)

    @functools.wraps(plain)
    def synchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        handle = due(self)
        if retrieval() is not None or handle is None:
            return bound(plain, self)(*args, **kwargs)
        call = Call(handle, asked(args, kwargs), _name(self))
        with call.step(), outermost(self) as current:
            nodes = bound(plain, self)(*args, **kwargs)
            if current is not None and not current.prepared:
                nodes = _prepare(self, asked(args, kwargs), nodes)
        return call.follow(nodes)

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous


# -- models --------------------------------------------------------------------------------------

# Models whose method runs here: `achat` that calls `chat` that calls `complete` is one model call.
_calling: ContextVar[frozenset[int]] = ContextVar(
    "ctxguard_llamaindex_calling", default=frozenset()
)


@contextmanager
def _calling_model(model: object) -> Generator[None]:
    token = _calling.set(_calling.get() | {id(model)})
    try:
        yield
    finally:
        _calling.reset(token)


@dataclass(slots=True)
class _Arguments:
    """The arguments of a model's method, as they came and as they go on."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def get(self, name: str, place: int) -> Argument:
        return self.args[place] if len(self.args) > place else self.kwargs.get(name)

    def put(self, name: str, place: int, value: object) -> None:
        if len(self.args) > place:
            self.args = (*self.args[:place], value, *self.args[place + 1 :])
        else:
            self.kwargs = {**self.kwargs, name: value}


Fit: TypeAlias = Callable[[Guard, BaseLLM, _Arguments], None]


def _model_methods(plain: type[Any]) -> dict[str, Method]:
    """Replacements of a model.

    The model inside a StructuredLLM is guarded where the prompt is complete, so the one outside
    only starts the call.
    """
    methods: dict[str, Method] = {}
    inside = issubclass(plain, StructuredLLM)
    chat, prompt = (_nothing, _nothing) if inside else (_fit_chat, _fit_prompt)
    for prefix in ("", "a", "stream_", "astream_"):
        methods[f"{prefix}chat"] = _fits(getattr(plain, f"{prefix}chat"), chat)
        methods[f"{prefix}complete"] = _fits(getattr(plain, f"{prefix}complete"), prompt)
        name = f"{prefix}chat_with_tools"
        # The base's calls `chat` with the provider's own tool schemas, where they count exactly.
        if hasattr(plain, name) and _defines(plain, name) is not FunctionCallingLLM:
            methods[name] = _fits(getattr(plain, name), _fit_tool_chat)
    return methods


def _fits(plain: Method, fit: Fit) -> Method:
    @functools.wraps(plain)
    async def asynchronous(self: BaseLLM, *args: Any, **kwargs: Any) -> Result:
        handle = due(self)
        if id(self) in _calling.get() or handle is None:
            return await bound(plain, self)(*args, **kwargs)
        call, given = Call(handle, name=_name(self)), _Arguments(args, kwargs)
        step = functools.partial(_model_step, call, self)
        with step():
            fit(handle.guard, self, given)
            result = await bound(plain, self)(*given.args, **given.kwargs)
        return call.follow(result, step)

    @functools.wraps(plain)
    def synchronous(self: BaseLLM, *args: Any, **kwargs: Any) -> Result:
        handle = due(self)
        if id(self) in _calling.get() or handle is None:
            return bound(plain, self)(*args, **kwargs)
        call, given = Call(handle, name=_name(self)), _Arguments(args, kwargs)
        step = functools.partial(_model_step, call, self)
        with step():
            fit(handle.guard, self, given)
            result = bound(plain, self)(*given.args, **given.kwargs)
        return call.follow(result, step)

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous


@contextmanager
def _model_step(call: Call, model: object) -> Generator[None]:
    with call.step(), _calling_model(model):
        yield


def _nothing(guard: Guard, model: BaseLLM, given: _Arguments) -> None:
    """Leave the arguments as they are."""


def _fit_prompt(guard: Guard, model: BaseLLM, given: _Arguments) -> None:
    prompt = given.get("prompt", 0)
    if isinstance(prompt, str):
        card = card_of(model)
        name = card.name or _name(model)
        fitted = guard.fit(prompt_of(prompt), card=card, name=name, counts=False)
        given.put("prompt", 0, cut_prompt(prompt, fitted))


def _fit_chat(guard: Guard, model: BaseLLM, given: _Arguments) -> None:
    messages = given.get("messages", 0)
    tools = given.kwargs.get("tools") or given.kwargs.get("functions")
    given.put("messages", 0, _fitted(guard, model, messages, tools)[0])


def _fit_tool_chat(guard: Guard, model: BaseLLM, given: _Arguments) -> None:
    """Fit the history and the message of the user together."""
    asked = given.get("user_msg", 1)
    history = cast("list[ChatMessage]", given.get("chat_history", 2) or [])
    last = [ChatMessage(content=asked)] if isinstance(asked, str) else [asked] if asked else []
    messages, places = _fitted(guard, model, [*history, *last], given.get("tools", 0))
    kept = list(messages)
    if last:
        message = kept.pop() if places[-1:] == (len(history),) else None
        if message is not last[0]:
            given.put("user_msg", 1, message)
    if len(kept) != len(history) or any(a is not b for a, b in zip(kept, history, strict=True)):
        given.put("chat_history", 2, kept)


def _fitted(
    guard: Guard, model: BaseLLM, messages: Sequence[ChatMessage], tools: object
) -> tuple[Sequence[ChatMessage], tuple[int, ...]]:
    """The messages that fit, and the index in `messages` of each."""
    card = card_of(model)
    name = card.name or _name(model)
    tokenizer = guard.policy.resolve_tokenizer() or card.resolve_tokenizer()
    try:
        read = messages_of(messages, lambda text: len(tokenizer.encode(text)))
        schemas = tools_of(tools)
    except Exception as error:
        _hand_on(error, guard, "model", name)
        return messages, tuple(range(len(messages)))
    fitted = guard.fit(read, tools=schemas, card=card, name=name, counts=False)
    return with_fitted(messages, fitted), fitted.positions
