"""The store: the ledgers of guarded calls in a file on this machine, for whoever looks later."""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from ctxguard.errors import InputError
from ctxguard.ledger import Ledger
from ctxguard.localfile import state_folder
from ctxguard.routing import Trace
from ctxguard.run import Outcome
from ctxguard.telemetry.export import Format, export_runs
from ctxguard.telemetry.file import TraceFile
from ctxguard.telemetry.judged import Judged, traces_of
from ctxguard.telemetry.reader import TraceReader
from ctxguard.telemetry.rows import Mark, StoredRun, whole
from ctxguard.telemetry.writer import StoreWarning, Writer

__all__ = ["LedgerStore", "StoreWarning", "default_path"]

_LEAST_BYTES = 64 * 2**10
_READ_WAIT = 2.0
"""Seconds that a look waits for what this process has not written yet."""
_POLL = 0.2


def default_path() -> Path:
    """The file where nothing else is said: `traces.sqlite3` in the folder of the user's state.

    That is `$XDG_STATE_HOME/ctxguard`, or `~/.local/state/ctxguard`.
    """
    return state_folder() / "traces.sqlite3"


class LedgerStore:
    """Keeps ledgers in a SQLite file, bounded, for any thread and process that names it.

    `append` never waits for the disk and never raises: a thread of its own writes. What could not
    be kept is counted in `dropped`, and a StoreWarning says why. Methods that read wait for what
    this process has not written yet, and raise InputError where the file cannot be read. The file
    can be read while it is written to, and a writer that is killed loses what it had not written.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        max_bytes: int = 256 * 2**20,
        max_ledgers: int = 100_000,
        max_waiting: int = 1000,
        content: bool = False,
    ) -> None:
        """Name the file; the first ledger opens it.

        Args:
            path: made with its folders, readable by its owner only; None: `default_path()`.
            max_bytes: of the file, from 65,536; the oldest runs leave first. Its log (`-wal`) adds
                some 5 MB while it is written to.
            max_ledgers: that are kept, from 1.
            max_waiting: ledgers that may wait to be written, from 1; what comes then is dropped.
            content: whether texts are kept (questions, chunks, answers, comments), or what
                `Ledger.to_json(content=False)` leaves.

        Raises:
            InputError: a bound is too small.
        """
        bounds = (
            ("max_bytes", max_bytes, _LEAST_BYTES),
            ("max_ledgers", max_ledgers, 1),
            ("max_waiting", max_waiting, 1),
        )
        for name, value, least in bounds:
            if value < least:
                raise InputError(f"LedgerStore.{name}: expected at least {least:,}, got {value!r}")
        self.path = Path(path).expanduser().absolute() if path else default_path()
        self.content = content
        self._bounds = {"max_bytes": max_bytes, "max_ledgers": max_ledgers}
        self._max_waiting = max_waiting
        self._writers: dict[int, Writer] = {}  # by process: a thread does not survive a fork
        self._reader = TraceReader(self.path)
        weakref.finalize(self, _let_go, self._writers).atexit = False

    # -- writing --------------------------------------------------------------------------------

    def append(self, ledger: Ledger | Outcome) -> None:
        """Keep a ledger, soon; one that is there already, by its run's id, is replaced.

        Args:
            ledger: or the outcome of a run that ended; its ledger is then made off this thread.
        """
        self._writer().put(ledger)

    def feedback(self, run_id: str, *, ok: bool, by: str = "user", comment: str = "") -> None:
        """Keep what somebody says of a run's answer, soon; what they said before is replaced.

        Args:
            run_id: the whole of it, as in the ledger.
            ok: whether the answer was right.
            by: who says so; several may.
            comment: kept with `content=True` only.
        """
        writer, kept = self._writer(), comment if self.content else ""
        if comment and not kept:
            writer.tell("comment", "a comment is kept with content=True only")
        mark = Mark(
            run_id=whole(run_id), at=time.time(), ok=bool(ok), by=whole(by), comment=whole(kept)
        )
        writer.put(mark)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all is written that this process has put in; whether that is so.

        Args:
            timeout: seconds at most; None: as long as it takes.
        """
        return self._writer().flush(timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Write what is left within so many seconds, and close the file; the next use opens it."""
        self._writer().close(timeout)

    @property
    def dropped(self) -> int:
        """Ledgers and feedback of this process that are not in the file, and will not be."""
        return self._writer().dropped

    @property
    def written(self) -> int:
        """Ledgers and feedback that this process has written."""
        return self._writer().written

    # -- reading --------------------------------------------------------------------------------

    def get(self, run_id: str) -> Ledger:
        """The ledger of a run.

        Args:
            run_id: how its id begins is enough, if no other begins like that.

        Raises:
            InputError: no run, or more than one, begins like that.
        """
        self.flush(_READ_WAIT)
        return Ledger.from_json(self._reader.text_of(run_id))

    def find(self, run_id: str) -> str:
        """The whole id of the run whose id begins like that.

        Raises:
            InputError: no run, or more than one, begins like that.
        """
        self.flush(_READ_WAIT)
        return self._reader.full_id(run_id)

    def list(
        self,
        *,
        limit: int | None = None,
        since: float | datetime | None = None,
        name: str = "",
        errors_only: bool = False,
    ) -> tuple[StoredRun, ...]:
        """The newest runs, newest first.

        Args:
            limit: how many at most; None: all.
            since: seconds since the epoch, or a moment: no run that ended before it.
            name: of what ran; blank: whatever did.
            errors_only: those that ended early, or had a stage that failed.
        """
        self.flush(_READ_WAIT)
        start = since.timestamp() if isinstance(since, datetime) else since
        return self._reader.newest(
            limit=limit,
            since=-math.inf if start is None else start,
            name=name,
            errors_only=errors_only,
        )

    def tail(
        self, *, follow: bool = True, last: int = 10, poll: float = _POLL
    ) -> Iterator[StoredRun]:
        """The last runs, oldest first, and then those of any process as they come.

        A run that goes on after it was shown comes again.

        Args:
            follow: whether to wait for more, for ever.
            last: how many of those that are there.
            poll: seconds between two looks.
        """
        self.flush(_READ_WAIT)
        place = self._reader.last(back=last)
        while True:
            place, found = self._reader.after(place)
            yield from found
            if not found:
                if not follow:
                    return
                time.sleep(poll)

    def judged(self) -> Iterator[Judged]:
        """Every run of whose answer somebody said whether it was right, oldest first."""
        self.flush(_READ_WAIT)
        return self._reader.judged()

    def traces(self, *, light: str = "light", heavy: str = "heavy") -> Sequence[Trace]:
        """What a router can learn from: `traces_of` the judged runs of two routes."""
        return traces_of(self.judged(), light=light, heavy=heavy)

    def count(self, *, judged: bool = False) -> int:
        """How many runs there are, or how many of them somebody judged."""
        self.flush(_READ_WAIT)
        return self._reader.count(judged=judged)

    def marks(self, run_id: str) -> tuple[Mark, ...]:
        """What was said of a run's answer, oldest first, by the whole of its id."""
        self.flush(_READ_WAIT)
        return self._reader.marks(run_id)

    def export(self, path: str | Path, format: Format = "jsonl") -> int:  # noqa: A002 -- the word that everybody uses
        """Write every run to a file, with its ledger, oldest first; how many there are.

        Raises:
            InputError: the format is not known, or the file cannot be written.
            MissingDependencyError: Parquet is written by pyarrow, which is not installed.
        """
        self.flush(_READ_WAIT)
        return export_runs(self._reader, Path(path), format)

    # -- this process ---------------------------------------------------------------------------

    def _writer(self) -> Writer:
        found = self._writers.get(os.getpid())
        if found is None:
            new = Writer(
                TraceFile(path=self.path, **self._bounds),
                content=self.content,
                max_waiting=self._max_waiting,
            )
            found = self._writers.setdefault(os.getpid(), new)
        return found

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles as its settings."""
        make = partial(
            LedgerStore,
            self.path,
            **self._bounds,
            max_waiting=self._max_waiting,
            content=self.content,
        )
        return make, ()

    def __repr__(self) -> str:
        """The file, and whether texts are kept."""
        return f"LedgerStore({str(self.path)!r}, content={self.content})"


def _let_go(writers: dict[int, Writer]) -> None:
    """Nobody holds the store any more: its thread ends when it has written what is left."""
    writer = writers.get(os.getpid())
    if writer is not None:
        writer.let_go()
