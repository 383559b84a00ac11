"""What a command is given to read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ctxguard.errors import InputError

if TYPE_CHECKING:
    from ctxguard.telemetry import LedgerStore

__all__ = ["is_store", "open_store", "read_text"]

_ENDINGS = (".db", ".sqlite", ".sqlite3")


def is_store(path: Path) -> bool:
    """Whether a file's name says that it is a store of ledgers."""
    return path.suffix.lower() in _ENDINGS


def open_store(path: Path) -> LedgerStore:
    """The store in a file; a blank path stands for the user's own.

    Raises:
        InputError: there is no such file.
    """
    from ctxguard.telemetry import LedgerStore

    # Whoever fills it says how much it holds: feedback from here must not let runs go.
    store = LedgerStore(path if path.name else None, max_bytes=sys.maxsize, max_ledgers=sys.maxsize)
    if not store.path.is_file():
        raise InputError(f"{store.path}: there is no store of traces")
    return store


def read_text(path: Path) -> str:
    """The text of a file, or of standard input for "-".

    Raises:
        InputError: there is none, or it is not text.
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8") from error
    if "\0" in text:
        raise InputError(f"{path}: not a text file in UTF-8")
    return text.replace("\r\n", "\n")
