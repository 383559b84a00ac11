"""What no copy reaches, guarded in all three ways: rows for docs/reference/shapes.md."""

from __future__ import annotations

import asyncio
import inspect
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from llama_index.core import Settings, VectorStoreIndex

from ctxguard import Ledger, guard, guarded, handle
from ctxguard_llamaindex.testing import HashEmbedding, ScriptedLLM
from integrations.langchain.tests.matrix import harness, test_agents, test_chains, test_graphs
from integrations.llamaindex.tests.conftest import Corpus, passages
from integrations.llamaindex.tests.matrix import (
    agents,
    beyond,
    chats,
    engines,
    models,
    retrievers,
    world,
)

__all__ = ["chains_in_three_ways", "engines_in_three_ways"]

MODULES = (engines, retrievers, chats, agents, models, beyond)
"""LlamaIndex's shapes."""
_OURS = re.compile(r"integrations\.\w+\.tests\.[\w.]+")
"""A module of the tests, where a reader has one of their own."""


def chains_in_three_ways() -> Iterator[list[str]]:
    """A row for each of LangChain's and LangGraph's shapes that are not wholly reached."""
    tables = {**test_chains.SHAPES, **test_graphs.SHAPES, **test_agents.SHAPES}
    return (_chain(name, shape) for name, shape in tables.items() if shape.unreached)


def engines_in_three_ways() -> Iterator[list[str]]:
    """A row for each of LlamaIndex's shapes that are not wholly reached."""
    # Nothing of LlamaIndex's own defaults: they would ask OpenAI.
    Settings.llm, Settings.embed_model = ScriptedLLM(), HashEmbedding()
    shapes = (shape for module in MODULES for shape in module.SHAPES)
    return (_engine(shape) for shape in shapes if shape.unreached)


def _chain(name: str, shape: harness.Shape) -> list[str]:
    return _row(name, shape.make, lambda made: made.invoke(shape.given, shape.config()))


def _engine(shape: world.Shape) -> list[str]:
    corpus, way = Corpus(), shape.ways[0]
    nodes = passages(corpus)
    with tempfile.TemporaryDirectory() as folder:
        parts = world.World(
            corpus=corpus,
            nodes=nodes,
            index=VectorStoreIndex(nodes),
            llm=ScriptedLLM(script=shape.script),
            folder=Path(folder),
        )
        return _row(
            shape.name, lambda: shape.make(parts), lambda made: _waited(way.call(made, parts))
        )


def _waited(result: object) -> object:
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def _row(name: str, make: Callable[[], Any], call: Callable[[Any], object]) -> list[str]:
    """What `guard()` says, and what is guarded by a copy, in place, and in a block."""
    copied: Any = guard(make())
    call(copied)
    reasons = dict.fromkeys(item.reason for item in handle(copied).coverage.unreached)
    placed: Any = guard(make(), scope="process")
    call(placed)
    in_place = handle(placed)
    in_place.unguard()
    with guarded() as block:
        call(make())
    said = _OURS.sub("your module", "; ".join(reasons))
    held = (handle(copied), in_place, block)
    return [name, said, *(_kinds(each.ledgers) for each in held)]


def _kinds(ledgers: Iterable[Ledger]) -> str:
    """What the policy saw: kinds of steps."""
    found = {step.kind for ledger in ledgers for step in ledger.steps}
    return ", ".join(sorted(found, reverse=True)) or "nothing"
