"""Synthesizers: what they give is an answer, and what they ask a model on the way is none.

Refining and summarising ask for one answer in several calls. Only the last reply is shown, so only
what the synthesizer returns is held against the evidence.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, cast

from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.response_synthesizers.context_only import ContextOnly
from llama_index.core.response_synthesizers.no_text import NoText

from ctxguard.attempts import Attempt
from ctxguard.handle import Handle
from ctxguard.types import Chunk
from ctxguard_llamaindex.asides import aside, is_aside
from ctxguard_llamaindex.checking import Checking
from ctxguard_llamaindex.convert import question_of
from ctxguard_llamaindex.routed import collecting
from ctxguard_llamaindex.scope import Call, Method, Result, bound, due, is_async_stream

__all__ = ["makes_synthesizers", "synthesizer_methods"]

_NAMES = ("get_response", "aget_response")
_NO_ANSWERS = (ContextOnly, NoText)


def synthesizer_methods(plain: type[Any], methods: Mapping[str, Method]) -> dict[str, Method]:
    """Replacements of a synthesizer.

    Args:
        plain: any class.
        methods: those that its guarded class has already.
    """
    if not issubclass(plain, BaseSynthesizer) or issubclass(plain, _NO_ANSWERS):
        return {}
    return {name: _answers(methods.get(name) or getattr(plain, name)) for name in _NAMES}


def makes_synthesizers(plain: Method) -> Method:
    """A method that makes a synthesizer for a call, which nobody else holds."""

    @functools.wraps(plain)
    def synchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        # It makes guarded classes, which have these methods.
        from ctxguard_llamaindex.classes import attach

        made = bound(plain, self)(*args, **kwargs)
        handle = due(self)
        if handle is not None and handle.policy.verifies:
            attach(made, handle)
        return made

    return synchronous


def _answers(plain: Method) -> Method:
    @functools.wraps(plain)
    async def asynchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        answer = _answer(self, args, kwargs)
        if answer is None:
            return await bound(plain, self)(*args, **kwargs)
        with answer.step():
            result = await bound(plain, self)(*args, **kwargs)
            if is_async_stream(result):
                result = answer.checking().astream(result)
            else:
                result = await answer.checking().awhole(result)
        return answer.call.follow(result, answer.step)

    @functools.wraps(plain)
    def synchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        answer = _answer(self, args, kwargs)
        if answer is None:
            return bound(plain, self)(*args, **kwargs)
        with answer.step():
            result = bound(plain, self)(*args, **kwargs)
            if isinstance(result, Generator):
                result = answer.checking().stream(cast("Generator[Any, None, None]", result))
            else:
                result = answer.checking().whole(result)
        return answer.call.follow(result, answer.step)

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous


def _answer(self: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Answer | None:
    """The answer that a call is to give; None: nobody verifies it, or it is a part of another."""
    handle = due(self)
    if handle is None or not handle.policy.verifies or is_aside():
        return None
    asked = question_of(*args[:1], kwargs.get("query_str"))
    return _Answer(self, handle, asked, args[1] if args[1:] else kwargs.get("text_chunks"))


class _Answer:
    """One call of a synthesizer."""

    def __init__(self, synthesizer: object, handle: Handle, asked: str, texts: object) -> None:
        self.call = Call(handle, asked, type(synthesizer).__name__)
        self._synthesizer = synthesizer
        self._attempts: list[Attempt] = []
        self._texts = cast("Iterable[object]", texts) if isinstance(texts, Iterable) else ()

    @contextmanager
    def step(self) -> Generator[None]:
        with self.call.step(), aside(), collecting(self._attempts):
            yield

    def checking(self) -> Checking:
        model: object = getattr(self._synthesizer, "_llm", None)
        return Checking(self.call.handle, model, attempts=self._attempts, results=self._read())

    def _read(self) -> list[Chunk]:
        """What the answer is made from, where no retriever of the run has brought it."""
        if self.call.run.evidence:
            return []
        return [
            Chunk(id=f"text-{number}", text=text)
            for number, text in enumerate(self._texts, start=1)
            if isinstance(text, str) and text
        ]
