"""The context bar of the terminal, and its legend."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ctxguard.view._digest import Bar
from ctxguard.view._labels import LOOKS, percent

__all__ = ["bar_line", "legend"]

_LEGEND = 36
"""Columns of one entry of the legend."""


def _cells(filled: Bar, width: int) -> list[int]:
    """Cells per part, adding up to `width`; a part that is not empty has at least one."""
    exact = [part.tokens * width / filled.total for part in filled.parts]
    cells = [max(1, int(share)) for share in exact]
    by_rest = sorted(range(len(cells)), key=lambda i: cells[i] - exact[i])
    for place in range(max(0, width - sum(cells))):
        cells[by_rest[place % len(cells)]] += 1
    while sum(cells) > width:
        cells[cells.index(max(cells))] -= 1
    return cells


def bar_line(filled: Bar, width: int) -> Text:
    """The bar, `width` cells wide; every cell has the letter of its part."""
    text = Text(no_wrap=True, overflow="crop")
    for part, cells in zip(filled.parts, _cells(filled, width), strict=True):
        look = LOOKS[part.kind]
        if part.kind in ("free", "dropped"):
            text.append(look.letter * cells, style="dim")
            continue
        first = (cells - 1) // 2
        texture = f"{look.tint} on {look.back}"
        text.append(look.letter * first, style=texture)
        text.append(look.letter, style=f"bold {look.ink} on {look.back}")
        text.append(look.letter * (cells - first - 1), style=texture)
    return text


def legend(filled: Bar, width: int) -> RenderableType:
    """Letter, name, tokens and share of each part, in as many columns as fit."""
    across = max(1, min(len(filled.parts), width // _LEGEND))
    grid = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(across):
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(width=2)
    entries = [_entry(part.kind, part.tokens, filled.total) for part in filled.parts]
    for start in range(0, len(entries), across):
        grid.add_row(*(cell for entry in entries[start : start + across] for cell in entry))
    return Group(grid, Text(f"100 % is {filled.whole}", style="dim"))


def _entry(kind: str, tokens: int, total: int) -> tuple[Text, Text, Text, Text, Text]:
    look = LOOKS[kind]
    plain = kind in ("free", "dropped")
    swatch = Text(look.letter, style="dim" if plain else f"bold {look.ink} on {look.back}")
    share = Text(percent(tokens, total), style="dim")
    return swatch, Text(look.name), Text(f"{tokens:,}"), share, Text("")
