"""What was counted without the store, until the store has it: each cost once, whatever is lost.

A reservation keeps its name on the way, so telling the store of it twice counts it once. Calls that
came and went meanwhile are summed up: an outbox is as large as what is in flight, not as what was.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ctxguard.routing.state.store import LARGEST, StateStore, Window, key_of

__all__ = ["Outbox"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spend:
    """A reservation that the store is to make, to settle, or both."""

    hold: str
    windows: tuple[Window, ...]
    until: float
    """When its last window is forgotten, and telling is of no use."""
    amount: int | None = None
    """None: it is made already."""
    cost: int | None = None
    """None: it is not settled yet."""
    asked: bool = False
    """Whether the store was asked for it, and may have made it."""


class Outbox:
    """Spend and counters to be handed over, in order."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Start empty.

        Args:
            now: the clock that times to live are counted with.
        """
        self._now = now
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._held: dict[str, _Spend] = {}
        self._sums: dict[tuple[str, ...], _Spend] = {}
        self._tasks: deque[_Spend] = deque()
        self._counters: dict[str, tuple[int, float]] = {}

    def reserved(self, hold: str, windows: Sequence[Window], amount: int, *, asked: bool) -> None:
        """A reservation was made without the store."""
        spend = replace(self._spend(hold, windows), amount=amount, asked=asked)
        with self._lock:
            self._held[hold] = spend

    def settled(self, hold: str, windows: Sequence[Window], cost: int) -> None:
        """A reservation was settled, whoever has made it."""
        late = replace(self._spend(hold, windows), cost=cost)
        with self._lock:
            held = self._held.pop(hold, None)
            if held is None:
                self._tasks.append(late)
            elif held.asked:
                self._tasks.append(replace(held, cost=cost))
            else:  # the store never heard of it
                self._sum_up(late)

    def counted(self, key: str, amount: int, ttl: float) -> None:
        """Something was added to a counter."""
        with self._lock:
            total, until = self._counters.get(key, (0, self._now() + ttl))
            self._counters[key] = (total + amount, until)

    def send(self, store: StateStore) -> None:
        """Hand everything over; what the store does not take stays.

        Raises:
            StateStoreError: it cannot be used.
        """
        if not (self._held or self._sums or self._tasks or self._counters):
            return
        if not self._sending.acquire(blocking=False):
            return  # another thread is at it, and the order matters
        try:
            with self._lock:
                self._tasks.extend((*self._held.values(), *self._sums.values()))
                self._held, self._sums = {}, {}
            while self._tasks:
                self._tell(store, self._tasks[0])
                self._tasks.popleft()
            self._tell_counters(store)
        finally:
            self._sending.release()

    def _spend(self, hold: str, windows: Sequence[Window]) -> _Spend:
        until = self._now() + max(window.ttl for window in windows)
        return _Spend(hold=hold, windows=tuple(windows), until=until)

    def _sum_up(self, spend: _Spend) -> None:
        keys = tuple(window.key for window in spend.windows)
        known = self._sums.get(keys)
        if known is None:
            known = replace(spend, hold=key_of("hold", "sum", uuid.uuid4().hex), cost=0)
        total = (known.cost or 0) + (spend.cost or 0)
        self._sums[keys] = replace(known, amount=total, cost=total)

    def _tell(self, store: StateStore, spend: _Spend) -> None:
        if spend.until <= self._now():
            return
        if spend.amount is not None:  # it was spent, whatever the limit is
            windows = [replace(window, limit=LARGEST) for window in spend.windows]
            store.reserve(spend.hold, windows, spend.amount)
        if spend.cost is not None:
            store.settle(spend.hold, spend.windows, spend.cost)

    def _tell_counters(self, store: StateStore) -> None:
        """One whose answer is lost is counted twice: no money depends on these."""
        while self._counters:
            with self._lock:
                key, (amount, until) = self._counters.popitem()
            left = until - self._now()
            try:
                if left > 0:
                    store.add(key, amount, ttl=left)
            except BaseException:
                self.counted(key, amount, left)
                raise
