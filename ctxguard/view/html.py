"""A ledger as a static HTML fragment: what a notebook shows, today and when it is reopened.

It needs nothing but tables and literal inline styles, and still reads when the styles are removed:
then the bar is a row of cells with names, shares and blocks. Its size is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ctxguard.ledger import Ledger
from ctxguard.view._answers import LABELS, ClaimRow, answer_line, claim_rows
from ctxguard.view._conflicts import Conflict, Side, conflicts
from ctxguard.view._decisions import Row, changes, errors, kept, rest
from ctxguard.view._digest import Bar, Part, bar, heading, is_empty, summary, timings, totals
from ctxguard.view._labels import ACTIONS, LOOKS, arrow, counting, num, percent
from ctxguard.view._markup import (
    GREY,
    INK,
    PAPER,
    attribute,
    block,
    cell,
    details,
    fill,
    inline,
    label,
    muted,
    row,
    table,
    tag,
)
from ctxguard.view._safe import clip
from ctxguard.view.routing import routing_html

__all__ = ["to_html"]

_ROOM = 240_000
"""Bytes of all parts that grow with the ledger; notebooks hold one such output per cell."""
_FULL_ROWS = 12
"""Decisions in the table; the others are lines under it."""
_TEXT = 1_500
"""Characters shown of one text that was left out, 40,000 of all of them together."""
_SHORT_FACT = 80
"""Characters up to which a fact is set larger than the sentence that it stands in."""
_NARROW, _WIDE = 3.0, 13.0
"""Percent of the bar from which a cell shows its letter, and its name."""
_VERDICTS = {"contradicted": "#b42318", "not_found": "#8a5a0b", "supported": "#2b7553"}
_COLOURS = {"drop": "#8b3a6b", "trim": "#0b6670", "keep": "#2b7553", "flag": "#8a5a0b"}


def to_html(ledger: Ledger) -> str:
    """The ledger as an HTML fragment of one element, on one line, at most about 300 KB."""
    style = (
        f"max-width:940px;padding:14px 18px;border:1px solid #d0d5dd;border-radius:8px;"
        f"background:{PAPER};color:{INK};font-family:system-ui,sans-serif;font-size:13px;"
        "line-height:1.5;text-align:left"
    )
    return tag("div", _body(ledger, _ROOM), style)


def _body(ledger: Ledger, room: int) -> str:
    parts = [
        _header(ledger),
        _errors(ledger),
        _totals(ledger),
        _bar(ledger),
        _conflicts(ledger, room // 5),
        routing_html(ledger, room // 10),
        _answer(ledger, room // 8),
        _changes(ledger, room // 2),
        _kept(ledger, room // 8),
        _steps(ledger),
        _children(ledger, room // 10),
        _footer(ledger),
    ]
    return "".join(parts)


# -- the head -------------------------------------------------------------------------------------


def _header(ledger: Ledger) -> str:
    counted, estimated = counting(ledger)
    names = [tag("b", "ctxguard", f"color:{INK}"), *(label(name) for name in heading(ledger))]
    if counted:
        names.append(tag("b", inline(counted), "color:#8a4b00") if estimated else inline(counted))
    lines = [tag("div", " · ".join(names), f"color:{GREY}")]
    start, more = clip(ledger.question, 300)
    if start.strip():
        asked = f"“{inline(start)}{'…' if more else ''}”"
        lines.append(tag("div", asked, "font-size:15px;margin:2px 0 0 0", 'dir="auto"'))
    if is_empty(ledger):
        lines.append(tag("div", "Nothing was recorded: no retrieval, no model call."))
    return "".join(lines)


def _errors(ledger: Ledger) -> str:
    lines: list[str] = []
    failures = errors(ledger)
    for failure in failures[:10]:
        shown, more = clip(failure, 600)
        cut = f" … {more:,} characters more" if more else ""
        lines.append(tag("div", f"<b>✗ Error:</b> {inline(shown)}{cut}"))
    if len(failures) > 10:
        lines.append(tag("div", f"and {len(failures) - 10:,} more: ledger.errors"))
    return _box(lines, "#b42318", "#fff3f1", "#7a1710") if lines else ""


def _box(lines: Sequence[str], border: str, background: str, ink: str = INK) -> str:
    style = (
        f"margin:12px 0 0 0;padding:8px 12px;border-left:4px solid {border};"
        f"background:{background};color:{ink}"
    )
    return tag("div", "".join(lines), style)


def _totals(ledger: Ledger) -> str:
    cells = [
        cell(
            f"{muted(total.name)}<br>"
            f"{tag('b', inline(total.main), 'font-size:18px')}<br>"
            f"{muted(' · '.join(inline(note) for note in total.notes))}",
            "padding:0 24px 0 0",
        )
        for total in totals(ledger)
    ]
    if not cells:
        return ""
    line = tag("tr", "".join(cells), f"background:{PAPER}")
    return tag("div", table([line]), "margin:12px 0 0 0")


# -- the bar --------------------------------------------------------------------------------------


def _bar(ledger: Ledger) -> str:
    filled = bar(ledger)
    if filled is None:
        return ""
    widths = _widths(filled)
    cells = (
        _bar_cell(part, width, filled) for part, width in zip(filled.parts, widths, strict=True)
    )
    line = tag("tr", "".join(cells), f"background:{PAPER}")
    drawn = table([line], "table-layout:fixed;border:1px solid #c4c9d1")
    hidden_comma = tag("span", ", ", "font-size:0")  # read where the styles are removed
    legend = tag("div", hidden_comma.join(_legend(filled)), "margin:6px 0 0 0")
    note = f"100 % is {filled.whole}"
    lines = [drawn, legend, tag("div", note, f"color:{GREY};font-size:12px")]
    if filled.over:
        over = f"{num(filled.over, 'token')} more than the window holds, reserve included"
        lines.append(_box([f"<b>Over the window:</b> {over}"], "#b42318", "#fff3f1", "#7a1710"))
    return tag("div", "".join(lines), "margin:14px 0 0 0")


def _widths(filled: Bar) -> list[float]:
    """Percent of the width per part, adding up to 100; what is not empty can be seen."""
    least = [max(0.6, 100 * part.tokens / filled.total) for part in filled.parts]
    return [round(100 * share / sum(least), 2) for share in least]


def _bar_cell(part: Part, width: float, filled: Bar) -> str:
    look = LOOKS[part.kind]
    share = percent(part.tokens, filled.total)
    shown, hidden = "", f"{look.letter} {look.name} {share}"
    if width >= _WIDE:
        shown, hidden = hidden, ""
    elif width >= _NARROW:
        shown, hidden = look.letter, f" {look.name} {share}"
    # Read where the styles are removed: there, the number of blocks is the length of the part.
    blocks = " " + "█" * max(1, round(24 * part.tokens / filled.total))
    style = (
        f"width:{width:g}%;height:24px;padding:0;text-align:center;vertical-align:middle;"
        f"background:{look.back};color:{look.ink};font-size:11px;font-weight:600;"
        "white-space:nowrap;overflow:hidden;border-right:1px solid #ffffff"
    )
    title = f'title="{look.name}: {part.tokens:,} tokens, {attribute(share)}" width="{width:g}%"'
    return tag("td", shown + tag("span", hidden + blocks, "font-size:0"), style, title)


def _legend(filled: Bar) -> Iterator[str]:
    for part in filled.parts:
        look = LOOKS[part.kind]
        chip = tag("b", look.letter, f"background:{look.back};color:{look.ink};padding:0 5px")
        share = inline(percent(part.tokens, filled.total))
        style = "display:inline-block;margin:0 18px 2px 0;white-space:nowrap"
        yield tag("span", f"{chip} {look.name} {part.tokens:,} · {muted(share)}", style)


# -- conflicts ------------------------------------------------------------------------------------


def _conflicts(ledger: Ledger, room: int) -> str:
    shown, left_out = fill((_conflict(conflict) for conflict in conflicts(ledger)), room)
    if left_out:
        shown.append(tag("div", f"and {num(left_out, 'more conflict')}: ledger.conflicts"))
    return "".join(shown)


def _conflict(conflict: Conflict) -> str:
    both = "both versions kept" if conflict.both_kept else "one version was dropped later"
    title = f"<b>⚠ Conflict</b>, {both}: {inline(conflict.reason)}"
    sides = "".join(_side(side) for side in (conflict.left, conflict.right))
    line = tag("tr", sides, "background:#fffaf0")
    body = table([line], "table-layout:fixed;background:#fffaf0")
    return _box([tag("div", title), body], "#c98a00", "#fffaf0")


def _side(side: Side) -> str:
    lines = [tag("div", label(side.label), f"color:{GREY}")]
    for fact in side.facts:
        shown, more = clip(fact, 2_000)
        cut = f" … {more:,} characters more" if more else ""
        size = "font-size:16px" if len(fact) <= _SHORT_FACT else ""
        lines.append(tag("div", tag("b", inline(shown) + cut, size), "", 'dir="auto"'))
    if not side.facts:
        lines.append(tag("div", "says nothing of it", f"color:{GREY}"))
    for excerpt in side.excerpts[:6]:
        pieces = "".join(
            tag("b", _piece(piece), f"background:#ffe3a3;color:{INK}") if fact else _piece(piece)
            for piece, fact in excerpt
        )
        if "".join(piece for piece, _ in excerpt) not in side.facts:
            lines.append(tag("div", pieces, "", 'dir="auto"'))
    if side.fate != "kept":
        lines.append(tag("div", inline(side.fate), f"color:{GREY}"))
    return cell("".join(lines), "width:50%", 'width="50%"')


def _piece(piece: str) -> str:
    """A piece of a sentence, with the white space at its ends."""
    return f"{' ' * piece[:1].isspace()}{inline(piece)}{' ' * piece[-1:].isspace()}"


# -- the answer ----------------------------------------------------------------------------------


def _answer(ledger: Ledger, room: int) -> str:
    line = answer_line(ledger)
    if not line:
        return ""
    shown, left_out = fill((_claim(item) for item in claim_rows(ledger)), room)
    title = tag("div", f"<b>Answer</b> {inline(line)}", "margin:14px 0 0 0")
    more = f"and {num(left_out, 'more claim')}: ledger.verification"
    return title + table(shown, "table-layout:fixed") + (tag("div", more) if left_out else "")


def _claim(item: ClaimRow) -> str:
    verdict = tag("b", LABELS[item.label], f"color:{_VERDICTS.get(item.label, GREY)}")
    lines = [inline(item.claim), muted(inline(item.reason))]
    lines += [muted(f"↳ {label(name)}: “{inline(text)}”") for name, text in item.quotes]
    body = "".join(tag("div", one, "", 'dir="auto"') for one in lines)
    return row((cell(verdict, "width:110px"), cell(body, "overflow-wrap:break-word")))


# -- decisions ------------------------------------------------------------------------------------


def _changes(ledger: Ledger, room: int) -> str:
    rows = changes(ledger)
    if not rows:
        return ""
    first, others = rows[:_FULL_ROWS], rows[_FULL_ROWS:]
    limit = min(_TEXT, 40_000 // len(first))
    shown, cut = fill((_row(item, limit) for item in first), room // 2)
    parts = [table((_head(), *shown), "margin:14px 0 0 0;table-layout:fixed")]
    unseen = [*first[len(first) - cut :], *others]
    if unseen:
        parts.append(_lines(unseen, f"{len(unseen):,} more decisions", room))
    return "".join(parts)


def _head() -> str:
    columns = (("decision", "78px"), ("what", "33%"), ("tokens", "88px"), ("why", "auto"))
    style = f"text-align:left;padding:4px 0;color:{GREY};font-weight:400"
    return row(tag("th", name, f"width:{width};{style}", 'align="left"') for name, width in columns)


def _row(item: Row, limit: int) -> str:
    action = tag("b", ACTIONS[item.action], f"color:{_COLOURS.get(item.action, GREY)}")
    why = inline(item.reason)
    because = _because(item)
    if because:
        why += f"<br>{muted(because)}"
    what = _text(item, limit) if item.text else label(item.label)
    return row(
        (
            cell(action),
            cell(what, "overflow-wrap:break-word"),
            cell(item.tokens, "white-space:nowrap"),
            cell(why, "padding:4px 0;overflow-wrap:break-word"),
        )
    )


def _because(item: Row) -> str:
    twin = f"twin {label(item.twin)}" if item.twin else ""
    return " · ".join(part for part in (twin, inline(item.measure)) if part)


def _text(item: Row, limit: int) -> str:
    """The label, which unfolds into the text that was left out and the way to it."""
    body = block(item.text, limit)
    if item.chunk:
        body += tag("div", muted(inline(f"ledger.chunk({clip(item.subject, 120)[0]!r})")))
    summary_style = f"cursor:pointer;color:{INK}"
    return tag("details", tag("summary", label(item.label), summary_style) + body)


def _kept(ledger: Ledger, room: int) -> str:
    rows = kept(ledger)
    if not rows:
        return ""
    tokens = sum(item.after for item in rows)
    title = f"{len(rows):,} kept" + (f", {tokens:,} tokens" if tokens else "")
    return _lines(rows, title, room)


def _lines(rows: Sequence[Row], title: str, room: int) -> str:
    """Rows as one line each, under a summary; what does not fit is added up."""
    shown, left_out = fill((_line(item) for item in rows), room)
    if left_out:
        shown.extend(
            tag("div", f"and {rest(group)}: ledger.decisions")
            for group in _by_action(rows[len(rows) - left_out :])
        )
    return details(tag("b", title), "".join(shown))


def _line(item: Row) -> str:
    tokens = f"{item.tokens} tokens" if item.tokens else ""
    parts = (label(item.label), tokens, inline(item.reason), _because(item))
    return tag("div", f"<b>{ACTIONS[item.action]}</b> {' · '.join(part for part in parts if part)}")


def _by_action(rows: Iterable[Row]) -> Iterable[Sequence[Row]]:
    groups: dict[str, list[Row]] = {}
    for item in rows:
        groups.setdefault(item.action, []).append(item)
    return groups.values()


# -- steps, nested runs, footer -------------------------------------------------------------------


def _steps(ledger: Ledger) -> str:
    if len(ledger.steps) < 2:
        return ""
    rows = [
        row(
            (
                cell(step.kind),
                cell(label(clip(step.name, 80)[0])),
                cell(f"{arrow(step.tokens_before, step.tokens_after)} tokens"),
            )
        )
        for step in ledger.steps[:30]
    ]
    if len(ledger.steps) > 30:
        rows.append(row([cell(f"and {len(ledger.steps) - 30:,} more: ledger.steps")]))
    return details(tag("b", f"{len(ledger.steps):,} steps"), table(rows, "width:auto"))


def _children(ledger: Ledger, room: int) -> str:
    parts: list[str] = []
    for place, child in enumerate(ledger.children[:10]):
        names = [label(name) for name in heading(child)]
        line = " · ".join((f"<b>children[{place}]</b>", *names, inline(", ".join(summary(child)))))
        body = _body(child, room // len(ledger.children)) if room > 10_000 else ""
        folded = details(line, tag("div", body, "padding:6px 0 0 14px")) if body else ""
        parts.append(folded or tag("div", line))
    if len(ledger.children) > 10:
        parts.append(tag("div", f"and {len(ledger.children) - 10:,} more: ledger.children"))
    return "".join(parts)


def _footer(ledger: Ledger) -> str:
    spent = timings(ledger)
    style = f"margin:10px 0 0 0;color:{GREY};font-size:12px"
    return tag("div", inline(f"time: {spent}"), style) if spent else ""
