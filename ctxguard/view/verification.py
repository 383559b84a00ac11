"""A verification for the terminal: the verdict on the whole, then claim by claim with quotes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ctxguard.types import Label, Quote, Verdict, Verification
from ctxguard.view._safe import clip, flat

__all__ = ["verification_parts"]

_LOOKS: dict[Label, tuple[str, str]] = {
    "supported": ("✓ supported", "green"),
    "contradicted": ("✗ contradicted", "red"),
    "not_found": ("✗ not found", "red"),
    "not_judged": ("· not judged", "dim"),
}
"""Mark, word and colour; the word says it without the other two."""
_QUOTES = 2
"""Passages that are shown of a claim."""
_LONGEST = 400
"""Characters of a claim or a quote."""


def verification_parts(
    verification: Verification, *, threshold: float | None = None
) -> Iterator[RenderableType]:
    """What `rich` prints of a verification, part by part.

    Args:
        verification: what is shown.
        threshold: under which claims count as not supported, shown beside the score.
    """
    yield _headline(verification, threshold)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for verdict in verification.claims:
        mark, style = _LOOKS[verdict.label]
        grid.add_row(Text(mark, style=style), Group(*_lines(verdict)))
    if verification.claims:
        yield Padding(grid, (1, 0, 0, 0))


def _headline(verification: Verification, threshold: float | None) -> Text:
    said, style = {
        True: ("grounded", "bold green"),
        False: ("not grounded", "bold red"),
        None: ("could not be judged", "bold yellow"),
    }[verification.grounded]
    counts = Counter(verdict.label for verdict in verification.claims)
    parts = [f"{counts[label]} {label.replace('_', ' ')}" for label in _LOOKS if counts[label]]
    parts.append(f"score {verification.score:.2f}")
    if threshold is not None:
        parts.append(f"threshold {threshold:.2f}")
    return Text.assemble((said, style), (f" · {' · '.join(parts)}", "dim"))


def _lines(verdict: Verdict) -> Iterator[Text]:
    """The claim, why it was judged so, and what the evidence says."""
    yield Text(_short(verdict.claim.text))
    against = [one for one in verdict.findings if one.label != "supported"]
    reasons = dict.fromkeys([verdict.reason, *(one.reason for one in verdict.findings)])
    if verdict.label == "supported" and not verdict.findings:
        return
    for reason in reasons:
        yield Text(flat(reason), style="bold" if verdict.failed else "dim")
    quotes = [quote for one in against or verdict.findings for quote in one.evidence]
    for quote in _distinct([*quotes, *verdict.evidence])[:_QUOTES]:
        yield Text(f"{flat(quote.chunk_id)}: “{_short(quote.text)}”", style="italic dim")


def _distinct(quotes: list[Quote]) -> list[Quote]:
    """The quotes in order, without those that stand within a later one."""
    found = list(dict.fromkeys(quotes))
    return [
        one
        for one in found
        if not any(
            other != one
            and other.chunk_id == one.chunk_id
            and other.span[0] <= one.span[0]
            and one.span[1] <= other.span[1]
            for other in found
        )
    ]


def _short(text: str) -> str:
    kept, cut = clip(flat(text), _LONGEST)
    return f"{kept}…" if cut else kept
