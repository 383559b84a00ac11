"""Graphs of every shape, called in every way."""

from __future__ import annotations

import pytest

from integrations.langchain.tests.matrix.graph_modes import GRAPH_MODES, QUICK
from integrations.langchain.tests.matrix.harness import (
    Mode,
    Shape,
    cells,
    check_coverage,
    check_once,
    check_same,
)
from integrations.langchain.tests.matrix.shapes_graphs import GRAPHS
from integrations.langchain.tests.matrix.shapes_tools import TOOLS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The v3 streaming protocol on Pregel is experimental"),
]
SHAPES = {**GRAPHS, **TOOLS}


@pytest.mark.parametrize(("shape", "mode"), cells(SHAPES, "same", GRAPH_MODES, QUICK["same"]))
async def test_a_policy_that_does_nothing_changes_nothing(shape: Shape, mode: Mode) -> None:
    await check_same(shape, mode)


@pytest.mark.parametrize(("shape", "mode"), cells(SHAPES, "once", GRAPH_MODES, QUICK["once"]))
async def test_the_policy_is_applied_once(shape: Shape, mode: Mode) -> None:
    await check_once(shape, mode)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_coverage_says_what_is_guarded(shape: Shape) -> None:
    await check_coverage(shape)
