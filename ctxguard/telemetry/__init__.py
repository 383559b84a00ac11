"""What guarded calls decided, kept where it can be read later: the local store of ledgers."""

from __future__ import annotations

from ctxguard.telemetry.judged import Judged, traces_of
from ctxguard.telemetry.recording import Recording, record_to
from ctxguard.telemetry.rows import StoredRun
from ctxguard.telemetry.store import LedgerStore, StoreWarning

__all__ = [
    "Judged",
    "LedgerStore",
    "Recording",
    "StoreWarning",
    "StoredRun",
    "record_to",
    "traces_of",
]
