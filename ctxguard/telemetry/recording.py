"""Keeping the ledgers of all handles of this process in a store."""

from __future__ import annotations

import os
import threading
from types import TracebackType

from ctxguard.listeners import listen, unlisten
from ctxguard.telemetry.store import LedgerStore

__all__ = ["Recording", "record_from_environment", "record_to"]

_lock = threading.Lock()
_started: dict[str, LedgerStore] = {}
"""What the environment asked for, by path."""


class Recording:
    """Ledgers on their way to a store, until it is stopped or its block ends."""

    def __init__(self, store: LedgerStore) -> None:
        """Start.

        Args:
            store: gets the ledger of every call of a guarded object that ends from now on.
        """
        self.store = store
        listen(store.append)

    def stop(self, timeout: float = 2.0) -> bool:
        """Send no more, and wait for what was sent.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Whether all of it is written, or counted as dropped.
        """
        unlisten(self.store.append)
        return self.store.flush(timeout)

    def __enter__(self) -> LedgerStore:
        """The store."""
        return self.store

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


def record_to(store: LedgerStore) -> Recording:
    """Keep the ledgers of all guarded objects of this process in a store, from now on.

    It lasts until `.stop()`, or to the end of a block: `with record_to(store): …`. The ledger of a
    call that happens inside of another guarded one is kept in that one's.
    """
    return Recording(store)


def record_from_environment() -> None:
    """Keep ledgers, without content, in the file that `CTXGUARD_TRACES` names; once per file."""
    path = os.environ.get("CTXGUARD_TRACES", "").strip()
    if not path or path in _started:
        return
    with _lock:
        if path not in _started:
            _started[path] = record_to(LedgerStore(path)).store
