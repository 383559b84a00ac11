"""`with guarded(policy): …`: whatever retrieves or asks a model inside of the block is guarded.

Nothing has to be handed to `guard()`, so this reaches what nobody can hand over: a retriever in an
object of a foreign package, a model that is made while it is used. While at least one block is open
in the process, the methods of the frameworks' classes through which every call goes ask `ambient()`
whether they run inside of one; the contextvar behind it follows a call through async tasks and
threads with copied contexts. Callback handlers were the other way: they see a model's messages,
but could only change them in place, in the history of the user's application.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from types import TracebackType
from typing import Any, TypeVar, cast

from ctxguard.adapters import Patched, SupportsBlocks, integrations
from ctxguard.errors import InputError
from ctxguard.guard import Guard
from ctxguard.handle import Coverage, CoverageWarning, Handle, Unreached
from ctxguard.policy import Policy, choose
from ctxguard.run import activate, current_run

__all__ = ["Block", "ambient", "guarded"]

F = TypeVar("F", bound=Callable[..., Any])

_NOT_SEEN = (
    Unreached(
        "threads",
        "threading.Thread",
        "a thread that was not given a copy of the context is outside of the block; "
        "run its work in contextvars.copy_context().run(…)",
    ),
    Unreached(
        "bound methods",
        "method",
        "a method that was taken from an object before the block was entered is what it was; hold "
        "the object, and call its method",
    ),
    Unreached(
        "processes", "RemoteGraph", "what runs on a server or in another process is not seen"
    ),
)


@dataclass(slots=True)
class _Open:
    """A block that was entered, as the contextvar carries it."""

    handle: Handle
    parent: _Open | None
    open: bool = True
    """A task that was started inside may outlive the block."""


_current: ContextVar[_Open | None] = ContextVar("ctxguard_block", default=None)


def ambient() -> Handle | None:
    """The handle that guards what carries none of its own here; None outside of any block.

    Inside of a guarded object's call that is the object's own, so that one call has one policy.
    """
    block = innermost = _current.get()
    while block is not None and not block.open:
        block = block.parent
    if block is None:
        return None
    run = current_run()
    if block is innermost and run is not None and isinstance(run.owner, Handle):
        return run.owner
    return block.handle


def guarded(policy: Policy | None = None, **overrides: Any) -> Block:
    """A block in which everything that retrieves or asks a model is guarded.

    ```python
    with guarded(budget=2000) as handle:
        application.answer("What is the notice period?")
    print(handle.last)
    ```

    The block is one run with one ledger. It holds for this context: tasks that are made inside and
    threads with a copy of the context, not other threads. A block inside of a block follows its own
    policy, and so does a guarded object inside of a block; their ledgers are children of its own.
    `handle.coverage` says what a block cannot see.

    Frameworks that are imported already are guarded; one that is first imported inside of the block
    is listed in `handle.coverage.unreached`.

    Decorates functions and coroutine functions, too: each call is a block, and `handle(function)`
    has their ledgers.

    Args:
        policy: None: `CTXGUARD_POLICY`'s file if that is set, else the balanced preset.
        **overrides: fields of Policy that replace the policy's.

    Raises:
        PolicyError: an override is no field of Policy, or its value cannot be used.
    """
    chosen = choose("guarded", policy, overrides)
    return Block(Handle(Guard(chosen), None))


class Block:
    """What `guarded()` returns: entered once with `with`, or put before a function with `@`."""

    def __init__(self, handle: Handle, name: str = "guarded") -> None:
        """Prepare; nothing happens before the block is entered.

        Args:
            handle: keeps the ledgers of the block.
            name: of the runs, for the ledger.
        """
        self._handle = handle
        self._name = name
        self._exits: contextlib.ExitStack | None = None

    def __enter__(self) -> Handle:
        """Open the block.

        Raises:
            InputError: the block was entered before.
        """
        if self._exits is not None:
            raise InputError("guarded: a block is entered once; call guarded() again")
        with contextlib.ExitStack() as exits:
            self._handle.coverage = _patching.acquire()
            exits.callback(_patching.release)
            _warn(self._handle.coverage)
            self._enter(exits)
            self._exits = exits.pop_all()
        return self._handle

    def _enter(self, exits: contextlib.ExitStack) -> None:
        run = self._handle.start(name=self._name)

        def end(_: object, error: BaseException | None, __: object) -> None:
            self._handle.finish(run, error)

        exits.push(end)
        exits.callback(_leave(activate(run)))
        block = _Open(self._handle, _current.get())
        token = _current.set(block)
        exits.callback(_close, block, lambda: _current.reset(token))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the block: its ledger is the handle's last."""
        if self._exits is not None:
            self._exits.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """The function, each call of which is a block.

        Raises:
            InputError: for generator functions. Their code runs in the context of who reads them,
                and a block in there would be open for the reader, too.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InputError(
                f"guarded: {function.__qualname__} is a generator function, whose steps run in "
                "its reader's context; open the block around the loop that reads it"
            )
        handle = self._handle
        name = getattr(function, "__name__", self._name)

        @functools.wraps(function)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as the function
            with Block(handle, name):
                return await function(*args, **kwargs)

        @functools.wraps(function)
        def synchronous(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as the function
            with Block(handle, name):
                return function(*args, **kwargs)

        made = asynchronous if inspect.iscoroutinefunction(function) else synchronous
        vars(made)["ctxguard"] = handle
        return cast("F", made)


def _leave(entered: contextlib.AbstractContextManager[object]) -> Callable[[], None]:
    """Enter now; what is returned leaves again, wherever it is called."""
    entered.__enter__()

    def leave() -> None:
        with _wherever():
            entered.__exit__(None, None, None)

    return leave


def _close(block: _Open, reset: Callable[[], None]) -> None:
    block.open = False
    with _wherever():
        reset()


def _wherever() -> contextlib.AbstractContextManager[None]:
    """An async generator may be closed in another context, where there is nothing to take back."""
    return contextlib.suppress(ValueError)


def _warn(coverage: Coverage) -> None:
    if not coverage.reached:
        missing = [f"{u.path} ({u.type}): {u.reason}" for u in coverage.unreached]
        message = "\n  ".join(["guarded() guards nothing here:", *missing])
        warnings.warn(message, CoverageWarning, stacklevel=3)  # 1 _warn, 2 __enter__, 3 the block


# -- patching -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Patching:
    """Who is patched for the blocks that are open now; of the process, because classes are."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    blocks: int = 0
    patched: dict[int, Patched] = field(default_factory=dict[int, Patched])
    """By the identity of the adapter."""

    def acquire(self) -> Coverage:
        """Count a block, and patch the frameworks that are imported and not patched yet."""
        frameworks: dict[str, list[EntryPoint]] = {}
        for point in integrations().values():  # one adapter has several names
            frameworks.setdefault(point.value, []).append(point)
        with self.lock:
            self.blocks += 1
            unreached: list[Unreached] = []
            for points in frameworks.values():
                unreached += self._patch(points)
            found = [patched.coverage for patched in self.patched.values()]
        return Coverage(
            tuple(item for coverage in found for item in coverage.reached),
            (*_NOT_SEEN, *(item for coverage in found for item in coverage.unreached), *unreached),
        )

    def _patch(self, points: Sequence[EntryPoint]) -> Iterator[Unreached]:
        names = ", ".join(point.name for point in points)
        if not any(point.name in sys.modules for point in points):
            reason = "not imported yet: import it before the block is entered"
            yield Unreached(names, "integration", reason)
            return
        try:
            adapter: object = points[0].load()
            if id(adapter) not in self.patched and isinstance(adapter, SupportsBlocks):
                self.patched[id(adapter)] = adapter.patch()
        except Exception as error:  # a block must not be the reason why a call fails
            reason = f"it could not be patched: {type(error).__name__}: {error}"
            yield Unreached(names, "integration", reason)
        else:
            if not isinstance(adapter, SupportsBlocks):
                yield Unreached(names, "integration", "it cannot guard blocks; use guard()")

    def release(self) -> None:
        """Count a block less, and undo everything after the last."""
        with self.lock:
            self.blocks -= 1
            if not self.blocks:
                patched, self.patched = self.patched, {}
                for item in patched.values():
                    item.undo()


_patching = _Patching()
