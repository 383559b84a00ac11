"""Files that a command reads."""

from __future__ import annotations

import sys
from pathlib import Path

from ctxguard.errors import InputError

__all__ = ["read_text"]


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
