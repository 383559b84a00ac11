"""Laws of every shape: what fits comes back as it was, and what is cut stays valid."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard import BudgetExceededError
from tests.wire.shapes import EVIDENCE, PROVIDERS, Provider, Turn, conversations, guard_of

each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda p: p.shape)


@each_provider
@given(turns=conversations)
@settings(max_examples=40)
def test_what_fits_comes_back_as_the_same_objects(provider: Provider, turns: list[Turn]) -> None:
    messages = provider.write(turns)
    before = copy.deepcopy(messages)
    provider.check(messages)
    fitted = guard_of().fit(messages)
    assert all(new is old for new, old in zip(fitted.messages, messages, strict=True))
    assert fitted.messages == before
    assert fitted.positions == tuple(range(len(messages)))
    assert not fitted.changed


@each_provider
@given(turns=conversations, share=st.floats(0.3, 1))
@settings(max_examples=80)
def test_what_is_cut_stays_valid(provider: Provider, turns: list[Turn], share: float) -> None:
    messages = provider.write(turns)
    before = copy.deepcopy(messages)
    whole = guard_of().fit(messages).tokens_before
    window = max(int(whole * share), 1)
    guard = guard_of(window, dedupe=None, rank=None, compress=None, select=None)
    with guard.run():
        guard.prepare("", EVIDENCE)
        try:
            fitted = guard.fit(messages)
        except BudgetExceededError:
            return
    provider.check(fitted.messages)
    assert fitted.tokens_after <= window
    assert guard_of().fit(fitted.messages, shape=provider.shape).tokens_before <= window
    assert messages == before, "what was handed in is not changed"
    assert list(fitted.positions) == sorted(set(fitted.positions))
    for position, message in zip(fitted.positions, fitted.messages, strict=True):
        assert {**messages[position], "content": 0, "output": 0} == {
            **message, "content": 0, "output": 0
        }  # fmt: skip
    assert fitted.changed == (fitted.messages != messages)


@each_provider
@given(turns=conversations)
@settings(max_examples=40)
def test_the_shape_is_seen_wherever_it_matters(provider: Provider, turns: list[Turn]) -> None:
    messages = provider.write(turns)
    assert guard_of().fit(messages) == guard_of().fit(messages, shape=provider.shape)
