"""A model's own notices of new tokens, held back while a gate reads its reply.

Some models tell `run_manager` of each token before they yield it, or while they generate: handlers
would see what no gate has let through. They are handed a run manager that only notes it, and the
handlers are told of what is released instead.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from typing_extensions import override

from ctxguard_langchain.dynamic import Dynamic
from ctxguard_langchain.replies import text_of

__all__ = ["Notices", "manager_in", "quietly", "quiets"]

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
_MANAGERS = (CallbackManagerForLLMRun, AsyncCallbackManagerForLLMRun)
_quiet: ContextVar[bool] = ContextVar("ctxguard_quiet", default=False)


class Notices:
    """What a model tells of one reply, put off until it may be told."""

    def __init__(self, args: Args, kwargs: Kwargs) -> None:
        """Take the place of the run manager among the arguments of a call."""
        self.manager: Any = manager_in(args, kwargs)
        """The one that the call brings; None: it brings none."""
        quiet = _quieted(self.manager, self._note)
        if quiet is not None:
            args = tuple(quiet if arg is self.manager else arg for arg in args)
            kwargs = {k: quiet if v is self.manager else v for k, v in kwargs.items()}
        self.call = args, kwargs
        """The arguments to call the model with."""
        self._speaks = False
        self._waiting: list[Any] = []

    def _note(self) -> None:
        self._speaks = True

    def tell(self, reply: Dynamic) -> None:
        """Tell of a reply that is released, as the model tells of its own; if it does."""
        for text, chunk in self._due(reply):
            self.manager.on_llm_new_token(text, chunk=chunk)

    async def atell(self, reply: Dynamic) -> None:
        """As `tell`."""
        for text, chunk in self._due(reply):
            await self.manager.on_llm_new_token(text, chunk=chunk)

    def _due(self, reply: Dynamic) -> list[tuple[str, Any]]:
        if self.manager is None:
            return []
        self._waiting.append(reply)
        if not self._speaks:  # it may speak of a chunk after it has yielded it
            return []
        due, self._waiting = self._waiting, []
        kinds = (ChatGenerationChunk, GenerationChunk)
        return [
            ("".join(text_of(one)), one if isinstance(one, kinds) else None)
            for one in due
            if not isinstance(one, dict)  # events are told of by whoever asked for them
        ]


@contextmanager
def quietly() -> Generator[None]:
    """Let the models that are asked in this block tell of no tokens."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def quiets(args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """The arguments of a model's method, without a run manager that would tell of tokens."""
    return Notices(args, kwargs).call if _quiet.get() else (args, kwargs)


def manager_in(args: Args, kwargs: Kwargs) -> Dynamic:
    """The run manager among the arguments of a call, which may be by position."""
    found = kwargs.get("run_manager")
    return found or next((arg for arg in args if isinstance(arg, _MANAGERS)), None)


class _QuietRun(CallbackManagerForLLMRun):
    note: Callable[[], None]

    @override
    def on_llm_new_token(self, token: Dynamic, *args: Any, **kwargs: Any) -> None:
        self.note()


class _QuietAsyncRun(AsyncCallbackManagerForLLMRun):
    note: Callable[[], None]

    @override
    async def on_llm_new_token(self, token: Dynamic, *args: Any, **kwargs: Any) -> None:
        self.note()

    @override
    def get_sync(self) -> CallbackManagerForLLMRun:
        return cast("CallbackManagerForLLMRun", _quieted(super().get_sync(), self.note))


def _quieted(manager: object, note: Callable[[], None]) -> object:
    """A copy of a run manager that only notes tokens; None for what is none."""
    kinds = {CallbackManagerForLLMRun: _QuietRun, AsyncCallbackManagerForLLMRun: _QuietAsyncRun}
    for base, kind in kinds.items():
        if isinstance(manager, base):
            quiet: Any = copy.copy(manager)
            quiet.__class__ = kind
            quiet.note = note
            return quiet
    return None
