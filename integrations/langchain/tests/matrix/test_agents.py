"""Agents of every shape, called in every way."""

from __future__ import annotations

import pytest

from ctxguard import guard, handle
from integrations.langchain.tests.matrix.graph_modes import GRAPH_MODES, QUICK
from integrations.langchain.tests.matrix.harness import (
    Mode,
    Shape,
    cells,
    check_coverage,
    check_once,
    check_same,
)
from integrations.langchain.tests.matrix.shapes_agents import AGENTS, large
from integrations.langchain.tests.matrix.shapes_middleware import MIDDLEWARE

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental"),
    pytest.mark.filterwarnings("ignore:create_react_agent has been moved"),
]
SHAPES = {**AGENTS, **MIDDLEWARE}


@pytest.mark.parametrize(("shape", "mode"), cells(SHAPES, "same", GRAPH_MODES, QUICK["same"]))
async def test_a_policy_that_does_nothing_changes_nothing(shape: Shape, mode: Mode) -> None:
    await check_same(shape, mode)


@pytest.mark.parametrize(("shape", "mode"), cells(SHAPES, "once", GRAPH_MODES, QUICK["once"]))
async def test_the_policy_is_applied_once(shape: Shape, mode: Mode) -> None:
    await check_once(shape, mode)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_coverage_says_what_is_guarded(shape: Shape) -> None:
    await check_coverage(shape)


def test_all_of_the_largest_graph_is_reached() -> None:
    coverage = handle(guard(large())).coverage
    assert coverage.complete
    assert len(coverage.reached) == 6 * 3 + 4 * 2 + 2
