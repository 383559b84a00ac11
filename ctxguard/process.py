"""The handle of what is guarded in place, for everybody who holds it: `scope="process"`.

A copy cannot reach what nobody can rewrite: a closure, a global list, an object of a foreign
package. There an adapter changes the class of the objects themselves, and the handle knows how to
put every class back.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from typing_extensions import override

from ctxguard.handle import Coverage, Handle
from ctxguard.ledger import Ledger
from ctxguard.run import Run, current_run

if TYPE_CHECKING:
    from ctxguard.guard import Guard

__all__ = ["ProcessHandle"]

Undo: TypeAlias = "Callable[[Any, ProcessHandle], None]"


class ProcessHandle(Handle):
    """`x.ctxguard` after `guard(x, scope="process")`; it keeps none of the objects alive."""

    def __init__(
        self, guard: Guard, original: object = None, coverage: Coverage | None = None
    ) -> None:
        """Made by an adapter, which then calls `took` for every object that it changes.

        Args:
            guard: applies the policy.
            original: what was handed to guard().
            coverage: what was reached; may be set once the walk is done.
        """
        super().__init__(guard, None, coverage)
        self._root = _reference(original)
        self._taken: list[tuple[Callable[[], Any], Undo]] = []
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

    def took(self, obj: object, undo: Undo) -> None:
        """Remember an object that was changed.

        Args:
            obj: held weakly, where its class allows it.
            undo: called with the object and this handle; it must not hold the object, and leave
                it alone when it belongs to another handle by then.
        """
        with self._state:
            self._taken.append((_reference(obj), undo))

    @override
    def unguard(self) -> Any:
        """Put every class back, and return the object.

        Calls that begin afterwards are not guarded. Calls in flight finish guarded, so as long as
        there are any, the classes stay; they go back when the last of them ends.
        """
        with self._state:
            self._released = True
        self._restore()
        return self.original

    @override
    def start(self, question: str = "", name: str = "") -> Run:
        """As `Handle.start`; until the run ends, the call is in flight."""
        run = super().start(question, name)
        with self._state:
            self._open.add(run)
        return run

    @override
    def finish(self, run: Run, error: BaseException | None = None) -> Ledger:
        """As `Handle.finish`; the last call in flight after `unguard()` puts the classes back."""
        ledger = super().finish(run, error)
        with self._state:
            self._open.discard(run)
        self._restore()
        return ledger

    def _restore(self) -> None:
        with self._state:
            if not self._released or self._open:
                return
            taken, self._taken = self._taken, []
        for reference, undo in reversed(taken):
            obj = reference()
            if obj is not None:
                undo(obj, self)

    @override
    def __reduce__(self) -> tuple[Callable[..., Handle], tuple[Any, ...]]:
        """Pickles as its guard and coverage; the objects of another process are others."""
        return ProcessHandle, (self.guard, None, self.coverage)


def _reference(obj: object) -> Callable[[], Any]:
    try:
        return weakref.ref(obj)
    except TypeError:  # a class with slots and none for weak references
        return lambda: obj
