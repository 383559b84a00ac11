"""The last few results of work that several stages ask for."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["Recent"]

_RESULTS = 4
"""Results that are kept: as many threads can work on pools of their own at once."""


class Recent:
    """The last few results by key, a few and not too large ones; thread-safe.

    A cache: whoever asks must get the same result when it is computed again. Keys are compared one
    after the other, and a tuple of the same texts is equal at the first look at each: hashing the
    spans of 10,000 pieces would take longer than comparing them.
    """

    __slots__ = ("_kept", "_lock", "max_size")

    def __init__(self, max_size: int) -> None:
        """Keep nothing yet.

        Args:
            max_size: what the results may weigh together, in whatever `put` is given.
        """
        self.max_size = max_size
        self._lock = threading.Lock()
        self._kept: tuple[tuple[Any, Any, int], ...] = ()

    def get(self, key: tuple[Any, ...]) -> object | None:
        """The result that was put under an equal key, if it is still there."""
        return next((value for known, value, _ in self._kept if known == key), None)

    def put(self, key: tuple[Any, ...], value: object, size: int) -> None:
        """Keep a result; the oldest make room, and one that is too large is not kept."""
        with self._lock:
            kept = [(key, value, size), *self._kept][:_RESULTS]
            while kept and sum(each for _, _, each in kept) > self.max_size:
                kept.pop()
            self._kept = tuple(kept)
