"""Runs follow one call and never another; handles keep what they decided."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ctxguard.errors import UnsupportedObjectError
from ctxguard.guard import Guard
from ctxguard.handle import KEPT_LEDGERS, Coverage, Handle, Reached, Unreached, handle
from ctxguard.policy import Policy
from ctxguard.run import current_run
from ctxguard.testing import WordTokenizer

GUARD = Guard(Policy(tokenizer=WordTokenizer()))


def new_handle() -> Handle:
    return Handle(GUARD, original="plain")


def call(target: Handle, question: str) -> str:
    with target.run(question, "chain"):
        prepared = GUARD.prepare(question, [f"text about {question}", f"text about {question}"])
        return prepared.text


def test_a_run_becomes_the_last_ledger() -> None:
    target = new_handle()
    assert target.last is None
    call(target, "apples")
    assert target.last is not None
    assert target.last.question == "apples"
    assert target.last.name == "chain"
    assert len(target.last.of("drop")) == 1
    assert target.last == target.ledgers[-1]


def test_threads_and_tasks_see_their_own_last_ledger() -> None:
    target = new_handle()
    barrier = threading.Barrier(8)

    def work(question: str) -> bool:
        barrier.wait()
        call(target, question)
        barrier.wait()
        last = target.last
        return last is not None and last.question == question and len(last.steps) == 1

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, [f"q{index}" for index in range(8)]))

    async def task(question: str) -> bool:
        with target.run(question):
            await asyncio.sleep(0)
            GUARD.prepare(question, ["a text"])
            await asyncio.sleep(0)
        last = target.last
        return last is not None and last.question == question and len(last.steps) == 1

    async def main() -> list[bool]:
        return await asyncio.gather(*(task(f"t{index}") for index in range(50)))

    assert all(asyncio.run(main()))
    assert len(target.ledgers) == 58


def test_ledgers_are_bounded() -> None:
    target = new_handle()
    for index in range(KEPT_LEDGERS + 5):
        call(target, f"q{index}")
    assert len(target.ledgers) == KEPT_LEDGERS
    assert target.ledgers[0].question == "q5"


def test_join_takes_part_in_its_own_run_and_nests_in_another() -> None:
    outer, inner = new_handle(), new_handle()
    with outer.run("outer") as run:
        with outer.join("ignored") as same:
            assert same is run
        with inner.join("inner") as child:
            assert child is not run
            assert child.parent is run
            GUARD.prepare("inner", ["a text"])
    assert current_run() is None
    assert inner.last is not None
    assert outer.last is not None
    assert outer.last.children == (inner.last,)
    assert [ledger.question for ledger in outer.last.walk()] == ["outer", "inner"]
    assert len(outer.last.steps) == 1, "what happens inside is part of the whole"


def test_a_call_that_ends_in_another_context_is_still_the_last_one_here() -> None:
    target = new_handle()
    call(target, "first")
    run = target.start("second")
    assert target.last is not None
    assert target.last.question == "first", "a call that has not ended is not the last one"
    thread = threading.Thread(target=target.finish, args=(run,))
    thread.start()
    thread.join()
    assert target.last.question == "second"


def test_evidence_found_around_a_run_is_known_inside() -> None:
    outer, inner = new_handle(), new_handle()
    with outer.run("outer"):
        GUARD.prepare("outer", ["a text that was found outside"])
        with inner.run("inner") as child:
            assert [chunk.text for chunk in child.evidence] == ["a text that was found outside"]


def test_an_exception_is_noted_and_raised() -> None:
    target = new_handle()
    with pytest.raises(KeyError), target.run("q"):
        raise KeyError("gone")
    assert target.last is not None
    assert target.last.error == "KeyError: 'gone'"
    assert current_run() is None


def is_stop(error: BaseException) -> bool:
    return isinstance(error, InterruptedError)


def test_a_frameworks_control_flow_is_raised_and_no_error() -> None:
    target = Handle(GUARD, original="plain", ends_well=is_stop)
    target = pickle.loads(pickle.dumps(target))  # noqa: S301 -- our own bytes
    with pytest.raises(InterruptedError), target.run("q"):
        raise InterruptedError
    with pytest.raises(KeyError), target.run("q"):
        raise KeyError("gone")
    assert [ledger.error for ledger in target.ledgers] == ["", "KeyError: 'gone'"]


def test_a_stream_that_is_closed_ends_well() -> None:
    target = new_handle()

    def stream() -> Generator[int]:
        with target.finishing(target.start("q")):
            assert current_run() is None
            yield 1

    steps = stream()
    assert target.ledgers == (), "a stream that nobody reads has not started"
    assert next(steps) == 1
    steps.close()
    assert [ledger.error for ledger in target.ledgers] == [""]


def test_handles_survive_copies_and_pickles() -> None:
    target = new_handle()
    target.coverage = Coverage((Reached("", "Retriever", "retriever"),))
    call(target, "q")
    assert copy.copy(target) is copy.deepcopy(target) is target
    loaded: Handle = pickle.loads(pickle.dumps(target))  # noqa: S301 -- our own bytes
    assert loaded.policy == target.policy
    assert loaded.coverage == target.coverage
    assert loaded.ledgers == ()
    assert target.unguard() == "plain"


def test_coverage_prints_both_sides() -> None:
    coverage = Coverage(
        (Reached("steps[0]", "VectorStoreRetriever", "retriever"),),
        (Unreached("steps[1]", "function", "calls similarity_search itself"),),
    )
    assert not coverage.complete
    shown = str(coverage)
    assert "steps[0]" in shown
    assert "NOT guarded" in shown
    assert "similarity_search" in shown
    assert "nothing here" in str(Coverage())


def test_handle_of_something_unguarded_is_an_error() -> None:
    with pytest.raises(UnsupportedObjectError, match="not guarded"):
        handle("plain")
