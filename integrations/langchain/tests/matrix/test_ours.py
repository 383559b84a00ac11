"""CtxGuardMiddleware in agents of every shape: before other middleware, after it, and twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from ctxguard_langchain import CtxGuardMiddleware
from integrations.langchain.tests.matrix.graph_modes import GRAPH_MODES
from integrations.langchain.tests.matrix.harness import (
    MODES,
    Mode,
    Shape,
    cells,
    check_applied,
    observe,
)
from integrations.langchain.tests.matrix.shapes_agents import AGENTS, SURROUNDED
from integrations.langchain.tests.matrix.shapes_middleware import MIDDLEWARE

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental"),
]
OTHERS_RETRIEVE = ("that retrieves", "prompt that retrieves", "before a model", "after a model")
"""What another middleware retrieves or asks is its own: guard(agent) is for those."""
OTHERS_ASK = ("summarization", "tool selection", "tool emulation")
ONE_RUN: dict[str, Any] = {"human in the loop": {"runs": 0.5}}
NOT_BUILT = ("create_react_agent", "create_react_agent, schema")
SHAPES = {
    name: dataclasses.replace(shape, **ONE_RUN.get(name, {}))
    for name, shape in {**AGENTS, **MIDDLEWARE}.items()
    if name not in (*OTHERS_RETRIEVE, *OTHERS_ASK, *NOT_BUILT)
}
OUTPUTS = [mode for mode in MODES if mode.name in ("invoke", "ainvoke", "batch", "abatch")]


@pytest.fixture(params=["first", "last"])
def ours(request: pytest.FixtureRequest) -> Iterator[CtxGuardMiddleware]:
    middleware = CtxGuardMiddleware()
    before = [middleware] if request.param == "first" else []
    token = SURROUNDED.set((before, [] if before else [middleware]))
    yield middleware
    SURROUNDED.reset(token)


@pytest.mark.parametrize(("shape", "mode"), cells(SHAPES, "once", GRAPH_MODES))
async def test_the_policy_is_applied_once(
    ours: CtxGuardMiddleware, shape: Shape, mode: Mode
) -> None:
    seen = await observe(shape.make(), shape, mode)
    check_applied(ours.ctxguard, seen, shape, mode)
    assert ours.ctxguard.coverage.complete
