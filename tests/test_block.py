"""Guarded blocks: who sees them, what is patched meanwhile, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

import ctxguard.block
from ctxguard import Coverage, CoverageWarning, InputError, Policy, PolicyError, guarded, handle
from ctxguard.adapters import Patched
from ctxguard.block import ambient
from ctxguard.handle import Reached
from ctxguard.run import current_run


@dataclass
class Framework:
    """An adapter that counts, and its own entry point."""

    name: str = "asyncio"
    """A module that is imported."""
    state: list[str] = field(default_factory=list[str])
    fails: bool = False

    @property
    def value(self) -> str:
        return self.name

    def load(self) -> object:
        return self

    def patch(self) -> Patched:
        if self.fails:
            raise RuntimeError("another version")
        self.state.append("patched")
        reached = Coverage((Reached("framework", "Retriever", "retriever"),))
        return Patched(undo=lambda: self.state.append("undone"), coverage=reached)


@dataclass
class CopiesOnly:
    """An adapter that knows no blocks."""

    name: str = "json"
    value: str = "copies"

    def load(self) -> object:
        return self


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(*points: object) -> None:
        found = {str(getattr(point, "name", "")): point for point in points}
        monkeypatch.setattr(ctxguard.block, "integrations", lambda: found)

    return put


@pytest.fixture
def framework(install: Install) -> Framework:
    made = Framework()
    install(made)
    return made


# -- what is patched, and when ------------------------------------------------------------------


def test_patched_while_a_block_is_open_anywhere(framework: Framework) -> None:
    block = guarded()
    assert framework.state == []
    with block:
        assert framework.state == ["patched"]
        with guarded():
            assert framework.state == ["patched"]
        assert framework.state == ["patched"]
    assert framework.state == ["patched", "undone"]


def test_threads_that_open_blocks_share_one_patch(framework: Framework) -> None:
    inside, leave = threading.Barrier(8), threading.Event()

    def work() -> None:
        with guarded():
            inside.wait(10)
            leave.wait(10)

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(work) for _ in range(7)]
        inside.wait(10)
        assert framework.state == ["patched"]
        leave.set()
    for future in done:
        future.result()
    assert framework.state == ["patched", "undone"]


def test_an_error_closes_the_block_and_is_noted(framework: Framework) -> None:
    block = guarded()
    with pytest.raises(ValueError, match="boom"), block as opened:
        raise ValueError("boom")
    assert framework.state == ["patched", "undone"]
    assert ambient() is None
    assert current_run() is None
    assert opened.last is not None
    assert opened.last.error == "ValueError: boom"


def test_a_framework_that_is_imported_meanwhile_is_patched_by_the_next_block(
    install: Install, framework: Framework, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Framework(name="ctxguard_not_imported")
    install(framework, late)
    with guarded() as outer:
        assert [u.path for u in outer.coverage.unreached if u.type == "integration"] == [late.name]
        monkeypatch.setitem(__import__("sys").modules, late.name, __import__("asyncio"))
        with guarded() as inner:
            assert not [u for u in inner.coverage.unreached if u.type == "integration"]
            assert late.state == ["patched"]
        assert late.state == ["patched"]
    assert late.state == ["patched", "undone"]


def test_what_cannot_be_patched_is_said(install: Install, framework: Framework) -> None:
    install(framework, CopiesOnly(), Framework(name="threading", fails=True))
    with guarded() as opened:
        pass
    reasons = {u.path: u.reason for u in opened.coverage.unreached}
    assert "use guard()" in reasons["json"]
    assert "RuntimeError: another version" in reasons["threading"]
    assert {"threads", "processes"} <= reasons.keys()
    assert framework.state == ["patched", "undone"]


def test_a_block_that_guards_nothing_warns(install: Install) -> None:
    install(Framework(name="ctxguard_not_imported"))
    with (
        pytest.warns(CoverageWarning, match="ctxguard_not_imported.*not imported yet") as caught,
        guarded() as opened,
    ):
        pass
    assert caught[0].filename == __file__
    assert not opened.coverage.reached


def test_a_warning_that_is_an_error_leaves_nothing_open(install: Install) -> None:
    install()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CoverageWarning), guarded():
            pass
    assert ambient() is None
    assert current_run() is None


# -- who is inside ------------------------------------------------------------------------------


def test_only_this_context_is_inside(framework: Framework) -> None:
    seen: dict[str, object] = {}
    with guarded() as opened:
        plain = threading.Thread(target=lambda: seen.update(plain=ambient()))
        copied = contextvars.copy_context()
        copy = threading.Thread(target=lambda: seen.update(copy=copied.run(ambient)))
        for thread in (plain, copy):
            thread.start()
            thread.join()
        assert ambient() is opened
    assert seen == {"plain": None, "copy": opened}
    assert ambient() is None


@pytest.mark.anyio
async def test_tasks_are_inside_until_the_block_ends(framework: Framework) -> None:
    ended = asyncio.Event()

    async def task() -> list[object]:
        first = ambient()
        await ended.wait()
        return [first, ambient()]

    with guarded() as opened:
        running = asyncio.create_task(task())
        await asyncio.sleep(0)
    ended.set()
    assert await running == [opened, None]


@pytest.mark.anyio
async def test_a_task_that_outlives_an_inner_block_is_inside_of_the_outer_one(
    framework: Framework,
) -> None:
    ended = asyncio.Event()

    async def task() -> object:
        await ended.wait()
        return ambient()

    with guarded() as outer:
        with guarded():
            running = asyncio.create_task(task())
        ended.set()
        assert await running is outer


def test_a_block_in_a_block_has_its_own_policy_and_ledger(framework: Framework) -> None:
    with guarded(Policy.lean()) as outer:
        with guarded(Policy.strict()) as inner:
            assert ambient() is inner
        assert ambient() is outer
    assert outer.last is not None
    assert inner.last is not None
    assert [child.run_id for child in outer.last.children] == [inner.last.run_id]


def test_what_a_guarded_call_runs_follows_the_policy_of_that_call(framework: Framework) -> None:
    with guarded() as outer, guarded() as other:
        with outer.run(name="a guarded object"):
            assert ambient() is outer
        assert ambient() is other


def test_a_block_may_be_closed_in_another_context(framework: Framework) -> None:
    block = guarded()
    context = contextvars.copy_context()
    opened = context.run(block.__enter__)
    assert context.run(ambient) is opened
    block.__exit__(None, None, None)
    assert context.run(ambient) is None
    assert framework.state == ["patched", "undone"]
    assert len(opened.ledgers) == 1


def test_a_block_is_entered_once(framework: Framework) -> None:
    block = guarded()
    with block, pytest.raises(InputError, match="entered once"):
        block.__enter__()
    block.__exit__(None, None, None)
    assert framework.state == ["patched", "undone"]


def test_overrides_are_fields_of_the_policy() -> None:
    with pytest.raises(PolicyError, match=r"guarded\(colour=…\)"):
        guarded(colour="red")
    assert guarded(budget=7) is not guarded(budget=7)


# -- decorators ---------------------------------------------------------------------------------


def test_every_call_of_a_decorated_function_is_a_block(framework: Framework) -> None:
    @guarded(budget=77)
    def ask(question: str) -> object:
        """Asks."""
        return question, ambient()

    assert ask("q") == ("q", handle(ask))
    assert ask("q") == ("q", handle(ask))
    assert [ledger.name for ledger in handle(ask).ledgers] == ["ask", "ask"]
    assert handle(ask).policy.limits.context_tokens == 77
    assert (ask.__name__, ask.__doc__) == ("ask", "Asks.")
    assert framework.state == ["patched", "undone"] * 2


@pytest.mark.anyio
async def test_a_decorated_coroutine_function_is_one(framework: Framework) -> None:
    @guarded()
    async def ask() -> object:
        await asyncio.sleep(0)
        return ambient()

    assert asyncio.iscoroutinefunction(ask)
    assert await asyncio.gather(ask(), ask()) == [handle(ask)] * 2
    assert ambient() is None
    assert len(handle(ask).ledgers) == 2


def test_generator_functions_are_refused() -> None:
    def items() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for function in (items, later):
        with pytest.raises(InputError, match=r"generator function.*around the loop"):
            guarded()(function)
