"""The ways to call a graph: those of any runnable, and its own streams."""

from __future__ import annotations

from typing import Any

from integrations.langchain.tests.matrix.harness import MODES, Config, Mode, Shape
from integrations.langchain.tests.matrix.observing import blurred

__all__ = ["ASYNC", "GRAPH_MODES", "QUICK", "SYNC"]

_EVERYTHING = ["values", "updates", "messages", "custom", "tasks"]


def _stream(kind: Any, name: str) -> Mode:
    async def stream(graph: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
        parts = graph.stream(given[0], configs[0], stream_mode=kind, subgraphs=True)
        return shape.ordered(blurred(list(parts)))

    return Mode(f"stream {name}", stream)


def _astream(kind: Any, name: str) -> Mode:
    async def stream(graph: Any, given: list[Any], configs: list[Config], shape: Shape) -> Any:
        parts = graph.astream(given[0], configs[0], stream_mode=kind, subgraphs=True)
        return shape.ordered([blurred(part) async for part in parts])

    return Mode(f"astream {name}", stream)


GRAPH_MODES = (
    *MODES,
    _stream("messages", "messages"),
    _astream("messages", "messages"),
    _stream(_EVERYTHING, "everything"),
    _astream(_EVERYTHING, "everything"),
)
"""`stream` alone gives updates."""
SYNC = tuple(m.name for m in GRAPH_MODES if not m.name.startswith(("a", "events")))
"""Those that a graph of coroutines does not have."""
ASYNC = tuple(m.name for m in GRAPH_MODES if m.name not in SYNC)
QUICK = {
    "same": ("events", "stream everything", "astream_events v3"),
    "once": ("invoke", "abatch", "astream everything"),
}
"""Which of them are tested every time, by what is checked: those that show most."""
