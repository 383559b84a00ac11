"""What guarded models do differently: the prompt is made to fit, and the reply is verified.

Each replacement calls the method that it replaces, with arguments passed as they came: LlamaIndex
calls by keyword, and its events record the difference.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.structured_llm import StructuredLLM

from ctxguard.attempts import verification_of
from ctxguard.guard import Guard
from ctxguard_llamaindex.asides import aside, calling, is_aside, is_calling
from ctxguard_llamaindex.checking import Checking
from ctxguard_llamaindex.convert import (
    card_of,
    cut_prompt,
    messages_of,
    prompt_of,
    tools_of,
    with_fitted,
)
from ctxguard_llamaindex.failing import hand_on
from ctxguard_llamaindex.parameters import Arguments
from ctxguard_llamaindex.replies import results_of
from ctxguard_llamaindex.routed import routed_methods
from ctxguard_llamaindex.scope import (
    Call,
    Method,
    Result,
    bound,
    defines,
    due,
    is_async_stream,
)
from ctxguard_llamaindex.usage import Meter, meter, metering

__all__ = ["model_methods"]

Fit: TypeAlias = Callable[[Guard, BaseLLM, Arguments], "Sequence[ChatMessage] | None"]
"""Makes the arguments of a call fit; its messages. None: what it replies is not for this call."""


def model_methods(plain: type[Any]) -> dict[str, Method]:
    """Replacements of a model.

    The model inside a StructuredLLM is guarded where the prompt is complete, and takes the route,
    so the one outside only starts the call.
    """
    methods: dict[str, Method] = {}
    inside = issubclass(plain, StructuredLLM)
    chat, prompt = (_nothing, _nothing) if inside else (_fit_chat, _fit_prompt)
    for prefix in ("", "a", "stream_", "astream_"):
        methods[f"{prefix}chat"] = _fits(getattr(plain, f"{prefix}chat"), chat)
        methods[f"{prefix}complete"] = _fits(getattr(plain, f"{prefix}complete"), prompt)
        name = f"{prefix}chat_with_tools"
        # The base's calls `chat` with the provider's own tool schemas, where they count exactly.
        if hasattr(plain, name) and defines(plain, name) is not FunctionCallingLLM:
            methods[name] = _fits(getattr(plain, name), _fit_tool_chat)
        name = f"{prefix}structured_predict"
        if hasattr(plain, name) and not inside:
            methods[name] = _predicts(getattr(plain, name))
    return methods if inside else methods | routed_methods(plain, methods)


def _fits(plain: Method, fit: Fit) -> Method:
    @functools.wraps(plain)
    async def asynchronous(self: BaseLLM, *args: Any, **kwargs: Any) -> Result:
        handle = due(self)
        if is_calling(self) or handle is None:
            return await bound(plain, self)(*args, **kwargs)
        call, given = Call(handle, name=type(self).__name__), Arguments(args, kwargs)
        counts = meter(anew=isinstance(self, StructuredLLM))
        step = functools.partial(_model_step, call, self, counts)
        with step():
            messages = fit(handle.guard, self, given)
            checking = _checking(self, call, given, messages)
            if counts is not None:
                counts.asked(_length(given, messages))
            result = await bound(plain, self)(*given.args, **given.kwargs)
            result = _counted(counts, result)
            if checking is not None:
                result = await _achecked(checking, result)
        return call.follow(result, step)

    @functools.wraps(plain)
    def synchronous(self: BaseLLM, *args: Any, **kwargs: Any) -> Result:
        handle = due(self)
        if is_calling(self) or handle is None:
            return bound(plain, self)(*args, **kwargs)
        call, given = Call(handle, name=type(self).__name__), Arguments(args, kwargs)
        counts = meter(anew=isinstance(self, StructuredLLM))
        step = functools.partial(_model_step, call, self, counts)
        with step():
            messages = fit(handle.guard, self, given)
            checking = _checking(self, call, given, messages)
            if counts is not None:
                counts.asked(_length(given, messages))
            result = _counted(counts, bound(plain, self)(*given.args, **given.kwargs))
            if checking is not None:
                result = _checked(checking, result)
        return call.follow(result, step)

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous


def _length(given: Arguments, messages: Sequence[ChatMessage] | None) -> int:
    """Characters of a prompt."""
    prompt = given.get("prompt", 0)
    if isinstance(prompt, str):
        return len(prompt)
    return sum(len(message.content or "") for message in messages or ())


@contextmanager
def _model_step(call: Call, model: object, counts: Meter | None) -> Generator[None]:
    with call.step(), calling(model), metering(counts):
        yield


# -- what comes back -----------------------------------------------------------------------------


def _counted(counts: Meter | None, result: Result) -> Result:
    """What a model replied, which the attempt around is told the usage of as it is read."""
    if counts is None:
        return result
    if is_async_stream(result):
        return counts.astream(result)
    if isinstance(result, Generator):
        return counts.stream(cast("Generator[Any, None, None]", result))
    return counts.whole(result)


def _checking(
    model: BaseLLM, call: Call, given: Arguments, messages: Sequence[ChatMessage] | None
) -> Checking | None:
    """What holds the reply against evidence; None: nobody asked for that, or it is no answer."""
    if messages is None or is_aside() or verification_of(call.handle.policy) is None:
        return None
    calls = any(given.kwargs.get(name) for name in ("tools", "functions", "user_msg"))
    return Checking(call.handle, model, results=results_of(messages), calls=calls)


def _checked(checking: Checking, result: Result) -> Result:
    if isinstance(result, Generator):
        return checking.stream(cast("Generator[Any, None, None]", result))
    return checking.whole(result)


async def _achecked(checking: Checking, result: Result) -> Result:
    return checking.astream(result) if is_async_stream(result) else await checking.awhole(result)


def _predicts(plain: Method) -> Method:
    """A method that gives objects. What the model replies on the way is written for a program."""

    @contextmanager
    def within(call: Call) -> Generator[None]:
        with call.step(), aside():
            yield

    def begin(self: BaseLLM) -> Call | None:
        handle = due(self)
        if handle is None or verification_of(handle.policy) is None:
            return None
        if is_calling(self) or is_aside():
            return None
        return Call(handle, name=type(self).__name__)

    @functools.wraps(plain)
    async def asynchronous(self: BaseLLM, *args: Any, **kwargs: Any) -> Result:
        call = begin(self)
        if call is None:
            return await bound(plain, self)(*args, **kwargs)
        step = functools.partial(within, call)
        with step():
            result = await bound(plain, self)(*args, **kwargs)
            result = await _achecked(Checking(call.handle, self), result)
        return call.follow(result, step)

    @functools.wraps(plain)
    def synchronous(self: BaseLLM, *args: Any, **kwargs: Any) -> Result:
        call = begin(self)
        if call is None:
            return bound(plain, self)(*args, **kwargs)
        step = functools.partial(within, call)
        with step():
            result = bound(plain, self)(*args, **kwargs)
            result = _checked(Checking(call.handle, self), result)
        return call.follow(result, step)

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous


# -- what goes in --------------------------------------------------------------------------------


def _nothing(guard: Guard, model: BaseLLM, given: Arguments) -> None:
    """Leave the arguments as they are."""


def _fit_prompt(guard: Guard, model: BaseLLM, given: Arguments) -> Sequence[ChatMessage]:
    prompt = given.get("prompt", 0)
    if isinstance(prompt, str):
        card = card_of(model)
        name = card.name or type(model).__name__
        fitted = guard.fit(prompt_of(prompt), card=card, name=name, counts=False)
        given.put("prompt", 0, cut_prompt(prompt, fitted))
    return ()


def _fit_chat(guard: Guard, model: BaseLLM, given: Arguments) -> Sequence[ChatMessage]:
    messages = given.get("messages", 0)
    tools = given.kwargs.get("tools") or given.kwargs.get("functions")
    fitted, _ = _fitted(guard, model, messages, tools)
    given.put("messages", 0, fitted)
    return fitted


def _fit_tool_chat(guard: Guard, model: BaseLLM, given: Arguments) -> Sequence[ChatMessage]:
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
    return messages


def _fitted(
    guard: Guard, model: BaseLLM, messages: Sequence[ChatMessage], tools: object
) -> tuple[Sequence[ChatMessage], tuple[int, ...]]:
    """The messages that fit, and the index in `messages` of each."""
    card = card_of(model)
    name = card.name or type(model).__name__
    tokenizer = guard.policy.resolve_tokenizer() or card.resolve_tokenizer()
    try:
        read = messages_of(messages, lambda text: len(tokenizer.encode(text)))
        schemas = tools_of(tools)
    except Exception as error:
        hand_on(error, guard, "model", name)
        return messages, tuple(range(len(messages)))
    fitted = guard.fit(read, tools=schemas, card=card, name=name, counts=False)
    return with_fitted(messages, fitted), fitted.positions
