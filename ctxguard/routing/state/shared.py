"""State that goes on without its store: locked, full, read-only or gone, no call fails for it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ctxguard.errors import InputError, StateStoreError
from ctxguard.routing.state._outbox import Outbox
from ctxguard.routing.state.memory import MemoryStore
from ctxguard.routing.state.redis import RedisStore
from ctxguard.routing.state.sqlite import SqliteStore
from ctxguard.routing.state.store import Admission, StateStore, Window

__all__ = ["SharedState", "check_place", "open_state"]

T = TypeVar("T")
_SCHEMES = ("redis://", "rediss://", "unix://")


def open_state(where: str | Path | StateStore | None = None) -> SharedState:
    """The state at a place, which is opened when it is first used.

    Args:
        where: a file, the URL of a Redis server, "memory", or a store; None: the default file.

    Raises:
        MissingDependencyError: the URL of a Redis server, and the extra is not installed.
        InputError: a URL that cannot be used.
    """
    if isinstance(where, SharedState):
        return where
    if where is None or isinstance(where, Path):
        return SharedState(SqliteStore(where))
    if not isinstance(where, str):
        return SharedState(where)
    if where == "memory":
        return SharedState(MemoryStore())
    if where.startswith(_SCHEMES):
        return SharedState(RedisStore(where))
    check_place(where)
    return SharedState(SqliteStore(where))


def check_place(where: str) -> None:
    """Let a file's name pass, and the URL of a server that is known here.

    Raises:
        InputError: another URL, which would be taken for a file.
    """
    if "://" in where and not where.startswith(_SCHEMES):
        raise InputError(
            f"state: expected a file, 'memory' or a URL that begins with {', '.join(_SCHEMES)}, "
            f"got {where!r}"
        )


class SharedState:
    """A store that stands in for itself: what cannot be done there is done in memory.

    Spend goes on from what was last known of each window, and values from what this process last
    set. When the store is back, it is handed what was counted meanwhile, and late settlements.
    Until then processes do not know of each other's spend: together they may exceed a limit by what
    was left of it, once for each process but one.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        pause: float = 1.0,
        longest_pause: float = 30.0,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a store.

        Args:
            store: is tried first.
            pause: seconds after a failure in which it is not tried; doubled with each failure.
            longest_pause: seconds, at most.
            ticks: a clock that is never set.
        """
        self._store = store
        self._local = MemoryStore()
        self._pause, self._longest, self._ticks = pause, longest_pause, ticks
        self._lock = threading.Lock()
        self._failures = 0
        self._again = 0.0
        self._notice = ""
        self._outbox = Outbox(self._local.now)

    def __reduce__(self) -> tuple[type[SharedState], tuple[StateStore]]:
        """Pickles as its store."""
        return SharedState, (self._store,)

    @property
    def name(self) -> str:
        """The name of the store."""
        return self._store.name

    @property
    def alone(self) -> bool:
        """Whether the store could not be used when it was last tried."""
        return self._failures > 0

    def notice(self) -> str:
        """Why the store is not used, or that it is again; each once, then the empty string."""
        with self._lock:
            notice, self._notice = self._notice, ""
            return notice

    # -- what a store does ----------------------------------------------------------------------

    def now(self) -> float:
        """Seconds since the epoch by the store's clock, or by this process's own."""
        return self._either(lambda store: store.now(), lambda local: local.now())

    def get(self, key: str) -> str | None:
        """The value of a key, None when there is none or its time is over."""
        return self._either(lambda store: store.get(key), lambda local: local.get(key))

    def swap(self, key: str, old: str | None, new: str | None, *, ttl: float) -> bool:
        """Make the value `new` if it is `old`, and say whether it was."""

        def shared(store: StateStore) -> bool:
            done = store.swap(key, old, new, ttl=ttl)
            if done:
                self._local.put(key, new, ttl=ttl)
            return done

        return self._either(shared, lambda local: local.swap(key, old, new, ttl=ttl))

    def add(self, key: str, amount: int, *, ttl: float) -> int:
        """Add to a counter, and return what it is now."""

        def shared(store: StateStore) -> int:
            total = store.add(key, amount, ttl=ttl)
            self._local.put_total(key, total, ttl=ttl)
            return total

        def alone(local: MemoryStore) -> int:
            self._outbox.counted(key, amount, ttl)
            return local.add(key, amount, ttl=ttl)

        return self._either(shared, alone)

    def totals(self, keys: Sequence[str]) -> tuple[int, ...]:
        """The counters of these keys; 0 for one that there is not."""
        return self._either(lambda store: store.totals(keys), lambda local: local.totals(keys))

    def reserve(self, hold: str, windows: Sequence[Window], amount: int) -> Admission:
        """Reserve an amount in all windows, or in none if any of them would exceed its limit."""
        asked = False

        def shared(store: StateStore) -> Admission:
            nonlocal asked
            asked = True
            admission = store.reserve(hold, windows, amount)
            for window, used in zip(windows, admission.used, strict=True):
                self._local.put_total(window.key, used, ttl=window.ttl)
            return admission

        def alone(local: MemoryStore) -> Admission:
            admission = local.reserve(hold, windows, amount)
            if admission.admitted:
                self._outbox.reserved(hold, windows, amount, asked=asked)
            elif asked:  # it may have been made, and only the answer lost
                self._outbox.settled(hold, windows, 0)
            return admission

        return self._either(shared, alone)

    def settle(self, hold: str, windows: Sequence[Window], cost: int) -> int | None:
        """Replace a reservation by its real cost; returns what was reserved.

        None: no such hold any more, or the store is told of it when it is back.
        """
        held = self._local.settle(hold, windows, cost)
        if held is not None:
            self._outbox.settled(hold, windows, cost)
            return held
        return self._either(
            lambda store: store.settle(hold, windows, cost),
            lambda _: self._outbox.settled(hold, windows, cost),
        )

    def close(self) -> None:
        """Tell the store what it does not know yet, if it can be told, and close it."""
        with contextlib.suppress(StateStoreError):
            self._outbox.send(self._store)
        self._store.close()

    # -- with the store or without --------------------------------------------------------------

    def _either(self, shared: Callable[[StateStore], T], alone: Callable[[MemoryStore], T]) -> T:
        if self._due():
            try:
                self._outbox.send(self._store)
                found = shared(self._store)
            except StateStoreError as error:
                self._went(error)
            else:
                self._is_back()
                return found
        return alone(self._local)

    def _due(self) -> bool:
        """Whether to try the store; after a failure, one call at a time does."""
        if not self._failures:
            return True
        with self._lock:
            now = self._ticks()
            if now < self._again:
                return False
            self._again = now + self._pause
            return True

    def _went(self, error: StateStoreError) -> None:
        with self._lock:
            if not self._failures:
                self._notice = f"{error}; this process goes on by itself, and tries again"
            wait = min(self._longest, self._pause * 2 ** min(self._failures, 32))
            self._failures += 1
            self._again = self._ticks() + wait

    def _is_back(self) -> None:
        if not self._failures:
            return
        with self._lock:
            self._failures = 0
            self._notice = f"{self._store.name}: used again, with what was counted meanwhile"
