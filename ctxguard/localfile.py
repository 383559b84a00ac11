"""Files of SQLite that this machine's processes share: where they are, how they are opened.

WAL needs a local disk, and a connection may not be taken along into a fork.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

__all__ = ["file_identity", "is_busy", "is_corrupt", "open_wal", "state_folder"]


def state_folder() -> Path:
    """The folder of the user's state: `$XDG_STATE_HOME/ctxguard`, or `~/.local/state/ctxguard`.

    By the XDG Base Directory Specification 0.8.
    """
    folder = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(folder) / "ctxguard"


def open_wal(
    path: Path, schema: str, *, version: int, timeout: float = 0, shrinks: bool = False
) -> sqlite3.Connection:
    """A connection to a file in WAL mode, which gets its tables where it is new.

    Args:
        path: made when it is not there, in a folder that is.
        schema: statements that make the tables, and set `user_version`.
        version: of the schema.
        timeout: seconds that SQLite itself waits for other processes.
        shrinks: whether a new file can give pages back, by `PRAGMA incremental_vacuum`.

    Raises:
        sqlite3.Error: the file cannot be used, or is of a later schema.
    """
    db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        if shrinks:  # says nothing to a file that has tables already
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine loses the last moments
        _make_tables(db, schema, version)
    except BaseException:
        db.close()
        raise
    return db


def _make_tables(db: sqlite3.Connection, schema: str, version: int) -> None:
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > version:
        raise sqlite3.DatabaseError(f"written by a later ctxguard (schema {found})")
    if found < version:
        db.executescript(f"BEGIN IMMEDIATE;{schema}PRAGMA user_version = {version};COMMIT;")


def file_identity(path: Path) -> tuple[int, int] | None:
    """Which file is at a path, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
