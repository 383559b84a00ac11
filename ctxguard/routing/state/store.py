"""The interface of shared state: counters, values and spend that several processes change at once.

Whatever a store does is atomic. Amounts are whole numbers, so no sum depends on its order. Every
entry has a time to live, so a store holds no more than its traffic of that time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from urllib.parse import quote

__all__ = ["LARGEST", "Admission", "StateStore", "SteadyClock", "Window", "key_of"]

LARGEST = 2**53 - 1
"""The largest amount that every store counts exactly: Redis compares numbers as doubles."""
_LONGEST_KEY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of time in which no more than so much may be spent."""

    key: str
    limit: int
    ttl: float
    """Seconds for which the store remembers what was spent in it, from the first reservation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The answer to a reservation."""

    admitted: bool
    used: tuple[int, ...]
    """Spent or reserved in each window, in order; with this reservation when it was admitted."""


@runtime_checkable
class StateStore(Protocol):
    """Where state is kept, for any thread and process that names the same place.

    Every method raises `StateStoreError` when the store cannot do it: locked, full, read-only,
    gone.
    """

    @property
    def name(self) -> str:
        """The kind and place of the store, without credentials, for reasons."""
        ...

    def now(self) -> float:
        """Seconds since the epoch, by a clock that jumps of this machine's clock do not move."""
        ...

    def get(self, key: str) -> str | None:
        """The value of a key, None when there is none or its time is over."""
        ...

    def swap(self, key: str, old: str | None, new: str | None, *, ttl: float) -> bool:
        """Compare and set: make the value `new` if it is `old`, and say whether it was.

        None stands for no value, on either side; `ttl` seconds begin anew.
        """
        ...

    def add(self, key: str, amount: int, *, ttl: float) -> int:
        """Add to a counter, and return what it is now; `ttl` counts from its first addition."""
        ...

    def totals(self, keys: Sequence[str]) -> tuple[int, ...]:
        """The counters of these keys, all at one moment; 0 for one that there is not."""
        ...

    def reserve(self, hold: str, windows: Sequence[Window], amount: int) -> Admission:
        """Reserve an amount in all windows, or in none if any of them would exceed its limit.

        A hold that is there already is admitted and not counted again, so asking twice is safe.
        """
        ...

    def settle(self, hold: str, windows: Sequence[Window], cost: int) -> int | None:
        """Replace a reservation by its real cost, 0 to release it.

        Returns:
            What was reserved; None: no such hold any more, and nothing was changed.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections; the next use opens them again."""
        ...


class SteadyClock:
    """The wall clock as it was at the start, and from there the time that passed.

    A jump of the wall clock (set by hand, a time server's correction, a daylight saving bug) moves
    nothing that is under way. A process that starts afterwards starts from the corrected clock.
    """

    __slots__ = ("_start", "_ticks")

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        ticks: Callable[[], float] | None = None,
    ) -> None:
        """Read both clocks once.

        Args:
            wall: seconds since the epoch.
            ticks: seconds since anything, never set; None: since the machine was started, time
                asleep included where the system counts it.
        """
        self._ticks = ticks or _since_boot
        self._start = wall() - self._ticks()

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self._start + self._ticks()


def _since_boot() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def key_of(*parts: str) -> str:
    """A key of these parts, readable while it is short, and never the key of other parts."""
    key = ":".join(quote(part, safe="@ ", errors="surrogatepass") for part in parts)
    if len(key) <= _LONGEST_KEY:
        return key
    return f"{parts[0]}:sha256:{hashlib.sha256(key.encode()).hexdigest()}"
