"""The routes of a run for the terminal and as HTML: which, why, what else there was, at what cost.

A call whose tokens nobody measured begins with a sign, and what costs less stands beside what is
known of its quality.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ctxguard.ledger import Ledger
from ctxguard.view._labels import num
from ctxguard.view._markup import GREY, cell, fill, inline, label, muted, row, table, tag
from ctxguard.view._routes import CallRow, call_rows, choice_words, notes, path, savings_lines

__all__ = ["routing_html", "routing_parts"]

_NARROW = 76
"""Columns under which a call is stacked instead of set in a table."""
_WHY = 16
"""Columns of why a call was made: an error's name has a line of its own."""
_CALLS, _NOTES = 12, 12
"""Calls and decisions that are shown."""
_COLUMNS = ("call", "why", "tokens", "cached", "cost", "all heavy")
_FLAGGED = "#8a5a0b"


# -- the terminal ---------------------------------------------------------------------------------


def routing_parts(ledger: Ledger, *, width: int = 80) -> Iterator[RenderableType]:
    """What `rich` prints of the routes of a run; nothing where nothing was routed.

    Args:
        ledger: whose routes.
        width: columns.
    """
    decided, calls = notes(ledger), call_rows(ledger)
    if not decided and not calls:
        return
    lines: list[RenderableType] = [Text("Route", style="bold").append(f"  {path(ledger)}", "")]
    pairs = [(one.code, one.said, one.flagged) for one in decided[:_NOTES]]
    pairs += [(name, said, False) for name, said in choice_words(ledger)]
    if pairs:
        lines.append(_words(pairs, width))
    if len(decided) > _NOTES:
        lines.append(Text(_more(len(decided) - _NOTES, "decision"), style="dim"))
    if calls:
        shown = calls[:_CALLS]
        lines.append(_stack(shown) if width < _NARROW else _table(shown))
    if len(calls) > _CALLS:
        lines.append(Text(_more(len(calls) - _CALLS, "call"), style="dim"))
    lines += [Text(line, style="dim", overflow="fold") for line in savings_lines(ledger)]
    yield Padding(Group(*lines), (1, 0, 0, 0))


def _more(count: int, noun: str) -> str:
    return f"and {num(count, f'more {noun}')}: ledger.{noun}s"


def _words(pairs: Sequence[tuple[str, str, bool]], width: int) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(max_width=max(8, width // 4), overflow="fold")
    grid.add_column(overflow="fold")
    for name, said, flagged in pairs:
        grid.add_row(Text(name, style="yellow" if flagged else "dim"), Text(said))
    return grid


def _table(calls: Sequence[CallRow]) -> RenderableType:
    drawn = Table(box=None, expand=True, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    drawn.add_column(_COLUMNS[0], ratio=1, no_wrap=True, overflow="ellipsis")
    drawn.add_column(_COLUMNS[1], max_width=_WHY, overflow="fold")
    for name in _COLUMNS[2:]:
        drawn.add_column(name, justify="right", no_wrap=True)
    for one in calls:
        style = "red" if one.failed else ""
        drawn.add_row(
            Text(one.name, style="bold"),
            Text(one.why, style=style),
            *map(Text, (one.tokens, one.cached, one.cost, one.heavy)),
        )
    return Padding(drawn, (1, 0, 0, 0))


def _stack(calls: Sequence[CallRow]) -> RenderableType:
    lines: list[RenderableType] = []
    for one in calls:
        cached = f" · {one.cached} cached" if one.cached else ""
        heavy = f" · all heavy {one.heavy}" if one.heavy else ""
        said = f"{one.why} · tokens {one.tokens}{cached} · cost {one.cost}{heavy}"
        lines.append(Text(one.name, style="bold", overflow="fold"))
        lines.append(Padding(Text(said, style="red" if one.failed else ""), (0, 0, 0, 2)))
    return Padding(Group(*lines), (1, 0, 0, 0))


# -- HTML -----------------------------------------------------------------------------------------


def routing_html(ledger: Ledger, room: int) -> str:
    """The routes of a run as an HTML fragment, blank where nothing was routed.

    Args:
        ledger: whose routes.
        room: bytes that it may take, about.
    """
    decided, calls = notes(ledger), call_rows(ledger)
    if not decided and not calls:
        return ""
    title = tag("div", f"<b>Route</b> {label(path(ledger))}", "margin:14px 0 0 0")
    said = [_said(one.code, one.said, _FLAGGED if one.flagged else GREY) for one in decided]
    shown, left_out = fill(said, room // 3)
    shown += [_said(name, words, GREY) for name, words in choice_words(ledger)]
    parts = [title, table(shown, "table-layout:fixed") if shown else ""]
    parts.append(tag("div", _more(left_out, "decision")) if left_out else "")
    if calls:
        rows, more = fill((_call(one) for one in calls), room // 3)
        parts.append(table((_head(), *rows), "margin:8px 0 0 0"))
        parts.append(tag("div", _more(more, "call")) if more else "")
    parts += [tag("div", muted(inline(line))) for line in savings_lines(ledger)]
    return "".join(parts)


def _said(name: str, words: str, colour: str) -> str:
    shown = tag("b", inline(name), f"color:{colour}")
    return row((cell(shown, "width:110px;overflow-wrap:break-word"), cell(inline(words))))


def _head() -> str:
    style = f"text-align:left;padding:4px 12px 4px 0;color:{GREY};font-weight:400"
    return row(tag("th", name, style, 'align="left"') for name in _COLUMNS)


def _call(one: CallRow) -> str:
    why = tag("b", inline(one.why), "color:#b42318") if one.failed else inline(one.why)
    numbers = (one.tokens, one.cached, one.cost, one.heavy)
    return row(
        (
            cell(label(one.name), "overflow-wrap:break-word"),
            cell(why),
            *(cell(inline(number), "white-space:nowrap") for number in numbers),
        )
    )
