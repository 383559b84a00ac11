"""Every chain, called in every way."""

from __future__ import annotations

import pytest

from ctxguard_langchain.testing import ScriptedChatModel
from integrations.langchain.tests.matrix.harness import (
    Mode,
    Shape,
    cells,
    check_coverage,
    check_once,
    check_same,
)
from integrations.langchain.tests.matrix.shapes_chains import CHAINS
from integrations.langchain.tests.matrix.shapes_classic import CLASSIC
from integrations.langchain.tests.matrix.shapes_functions import FUNCTIONS
from integrations.langchain.tests.matrix.shapes_models import MODELS
from integrations.langchain.tests.matrix.shapes_objects import OBJECTS

SHAPES = {**CHAINS, **CLASSIC, **FUNCTIONS, **MODELS, **OBJECTS}

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:The method `BaseChatModel._a?chat_model_stream_v3` is in"),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
    # Of LangChain's own old chains, which people still guard.
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _made_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """`init_chat_model` makes a model of ours, whichever provider it is asked for."""
    monkeypatch.setattr(
        "langchain.chat_models.base._init_chat_model_helper", lambda *_, **__: ScriptedChatModel()
    )


@pytest.mark.parametrize(("shape", "mode"), cells(SHAPES))
async def test_a_policy_that_does_nothing_changes_nothing(shape: Shape, mode: Mode) -> None:
    await check_same(shape, mode)


@pytest.mark.parametrize(("shape", "mode"), cells(SHAPES, "once"))
async def test_the_policy_is_applied_exactly_once(shape: Shape, mode: Mode) -> None:
    await check_once(shape, mode)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
async def test_coverage_says_what_is_guarded_and_what_is_not(shape: Shape) -> None:
    await check_coverage(shape)
