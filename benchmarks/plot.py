"""Plots as SVG, drawn by hand: no plotting library, and the same bytes from the same results.

Each brings its own background and both colour schemes, so that it reads in light and in dark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import product
from typing import Any

__all__ = ["recall_plot", "versions_plot"]

_STYLE = """<style>
.back{fill:#fff}.ink{fill:#1f2328}.soft{fill:#57606a}.grid{stroke:#d8dee4}.dot{fill:#57606a}
.bar{stroke:#57606a}.ours{fill:#0969da}.oursbar{stroke:#0969da}
text{font:13px system-ui,sans-serif}.small{font-size:11px}.head{font-weight:600}
@media(prefers-color-scheme:dark){.back{fill:#161b22}.ink{fill:#e6edf3}.soft{fill:#9aa4af}
.grid{stroke:#30363d}.dot{fill:#9aa4af}.bar{stroke:#9aa4af}.ours{fill:#58a6ff}.oursbar{stroke:#58a6ff}}
</style>"""
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
Interval = Mapping[str, float]
Place = tuple[float, float]


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">\n'
        f'{_STYLE}\n<rect class="back" width="{width}" height="{height}" rx="8"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, kind: str = "ink", anchor: str = "start") -> str:
    shown = escape(text)
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{shown}</text>'


def _line(kind: str, start: Place, end: Place, width: float) -> str:
    return (
        f'<line class="{kind}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" '
        f'x2="{end[0]:.1f}" y2="{end[1]:.1f}" stroke-width="{width}"/>'
    )


def _dot(x: float, y: float, *, ours: bool, title: str) -> str:
    kind, radius = ("ours", 6) if ours else ("dot", 4.5)
    return (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
        f"<title>{escape(title)}</title></circle>"
    )


# -- copies removed against versions kept ----------------------------------------------------------


def versions_plot(measured: Mapping[str, Any]) -> str:
    """One dot per system, whiskers in both directions; numbers name them in the list beside."""
    left, top, size = 70, 50, 360
    systems = sorted(measured["systems"].items(), key=lambda item: item[0] != "ctxguard")

    def x_at(value: float) -> float:
        return left + value * size

    def y_at(value: float) -> float:
        return top + (1 - value) * size

    parts = [_text(left, 28, "Contract pools: copies removed and versions kept", "ink head")]
    for tick in _TICKS:
        parts.append(_line("grid", (left, y_at(tick)), (left + size, y_at(tick)), 1))
        parts.append(_line("grid", (x_at(tick), top), (x_at(tick), top + size), 1))
        parts.append(_text(left - 8, y_at(tick) + 4, f"{tick:g}", "soft small", "end"))
        parts.append(_text(x_at(tick), top + size + 18, f"{tick:g}", "soft small", "middle"))
    parts.append(_text(left + size / 2, top + size + 40, "copies removed", "soft", "middle"))
    middle = top + size / 2
    parts.append(
        f'<g transform="rotate(-90 24 {middle})">'
        + _text(24, middle, "versions kept", "soft", "middle")
        + "</g>"
    )
    taken: list[Place] = []
    dots: list[Place] = []
    covered: list[Place] = []
    for name, found in systems:
        dots.append((x_at(found["copies removed"]["value"]), y_at(found["versions kept"]["value"])))
        for start, end in _whiskers(found, x_at, y_at):
            parts.append(_line("oursbar" if name == "ctxguard" else "bar", start, end, 1.5))
            covered += _along(start, end)
    for number, ((name, _), (x, y)) in enumerate(zip(systems, dots, strict=True), 1):
        parts.append(_dot(x, y, ours=name == "ctxguard", title=name))
        place = _free_place((x, y), taken, [*dots, *covered])
        taken.append(place)
        kind = "ours small head" if name == "ctxguard" else "ink small"
        parts.append(_text(place[0], place[1] + 4, str(number), kind, "middle"))
        parts.append(_text(left + size + 44, top + 22 * number, f"{number}  {name}", kind))
    height = max(top + size + 60, top + 22 * len(systems) + 30)
    return _svg(left + size + 400, height, "copies removed against versions kept", parts)


def _whiskers(
    found: Mapping[str, Any], x_at: Callable[[float], float], y_at: Callable[[float], float]
) -> tuple[tuple[Place, Place], tuple[Place, Place]]:
    removed, kept = found["copies removed"], found["versions kept"]
    x, y = x_at(removed["value"]), y_at(kept["value"])
    return (
        ((x_at(removed["low"]), y), (x_at(removed["high"]), y)),
        ((x, y_at(kept["high"])), (x, y_at(kept["low"]))),
    )


def _along(start: Place, end: Place) -> list[Place]:
    """Places on a whisker, close enough that no number fits between two."""
    steps = max(1, int(abs(end[0] - start[0]) + abs(end[1] - start[1])) // 6)
    return [
        (
            start[0] + (end[0] - start[0]) * step / steps,
            start[1] + (end[1] - start[1]) * step / steps,
        )
        for step in range(steps + 1)
    ]


def _free_place(dot: Place, numbers: Sequence[Place], marks: Sequence[Place]) -> Place:
    """The nearest place around a dot where a number of two digits meets no other mark."""
    steps = [(dx, dy) for dx, dy in product(range(-48, 49, 6), repeat=2) if dx or dy]
    for dx, dy in sorted(steps, key=lambda step: (step[0] ** 2 + step[1] ** 2, step)):
        place = (dot[0] + dx, dot[1] + dy)
        if all(_apart(place, number, 15, 13) for number in numbers) and all(
            _apart(place, mark, 10, 8) for mark in marks
        ):
            return place
    return (dot[0] + 12, dot[1] - 10)


def _apart(place: Place, mark: Place, wide: int, high: int) -> bool:
    return abs(place[0] - mark[0]) >= wide or abs(place[1] - mark[1]) >= high


# -- recall by set ---------------------------------------------------------------------------------


def recall_plot(sets: Mapping[str, Any]) -> str:
    """A row per system, a column per set: support recall at a quarter of the tokens."""
    names = list(dict.fromkeys(name for one in sets.values() for name in one["systems"]))
    names.sort(key=lambda name: name != "ctxguard")
    left, top, wide, row, gap = 350, 70, 190, 26, 36
    bottom = top + row * len(names)
    parts = [_text(20, 28, "Support recall at 25 % of the tokens", "ink head")]
    for number, name in enumerate(names):
        kind = "ours head" if name == "ctxguard" else "ink"
        parts.append(_text(left - 16, top + row * number + 17, name, kind, "end"))
    for column, (title, measured) in enumerate(sets.items()):
        start = left + column * (wide + gap)
        parts.append(_text(start, top - 12, title, "ink head"))
        for tick in _TICKS:
            x = start + tick * wide
            parts.append(_line("grid", (x, top), (x, bottom), 1))
            parts.append(_text(x, bottom + 16, f"{tick:g}", "soft small", "middle"))
        for number, name in enumerate(names):
            found = measured["systems"].get(name)
            if found is not None:
                y = top + row * number + 13
                parts += _recall(found["at"]["25.0%"], (start, y), wide, name)
    width = left + len(sets) * (wide + gap)
    parts.append(_text(20, bottom + 40, "hollow: over the budget in some cases", "soft small"))
    return _svg(width, bottom + 56, "support recall at a quarter of the tokens", parts)


def _recall(at: Mapping[str, Any], place: Place, wide: float, name: str) -> list[str]:
    recall: Interval = at["support recall"]
    ours = name == "ctxguard"
    kind = "oursbar" if ours else "bar"
    low, x, high = (place[0] + recall[key] * wide for key in ("low", "value", "high"))
    title = f"{name}: {recall['value']:.2f} [{recall['low']:.2f}, {recall['high']:.2f}]"
    marks = [
        _line(kind, (low, place[1]), (high, place[1]), 1.5),
        _dot(x, place[1], ours=ours, title=title),
    ]
    if at["over budget"] > 0:
        marks.append(f'<circle class="back" cx="{x:.1f}" cy="{place[1]:.1f}" r="2.5"/>')
    return marks
