"""The handle of what is guarded in place, for everybody who holds it: `scope="process"`.

A copy cannot reach what nobody can rewrite: a closure, a global list, an object of a foreign
package. There an adapter changes the class of the objects themselves, and the handle knows how to
put every class back.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ctxguard.handle import Coverage, Handle
from ctxguard.run import Run, current_run

if TYPE_CHECKING:
    from ctxguard.guard import Guard

__all__ = ["Carrying", "ProcessHandle", "goes_past"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrying:
    """How the objects of a framework carry a handle."""

    owner: Callable[[Any], Handle | None]
    """The handle that an object itself carries."""
    keep: Callable[[Any, Handle | None], None]
    """Let an object carry a handle; None takes it away."""
    plain: Callable[[type[Any]], type[Any]]
    """The class that a guarded class stands for; any other class itself."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """An object that was changed, and what it was before."""

    find: Callable[[], Any]
    kind: type[Any]
    owner: Handle | None
    carrying: Carrying

    def put_back(self, handle: Handle) -> None:
        """Make the object what it was, unless it belongs to another handle by now."""
        obj = self.find()
        if obj is None or self.carrying.owner(obj) is not handle:
            return
        kind, owner = self.kind, self.owner
        if owner is not None and not owner.live():  # it was another guard's, which is off by now
            kind, owner = self.carrying.plain(kind), None
        object.__setattr__(obj, "__class__", kind)
        self.carrying.keep(obj, owner)


class ProcessHandle(Handle):
    """`x.ctxguard` after `guard(x, scope="process")`; it keeps none of the objects alive.

    A copy of a guarded object shares its handle and is guarded, too; after `unguard()` its class
    stays and does nothing. Pickled, an object is guarded in place again where it is loaded.
    """

    def __init__(
        self,
        guard: Guard,
        original: object = None,
        coverage: Coverage | None = None,
        ends_well: Callable[[BaseException], bool] | None = None,
    ) -> None:
        """Made by an adapter, which then calls `take` for every object that is guarded.

        Args:
            guard: applies the policy.
            original: what was handed to guard().
            coverage: what was reached; may be set once the walk is done.
            ends_well: tells a framework's control flow from errors, as for `Handle`.
        """
        super().__init__(guard, None, coverage, ends_well)
        self._root = _reference(original)
        self._taken: list[_Taken] = []
        self._open: weakref.WeakSet[Run] = weakref.WeakSet()
        self._released = False
        self._state = threading.Lock()

    @property
    @override
    def original(self) -> Any:
        """The object that was guarded, None when nobody else holds it any more."""
        return self._root()

    @override
    def live(self) -> bool:
        """Whether a call is guarded that begins now, in this context.

        After `unguard()` only what runs inside of a call that had begun before.
        """
        if not self._released:
            return True
        run = current_run()
        while run is not None and run.owner is not self:
            run = run.parent
        return run is not None

    def take(self, obj: object, kind: type[Any], carrying: Carrying, *, root: bool = False) -> None:
        """Guard an object: give it another class, and this handle.

        Args:
            obj: held weakly, where its class allows it.
            kind: a guarded class for it.
            carrying: how it carries its handle.
            root: whether this is what was handed to guard().

        Raises:
            TypeError: its instances cannot change their class.
        """
        before, owner = type(obj), carrying.owner(obj)
        carrying.keep(obj, self)  # first, because the methods of the class need it
        try:
            if kind is not before:
                object.__setattr__(obj, "__class__", kind)
        except TypeError:
            carrying.keep(obj, owner)
            raise
        find = _reference(obj)
        with self._state:
            self._taken.append(_Taken(find, before, owner, carrying))
            if root and self._root() is None:  # not a copy of it
                self._root = find

    def shares_with(self, other: Handle) -> bool:
        """Whether both guard in place, and alike: what they share may be either's.

        Then the later one takes it, so that it stays guarded for both whichever is taken off.
        """
        return isinstance(other, ProcessHandle) and other.policy == self.policy

    @override
    def unguard(self) -> Any:
        """Put every class back, and return the object.

        Calls that begin afterwards are not guarded. Calls in flight finish guarded, so as long as
        there are any, the classes stay; they go back when the last of them ends.
        """
        with self._state:
            self._released = True
        self._put_back()
        return self.original

    @override
    def start(self, question: str = "", name: str = "") -> Run:
        """As `Handle.start`; until the run ends, the call is in flight."""
        run = super().start(question, name)
        with self._state:
            self._open.add(run)
        return run

    @override
    def finish(self, run: Run, error: BaseException | None = None) -> None:
        """As `Handle.finish`; the last call in flight after `unguard()` puts the classes back."""
        super().finish(run, error)
        with self._state:
            self._open.discard(run)
        self._put_back()

    def _put_back(self) -> None:
        with self._state:
            if not self._released or self._open:
                return
            taken, self._taken = self._taken, []
        for one in reversed(taken):
            one.put_back(self)

    @override
    def __reduce__(self) -> tuple[Callable[..., Handle], tuple[Any, ...]]:
        """Pickles as its guard and coverage; the objects of another process are others."""
        return ProcessHandle, (self.guard, None, self.coverage, self._ends_well)


def goes_past(method: MethodType, names: Collection[str]) -> bool:
    """Whether a method that was bound before its object was guarded leads past the guard.

    Args:
        method: kept by somebody: `RunnableLambda(retriever.invoke)`.
        names: of the methods that the guarded class replaces. One of them that calls another one of
            them does not matter.
    """
    name = getattr(method, "__name__", "")
    code = getattr(inspect.unwrap(method.__func__), "__code__", None)
    called: set[str] = set(code.co_names) if code is not None else set()
    return name in names and called.isdisjoint(set(names) - {name})


def _reference(obj: object) -> Callable[[], Any]:
    try:
        return weakref.ref(obj)
    except TypeError:  # None, and classes with slots and none for weak references
        return lambda: obj
