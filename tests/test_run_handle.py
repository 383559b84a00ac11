"""Runs follow one call and never another; handles keep what they decided."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import pickle
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from ctxguard.errors import BudgetExceededError, UnsupportedObjectError
from ctxguard.guard import Guard
from ctxguard.handle import KEPT_LEDGERS, Coverage, Handle, Reached, Unreached, handle
from ctxguard.policy import Policy
from ctxguard.run import activate, current_run
from ctxguard.testing import WordTokenizer
from ctxguard.types import Budget, Message

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


# -- when a ledger is made ----------------------------------------------------------------------


class Counting:
    """Counts words, and keeps what it was asked."""

    name = "words"
    exact = True

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, text: str) -> list[int]:
        self.asked.append(text)
        if "broken" in text:
            raise ValueError("cannot read this")
        return list(range(len(text.split())))


OFF = Policy.off()
QUESTION = [Message(role="user", text="What is the notice period?")]


def counted(**changes: Any) -> tuple[Handle, Counting]:
    tokenizer = Counting()
    guard = Guard(replace(OFF, tokenizer=tokenizer, deadline=None, **changes))
    return Handle(guard, original="plain"), tokenizer


def test_nothing_is_counted_for_a_ledger_before_it_is_read() -> None:
    target, tokenizer = counted()
    with target.run("q"):
        target.guard.prepare("q", ["a text", "another text"])
        target.guard.fit(QUESTION, counts=False)
    assert tokenizer.asked == []
    ledger = target.last
    assert ledger is not None
    assert [(step.kind, step.tokens_after) for step in ledger.steps] == [
        ("retrieval", 4),
        ("model", 13),
    ]
    assert [decision.action for decision in ledger.decisions] == ["keep", "keep"]
    asked = len(tokenizer.asked)
    assert target.last is ledger
    assert target.ledgers == (ledger,)
    assert len(tokenizer.asked) == asked, "and then once"


def test_who_wants_the_counts_of_a_prompt_gets_them() -> None:
    target, _ = counted()
    assert target.guard.fit(QUESTION).tokens_after == 13
    assert target.guard.fit(QUESTION, counts=False).tokens_after == 0


@pytest.mark.parametrize(
    "budget", [Budget(window=9), Budget(window=90, ceilings={"history": 0}), Budget(window=10**6)]
)
def test_a_prompt_that_a_limit_may_cut_is_counted_at_once(budget: Budget) -> None:
    target, tokenizer = counted(window=True, budget=replace(budget, reserve_output=0))
    with contextlib.suppress(BudgetExceededError), target.run("q"):
        target.guard.fit(QUESTION, counts=False)
    assert tokenizer.asked


def test_a_tokenizer_that_fails_later_is_a_decision_in_the_ledger() -> None:
    target, _ = counted()
    with target.run("q"):
        target.guard.prepare("q", ["a broken text"])
        target.guard.fit([Message(role="user", text="a broken prompt")], counts=False)
    ledger = target.last
    assert ledger is not None
    assert [(d.stage, d.code) for d in ledger.errors] == [
        ("count", "stage-failed"),
        ("window", "stage-failed"),
    ]
    assert [step.tokens_after for step in ledger.steps] == [0, 0]


def test_who_wants_to_be_told_of_failures_is_told_at_once() -> None:
    target, _ = counted(on_error="raise")
    with pytest.raises(ValueError, match="cannot read this"):
        target.guard.prepare("q", ["a broken text"])
    with pytest.raises(ValueError, match="cannot read this"), target.run("q"):
        target.guard.fit([Message(role="user", text="a broken prompt")], counts=False)


def test_a_ledger_does_not_change_with_what_comes_later() -> None:
    target = new_handle()
    with target.run("q") as run:
        GUARD.prepare("q", ["a text"])
    with activate(run):
        GUARD.prepare("q", ["a late text"])
    assert target.last is not None
    assert len(target.last.steps) == 1


def test_a_run_that_was_shown_and_goes_on_is_shown_anew() -> None:
    target = new_handle()
    run = target.start("q")
    with activate(run):
        GUARD.prepare("q", ["a text"])
        target.publish(run)
        assert target.last is not None
        assert len(target.last.steps) == 1
        GUARD.prepare("q", ["another text"])
        target.publish(run)
    target.finish(run)
    target.finish(run, KeyError("too late"))
    (ledger,) = target.ledgers
    assert (len(ledger.steps), ledger.error) == (2, "")


def test_what_a_run_came_to_is_read_when_it_has_ended() -> None:
    run = new_handle().start("q")
    assert not run.outcome.ended
    with pytest.raises(RuntimeError, match="not ended"):
        _ = run.outcome.ledger


def test_prepared_evidence_pickles_and_copies_with_its_ledger() -> None:
    prepared = GUARD.prepare("q", ["a text", "a text"])
    loaded = pickle.loads(pickle.dumps(prepared))  # noqa: S301 -- our own bytes
    for made in (loaded, copy.deepcopy(prepared)):
        assert made == prepared
        assert made.ledger == prepared.ledger
        assert made.decisions == prepared.decisions


def test_guards_share_what_is_known_of_texts_as_long_as_one_lives() -> None:
    tokenizer = Counting()
    policy = Policy(tokenizer=tokenizer, deadline=None)
    guards = [Guard(policy), Guard(replace(policy, on_error="raise"))]
    assert [guard.prepare("q", ["a text"]).ledger.tokens_in for guard in guards] == [2, 2]
    assert tokenizer.asked.count("a text") == 1
    guards.clear()
    gc.collect()
    assert Guard(policy).prepare("q", ["a text"]).ledger.tokens_in == 2
    assert tokenizer.asked.count("a text") == 2
