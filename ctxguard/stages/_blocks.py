"""Blocks of a text that are no prose: code and tables, found line by line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ctxguard.types import Span

__all__ = ["Block", "find_blocks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Lines that belong together and are not divided by full stops."""

    kind: Literal["code", "table"]
    spans: tuple[Span, ...]
    """Code: the block as one. A table: its rows; blank lines are left out."""
    header: int = 0
    """How many of the first rows say what the columns are, the line under them included."""


_Line: TypeAlias = tuple[int, int, str]
"""Start, end and text of a line, without the whitespace around it."""

_FENCES = ("`", "~")
_FENCE = re.compile(r"`{3,}|~{3,}")
_RULE = re.compile(r"[-=_:+| \t]*[-=_]{3}[-=_:+| \t]*$")
_CODE = re.compile(
    r"""
      ^(?:def|class|import|from|return|if|elif|else|for|while|try|except|with|func|fn|let|const|var
        |public|private|static|void|int|package|use|struct|enum|interface|type|async|await|switch
        |case|SELECT|INSERT|UPDATE|CREATE|DELETE)\b.*[:;{}()=]
    | ^(?://|/\*|\*/|\#include|\#!|@\w+|</?\w+[^>]*>$|[{}()\[\]]+[;,]?$|\$\s|>>>\s)
    | [\w\])"']\s?(?:=|==|!=|\+=|-=|=>|->|:=|<-)\s?[\w"'\[({\-]
    | \w\([^()]*\)\s*[:;{]?$
    | [)}\]"'];$ | \{$
    """,
    re.VERBOSE,
)
"""A line that is written for a machine. One alone proves nothing: half of a paragraph must."""
_GAP = re.compile(r"\t+|[ \xa0]{2,}")


def find_blocks(text: str) -> list[Block]:
    """Code and tables of a text, in order and without overlaps; linear in its length."""
    if "\n" not in text:
        return []
    blocks: list[Block] = []
    paragraph: list[_Line] = []
    fence, opened = "", 0
    for start, end, line in _lines(text):
        mark = _FENCE.match(line) if line[:1] in _FENCES else None
        if fence:
            if mark and line == mark.group() and line.startswith(fence):
                blocks.append(Block(kind="code", spans=((opened, end),)))
                fence = ""
        elif mark:
            blocks.extend(_of_paragraph(paragraph))
            paragraph, fence, opened = [], mark.group(), start
        elif line:
            paragraph.append((start, end, line))
        elif paragraph:
            blocks.extend(_of_paragraph(paragraph))
            paragraph = []
    if fence:
        blocks.append(Block(kind="code", spans=((opened, len(text.rstrip())),)))
    blocks.extend(_of_paragraph(paragraph))
    return blocks


def _lines(text: str) -> Iterator[_Line]:
    position = 0
    for raw in text.splitlines(keepends=True):
        bare = raw.lstrip()
        line = bare.rstrip()
        start = position + len(raw) - len(bare)
        yield start, start + len(line), line
        position += len(raw)


def _of_paragraph(lines: Sequence[_Line]) -> Iterable[Block]:
    """The code or the tables in lines without a blank one between them."""
    return _of_lines(lines) if len(lines) > 1 else ()


def _of_lines(lines: Sequence[_Line]) -> Iterator[Block]:
    if 2 * sum(_CODE.search(line) is not None for _, _, line in lines) > len(lines):
        yield Block(kind="code", spans=((lines[0][0], lines[-1][1]),))
        return
    first = 0
    while first < len(lines):
        last = max((_run(lines, first, shape, least) for shape, least in _SHAPES), default=first)
        if last > first:
            rows = lines[first:last]
            yield Block(kind="table", spans=tuple((s, e) for s, e, _ in rows), header=_header(rows))
        first = max(last, first + 1)


def _run(lines: Sequence[_Line], first: int, shape: Callable[[str], int], least: int) -> int:
    """Where the rows of one shape that begin at a line end; `first` if they are too few."""
    columns = shape(lines[first][2])
    if not columns:
        return first
    last, rows = first + 1, 1
    while last < len(lines):
        line = lines[last][2]
        if shape(line) == columns:
            rows += 1
        elif not _RULE.match(line):
            break
        last += 1
    return last if rows >= least else first


# -- shapes: the number of columns that a line has in a kind of table, 0 if it is no row of one ---


def _piped(line: str) -> int:
    # Rows of one table may have different numbers of cells: all that counts is that they have.
    return 1 if line[0] == "|" or line.count("|") > 1 or line[:2] in ("+-", "+=") else 0


def _tabbed(line: str) -> int:
    return line.count("\t")


def _separated(line: str) -> int:
    """Values between commas or semicolons; a comma before a space is prose."""
    for mark in (",", ";"):
        if line.count(mark) > 1 and f"{mark} " not in line:
            return line.count(mark)
    return 0


def _aligned(line: str) -> int:
    """Cells that stand apart by three spaces; by two where there are at least three cells."""
    gaps = _GAP.findall(line)
    return len(gaps) if len(gaps) > 1 or any(len(gap) > 2 for gap in gaps) else 0


_SHAPES: tuple[tuple[Callable[[str], int], int], ...] = (
    (_piped, 2),
    (_tabbed, 2),
    (_separated, 3),
    (_aligned, 3),
)
"""And how many rows it takes to say so."""


def _header(rows: Sequence[_Line]) -> int:
    """Rows at the top that name the columns: above a rule, or without digits over rows with."""
    for place, (_, _, line) in enumerate(rows[:4]):
        if _RULE.match(line):
            if place:
                return place + 1
            continue
        if place == 0 and _has_digit(line):
            break
    body = [_has_digit(line) for _, _, line in rows[1:]]
    return 1 if not _has_digit(rows[0][2]) and 2 * sum(body) >= len(body) else 0


def _has_digit(line: str) -> bool:
    return any(character.isdigit() for character in line)
