"""What a guarded call may cost, as committed and as it is here."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import adapters, page

FOUND: Any = page.results()["adapters"]
MOST = {"retrieval": 100, "model call": 200}
"""Microseconds that a policy which does nothing may add."""


@pytest.mark.parametrize("call", FOUND["calls"])
def test_what_is_committed_keeps_to_the_limits(call: str) -> None:
    overhead = FOUND["calls"][call]["off"]["overhead_us"]
    assert overhead["value"] < MOST[call.partition(", ")[2]]
    assert overhead["low"] <= overhead["value"] <= overhead["high"]


def test_guarding_the_largest_agent_is_quick() -> None:
    assert FOUND["guard_create_agent"]["guard_ms"]["value"] < 50


@pytest.mark.slow
def test_a_guarded_call_costs_here_a_small_multiple_of_one_that_does_nothing() -> None:
    """As ratios, and twice what was measured: another machine is slower, and busy."""
    for pair in (*adapters.langchain(), *adapters.llamaindex()):
        here = adapters.overhead(pair, adapters.POLICIES["off"], runs=3)["ratio"]["low"]
        assert here < 2 * FOUND["calls"][pair[0]]["off"]["ratio"]["value"], pair[0]
