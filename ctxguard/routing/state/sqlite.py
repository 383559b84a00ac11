"""State in a SQLite file, for the processes of one machine: the default.

The file is in WAL mode and every change is one IMMEDIATE transaction, so writers queue and readers
do not wait. WAL needs a local disk: processes on several machines share a Redis instead.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ctxguard.errors import StateStoreError
from ctxguard.localfile import Schema, file_identity, is_busy, open_wal, state_folder
from ctxguard.routing.state.store import Admission, SteadyClock, Window

__all__ = ["SqliteStore", "default_path"]

T = TypeVar("T")
_SCHEMA = Schema(
    name="shared state",
    version=1,
    tables="""
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB, expires REAL NOT NULL)
  WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS state_expires ON state (expires);
""",
)
_PURGE = 256
"""Writes between two removals of what is over."""
_BUSY = 0.002
"""Seconds between two looks whether the file is free; SQLite's own wait grows up to 0.1 s, and who
waits for long waits ever longer."""
_PURGED = 1024
"""Entries that one removal takes at most, so that no write waits long for it."""


def default_path() -> Path:
    """The file where nothing else is said: `routing.sqlite3` in the folder of the user's state.

    That is `$XDG_STATE_HOME/ctxguard`, or `~/.local/state/ctxguard`.
    """
    return state_folder() / "routing.sqlite3"


class _Opened:
    """What one process has open: a connection may not be taken along into a fork."""

    __slots__ = ("connection", "file", "lock", "writes")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: sqlite3.Connection | None = None
        self.file: tuple[int, int] | None = None
        self.writes = 0


class SqliteStore:
    """Keeps state in a file; opened when it is first used, and again after a fork.

    A file that is removed while it is open is made anew. Pickles as its path.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        timeout: float = 1.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Name the file.

        Args:
            path: made with its folders when it is not there; None: `default_path()`.
            timeout: seconds to wait for other processes, and for other threads of this one.
            clock: seconds since the epoch; None: a `SteadyClock`.
        """
        self._path = Path(path).expanduser().absolute() if path else default_path()
        self._timeout = timeout
        self.now = clock or SteadyClock()
        self._by_process: dict[int, _Opened] = {}
        weakref.finalize(self, _close_all, self._by_process)

    def __reduce__(self) -> tuple[type[SqliteStore], tuple[str]]:
        """Pickles as its path; the time-out and the clock are the defaults again."""
        return SqliteStore, (str(self._path),)

    @property
    def name(self) -> str:
        """The kind of the store, and its file."""
        return f"sqlite {self._path}"

    def get(self, key: str) -> str | None:
        """The value of a key, None when there is none or its time is over."""
        found = self._run(lambda db: _live(db, key, self.now()), write=False)
        return None if found is None else str(found)

    def swap(self, key: str, old: str | None, new: str | None, *, ttl: float) -> bool:
        """Make the value `new` if it is `old`, and say whether it was."""

        def work(db: sqlite3.Connection) -> bool:
            now = self.now()
            if _live(db, key, now) != old:
                return False
            if new is None:
                db.execute("DELETE FROM state WHERE key = ?", (key,))
            else:
                _put(db, key, new, now + ttl)
            return True

        return self._run(work)

    def add(self, key: str, amount: int, *, ttl: float) -> int:
        """Add to a counter, and return what it is now."""
        return self._run(lambda db: _add(db, key, amount, ttl, self.now()))

    def totals(self, keys: Sequence[str]) -> tuple[int, ...]:
        """The counters of these keys, all at one moment; 0 for one that there is not."""
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, value FROM state WHERE expires > ? AND key IN ({marks})"  # noqa: S608 -- question marks only
        rows = self._run(lambda db: db.execute(query, (self.now(), *keys)).fetchall(), write=False)
        found = dict(rows)
        return tuple(int(found.get(key, 0)) for key in keys)

    def reserve(self, hold: str, windows: Sequence[Window], amount: int) -> Admission:
        """Reserve an amount in all windows, or in none if any of them would exceed its limit."""

        def work(db: sqlite3.Connection) -> Admission:
            now = self.now()
            used = tuple(int(_live(db, window.key, now) or 0) for window in windows)
            if _live(db, hold, now) is not None:
                return Admission(admitted=True, used=used)
            if any(n + amount > window.limit for n, window in zip(used, windows, strict=True)):
                return Admission(admitted=False, used=used)
            _put(db, hold, amount, now + max(window.ttl for window in windows))
            used = tuple(_add(db, window.key, amount, window.ttl, now) for window in windows)
            return Admission(admitted=True, used=used)

        return self._run(work)

    def settle(self, hold: str, windows: Sequence[Window], cost: int) -> int | None:
        """Replace a reservation by its real cost; returns what was reserved, None: no such hold."""

        def work(db: sqlite3.Connection) -> int | None:
            now = self.now()
            held = _live(db, hold, now)
            if held is None:
                return None
            db.execute("DELETE FROM state WHERE key = ?", (hold,))
            for window in windows:
                if _live(db, window.key, now) is not None:
                    _add(db, window.key, cost - int(held), window.ttl, now)
            return int(held)

        return self._run(work)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        opened = self._opened()
        with opened.lock:
            _close(opened)

    # -- the connection -------------------------------------------------------------------------

    def _opened(self) -> _Opened:
        return self._by_process.setdefault(os.getpid(), _Opened())

    def _run(self, work: Callable[[sqlite3.Connection], T], *, write: bool = True) -> T:
        """Do it in one transaction, or say why it could not be done."""
        opened, deadline = self._opened(), time.monotonic() + self._timeout
        if not opened.lock.acquire(timeout=self._timeout):
            raise StateStoreError(f"{self.name}: other threads wait for it")
        try:
            while True:
                try:
                    return self._once(opened, work, write=write)
                except sqlite3.OperationalError as error:
                    if not is_busy(error) or time.monotonic() > deadline:
                        raise
                time.sleep(_BUSY)
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            raise StateStoreError(f"{self.name}: {error}") from error
        finally:
            opened.lock.release()

    def _once(self, opened: _Opened, work: Callable[[sqlite3.Connection], T], *, write: bool) -> T:
        db = self._connection(opened)
        if not write:
            return work(db)
        db.execute("BEGIN IMMEDIATE")
        try:
            found = work(db)
            self._purge(opened, db)
            db.execute("COMMIT")
        except BaseException:
            _close(opened)  # takes everything back, and the next use begins afresh
            raise
        return found

    def _connection(self, opened: _Opened) -> sqlite3.Connection:
        if opened.connection is not None and opened.file == file_identity(self._path):
            return opened.connection
        _close(opened)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        opened.connection = open_wal(self._path, _SCHEMA)
        opened.file = file_identity(self._path)
        return opened.connection

    def _purge(self, opened: _Opened, db: sqlite3.Connection) -> None:
        opened.writes += 1
        if opened.writes % _PURGE == 0:
            db.execute(
                "DELETE FROM state WHERE key IN (SELECT key FROM state WHERE expires <= ? LIMIT ?)",
                (self.now(), _PURGED),
            )


def _live(db: sqlite3.Connection, key: str, now: float) -> str | int | None:
    query = "SELECT value FROM state WHERE key = ? AND expires > ?"
    row = db.execute(query, (key, now)).fetchone()
    return None if row is None else row[0]


def _put(db: sqlite3.Connection, key: str, value: str | int, expires: float) -> None:
    db.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (key, value, expires))


def _add(db: sqlite3.Connection, key: str, amount: int, ttl: float, now: float) -> int:
    row = db.execute(
        "INSERT INTO state VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET "
        "value = CASE WHEN expires > ?4 THEN value ELSE 0 END + ?2, "
        "expires = CASE WHEN expires > ?4 THEN expires ELSE ?3 END "
        "RETURNING value",
        (key, amount, now + ttl, now),
    ).fetchone()
    return int(row[0])


def _close(opened: _Opened) -> None:
    connection, opened.connection = opened.connection, None
    if connection is not None:
        connection.close()


def _close_all(by_process: dict[int, _Opened]) -> None:
    """Close what this process opened; what it inherited belongs to its parent."""
    opened = by_process.get(os.getpid())
    if opened is not None:
        _close(opened)
