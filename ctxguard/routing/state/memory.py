"""State in the memory of one process: the store of tests, and of a process that is on its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ctxguard.routing.state.store import Admission, SteadyClock, Window

__all__ = ["MemoryStore"]

T = TypeVar("T")
_PURGE = 1024
"""Writes between two removals of what is over; a removal looks at every entry."""


class MemoryStore:
    """Keeps state for the threads of one process, and forgets it with the process."""

    name = "memory"

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        """Start empty.

        Args:
            clock: seconds since the epoch; None: a `SteadyClock`.
        """
        self.now = clock or SteadyClock()
        self._lock = threading.Lock()
        self._values: dict[str, tuple[str, float]] = {}
        self._counters: dict[str, tuple[int, float]] = {}
        self._holds: dict[str, tuple[int, float]] = {}
        self._writes = 0

    def __deepcopy__(self, memo: object) -> MemoryStore:
        """The same store: a copy of what uses it shares its state."""
        return self

    def __reduce__(self) -> tuple[type[MemoryStore], tuple[()]]:
        """Pickles as an empty store: memory is of one process."""
        return MemoryStore, ()

    def get(self, key: str) -> str | None:
        """The value of a key, None when there is none or its time is over."""
        with self._lock:
            return _live(self._values, key, self.now())

    def swap(self, key: str, old: str | None, new: str | None, *, ttl: float) -> bool:
        """Make the value `new` if it is `old`, and say whether it was."""
        with self._lock:
            now = self._writing()
            if _live(self._values, key, now) != old:
                return False
            self._put(key, new, now + ttl)
            return True

    def put(self, key: str, value: str | None, *, ttl: float) -> None:
        """Make the value of a key whatever it was before; None takes it away."""
        with self._lock:
            self._put(key, value, self._writing() + ttl)

    def _put(self, key: str, value: str | None, expires: float) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = (value, expires)

    def add(self, key: str, amount: int, *, ttl: float) -> int:
        """Add to a counter, and return what it is now."""
        with self._lock:
            return self._add(key, amount, ttl, self._writing())

    def put_total(self, key: str, total: int, *, ttl: float) -> None:
        """Make a counter whatever it was before."""
        with self._lock:
            self._counters[key] = (total, self._writing() + ttl)

    def totals(self, keys: Sequence[str]) -> tuple[int, ...]:
        """The counters of these keys; 0 for one that there is not."""
        with self._lock:
            now = self.now()
            return tuple(_live(self._counters, key, now) or 0 for key in keys)

    def reserve(self, hold: str, windows: Sequence[Window], amount: int) -> Admission:
        """Reserve an amount in all windows, or in none if any of them would exceed its limit."""
        with self._lock:
            now = self._writing()
            used = tuple(_live(self._counters, window.key, now) or 0 for window in windows)
            if _live(self._holds, hold, now) is not None:
                return Admission(admitted=True, used=used)
            if any(n + amount > window.limit for n, window in zip(used, windows, strict=True)):
                return Admission(admitted=False, used=used)
            self._holds[hold] = (amount, now + max(window.ttl for window in windows))
            used = tuple(self._add(window.key, amount, window.ttl, now) for window in windows)
            return Admission(admitted=True, used=used)

    def settle(self, hold: str, windows: Sequence[Window], cost: int) -> int | None:
        """Replace a reservation by its real cost; returns what was reserved, None: no such hold."""
        with self._lock:
            now = self._writing()
            held = _live(self._holds, hold, now)
            if held is None:
                return None
            del self._holds[hold]
            for window in windows:
                if _live(self._counters, window.key, now) is not None:
                    self._add(window.key, cost - held, window.ttl, now)
            return held

    def close(self) -> None:
        """Do nothing: what is in memory goes with the store."""

    def _add(self, key: str, amount: int, ttl: float, now: float) -> int:
        total, expires = self._counters.get(key, (0, 0.0))
        if expires <= now:
            total, expires = 0, now + ttl
        self._counters[key] = (total + amount, expires)
        return total + amount

    def _writing(self) -> float:
        """The time of a write; every so many of them remove what is over."""
        now = self.now()
        self._writes += 1
        if self._writes % _PURGE == 0:
            for table in (self._values, self._counters, self._holds):
                for key in [key for key, (_, expires) in table.items() if expires <= now]:
                    del table[key]
        return now


def _live(table: Mapping[str, tuple[T, float]], key: str, now: float) -> T | None:
    found = table.get(key)
    return None if found is None or found[1] <= now else found[0]
