"""Every shape in every way: off, it is the plain one; on, the policy is applied exactly once."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import ctxguard
from ctxguard import CoverageWarning, Policy
from ctxguard.run import current_run
from ctxguard_llamaindex.testing import ScriptedLLM
from integrations.llamaindex.tests.matrix import (
    agents,
    beyond,
    chats,
    engines,
    models,
    retrievers,
)
from integrations.llamaindex.tests.matrix.world import Cell, World, cells, listening, wait_for

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

BEYOND = cells(beyond.SHAPES)
CELLS = cells(
    shape for module in (engines, retrievers, chats, agents, models) for shape in module.SHAPES
)

pytestmark = [
    # To find an agent's steps, workflows look at all of its attributes, pydantic's old ones too.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    # LlamaIndex's ReActAgent asks its own context what the context calls deprecated.
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]


@pytest.fixture
def world(cell: Cell, corpus: Any, nodes: Any, index: Any, tmp_path: Path) -> World:
    return World(
        corpus=corpus,
        nodes=nodes,
        index=index,
        llm=ScriptedLLM(script=cell.shape.script),
        folder=tmp_path,
        streaming=cell.way.streaming,
    )


def call(cell: Cell, world: World, obj: Any) -> Any:
    """What came of it, and the prompts that it took."""
    world.llm.prompts.clear()
    outcome = wait_for(cell.way.call(obj, world))
    return outcome, [[m.model_dump() for m in prompt] for prompt in world.llm.prompts]


def guarded_as_expected(cell: Cell, obj: Any, *policy: Policy) -> Any:
    """The guarded object, with the coverage that the cell's shape says."""
    unreached = cell.shape.unreached
    warned = pytest.warns(CoverageWarning, match="not guarded") if unreached else nullcontext()
    with warned:
        guarded = guard(obj, *policy)
    coverage = guarded.ctxguard.coverage
    assert tuple(item.path for item in coverage.unreached) == unreached, str(coverage)
    assert coverage.reached or unreached, str(coverage)
    return guarded


def reads_evidence(prompt: Any, world: World) -> bool:
    texts = (world.corpus.notice, world.corpus.other_notice, world.corpus.payment)
    return any(text in (message.content or "") for message in prompt for text in texts)


def copies(prompt: Any, world: World) -> int:
    return sum((message.content or "").count(world.corpus.notice) for message in prompt)


@pytest.mark.parametrize("cell", [*CELLS, *BEYOND])
def test_off_is_the_plain_one(cell: Cell, world: World) -> None:
    with listening() as heard:
        obj = cell.shape.make(world)
        heard.names.clear()
        plain = call(cell, world, obj)
        reported = heard.taken(ordered=cell.way.ordered)
        assert plain[0].text or plain[0].parts or plain[0].sources
        assert bool(plain[1]) == cell.shape.models

        off = cell.shape.make(world)
        guarded = guarded_as_expected(cell, off, Policy.off())
        heard.names.clear()
        assert call(cell, world, guarded) == plain
        assert heard.taken(ordered=cell.way.ordered) == reported
    assert type(guarded).__mro__[1] is type(off)


@pytest.mark.parametrize("cell", CELLS)
def test_the_policy_is_applied_exactly_once(cell: Cell, world: World) -> None:
    shape, way = cell.shape, cell.way
    guarded = guarded_as_expected(cell, shape.make(world))

    _, prompts = call(cell, world, guarded)

    ledgers = guarded.ctxguard.ledgers
    assert len(ledgers) == way.calls
    assert [ledger.error for ledger in ledgers] == [""] * way.calls
    assert not any(ledger.errors for ledger in ledgers)
    steps = [step for ledger in ledgers for step in ledger.steps]
    retrievals = [step for step in steps if step.kind == "retrieval"]
    assert len(retrievals) == shape.retrievals * way.calls, [step.name for step in steps]
    assert len(steps) - len(retrievals) == len(prompts), [step.name for step in steps]
    twins = shape.retrievals if shape.twins is None else shape.twins
    dropped = [drop for ledger in ledgers for drop in ledger.of("drop")]
    assert [drop.code for drop in dropped] == ["exact-duplicate"] * twins * way.calls
    assert current_run() is None
    if shape.retrievals:
        models = [step for step in steps if step.kind == "model"]
        known = [any(part.kind == "evidence" for part in step.segments) for step in models]
        reading = [prompt for prompt in world.llm.prompts if reads_evidence(prompt, world)]
        assert sum(known) == len(reading) - shape.reads_before
    if shape.retrievals == 1 and not shape.reads_before:
        assert all(copies(prompt, world) <= 1 for prompt in world.llm.prompts)
