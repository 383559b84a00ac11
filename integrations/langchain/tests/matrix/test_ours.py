"""CtxGuardMiddleware in agents of every shape: before other middleware, after it, and twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from ctxguard import Ledger, Policy, guard, handle
from ctxguard_langchain import CtxGuardMiddleware
from integrations.langchain.tests.matrix.graph_modes import GRAPH_MODES
from integrations.langchain.tests.matrix.harness import (
    MODES,
    QUESTION,
    Mode,
    Shape,
    cells,
    check_applied,
    observe,
)
from integrations.langchain.tests.matrix.shapes_agents import AGENTS, SURROUNDED, thread
from integrations.langchain.tests.matrix.shapes_graphs import ASK
from integrations.langchain.tests.matrix.shapes_middleware import APPROVED, MIDDLEWARE

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental"),
]
NOT_OURS = {
    # What another middleware retrieves or asks itself, only guard(agent) reaches.
    *("that retrieves", "prompt that retrieves", "before a model", "after a model"),
    *("summarization", "tool selection", "tool emulation"),
    "human in the loop",  # below
}
ALL = {
    name: shape
    for name, shape in {**AGENTS, **MIDDLEWARE}.items()
    if not name.startswith("create_react_agent")  # it takes no middleware
}
SHAPES = {
    name: dataclasses.replace(shape, runs=2, evidence=False) if name == "hand-off" else shape
    for name, shape in ALL.items()
    if name not in NOT_OURS
}
OUTPUTS = tuple(mode for mode in MODES if mode.name in ("invoke", "ainvoke", "batch", "abatch"))


@pytest.fixture(params=["first", "last"])
def ours(request: pytest.FixtureRequest) -> Iterator[CtxGuardMiddleware]:
    middleware = CtxGuardMiddleware()
    first = request.param == "first"
    token = SURROUNDED.set(([middleware], []) if first else ([], [middleware]))
    yield middleware
    SURROUNDED.reset(token)


@pytest.mark.parametrize(
    ("shape", "mode"), cells(SHAPES, "once", GRAPH_MODES, ("ainvoke", "stream everything"))
)
async def test_the_policy_is_applied_once(
    ours: CtxGuardMiddleware, shape: Shape, mode: Mode
) -> None:
    seen = await observe(shape.make(), shape, mode)
    check_applied(ours.ctxguard, seen, shape, mode)
    assert ours.ctxguard.coverage.complete


@pytest.mark.parametrize(("shape", "mode"), cells(SHAPES, "once", OUTPUTS, ("invoke",)))
async def test_a_policy_that_does_nothing_changes_no_output(shape: Shape, mode: Mode) -> None:
    plain = await observe(shape.make(), shape, mode)
    token = SURROUNDED.set(([CtxGuardMiddleware(Policy.off())], []))
    try:
        off = await observe(shape.make(), shape, mode)
    finally:
        SURROUNDED.reset(token)
    assert off.outputs == plain.outputs


@pytest.mark.parametrize(("shape", "mode"), cells(ALL, "once", GRAPH_MODES, ("ainvoke",)))
async def test_guarded_as_a_whole_the_policy_is_applied_once(
    ours: CtxGuardMiddleware, shape: Shape, mode: Mode
) -> None:
    guarded = guard(shape.make())
    check_applied(handle(guarded), await observe(guarded, shape, mode), shape, mode)
    assert ours.ctxguard.ledgers == ()


# -- invocations whose end nobody sees ----------------------------------------------------------


def kinds(ledger: Ledger) -> list[str]:
    return [step.kind for step in ledger.steps]


async def test_an_interrupted_invocation_goes_on_in_its_run(ours: CtxGuardMiddleware) -> None:
    agent = MIDDLEWARE["human in the loop"].make()
    config: Any = thread()
    await agent.ainvoke(ASK, config)
    assert [kinds(ledger) for ledger in ours.ctxguard.ledgers] == [["model"]]
    await agent.ainvoke(APPROVED, config)
    assert [kinds(ledger) for ledger in ours.ctxguard.ledgers] == [["model", "retrieval", "model"]]
    (ledger,) = ours.ctxguard.ledgers
    assert ledger.question == QUESTION
    assert any(segment.kind == "evidence" for segment in ledger.segments)


def test_an_abandoned_interrupt_keeps_its_ledger(ours: CtxGuardMiddleware) -> None:
    agent = MIDDLEWARE["human in the loop"].make()
    config: Any = thread()
    agent.invoke(ASK, config)
    agent.invoke({"messages": [HumanMessage("Never mind. Who pays?")]}, config)
    agent.invoke(ASK, thread())
    questions = [ledger.question for ledger in ours.ctxguard.ledgers]
    assert questions == [QUESTION, "Never mind. Who pays?", QUESTION]


def test_what_another_process_resumes_has_a_ledger_of_its_own(ours: CtxGuardMiddleware) -> None:
    agent = MIDDLEWARE["human in the loop"].make()
    config: Any = thread()
    agent.invoke(ASK, config)
    ours._runs.clear()
    agent.invoke(APPROVED, config)
    assert [kinds(ledger) for ledger in ours.ctxguard.ledgers] == [
        ["model"],
        ["retrieval", "model"],
    ]


def test_an_error_that_is_retried_is_none(ours: CtxGuardMiddleware) -> None:
    MIDDLEWARE["model retry"].make().invoke(ASK)
    (ledger,) = ours.ctxguard.ledgers
    assert not ledger.error
    assert kinds(ledger) == ["model", "model", "retrieval", "model", "model"]


def test_many_invocations_that_never_end_are_not_kept(
    ours: CtxGuardMiddleware, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctxguard_langchain.middleware._KEPT_RUNS", 2)
    agent = MIDDLEWARE["human in the loop"].make()
    for _ in range(4):
        agent.invoke(ASK, thread())
    assert len(ours._runs) == len(ours._places) == 2
    assert len(ours.ctxguard.ledgers) == 4
