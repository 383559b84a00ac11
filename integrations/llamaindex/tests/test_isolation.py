"""A thousand calls at once: each has its own policy, evidence and ledger, and leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from itertools import zip_longest
from typing import Any

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

import ctxguard
from ctxguard import Budget, Policy
from ctxguard.handle import KEPT_LEDGERS
from ctxguard.run import current_run
from ctxguard_llamaindex.testing import ScriptedLLM

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

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

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        query = query_bundle.query_str
        if query.startswith("bad"):
            raise LookupError(query)
        text = f"What {self.tenant} knows about {query} is written here, in a long passage."
        name = f"{self.tenant}/{query}"
        return [NodeWithScore(node=TextNode(id_=f"{name}/{n}", text=text)) for n in range(2)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        await asyncio.sleep(60 if query_bundle.query_str.startswith("slow") else 0.001)
        return self._retrieve(query_bundle)


class Tenant:
    """Query engines of a tenant, guarded by a policy of its own; all share one model."""

    def __init__(self, number: int, llm: ScriptedLLM) -> None:
        self.name, self.policy = TENANTS[number], POLICIES[number % len(POLICIES)]
        retriever = Echoing(self.name)

        def engine(**options: Any) -> Any:
            made = RetrieverQueryEngine.from_args(retriever, llm=llm, **options)
            return guard(made, self.policy)

        self.engine, self.streaming = engine(), engine(streaming=True)

    def check(self, engine: Any, question: str) -> None:
        """The last ledger in this context is of this tenant's question, and of nothing else."""
        ledger = engine.ctxguard.last
        assert ledger.question == question
        assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
        assert not ledger.error
        self.check_evidence(ledger)

    def check_evidence(self, ledger: Any) -> None:
        name = f"{self.name}/{ledger.question}"
        copies = self.policy.dedupe is None
        if ledger.steps:
            assert [chunk.id for chunk in ledger.chunks] == [f"{name}/0", f"{name}/1"]
            assert len(ledger.dropped()) == (0 if copies else 1)
            assert ledger.budget.context_tokens == self.policy.limits.context_tokens
        if len(ledger.steps) == 2:
            evidence = {item.subject for item in ledger.segments if item.kind == "evidence"}
            assert evidence <= ({f"{name}/0", f"{name}/1"} if copies else {f"{name}/0"})
        assert ledger.children == ()


# -- ways to call -------------------------------------------------------------------------------


def query(tenant: Tenant, question: str) -> None:
    tenant.engine.query(question)
    tenant.check(tenant.engine, question)


def stream(tenant: Tenant, question: str) -> None:
    list(tenant.streaming.query(question).response_gen)
    tenant.check(tenant.streaming, question)


def abandon(tenant: Tenant, question: str) -> None:
    items = tenant.streaming.query(question).response_gen
    next(items)
    items.close()
    tenant.check(tenant.streaming, question)


def interleave(tenant: Tenant, question: str) -> None:
    """Two streams that are read in turn; the one that ends last is the last."""
    first = tenant.streaming.query(f"{question} again").response_gen
    for _ in zip_longest(first, tenant.streaming.query(question).response_gen):
        assert current_run() is None
    tenant.check(tenant.streaming, question)


def fail(tenant: Tenant, question: str) -> None:
    with pytest.raises(LookupError, match=question):
        tenant.engine.query(f"bad {question}")
    ledger = tenant.engine.ctxguard.last
    assert (ledger.question, ledger.error) == (f"bad {question}", f"LookupError: bad {question}")


async def aquery(tenant: Tenant, question: str) -> None:
    await tenant.engine.aquery(question)
    tenant.check(tenant.engine, question)


async def astream(tenant: Tenant, question: str) -> None:
    response = await tenant.streaming.aquery(question)
    async for _ in response.async_response_gen():
        await asyncio.sleep(0)
    tenant.check(tenant.streaming, question)


async def cancel(tenant: Tenant, question: str) -> None:
    """A call that is cancelled while it waits, and one after it in the same task."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await tenant.engine.aquery(f"slow {question}")
    ledger = tenant.engine.ctxguard.last
    assert ledger.question == f"slow {question}"
    assert ledger.error.startswith("CancelledError")
    await aquery(tenant, question)


IN_THREADS = [query, stream, abandon, interleave, fail]
IN_TASKS = [aquery, astream, cancel]


@pytest.mark.parametrize("calls", [200, pytest.param(1000, marks=pytest.mark.slow)])
async def test_calls_of_every_kind_at_once_never_see_each_other(calls: int) -> None:
    llm = ScriptedLLM()
    tenants = [Tenant(number, llm) for number in range(len(TENANTS))]
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
        for engine in (tenant.engine, tenant.streaming):
            ledgers = engine.ctxguard.ledgers
            assert 0 < len(ledgers) <= KEPT_LEDGERS
            for ledger in ledgers:
                tenant.check_evidence(ledger)
    for messages in llm.prompts:
        prompt = "\n".join(message.content or "" for message in messages)
        assert sum(f"What {name} knows" in prompt for name in TENANTS) == 1
        assert len({word for word in prompt.split() if word.startswith("matter")}) == 1


# -- nothing stays ------------------------------------------------------------------------------


def blocks_left(call: Callable[[int], object], calls: int) -> int:
    """Blocks of memory that many calls leave, after some to fill what has a limit.

    In a context of their own: LlamaIndex keeps every event for as long as the context has a trace
    that a stream began and nobody read to its end.
    """
    return Context().run(_blocks_left, call, calls)


def _blocks_left(call: Callable[[int], object], calls: int) -> int:
    for number in range(500):
        call(number)
    gc.collect()
    before = sys.getallocatedblocks()
    for number in range(calls):
        call(number)
    gc.collect()
    return sys.getallocatedblocks() - before


def calls() -> dict[str, Callable[[int], object]]:
    retriever = guard(Echoing("tenant"), Policy.off())
    model = guard(MockLLM(), Policy.off())

    def message(number: int) -> list[ChatMessage]:
        return [ChatMessage(content=f"question {number}")]

    return {
        "retriever": lambda number: retriever.retrieve(f"question {number}"),
        "model": lambda number: model.chat(message(number)),
        "abandoned stream": lambda number: next(model.stream_chat(message(number))),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", calls())
def test_calls_leave_no_memory(name: str) -> None:
    assert blocks_left(calls()[name], 1000) < 400, "a block for every other call would be a leak"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number"), [("retriever", 25_000), ("model", 25_000)])
def test_memory_is_flat_over_fifty_thousand_calls(name: str, number: int) -> None:
    """The other half of a hundred thousand is LangChain's."""
    assert blocks_left(calls()[name], number) < 400


@pytest.mark.slow
def test_guarding_again_and_again_leaves_no_memory() -> None:
    retriever = Echoing("tenant")
    assert blocks_left(lambda number: guard(retriever).retrieve("q"), 200) < 400


def test_nothing_that_was_guarded_is_kept_alive_by_what_it_did(llm: ScriptedLLM) -> None:
    retriever = Echoing("tenant")
    engine = RetrieverQueryEngine.from_args(retriever, llm=llm, streaming=True)
    guarded = guard(engine)
    list(guarded.query("q").response_gen)
    next(guarded.query("q").response_gen)
    kept = [weakref.ref(each) for each in (retriever, engine, guarded, guarded.ctxguard)]
    del retriever, engine, guarded
    gc.collect()
    assert [each() for each in kept] == [None] * 4
