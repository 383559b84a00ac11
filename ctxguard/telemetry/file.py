"""The file of a store as its writer has it: one transaction a batch, and never larger than it may.

SQLite in WAL mode: whoever reads does not wait for who writes, and a writer that is killed leaves
what was committed. Room is made in the transaction that needs it, the oldest runs first, so that
the file is within its bound after every batch; only its log (`-wal`) adds some megabytes meanwhile.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ctxguard.localfile import Schema, file_identity, is_busy, is_corrupt, open_wal
from ctxguard.telemetry.rows import COLUMNS, Cell, Mark

__all__ = ["SCHEMA", "TraceFile", "Written"]

SCHEMA = Schema(
    name="a store of traces",
    version=1,
    application_id=0x63747874,  # "ctxt"
    shrinks=True,
    tables="""
CREATE TABLE IF NOT EXISTS runs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE, at REAL NOT NULL,
  name TEXT NOT NULL, model TEXT NOT NULL, error TEXT NOT NULL, tokens_in INTEGER NOT NULL,
  tokens_kept INTEGER NOT NULL, tokens_used INTEGER NOT NULL, dropped INTEGER NOT NULL,
  conflicts INTEGER NOT NULL, errors INTEGER NOT NULL, grounded INTEGER, route TEXT NOT NULL,
  routing TEXT, question TEXT, size INTEGER NOT NULL, ledger TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS feedback (
  run_id TEXT NOT NULL, by TEXT NOT NULL, at REAL NOT NULL, ok INTEGER NOT NULL,
  comment TEXT NOT NULL, PRIMARY KEY (run_id, by)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS feedback_at ON feedback (at);
""",
)
_INSERT = (
    f"INSERT OR REPLACE INTO runs ({', '.join(COLUMNS)}) "  # noqa: S608 -- constants only
    f"VALUES ({', '.join('?' * len(COLUMNS))})"
)
_LOG = 4 * 2**20
"""Bytes of the log that are kept when it begins anew."""
_WAIT = 2.0
"""Seconds to wait for another process that writes."""
_LOOK = 0.25
"""Seconds after which the file is opened anew meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a batch."""

    lost: int = 0
    """Runs that had to leave at once, because they alone are larger than the file may be."""
    aside: str = ""
    """Where a damaged file was put, to make room for a new one; else blank."""


@dataclass(slots=True, kw_only=True)
class TraceFile:
    """A connection to the file, opened when it is first written to; for one thread."""

    path: Path
    max_bytes: int
    max_ledgers: int
    _db: sqlite3.Connection | None = field(default=None, init=False)
    _file: tuple[int, int] | None = field(default=None, init=False)

    def write(self, rows: Sequence[tuple[Cell, ...]], marks: Sequence[Mark]) -> Written:
        """Write a batch whole, or nothing of it.

        Raises:
            sqlite3.Error: locked, full, read-only, of a later schema, or gone.
            OSError: its folder cannot be made.
        """
        aside, deadline = "", time.monotonic() + _WAIT
        while True:
            try:
                return Written(lost=self._write(rows, marks), aside=aside)
            except sqlite3.Error as error:
                if is_corrupt(error) and not aside:
                    aside = self._put_aside()
                elif not is_busy(error) or time.monotonic() > deadline:
                    raise

    def close(self) -> None:
        """Close the file; the last process that does so takes its log away."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _write(self, rows: Sequence[tuple[Cell, ...]], marks: Sequence[Mark]) -> int:
        db = self._connection()
        try:
            db.execute("BEGIN IMMEDIATE")
            last = _number(db, "SELECT COALESCE(MAX(seq), 0) FROM runs")
            db.executemany(_INSERT, rows)
            db.executemany(
                "INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?, ?)",
                [(mark.run_id, mark.by, mark.at, mark.ok, mark.comment) for mark in marks],
            )
            self._make_room(db)
            left = db.execute("SELECT COUNT(*) FROM runs WHERE seq > ?", (last,)).fetchone()[0]
            db.execute("COMMIT")
        except BaseException:
            self.close()  # takes everything back, and the next batch begins afresh
            raise
        return len({row[0] for row in rows}) - int(left)  # one that came twice is there once

    def _connection(self) -> sqlite3.Connection:
        if self._db is not None and self._file == file_identity(self.path):
            return self._db
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made by hand, because SQLite lets others read it; what stands beside it takes after it.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self._file = file_identity(self.path)
        db = open_wal(self.path, SCHEMA, timeout=_LOOK)
        db.execute(f"PRAGMA journal_size_limit = {_LOG}")
        self._db = db
        return db

    def _make_room(self, db: sqlite3.Connection) -> None:
        """Let the oldest runs go until the rest is within both bounds, and shrink the file."""
        spare = _number(db, "SELECT COUNT(*) FROM runs") - self.max_ledgers
        if spare > 0:
            _forget(db, spare)
        while (excess := self._used(db) - self.max_bytes) > 0:
            count = _number(db, "SELECT COUNT(*) FROM runs")
            if not count:
                db.execute("DELETE FROM feedback")
                break
            _forget(db, math.ceil(count * min(1.0, excess / self._used(db))))
        for _ in range(_number(db, "PRAGMA freelist_count")):
            db.execute("PRAGMA incremental_vacuum")  # a page each: Python steps it once

    def _used(self, db: sqlite3.Connection) -> int:
        pages = _number(db, "PRAGMA page_count") - _number(db, "PRAGMA freelist_count")
        return pages * _number(db, "PRAGMA page_size")

    def _put_aside(self) -> str:
        """Rename a damaged file, with its log, unless another process has done it."""
        self.close()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}-{os.getpid()}")
        if file_identity(self.path) == self._file:
            for ending in ("-wal", "-shm", ""):
                part = Path(f"{self.path}{ending}")
                if part.exists():
                    part.replace(f"{aside}{ending}")
        return str(aside)


def _forget(db: sqlite3.Connection, count: int) -> None:
    """Delete the oldest runs, and what was said before the oldest one that is left."""
    db.execute(
        "DELETE FROM runs WHERE seq IN (SELECT seq FROM runs ORDER BY seq LIMIT ?)", (count,)
    )
    db.execute(
        "DELETE FROM feedback WHERE at < (SELECT at FROM runs ORDER BY seq LIMIT 1) "
        "AND run_id NOT IN (SELECT run_id FROM runs)"
    )


def _number(db: sqlite3.Connection, query: str) -> int:
    (found,) = db.execute(query).fetchone()
    return int(found)
