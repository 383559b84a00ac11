"""Model cards: how much a model can hold, and what counts its tokens.

Where a context window comes from, most trusted first: `Budget(window=…)` as its user wrote it; what
the framework says of the model (LangChain's profile, LlamaIndex's metadata); genai-prices, whose
table ships with the package and is read without a network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from genai_prices.data_snapshot import get_snapshot

from ctxguard.text.tokens import Tokenizer, tokenizer_for
from ctxguard.types import Budget

__all__ = ["ModelCard", "model_card"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What is known of one model."""

    name: str = ""
    """As the provider writes it; blank when no model is known."""
    window: int | None = None
    """Context window in tokens, prompt and answer together; None if unknown."""
    max_output: int | None = None
    """Most tokens that one answer may have; None if unknown."""
    tokenizer: Tokenizer | None = None
    """Counts its tokens; None: chosen by the name (see `resolve_tokenizer`)."""
    source: str = ""
    """Who said how large the window is: 'LangChain profile', 'genai-prices', …"""

    def resolve_tokenizer(self) -> Tokenizer:
        """The model's tokenizer; o200k_base without a name, a conservative estimate if unknown."""
        return self.tokenizer or tokenizer_for(self.name or None)

    def fill(self, budget: Budget) -> Budget:
        """The budget with the window of this model where it states none of its own."""
        if budget.window is not None or self.window is None:
            return budget
        reserve = budget.reserve_output
        if reserve is not None and reserve >= self.window:
            reserve = self.window // 2  # a default written for a larger model
        return replace(budget, window=self.window, reserve_output=reserve)


def model_card(
    name: str, *, window: int | None = None, max_output: int | None = None, source: str = ""
) -> ModelCard:
    """The card of a model by name, a missing window looked up in genai-prices.

    Args:
        name: as the provider writes it; a provider prefix ("anthropic/…") is understood.
        window: tokens, as the framework knows it; None or 0 if it does not.
        max_output: tokens, None if unknown.
        source: who said `window`.
    """
    if window:
        return ModelCard(name=name, window=window, max_output=max_output, source=source)
    found = _published_window(name) if name else None
    return ModelCard(
        name=name,
        window=found,
        max_output=max_output,
        source="genai-prices" if found else "",
    )


@lru_cache(maxsize=256)
def _published_window(name: str) -> int | None:
    """Tokens that genai-prices' shipped table states for a model, None when it has none."""
    prefix, _, rest = name.partition("/")
    for reference, provider in ((name, None), (rest, prefix), (rest, None)):
        if not reference:
            continue
        try:
            _, model = get_snapshot().find_provider_model(reference, None, provider, None)
        except LookupError:
            continue
        if model.context_window:
            return model.context_window
    return None
