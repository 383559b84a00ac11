"""Engines as routes: a call of what is guarded goes to the engine of the route that it takes.

The models of the chosen engine are not routed again; what they use adds up in its attempt.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.memory.types import BaseMemory
from llama_index.core.workflow import Context

from ctxguard.attempts import Attempt, activate_attempt
from ctxguard.dispatching import Dispatching, dispatching
from ctxguard.handle import Handle
from ctxguard.models import ModelCard
from ctxguard.request import Request
from ctxguard.routing import Load, Route
from ctxguard.types import Message
from ctxguard_llamaindex.asking import ends_well
from ctxguard_llamaindex.beginnings import abegun, begun, is_open
from ctxguard_llamaindex.convert import QUESTION_NAMES, card_of, messages_of, question_of
from ctxguard_llamaindex.failing import hand_on
from ctxguard_llamaindex.scope import Call, Method, Result, bound, due
from ctxguard_llamaindex.targets import Targets, routes_models, targets_of

__all__ = ["routed"]

_ROUTED = ("query", "synthesize", "chat", "stream_chat", "run")
_CHARACTERS = 4
"""Of a token, where nothing depends on the count."""


def routed(name: str, plain: Method) -> Method:
    """A method through which an engine is asked, by way of the engine of a route.

    Args:
        name: of the method.
        plain: the method that is replaced, called where the route leads to the object itself.
    """
    if name.removeprefix("a") not in _ROUTED:
        return plain

    @functools.wraps(plain)
    async def asynchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        asked = _asked(self, name, args, kwargs)
        if asked is None:
            return await bound(plain, self)(*args, **kwargs)
        return await asked.arun(plain)

    @functools.wraps(plain)
    def synchronous(self: object, *args: Any, **kwargs: Any) -> Result:
        asked = _asked(self, name, args, kwargs)
        if asked is None:
            return bound(plain, self)(*args, **kwargs)
        return asked.run(plain)

    return asynchronous if inspect.iscoroutinefunction(plain) else synchronous


def _asked(self: object, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Asked | None:
    """What routes a call; None: it is not routed, or a part of one that is."""
    handle = due(self)
    if handle is None or routes_models(handle.policy.routing, self, handle):
        return None
    current, targets = dispatching(handle.guard.dispatcher), targets_of(self)
    if current is None or targets is None:
        return None
    return _Asked(self, handle, targets, current, name, args, kwargs)


class _Answer(Call):
    """What one engine answers: its attempt is that of the context, and ends with it."""

    def __init__(self, handle: Handle, attempt: Attempt) -> None:
        super().__init__(handle)
        self.attempt = attempt
        self._finished = False

    @contextmanager
    def step(self) -> Generator[None]:
        with super().step(), activate_attempt(self.attempt):
            yield

    def end(self, error: BaseException | None) -> None:
        if error is None or ends_well(error):
            self.attempt.used(Load(input=0, output=0))  # where it has asked no model
            self.attempt.succeeded()
        else:
            self.attempt.dispatching.broken(self.attempt, error)
        super().end(error)


@dataclass(slots=True)
class _Asked:
    """One call of an engine, on the way to that of a route."""

    engine: object
    handle: Handle
    targets: Targets
    dispatching: Dispatching
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self, plain: Method) -> Result:
        """What the engine of a route gives."""
        memory = self._memory
        history = None if memory is None else _history_of(memory)
        attempt = self._begin(self._request(history), history)
        while True:
            answer = _Answer(self.handle, attempt)
            try:
                with activate_attempt(attempt):
                    result = self._method(plain, attempt)(*self.args, **self.kwargs)
                    if self._may_go_elsewhere(attempt):
                        begun(result)
            except BaseException as error:
                attempt = self.dispatching.after(attempt, error, ends_well)
                if memory is not None:  # what the engine that failed had put there
                    memory.set(list(history or ()))
            else:
                return answer.follow(result)

    async def arun(self, plain: Method) -> Result:
        """As `run`; shared state is asked in a thread."""
        off_loop, memory = self.dispatching.dispatcher.off_loop, self._memory
        history = None if memory is None else await _ahistory_of(memory)
        request = self._request(history)
        attempt = await off_loop(lambda: self._begin(request, history), Attempt.unused)
        while True:
            answer = _Answer(self.handle, attempt)
            try:
                with activate_attempt(attempt):
                    result = await self._method(plain, attempt)(*self.args, **self.kwargs)
                    if self._may_go_elsewhere(attempt):
                        await abegun(result)
            except Exception as error:
                failed, cause = attempt, error
            except BaseException as error:  # cancelled: nothing may be awaited any more
                self.dispatching.broken(attempt, error)
                raise
            else:
                if not is_open(result):
                    await off_loop(answer.finish)
                return answer.follow(result)
            attempt = await off_loop(
                lambda f=failed, c=cause: self.dispatching.after(f, c, ends_well), Attempt.unused
            )
            if memory is not None:
                await memory.aset(list(history or ()))

    def _begin(self, request: Request, history: Sequence[ChatMessage] | None) -> Attempt:
        attempt = self.dispatching.begin(request)
        if self._memory is not None and history is None:
            attempt.walk = iter(())  # what a failed engine has put there could not be taken back
        return attempt

    def _may_go_elsewhere(self, attempt: Attempt) -> bool:
        settings = self.dispatching.settings
        return attempt.acts and settings.fallback and len(settings.routes) > 1

    def _method(self, plain: Method, attempt: Attempt) -> Method:
        engine = self.targets.of(attempt.route.name).engine if attempt.acts else None
        return bound(plain, self.engine) if engine is None else getattr(engine, self.name)

    @property
    def _memory(self) -> BaseMemory | None:
        """The conversation, which all engines share."""
        found = getattr(self.engine, "_memory", None) if self._chats else None
        return found if isinstance(found, BaseMemory) else None

    @property
    def _chats(self) -> bool:
        return isinstance(self.engine, BaseChatEngine)

    # -- what is known before ---------------------------------------------------------------------

    def _request(self, history: Sequence[ChatMessage] | None) -> Request:
        names = (*QUESTION_NAMES, "start_event")
        question = question_of(*self.args[:1], *(self.kwargs.get(name) for name in names))
        return Request(
            messages=(*self._before(history), Message(role="user", text=question)),
            card=self._card,
            refuses=self._refuses,
            adds_up=True,
        )

    def _before(self, history: Sequence[ChatMessage] | None) -> list[Message]:
        """The conversation so far: as it is handed in, else as it is remembered."""
        given = self.args[1] if self._chats and self.args[1:] else self.kwargs.get("chat_history")
        before = cast("Sequence[ChatMessage]", given or history or ())
        try:
            return messages_of(before, lambda text: len(text) // _CHARACTERS)
        except Exception as error:
            hand_on(error, self.handle.guard, "model", type(self.engine).__name__)
            return []

    def _card(self, route: Route) -> ModelCard:
        model = self.targets.of(route.name).model
        return ModelCard() if model is None else card_of(model)

    def _refuses(self, route: Route) -> str:
        """A workflow cannot take up what another one keeps between its runs."""
        given = (*self.args, *self.kwargs.values())
        if route.model != "" and any(isinstance(value, Context) for value in given):
            return "the Context that is handed in is that of another workflow"
        return ""


def _history_of(memory: BaseMemory) -> list[ChatMessage] | None:
    """What a memory holds; None: it only tells of what is asked, as a VectorMemory does."""
    try:
        return list(memory.get_all())
    except ValueError:
        return None


async def _ahistory_of(memory: BaseMemory) -> list[ChatMessage] | None:
    try:
        return list(await memory.aget_all())
    except ValueError:
        return None
