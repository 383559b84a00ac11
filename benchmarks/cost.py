"""What a system costs, in passes of tiktoken over the same texts in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from benchmarks.embeddings import CachedEncoder
from benchmarks.texts import encoding

__all__ = ["Meter"]

Shown = TypeVar("Shown")


class Meter:
    """Times a system against one tiktoken pass; vectors are paid for in each call."""

    def __init__(self, encoder: CachedEncoder | None, *, repeats: int = 5) -> None:
        """Keep what to forget between two calls."""
        self._encoder = encoder
        self._repeats = repeats

    def seconds(self, work: Callable[[], Any]) -> float:
        """The least of several runs: what else the machine does can only add."""
        found: list[float] = []
        for _ in range(self._repeats):
            if self._encoder is not None:
                self._encoder.forget()
            started = time.perf_counter()
            work()
            found.append(time.perf_counter() - started)
            if sum(found) > 1:  # a model that computes vectors; noise is small beside it
                break
        return min(found)

    def ratio(
        self,
        cases: Sequence[Shown],
        work: Callable[[Shown], Any],
        texts: Callable[[Shown], Sequence[str]],
    ) -> float | None:
        """How many tiktoken passes `work` takes, summed over the cases; None without a case.

        Args:
            cases: what is measured; a handful is enough for a ratio.
            work: the system.
            texts: what tiktoken reads of a case.
        """
        table = encoding()
        spent = once = 0.0
        known = dict(self._encoder.known) if self._encoder is not None else {}
        for case in cases[:1]:
            work(case)  # what is loaded or compiled at the first call is no cost of a call
        for case in cases:
            spent += self.seconds(lambda case=case: work(case))
            shown = list(texts(case))
            once += self.seconds(
                lambda shown=shown: [table.encode_ordinary(text) for text in shown]
            )
        if self._encoder is not None:
            self._encoder.known.update(known)
        return round(spent / once, 2) if once else None
