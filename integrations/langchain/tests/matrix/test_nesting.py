"""Exactly once, however many guards there are around a retriever or a model."""

from __future__ import annotations

import pytest

from integrations.langchain.tests.matrix.harness import (
    Mode,
    Shape,
    cells,
    check_coverage,
    check_once,
    check_same,
)
from integrations.langchain.tests.matrix.shapes_nested import NESTED

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("shape", "mode"), cells(NESTED))
async def test_a_guard_around_it_changes_nothing(shape: Shape, mode: Mode) -> None:
    await check_same(shape, mode)


@pytest.mark.parametrize(("shape", "mode"), cells(NESTED, "once"))
async def test_one_policy_is_applied_and_ledgers_nest(shape: Shape, mode: Mode) -> None:
    await check_once(shape, mode)


@pytest.mark.parametrize("shape", NESTED.values(), ids=NESTED)
async def test_coverage_counts_what_is_guarded_inside(shape: Shape) -> None:
    await check_coverage(shape)
