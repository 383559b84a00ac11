"""What a process has to write yet, and the thread that writes it: nothing here waits for a disk.

The thread makes the ledgers too, so the call that is guarded pays for a place in a queue only. What
finds no place, or cannot be written, is counted and told of by a warning, each kind once.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
from dataclasses import dataclass, replace
from typing import TypeAlias

from ctxguard.ledger import Ledger
from ctxguard.run import Outcome
from ctxguard.telemetry.file import TraceFile
from ctxguard.telemetry.rows import Cell, Mark, row_of

__all__ = ["Item", "StoreWarning", "Writer"]

Item: TypeAlias = Ledger | Outcome | Mark
_LINGER = 0.05
"""Seconds for which more is waited for: a busy process writes some twenty times a second."""
_BATCH_ITEMS = 256
_BATCH_BYTES = 2**20
"""Of one transaction: its log grows by no more."""
_COUNTED = "; what is left out is counted in `dropped`, and not told again"
_AT_EXIT = 2.0
"""Seconds that the end of a process waits for what is not written yet."""


class StoreWarning(UserWarning):
    """Something that was to be kept in a store is not there; the message says why."""


@dataclass(slots=True, kw_only=True)
class _Batch:
    """What the next transaction writes."""

    rows: list[tuple[Cell, ...]]
    marks: list[Mark]
    size: int = 0


class Writer:
    """The queue and the thread of one process; a fork's child has its own."""

    def __init__(self, file: TraceFile, *, content: bool, max_waiting: int) -> None:
        """Start without a thread: the first item starts it.

        Args:
            file: where to; each thread has its own connection.
            content: whether texts are kept.
            max_waiting: items that may wait.
        """
        self._file, self._content, self._max_waiting = file, content, max_waiting
        self._batch_bytes = min(_BATCH_BYTES, file.max_bytes // 4)
        self._full = min(_BATCH_ITEMS, max_waiting)
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[Item, float]] = {}  # by identity: an outcome waits once
        self._thread: threading.Thread | None = None
        self._busy = 0
        self._hurried = self._closing = self._refused = False
        self._told: set[str] = set()
        self.dropped = 0
        self.written = 0

    # -- in the call ----------------------------------------------------------------------------

    def put(self, item: Item) -> None:
        """Queue an item; what is waiting already is written as it is by then."""
        with self._changed:
            if id(item) in self._waiting:
                return
            if len(self._waiting) >= self._max_waiting:
                self.dropped += 1
                self._refused = True
                return
            self._waiting[id(item)] = (item, time.time())
            if self._thread is None:
                self._start()
            if len(self._waiting) in (1, self._full):
                self._changed.notify_all()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="ctxguard-traces", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter is about to end
            self._thread = None
            self._drop(len(self._waiting), f"there is no thread to write with ({error})")
            self._waiting.clear()
            return
        atexit.register(self._at_exit)

    # -- outside of it --------------------------------------------------------------------------

    def flush(self, timeout: float | None) -> bool:
        """Wait until nothing is left to write, and say whether that is so."""
        with self._changed:
            if self._thread is None:
                return True
            self._hurried = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def close(self, timeout: float) -> None:
        """Write what is left, and end the thread; the next item starts another."""
        end = time.monotonic() + timeout
        done = self.flush(timeout)
        with self._changed:
            thread, self._thread = self._thread, None  # it ends when it finds that
            if not done:
                left = len(self._waiting)
                self._waiting.clear()
                self._drop(left, f"not written within {timeout:g} s of the end")
            self._changed.notify_all()
        if thread is not None and done:
            thread.join(max(0.0, end - time.monotonic()))  # it has the file to close
        atexit.unregister(self._at_exit)

    def let_go(self) -> None:
        """End the thread once it has written what is left; nobody waits for it."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _at_exit(self) -> None:
        if self._pid == os.getpid():
            self.close(_AT_EXIT)

    # -- in the thread --------------------------------------------------------------------------

    def _work(self) -> None:
        file = replace(self._file)
        try:
            while self._wait():
                items = self._take()
                try:
                    self._write(file, items)
                finally:
                    with self._changed:
                        self._busy -= 1
                        self._changed.notify_all()
        finally:
            file.close()
            if self._closing:
                atexit.unregister(self._at_exit)

    def _wait(self) -> bool:
        """Wait for something to write, and a little for more of it; False: there is no more."""
        with self._changed:
            self._hurried = self._hurried and bool(self._waiting)
            self._changed.wait_for(lambda: self._waiting or self._ends())
            if not self._waiting or self._thread is not threading.current_thread():
                return False
            self._changed.wait_for(
                lambda: self._hurried or self._ends() or len(self._waiting) >= self._full, _LINGER
            )
            return True

    def _ends(self) -> bool:
        return self._closing or self._thread is not threading.current_thread()

    def _take(self) -> list[tuple[Item, float]]:
        with self._changed:
            keys = list(self._waiting)[:_BATCH_ITEMS]
            self._busy += 1
            return [self._waiting.pop(key) for key in keys]

    def _write(self, file: TraceFile, items: list[tuple[Item, float]]) -> None:
        batch = _Batch(rows=[], marks=[])
        while items:
            item, at = items.pop(0)  # let go of as soon as it is read: it may hold documents
            if isinstance(item, Mark):
                batch.marks.append(item)
            else:
                self._add(batch, item, at)
            del item
            if batch.size >= self._batch_bytes or not items:
                self._commit(file, batch)
                batch = _Batch(rows=[], marks=[])
        if self._refused:
            self.tell(
                "full", f"more than {self._max_waiting:,} were waiting to be written{_COUNTED}"
            )

    def _add(self, batch: _Batch, item: Ledger | Outcome, at: float) -> None:
        try:
            ledger = item if isinstance(item, Ledger) else item.ledger
            row = row_of(ledger, at, content=self._content)
        except Exception as error:  # tokenizers and metadata are the user's
            self._drop(1, f"the ledger could not be made: {type(error).__name__}: {error}")
            return
        batch.rows.append(row)
        batch.size += len(str(row[-1]))

    def _commit(self, file: TraceFile, batch: _Batch) -> None:
        count = len(batch.rows) + len(batch.marks)
        if not count:
            return
        try:
            done = file.write(batch.rows, batch.marks)
        except Exception as error:  # whatever it is, the thread has more to write
            self._drop(count, f"{type(error).__name__}: {error}")
            return
        with self._changed:
            self.written += count - done.lost
        if done.aside:
            self.tell("aside", f"the file was damaged; it is now {done.aside}, and begins anew")
        if done.lost:
            self._drop(done.lost, "a ledger is larger than the whole file may be (max_bytes)")

    def _drop(self, count: int, reason: str) -> None:
        if not count:
            return
        with self._changed:
            self.dropped += count
        self.tell("dropped", reason + _COUNTED)

    def tell(self, kind: str, reason: str) -> None:
        """Warn of something, once per kind."""
        if kind in self._told:
            return
        self._told.add(kind)
        try:
            warnings.warn(f"{self._file.path}: {reason}", StoreWarning, stacklevel=2)
        except StoreWarning:  # warnings are errors here, and this one may not end the thread
            return
