"""HTML pieces that survive what notebooks do to them.

Untrusted JupyterLab keeps tables, details and a list of literal inline styles, and removes scripts,
svg, style elements, roles and variables (its `sanitizer.ts`); GitHub removes inline styles as well.
JupyterLab's own style sheet right-aligns and stripes tables, so every cell says what it wants, and
every text has its own foreground and background, so that a dark page changes nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from ctxguard.view._safe import clip, flat, visible

__all__ = [
    "GREY",
    "INK",
    "PAPER",
    "attribute",
    "block",
    "cell",
    "details",
    "fill",
    "inline",
    "label",
    "muted",
    "row",
    "table",
    "tag",
]

INK, GREY, PAPER = "#1f2328", "#57606a", "#ffffff"
"""Text, secondary text, background; contrast 15.8 and 6.4 to 1."""

_BREAKS = re.compile(r"(?<=[/_?=])(?=[\w.])")
_MARKS = re.compile(r"[$\\]|[{](?=[{%#])")


def _mark(match: re.Match[str]) -> str:
    """A character that would start something, so that it cannot.

    MathJax joins `$` and `$` of a text into a formula, also in the output of a cell ("$30 to $45"),
    but not across elements. Jinja and Liquid read `{{` and `{%` where a page is built from this.
    """
    return "&#123;" if match[0] == "{" else f"<span>{match[0]}</span>"


def inline(text: str) -> str:
    """Document text inside a line: safe, escaped, white space collapsed."""
    return _MARKS.sub(_mark, html.escape(flat(text)))


def label(text: str) -> str:
    """A name from outside: a path may break after its slashes, right-to-left text stays inside."""
    return f"<bdi>{'<wbr>'.join(inline(part) for part in _BREAKS.split(text))}</bdi>"


def attribute(text: str) -> str:
    """Document text inside a double-quoted attribute."""
    return html.escape(flat(text)).replace("{", "&#123;")


def block(text: str, limit: int) -> str:
    """Document text with its lines, at most `limit` characters; says how many are left out.

    Newlines are written as references, because a blank line would end the HTML block where the
    fragment stands in Markdown.
    """
    shown, more = clip(text, limit)
    body = _MARKS.sub(_mark, html.escape(visible(shown))).replace("\n", "&#10;")
    style = (
        "margin:4px 0 0 0;padding:6px 8px;white-space:pre-wrap;background:#f6f8fa;"
        f"color:{INK};font-size:12px;font-family:monospace;border-radius:4px"
    )
    note = muted(f"… {more:,} characters more") if more else ""
    return f'<pre dir="auto" style="{style}">{body}</pre>{note}'


def tag(name: str, content: str, style: str = "", attributes: str = "") -> str:
    """An element; `content` and `attributes` are markup already."""
    styled = f' style="{style}"' if style else ""
    return f"<{name}{f' {attributes}' if attributes else ''}{styled}>{content}</{name}>"


def muted(content: str) -> str:
    """Secondary markup."""
    return tag("span", content, f"color:{GREY}")


def cell(content: str, style: str = "", attributes: str = "") -> str:
    """A table cell that reads from the left and the top."""
    base = "text-align:left;vertical-align:top;padding:4px 12px 4px 0"
    return tag("td", content, f"{base};{style}" if style else base, attributes)


def row(cells: Iterable[str], background: str = PAPER) -> str:
    """A table row with a hairline above it."""
    return tag("tr", "".join(cells), f"background:{background};border-top:1px solid #e4e7eb")


def table(rows: Iterable[str], style: str = "") -> str:
    """A table across the width."""
    base = (
        f"width:100%;margin:0;border-collapse:collapse;table-layout:auto;color:{INK};font-size:13px"
    )
    body = f"<tbody>{''.join(rows)}</tbody>"
    return tag("table", body, f"{base};{style}" if style else base, 'width="100%"')


def details(summary: str, content: str, *, opened: bool = False) -> str:
    """Content that folds away under its summary."""
    head = tag("summary", summary, f"cursor:pointer;color:{GREY};margin:0")
    return tag("details", head + content, "margin:6px 0 0 0", "open" if opened else "")


def fill(pieces: Iterable[str], room: int) -> tuple[list[str], int]:
    """The pieces that fit into `room` bytes of UTF-8, at least one, and how many do not."""
    shown: list[str] = []
    left_out = 0
    for piece in pieces:
        size = 0 if left_out else len(piece.encode())
        if shown and (left_out or room < size):
            left_out += 1
            continue
        shown.append(piece)
        room -= size
    return shown, left_out
