"""Text of documents made safe to show: nothing in it can steer a terminal, a page or the eye."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells

__all__ = ["clip", "flat", "shorten", "visible"]


def _class(ranges: Iterable[tuple[int, int]]) -> str:
    return "".join(f"{re.escape(chr(low))}-{re.escape(chr(high))}" for low, high in ranges)


# Control characters (a terminal obeys them), bidi controls (they reorder what is read: Trojan
# Source, CVE-2021-42574), characters without a shape (they hide text or a difference), surrogates
# (they cannot be encoded). Tab and newline are white space; U+FE0E and U+FE0F choose the form of
# an emoji and stay.
_UNSAFE = _class(
    (
        (0x00, 0x08),
        (0x0B, 0x1F),
        (0x7F, 0x9F),
        (0xAD, 0xAD),
        (0x34F, 0x34F),
        (0x61C, 0x61C),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x200B, 0x200B),
        (0x200E, 0x200F),
        (0x2028, 0x202E),
        (0x2060, 0x206F),
        (0x3164, 0x3164),
        (0xD800, 0xDFFF),
        (0xFE00, 0xFE0D),
        (0xFEFF, 0xFEFF),
        (0xFFA0, 0xFFA0),
        (0xFFF0, 0xFFFB),
        (0x1D173, 0x1D17A),
        (0xE0000, 0xE0FFF),
    )
)
# Joiners belong to emoji and to scripts; beside ASCII they only hide something.
_JOINERS = "[\u200c\u200d]"
_ESCAPED = re.compile(
    f"[{_UNSAFE}]|(?<![^\\x00-\\x7f]){_JOINERS}|{_JOINERS}(?![^\\x00-\\x7f])",
)
_SPACES = re.compile(r"[ \t\n]+")


def visible(text: str) -> str:
    r"""The text with everything unsafe or unseen written out: `\x1b`, `\u202e`, `\ud800`.

    Newlines and tabs stay, a carriage return before a newline goes.
    """
    return _ESCAPED.sub(_escape, text.replace("\r\n", "\n"))


def flat(text: str) -> str:
    """The safe text on one line, its white space single spaces."""
    return _SPACES.sub(" ", visible(text)).strip()


def clip(text: str, limit: int) -> tuple[str, int]:
    """The first `limit` characters, and how many are left out (0: it is whole)."""
    return text[:limit], max(0, len(text) - limit)


def shorten(text: str, cells: int) -> str:
    """A label in at most `cells` terminal cells; the gap is in the middle, where paths agree.

    Args:
        text: safe text without newlines.
        cells: at least 8.
    """
    if cell_len(text) <= cells:
        return text
    room = (cells - 1) * 3 // 5
    tail = text[-room:]
    while cell_len(tail) > room or (tail and _attached(tail[0])):
        tail = tail[1:]
    head = chop_cells(text, cells - 1 - cell_len(tail))[0]
    return f"{head}…{tail}"


def _attached(char: str) -> bool:
    """Whether a character belongs to the one before it."""
    return unicodedata.combining(char) > 0 or char in "\u200c\u200d\ufe0e\ufe0f"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
