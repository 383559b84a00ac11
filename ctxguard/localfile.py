"""Files of SQLite that this machine's processes share: where they are, how they are opened.

WAL needs a local disk, and a connection may not be taken along into a fork.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Schema",
    "file_identity",
    "file_size",
    "is_busy",
    "is_corrupt",
    "open_wal",
    "state_folder",
]


def state_folder() -> Path:
    """The folder of the user's state: `$XDG_STATE_HOME/ctxguard`, or `~/.local/state/ctxguard`.

    By the XDG Base Directory Specification 0.8.
    """
    folder = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(folder) / "ctxguard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The tables of a file, and what it is told from other files by."""

    name: str
    """What it is, for people."""
    version: int
    """Kept as `user_version`."""
    tables: str
    """Statements that make them where they are not there."""
    application_id: int = 0
    """Whose file it is; 0: not asked."""
    shrinks: bool = False
    """Whether a new file can give pages back, by `PRAGMA incremental_vacuum`."""

    def check(self, db: sqlite3.Connection) -> bool:
        """Whether the file has the tables.

        Raises:
            sqlite3.DatabaseError: it is of a later release, or somebody else's.
        """
        found = _number(db, "PRAGMA user_version")
        used = found or _number(db, "SELECT COUNT(*) FROM sqlite_master")
        if used and self.application_id not in (0, _number(db, "PRAGMA application_id")):
            raise sqlite3.DatabaseError(f"it is not {self.name}, but another database")
        if found > self.version:
            raise sqlite3.DatabaseError(f"written by a later ctxguard (schema {found})")
        return found == self.version


def open_wal(path: Path, schema: Schema, *, timeout: float = 0) -> sqlite3.Connection:
    """A connection to a file in WAL mode, which gets its tables where it is new.

    Args:
        path: made when it is not there, in a folder that is.
        schema: what is, or will be, in it.
        timeout: seconds that SQLite itself waits for other processes.

    Raises:
        sqlite3.Error: the file cannot be used; one that is not ours is not touched.
    """
    db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        is_made = schema.check(db)
        if schema.shrinks and not is_made:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine loses the last moments
        if not is_made:
            db.executescript(
                f"BEGIN IMMEDIATE;{schema.tables}PRAGMA user_version = {schema.version};"
                f"PRAGMA application_id = {schema.application_id};COMMIT;"
            )
    except BaseException:
        db.close()
        raise
    return db


def file_identity(path: Path) -> tuple[int, int] | None:
    """Which file is at a path, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def file_size(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else is at it; the extended codes of it share the lowest byte."""
    return _code(error) == sqlite3.SQLITE_BUSY


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether the file is damaged, or no database at all."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _code(error: sqlite3.Error) -> int | None:
    """The error's code; None: it is Python's own, or ours."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _number(db: sqlite3.Connection, query: str) -> int:
    (found,) = db.execute(query).fetchone()
    return int(found)
