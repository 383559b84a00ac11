"""A ledger for the terminal: one line, or a context bar with its decisions.

Colours are never the only carrier: every part of the bar has its letter, every decision its word.
Text of documents reaches the terminal only as `rich.text.Text`, made safe before.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ctxguard.ledger import Ledger
from ctxguard.view._answers import LABELS, ClaimRow, answer_line, claim_rows
from ctxguard.view._bar import bar_line, legend
from ctxguard.view._conflicts import Conflict, Side, conflicts
from ctxguard.view._decisions import Row, changes, errors, kept, rest
from ctxguard.view._digest import bar, heading, is_empty, summary, timings, totals
from ctxguard.view._labels import ACTIONS, arrow, counting, num
from ctxguard.view._safe import clip, flat, shorten
from ctxguard.view.routing import routing_parts

__all__ = ["one_line", "renderables", "to_text"]

_NARROW = 112
"""Columns under which a decision is stacked instead of set in a table."""
_SIDE_BY_SIDE = 56
"""Columns from which the two versions of a conflict stand side by side."""
_CONFLICTS = 5
"""Conflicts that are shown whole."""
_LEAST = 24
"""Columns that are used at least."""
_ROWS = {"drop": 20, "move": 5, "keep": 8}
"""Rows shown per action, 10 of the others; the rest is counted."""
_CLAIMS = 12
"""Claims of an answer that are shown, those that failed first."""
_VERDICTS = {"contradicted": "bold red", "not_found": "yellow", "supported": "green"}
_COLOURS = {"drop": "cyan", "trim": "cyan", "keep": "green", "flag": "yellow"}


def one_line(ledger: Ledger) -> str:
    """The ledger in one line: `<Ledger 8 chunks → 3 kept, 1,560 → 610 tokens (−61 %)>`."""  # noqa: RUF002 -- the typographic minus
    return f"<Ledger {', '.join(summary(ledger))}>"


def to_text(ledger: Ledger, *, width: int | None = None, color: bool = False) -> str:
    """The ledger as text, without a newline at its end.

    Args:
        ledger: what is shown.
        width: columns; None: the environment's `COLUMNS`, else the terminal's, else 80.
        color: with ANSI escapes; a non-empty `NO_COLOR` in the environment wins over it.
    """
    columns = _columns(width)
    color = color and not os.environ.get("NO_COLOR")
    console = Console(
        file=io.StringIO(),
        width=columns,
        color_system="truecolor" if color else None,
        force_terminal=color,
        force_jupyter=False,
        force_interactive=False,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        no_color=not color,
        _environ={},
    )
    with console.capture() as capture:
        for item in renderables(ledger, width=columns):
            console.print(item)
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def renderables(ledger: Ledger, *, width: int | None = None) -> Iterator[RenderableType]:
    """What `rich` prints of a ledger, part by part.

    Args:
        ledger: what is shown.
        width: columns; None: the environment's `COLUMNS`, else the terminal's, else 80.
    """
    columns = _columns(width)
    yield _header(ledger, columns)
    failures = errors(ledger)
    if failures:
        yield _spaced(Group(*(_hanging("✗ error", "bold red", Text(f)) for f in failures)))
    if is_empty(ledger):
        yield Text("Nothing was recorded: no retrieval, no model call.", style="dim")
    yield from _sums(ledger, columns)
    yield from _conflicts(ledger, columns)
    yield from routing_parts(ledger, width=columns)
    yield from _answer(ledger)
    yield from _decisions(ledger, columns)
    yield from _nested(ledger, columns)
    spent = timings(ledger)
    if spent:
        yield _spaced(Text(f"time  {spent}", style="dim"))


def _columns(width: int | None) -> int:
    if width is None:
        width = shutil.get_terminal_size((80, 24)).columns
    return max(_LEAST, width)


def _spaced(item: RenderableType) -> RenderableType:
    return Padding(item, (1, 0, 0, 0))


def _hanging(mark: str, style: str, body: RenderableType) -> Table:
    """A mark, and a body that wraps beside it."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style=style), body)
    return grid


# -- the head -------------------------------------------------------------------------------------


def _header(ledger: Ledger, width: int) -> RenderableType:
    line = Text("ctxguard", style="bold")
    for name in heading(ledger):
        line.append(" · ", style="dim").append(name, style="not bold")
    counted, estimated = counting(ledger)
    style = "bold yellow" if estimated else "dim"
    lines = [line]
    if counted and line.cell_len + len(counted) + 3 <= width:
        line.append(" · ", style="dim not bold").append(counted, style=f"not bold {style}")
    elif counted:
        lines.append(Text(counted, style=style))
    start, more = clip(flat(ledger.question), 200)
    if start:
        lines.append(Text(f"“{start}{'…' if more else ''}”", style="italic"))
    return Group(*lines)


def _sums(ledger: Ledger, width: int) -> Iterator[RenderableType]:
    sums = totals(ledger)
    if sums:
        mark = max(cell_len(total.name) for total in sums)
        lines = [
            _hanging(total.name.ljust(mark), "", _flow(total.main, total.notes, width - mark - 2))
            for total in sums
        ]
        yield _spaced(Group(*lines))
    filled = bar(ledger)
    if filled is not None:
        yield _spaced(bar_line(filled, width))
        yield legend(filled, width)
        if filled.over:
            over = f"{num(filled.over, 'token')} more than the window holds, reserve included"
            yield _hanging("!", "bold red", Text(over, style="red"))


def _flow(first: str, notes: Sequence[str], width: int) -> Text:
    """A sum and its notes, broken between notes only, as long as a note fits a line."""
    text = Text(first, style="bold", overflow="fold")
    used = cell_len(first)
    for note in notes:
        used += 3 + cell_len(note)
        mark = " · "
        if used > width:
            mark, used = "\n", cell_len(note)
        text.append(mark, style="not bold dim").append(note, style="not bold")
    return text


# -- conflicts ------------------------------------------------------------------------------------


def _conflicts(ledger: Ledger, width: int) -> Iterator[RenderableType]:
    """The first conflicts side by side; a screen full of them hides what else was decided."""
    found = conflicts(ledger)
    for conflict in found[:_CONFLICTS]:
        yield _spaced(_conflict(conflict, width))
    if len(found) > _CONFLICTS:
        left_out = num(len(found) - _CONFLICTS, "more conflict")
        yield Text(f"and {left_out}: ledger.conflicts", style="dim")


def _conflict(conflict: Conflict, width: int) -> RenderableType:
    both = "both versions kept" if conflict.both_kept else "one version was dropped later"
    title = Text("! conflict", style="bold yellow").append(f"  {both}", style="not bold default")
    sides = (conflict.left, conflict.right)
    if width < _SIDE_BY_SIDE:
        stacked = [_hanging("┃", "yellow", Group(_label(s), *_version(s))) for s in sides]
        return Group(title, Text(conflict.reason), *stacked)
    table = Table(box=box.ROUNDED, expand=True, border_style="yellow", header_style="")
    for side in sides:
        table.add_column(_label(side), ratio=1, overflow="fold")
    table.add_row(*(Group(*_version(side)) for side in sides))
    return Group(title, Text(conflict.reason), table)


def _label(side: Side) -> Text:
    return Text(side.label, style="bold", overflow="fold")


def _version(side: Side) -> Iterator[Text]:
    for fact in side.facts:
        yield Text(fact, style="bold yellow", overflow="fold")
    if not side.facts:
        yield Text("says nothing of it", style="dim")
    for excerpt in side.excerpts:
        text = Text(overflow="fold")
        for piece, is_fact in excerpt:
            text.append(piece, style="bold underline" if is_fact else "")
        if text.plain not in side.facts:
            yield text
    if side.fate != "kept":
        yield Text(side.fate, style="dim")


# -- the answer ----------------------------------------------------------------------------------


def _answer(ledger: Ledger) -> Iterator[RenderableType]:
    """The verdicts on the last answer; claims that passed are counted when there are many."""
    line = answer_line(ledger)
    if not line:
        return
    lines: list[RenderableType] = [Text("Answer", style="bold").append(f"  {line}", "not bold")]
    rows = claim_rows(ledger)
    lines += [_claim(row) for row in rows[:_CLAIMS]]
    if len(rows) > _CLAIMS:
        more = f"and {num(len(rows) - _CLAIMS, 'more claim')}: ledger.verification"
        lines.append(Text(more, style="dim"))
    yield _spaced(Group(*lines))


def _claim(row: ClaimRow) -> RenderableType:
    body = [Text(row.claim, overflow="fold"), Text(row.reason, style="dim", overflow="fold")]
    body += [Text(f"↳ {name}: “{text}”", "dim", overflow="fold") for name, text in row.quotes]
    return _hanging(LABELS[row.label], _VERDICTS.get(row.label, "dim"), Group(*body))


# -- decisions ------------------------------------------------------------------------------------


def _decisions(ledger: Ledger, width: int) -> Iterator[RenderableType]:
    rows = (*changes(ledger), *kept(ledger))
    if not rows:
        return
    lines: list[Row | Text] = []
    for action, group in groupby(rows, key=lambda row: row.action):
        members = list(group)
        limit = _ROWS.get(action, 10)
        lines.extend(members[:limit])
        if len(members) > limit:
            lines.append(_rest(members[limit:]))
    yield _spaced(_stack(lines, width) if width < _NARROW else _table(lines, width))


def _rest(rows: Sequence[Row]) -> Text:
    """One line for rows that are not shown."""
    where = "ledger.chunks" if rows[0].action == "keep" else "ledger.decisions"
    return Text(f"and {rest(rows)}: {where}", style="dim")


def _action(row: Row) -> Text:
    return Text(ACTIONS[row.action], style=_COLOURS.get(row.action, ""))


def _why(row: Row) -> RenderableType:
    if row.action == "keep":
        return Text(row.reason, style="dim", no_wrap=True, overflow="ellipsis")
    because = _because(row)
    reason = Text(row.reason, overflow="fold")
    return Group(reason, because) if because else reason


def _because(row: Row) -> Text | None:
    twin = f"twin {row.twin}" if row.twin else ""
    parts = [part for part in (twin, row.measure) if part]
    return Text(f"↳ {' · '.join(parts)}", style="dim", overflow="fold") if parts else None


def _table(lines: Sequence[Row | Text], width: int) -> Table:
    rows = [line for line in lines if isinstance(line, Row)]
    label_cells = min(max(cell_len(row.label) for row in rows), max(24, width * 3 // 10))
    table = Table(box=None, expand=True, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("decision", no_wrap=True)
    table.add_column("what", no_wrap=True, min_width=label_cells)
    table.add_column("tokens", no_wrap=True, justify="right")
    table.add_column("why", ratio=1, overflow="fold")
    for line in lines:
        if isinstance(line, Text):
            table.add_row("", "", "", line)
        else:
            label = Text(shorten(line.label, label_cells))
            table.add_row(_action(line), label, Text(line.tokens), _why(line))
    return table


def _stack(lines: Sequence[Row | Text], width: int) -> RenderableType:
    """A line with action, label and tokens, and the reason below it."""
    column = 2 + max(len(ACTIONS[line.action]) for line in lines if isinstance(line, Row))
    indent = column if width >= _SIDE_BY_SIDE else 2
    items: list[RenderableType] = []
    for line in lines:
        if isinstance(line, Text):
            items.append(Padding(line, (0, 0, 0, indent)))
            continue
        items.append(_first_line(line, width, column))
        if line.action != "keep":
            items.append(Padding(_why(line), (0, 0, 0, indent)))
    return Group(*items)


def _first_line(row: Row, width: int, column: int) -> Text:
    text = Text(no_wrap=True).append_text(_action(row))
    text.append(" " * (column - text.cell_len))
    label = shorten(row.label, max(8, width - column - cell_len(row.tokens) - 2))
    gap = max(2, width - column - cell_len(label) - cell_len(row.tokens))
    return text.append(label, style="bold").append(" " * gap).append(row.tokens)


# -- steps and nested runs ------------------------------------------------------------------------


def _nested(ledger: Ledger, width: int) -> Iterator[RenderableType]:
    if len(ledger.steps) > 1:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_row(Text("step", style="dim"), Text("", style="dim"), Text("tokens", style="dim"))
        for step in ledger.steps[:12]:
            name = shorten(flat(step.name), max(12, width - 34))
            tokens = arrow(step.tokens_before, step.tokens_after)
            grid.add_row(Text(step.kind), Text(name), Text(tokens))
        if len(ledger.steps) > 12:
            grid.add_row(
                "", Text(f"and {len(ledger.steps) - 12:,} more: ledger.steps", style="dim")
            )
        yield _spaced(grid)
    if ledger.children:
        lines = [
            _hanging(f"children[{place}]", "dim", Text(_child(child), overflow="fold"))
            for place, child in enumerate(ledger.children[:10])
        ]
        if len(ledger.children) > 10:
            rest = f"and {len(ledger.children) - 10:,} more: ledger.children"
            lines.append(_hanging("", "", Text(rest, style="dim")))
        yield _spaced(Group(*lines))


def _child(child: Ledger) -> str:
    names = " · ".join(heading(child))
    return f"{names}: {', '.join(summary(child))}" if names else ", ".join(summary(child))
