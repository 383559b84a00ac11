"""What the models of a routed call used, read from their replies as they come.

A reply says it in `usage_metadata`, or for a completion model in its `llm_output`; the parts of a
stream add up. The outermost model counts: what one inside of it used, its own reply tells.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from langchain_core.outputs import ChatResult, LLMResult
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers import _streaming  # how LangChain tells handlers that stream

from ctxguard.attempts import Attempt
from ctxguard.routing import Load
from ctxguard_langchain.dynamic import Dynamic
from ctxguard_langchain.replies import message_of
from ctxguard_langchain.stepping import adrive, closed, drive

__all__ = ["Meter", "current_meter", "load_of", "metering"]

_READERS = tuple(
    getattr(_streaming, name)
    for name in ("_StreamingCallbackHandler", "_V2StreamingCallbackHandler")
    if hasattr(_streaming, name)
)
"""Handlers that somebody reads a reply from while it comes."""
_READ = ("cache_read",)
_WRITTEN = ("cache_creation", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
"""Of `input_token_details`; a provider that tells the kinds apart leaves the first at 0."""


class Meter:
    """Tells an attempt what its models used, and how sure they were."""

    def __init__(self, attempt: Attempt, target: Callable[[Attempt], Any] | None = None) -> None:
        """Start before anything is asked.

        Args:
            attempt: what is told.
            target: the model of another attempt at the same call; None: it is no call of a model.
        """
        self._attempt = attempt
        self.target = target
        self._asked = False

    def close(self) -> None:
        """Say that a call that came to no model used nothing: a cache answered it, or it failed."""
        if not self._asked:
            self._attempt.used(Load(input=0, output=0))

    # -- around a method of a model ---------------------------------------------------------------

    def call(self, base: Callable[..., Any]) -> Callable[..., Any]:
        """A method that returns a reply."""

        def method(*args: Any, **kwargs: Any) -> Dynamic:
            with self._asking():
                result = base(*args, **kwargs)
            self._attempt.told(self._take(result))
            return result

        return method

    def acall(self, base: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """As `call`."""

        async def method(*args: Any, **kwargs: Any) -> Dynamic:
            with self._asking():
                result = await base(*args, **kwargs)
            self._attempt.told(self._take(result))
            return result

        return method

    def stream(self, base: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """A method that yields a reply; nobody may ask for its end after its last part."""

        def method(*args: Any, **kwargs: Any) -> Iterator[Any]:
            logprobs: list[float] = []
            for item in drive(lambda: base(*args, **kwargs), self._asking):
                self._show()
                logprobs += self._take(item)
                yield item
            self._attempt.told(logprobs)

        return method

    def astream(self, base: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        """As `stream`."""

        async def method(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            logprobs: list[float] = []
            async with closed(adrive(lambda: base(*args, **kwargs), self._asking)) as items:
                async for item in items:
                    self._show()
                    logprobs += self._take(item)
                    yield item
            self._attempt.told(logprobs)

        return method

    @contextmanager
    def _asking(self) -> Generator[None]:
        """What is asked in here is the model's own business."""
        self._asked = True
        with _set(None):
            yield

    def _show(self) -> None:
        """Note that a reader is given parts of the reply: by a graph's stream, or by its events.

        The step around this one calls for a whole reply there, and its handlers pass on what comes.
        """
        callbacks: object = (var_child_runnable_config.get() or {}).get("callbacks") or ()
        handlers: Any = getattr(callbacks, "handlers", callbacks)
        if any(isinstance(handler, _READERS) for handler in handlers):
            self._attempt.shown = True

    def _take(self, reply: Dynamic) -> list[float]:
        """The logarithms of the probabilities of a reply's tokens, or of a part of one."""
        load = load_of(reply)
        if load is not None:
            self._attempt.used(load)
        return [one for generation in _generations(reply)[:1] for one in _logprobs(generation)]


_meter: ContextVar[Meter | None] = ContextVar("ctxguard_meter", default=None)


def current_meter() -> Meter | None:
    """What counts for a model that is asked now; None: nothing does."""
    return _meter.get()


def metering(meter: Meter) -> Any:  # noqa: ANN401 -- a context manager, for one step
    """Let a meter count what is asked in the block."""
    return _set(meter)


@contextmanager
def _set(meter: Meter | None) -> Generator[None]:
    token = _meter.set(meter)
    try:
        yield
    finally:
        _meter.reset(token)


# -- reading replies ------------------------------------------------------------------------------


def load_of(reply: Dynamic) -> Load | None:
    """The tokens that a reply says it used; None: it does not say.

    Args:
        reply: a result, a message, a generation, a chunk of one, or an event of its stream.
    """
    if isinstance(reply, Mapping):
        return _load(cast("Mapping[str, Any]", reply).get("usage"))
    if isinstance(reply, LLMResult):
        return _of_completion(reply.llm_output)
    # Each of several generations says what all of them used together.
    found = (_load(getattr(message_of(one), "usage_metadata", None)) for one in _generations(reply))
    return next((load for load in found if load is not None), None)


def _generations(reply: Dynamic) -> list[Any]:
    if isinstance(reply, ChatResult):
        return list(reply.generations)
    if isinstance(reply, LLMResult):
        return [one for generations in reply.generations for one in generations]
    return [] if isinstance(reply, Mapping) else [reply]


def _load(usage: object) -> Load | None:
    if not isinstance(usage, Mapping):
        return None
    known = cast("Mapping[str, Any]", usage)
    details: Mapping[str, Any] = known.get("input_token_details") or {}
    read = sum(_tokens(details, name) for name in _READ)
    written = sum(_tokens(details, name) for name in _WRITTEN)
    return Load(
        input=max(_tokens(known, "input_tokens"), read + written),
        output=_tokens(known, "output_tokens"),
        cache_read=read,
        cache_write=written,
    )


def _of_completion(output: Mapping[str, Any] | None) -> Load | None:
    usage: object = (output or {}).get("token_usage")
    if not isinstance(usage, Mapping) or not usage:
        return None
    known = cast("Mapping[str, Any]", usage)
    return Load(
        input=_tokens(known, "prompt_tokens"),
        output=_tokens(known, "completion_tokens"),
    )


def _tokens(usage: Mapping[str, Any], name: str) -> int:
    found: object = usage.get(name)
    return max(0, found) if isinstance(found, int) else 0


def _logprobs(reply: Dynamic) -> list[float]:
    """Natural logarithms of the tokens' probabilities, as OpenAI and its like write them."""
    message = message_of(reply)
    told: object = getattr(message, "response_metadata", None) or {}
    if not cast("Mapping[str, Any]", told).get("logprobs"):
        told = getattr(reply, "generation_info", None) or {}
    inside: object = cast("Mapping[str, Any]", told).get("logprobs")
    if not isinstance(inside, Mapping):
        return []
    content: list[Mapping[str, Any]] = cast("Mapping[str, Any]", inside).get("content") or []
    return [float(one["logprob"]) for one in content if "logprob" in one]
