"""A thousand calls at once: each has its own policy, evidence and ledger, and leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from itertools import zip_longest
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough

from ctxguard import Budget, Ledger, Policy, guard, handle
from ctxguard.handle import KEPT_LEDGERS
from ctxguard.run import current_run
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel

pytestmark = pytest.mark.anyio

POLICIES = [
    Policy(),
    Policy.off(),
    Policy(budget=Budget(context_tokens=900)),
    Policy(tokenizer="cl100k_base"),
    Policy(budget=Budget(window=2000, reserve_output=100), dedupe=None),
]
TENANTS = [f"tenant{number}" for number in range(10)]


class Echoing(BaseRetriever):
    """Finds two copies of a passage about the question, in a tenant's own words."""

    tenant: str

    def found(self, query: str) -> list[Document]:
        text = f"What {self.tenant} knows about {query} is written here, in a long passage."
        return [Document(text, id=f"{self.tenant}/{query}/{n}") for n in range(2)]

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        if query.startswith("bad"):
            raise LookupError(query)
        return self.found(query)

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        await asyncio.sleep(60 if query.startswith("slow") else 0.001)
        return self._get_relevant_documents(query, run_manager=run_manager)


MODEL = ScriptedChatModel(script=["one two three"])


def joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


class Tenant:
    """A chain of a tenant, guarded by a policy of its own."""

    def __init__(self, number: int) -> None:
        self.name, self.policy = TENANTS[number], POLICIES[number % len(POLICIES)]
        steps = {"context": Echoing(tenant=self.name) | joined, "question": RunnablePassthrough()}
        prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
        self.chain: Any = guard(steps | prompt | MODEL, self.policy)

    @property
    def last(self) -> Ledger | None:
        return handle(self.chain).last

    def check(self, question: str, kinds: tuple[str, ...] = ("retrieval", "model")) -> None:
        """The last ledger in this context is of this tenant's question, and of nothing else."""
        ledger = self.last
        assert ledger is not None
        assert ledger.question == question
        assert tuple(step.kind for step in ledger.steps) == kinds
        self.check_evidence(ledger)

    def check_evidence(self, ledger: Ledger) -> None:
        name = f"{self.name}/{ledger.question}"
        copies = self.policy.dedupe is None
        if ledger.steps:
            assert [chunk.id for chunk in ledger.chunks] == [f"{name}/0", f"{name}/1"]
            assert len(ledger.dropped()) == (0 if copies else 1)
            assert ledger.budget.context_tokens == self.policy.limits.context_tokens
            assert ledger.tokenizer == (self.policy.tokenizer or "o200k_base")
        evidence = {segment.subject for segment in ledger.segments if segment.kind == "evidence"}
        assert evidence <= ({f"{name}/0", f"{name}/1"} if copies else {f"{name}/0"})
        assert ledger.children == ()


# -- ways to call -------------------------------------------------------------------------------


def invoke(tenant: Tenant, question: str) -> None:
    tenant.chain.invoke(question)
    tenant.check(question)


def stream(tenant: Tenant, question: str) -> None:
    list(tenant.chain.stream(question))
    tenant.check(question)


def abandon(tenant: Tenant, question: str) -> None:
    with closing(tenant.chain.stream(question)) as items:
        next(items)
    tenant.check(question)


def interleave(tenant: Tenant, question: str) -> None:
    """Two streams that are read in turn; the one that ends last is the last."""
    other = f"{question} again"
    for _ in zip_longest(tenant.chain.stream(other), tenant.chain.stream(question)):
        assert current_run() is None
    tenant.check(question)


def fail(tenant: Tenant, question: str) -> None:
    question = f"bad {question}"
    with pytest.raises(LookupError, match=question):
        tenant.chain.invoke(question)
    ledger = tenant.last
    assert ledger is not None
    assert (ledger.question, ledger.error) == (question, f"LookupError: {question}")


def batch(tenant: Tenant, question: str) -> None:
    tenant.chain.batch([question, question])
    tenant.chain.invoke(question)
    tenant.check(question)


async def ainvoke(tenant: Tenant, question: str) -> None:
    await tenant.chain.ainvoke(question)
    tenant.check(question)


async def astream(tenant: Tenant, question: str) -> None:
    async for _ in tenant.chain.astream(question):
        await asyncio.sleep(0)
    tenant.check(question)


async def aabandon(tenant: Tenant, question: str) -> None:
    async with aclosing(tenant.chain.astream(question)) as items:
        await anext(items)
    tenant.check(question)


async def cancel(tenant: Tenant, question: str) -> None:
    """A call that is cancelled while it waits, and one after it in the same task."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await tenant.chain.ainvoke(f"slow {question}")
    ledger = tenant.last
    assert ledger is not None
    assert ledger.question == f"slow {question}"
    assert ledger.error.startswith("CancelledError")
    await ainvoke(tenant, question)


async def events(tenant: Tenant, question: str) -> None:
    async for _ in tenant.chain.astream_events(question, version="v2"):
        pass
    tenant.check(question)


IN_THREADS = [invoke, stream, abandon, interleave, fail, batch]
IN_TASKS = [ainvoke, astream, aabandon, cancel, events]


@pytest.mark.parametrize("calls", [220, pytest.param(1000, marks=pytest.mark.slow)])
async def test_calls_of_every_kind_at_once_never_see_each_other(calls: int) -> None:
    tenants = [Tenant(number) for number in range(len(TENANTS))]
    MODEL.seen.clear()
    loop = asyncio.get_running_loop()

    def call(number: int) -> Awaitable[None]:
        tenant, question = tenants[number % len(tenants)], f"matter{number}"
        kind = number // len(tenants)
        if kind % 2:
            way = IN_THREADS[kind // 2 % len(IN_THREADS)]
            return loop.run_in_executor(pool, way, tenant, question)
        return IN_TASKS[kind // 2 % len(IN_TASKS)](tenant, question)

    with ThreadPoolExecutor(16) as pool:
        await asyncio.gather(*(call(number) for number in range(calls)))
    assert current_run() is None
    for tenant in tenants:
        ledgers = handle(tenant.chain).ledgers
        assert min(calls // len(TENANTS), KEPT_LEDGERS) <= len(ledgers) <= KEPT_LEDGERS
        for ledger in ledgers:
            tenant.check_evidence(ledger)
    for messages in MODEL.seen:
        prompt = messages[0].text
        assert sum(f"What {name} knows" in prompt for name in TENANTS) <= 1
        assert {word for word in prompt.split() if word.startswith("matter")} == {
            prompt.split("\n\n")[-1].split()[0]
        }


# -- nothing stays ------------------------------------------------------------------------------


class Idle(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "idle"

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("done"))])


def blocks_left(call: Callable[[int], object], calls: int) -> int:
    """Blocks of memory that many calls leave, after some to fill what has a limit."""
    for number in range(500):
        call(number)
    gc.collect()
    before = sys.getallocatedblocks()
    for number in range(calls):
        call(number)
    gc.collect()
    return sys.getallocatedblocks() - before


def calls() -> dict[str, Callable[[int], object]]:
    retriever: Any = guard(FixedRetriever(documents=[Document("a"), Document("a")]), Policy.off())
    model: Any = guard(Idle(), Policy.off())
    counted: Any = guard(Idle(), Policy(budget=Budget(window=1000)))

    def abandoned(number: int) -> None:
        next(model.stream(f"question {number}"))

    return {
        "retriever": lambda number: retriever.invoke(f"question {number}"),
        "model": lambda number: model.invoke(f"question {number}"),
        "model with a window": lambda number: counted.invoke(f"question {number % 100}"),
        "abandoned stream": abandoned,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", calls())
def test_calls_leave_no_memory(name: str) -> None:
    assert blocks_left(calls()[name], 1000) < 400, "a block for every other call would be a leak"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number"), [("retriever", 30_000), ("model", 20_000)])
def test_memory_is_flat_over_fifty_thousand_calls(name: str, number: int) -> None:
    """The other half of a hundred thousand is LlamaIndex's."""
    assert blocks_left(calls()[name], number) < 400


@pytest.mark.slow
def test_guarding_again_and_again_leaves_no_memory() -> None:
    retriever = FixedRetriever(documents=[Document("a")])
    assert blocks_left(lambda number: guard(retriever).invoke("q"), 200) < 400


def test_nothing_that_was_guarded_is_kept_alive_by_what_it_did() -> None:
    retriever = FixedRetriever(documents=[Document("a passage that is long enough to be found")])
    guarded: Any = guard(retriever | joined)
    guarded.invoke("q")
    list(guarded.stream("q"))
    next(guarded.stream("q"))
    kept = [weakref.ref(each) for each in (retriever, guarded, handle(guarded))]
    del retriever, guarded
    gc.collect()
    assert [each() for each in kept] == [None, None, None]
