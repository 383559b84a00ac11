"""Model cards: where a window comes from."""

from __future__ import annotations

import pytest

from ctxguard.models import ModelCard, model_card
from ctxguard.types import Budget


@pytest.mark.parametrize(
    "name",
    ["gpt-4o-mini", "openai/gpt-4o-mini", "claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"],
)
def test_a_published_window_is_found(name: str) -> None:
    card = model_card(name)
    assert card.window is not None
    assert card.window >= 100_000
    assert card.source == "genai-prices"


def test_the_framework_is_trusted_more_and_zero_means_unknown() -> None:
    assert model_card("gpt-4o-mini", window=9000, source="LangChain profile").window == 9000
    assert model_card("gpt-4o-mini", window=0).source == "genai-prices"


@pytest.mark.parametrize("name", ["", "my-own-model", "no/such/model", "\ud800"])
def test_an_unknown_model_has_no_window(name: str) -> None:
    assert model_card(name).window is None


def test_an_explicit_window_is_trusted_most() -> None:
    card = ModelCard(name="m", window=4000)
    assert card.fill(Budget()).window == 4000
    assert card.fill(Budget(window=500)).window == 500
    assert card.fill(Budget(context_tokens=7)).context_tokens == 7


def test_a_reserve_for_a_larger_model_leaves_room() -> None:
    filled = ModelCard(window=2000).fill(Budget(reserve_output=4096))
    assert filled.prompt_tokens == 1000
