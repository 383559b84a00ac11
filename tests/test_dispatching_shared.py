"""Routed calls of several processes on one Redis server, and calls that outlive the server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctxguard import Guard, Handle, Message, Policy, SpendLimitError
from ctxguard.dispatching import dispatching
from ctxguard.request import Request
from ctxguard.routing import Price, Route, Router, Routes, SpendLimit, calling_for
from tests.routing.state.redis_server import RedisServer

pytestmark = pytest.mark.redis

LIGHT = Route(name="light", price=Price(input=1, output=2), max_output=100)
HEAVY = Route(name="heavy", price=Price(input=10, output=20), max_output=100)
REQUEST = Request(messages=(Message(role="user", text="What is the fee?"),))
MOST = (20 * 1 + 100 * 2) / 1e6
"""What a light call may cost: 4 tokens of text, and 16 that a provider may add."""
PROCESS = """
import json, sys
from tests.test_dispatching_shared import guard_of, once
guard = guard_of(sys.argv[1])
print(json.dumps([once(guard) for _ in range(int(sys.argv[2]))]))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as started:
        yield started


def guard_of(url: str, usd: float = 100 * MOST) -> Guard:
    limits = (SpendLimit(usd=usd, per="day"),)
    router = Router(thresholds=(10.0,))
    return Guard(
        Policy(routing=Routes(routes=(LIGHT, HEAVY), router=router, limits=limits, state=url))
    )


def once(guard: Guard) -> str:
    """The route of one call, blank where the limit forbids it."""
    with guard.run("What is the fee?"), calling_for(tenant="acme"):
        routed = dispatching(guard.dispatcher)
        assert routed is not None
        try:
            return routed.call(REQUEST, lambda attempt: attempt.route.name)
        except SpendLimitError:
            return ""


@pytest.mark.slow
def test_two_processes_share_a_limit(server: RedisServer) -> None:
    command = [sys.executable, "-c", PROCESS, server.url, "120"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    taken = [name for one in both for name in json.loads(one.communicate(timeout=60)[0])]
    spent = guard_of(server.url).dispatcher.standing("acme")[0]  # type: ignore[union-attr]
    assert {*taken} == {"light", ""}
    assert spent.usd <= spent.limit
    assert spent.usd > spent.limit - MOST  # the last call that was refused had no room


def test_feedback_finds_the_run_of_another_process(server: RedisServer) -> None:
    ours, theirs = guard_of(server.url), guard_of(server.url)
    with ours.run("What is the fee?") as run:
        routed = dispatching(ours.dispatcher)
        assert routed is not None
        routed.call(REQUEST, lambda attempt: attempt.route.name)
    assert Handle(theirs, theirs).feedback(run.run_id, ok=True) is not None


def test_a_call_outlives_the_server_and_says_so(server: RedisServer) -> None:
    guard = guard_of(server.url)
    assert once(guard) == "light"
    server.kill()
    with guard.run("What is the fee?") as run:
        routed = dispatching(guard.dispatcher)
        assert routed is not None
        assert routed.call(REQUEST, lambda attempt: attempt.route.name) == "light"
    codes = [decision.code for decision in run.ledger().decisions]
    assert "state" in codes
    assert any("goes on by itself" in one.reason for one in run.ledger().errors)
