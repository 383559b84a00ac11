"""The adapter that docs/how-to/write-an-adapter.md writes, installed and found by `guard()`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from haystack import Document, Pipeline, component
from haystack.components.agents import Agent
from haystack.components.builders import ChatPromptBuilder
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore

from ctxguard import Budget, CoverageWarning, Policy, guard, handle
from ctxguard.adapters import integrations
from ctxguard.testing import WordTokenizer
from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs/how-to/write-an-adapter.md"
QUESTION = "What is the notice period of the lease?"
GOOD = "The notice period of the lease is thirty days."
WEAK = "The lease has a garden, a cellar and two parking spaces."
PROMPT = "{% for d in documents %}{{ d.content }}\n\n{% endfor %}{{ question }}"


@component
class Echo:
    """A model that answers with the prompt that it got."""

    @component.output_types(replies=list[ChatMessage])
    def run(self, messages: list[ChatMessage], tools: list[Any] | None = None) -> dict[str, Any]:
        return {"replies": [ChatMessage.from_assistant(messages[-1].text)]}


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's adapter as an installed distribution."""
    (tmp_path / "ctxguard_haystack.py").write_text(next(blocks(PAGE)).code, "utf-8")
    info = tmp_path / "ctxguard_haystack-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ctxguard-haystack\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[ctxguard.adapters]\nhaystack = ctxguard_haystack:adapter\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    integrations.cache_clear()
    yield
    integrations.cache_clear()
    sys.modules.pop("ctxguard_haystack", None)


def build(*extra: tuple[str, Any]) -> Pipeline:
    store = InMemoryDocumentStore()
    texts = {"good": GOOD, "weak": WEAK, "copy": GOOD.replace("the ", "the  ")}
    store.write_documents([Document(id=name, content=text) for name, text in texts.items()])
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store))
    builder = ChatPromptBuilder(
        [ChatMessage.from_user(PROMPT)], required_variables=["documents", "question"]
    )
    pipeline.add_component("prompt", builder)
    pipeline.add_component("model", Echo())
    pipeline.connect("retriever.documents", "prompt.documents")
    pipeline.connect("prompt.prompt", "model.messages")
    for name, part in extra:
        pipeline.add_component(name, part)
    return pipeline


def ask(run: Callable[[dict[str, Any]], Any]) -> str:
    result = run({"retriever": {"query": QUESTION}, "prompt": {"question": QUESTION}})
    return result["model"]["replies"][0].text


def synchronous(pipeline: Pipeline) -> str:
    return ask(pipeline.run)


def asynchronous(pipeline: Pipeline) -> str:
    return ask(lambda data: asyncio.run(pipeline.run_async(data)))


@pytest.mark.parametrize("run", [synchronous, asynchronous])
def test_plain_equals_guarded_when_the_policy_does_nothing(run: Callable[[Pipeline], str]) -> None:
    pipeline = build()
    guarded = guard(pipeline, Policy.off())
    assert type(guarded) is not Pipeline
    assert isinstance(guarded, Pipeline)
    assert run(guarded) == run(pipeline)


@pytest.mark.parametrize("run", [synchronous, asynchronous])
def test_retrieval_and_model_share_one_run(run: Callable[[Pipeline], str]) -> None:
    pipeline = build()
    plain = run(pipeline)
    budget = Budget(window=36, reserve_output=0)
    guarded = guard(pipeline, Policy(tokenizer=WordTokenizer(), budget=budget, select=None))
    assert run(guarded) == f"{GOOD}\n\n{QUESTION}"
    assert run(pipeline) == plain, "the original is untouched"
    ledger = handle(guarded).last
    assert ledger is not None
    assert ledger.question == QUESTION
    assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
    assert [(d.stage, d.subject) for d in ledger.of("drop")] == [
        ("dedupe", "copy"),
        ("window", "weak"),
    ]
    assert len(handle(guarded).ledgers) == 1


def test_what_the_adapter_does_not_reach_is_said() -> None:
    with pytest.warns(CoverageWarning, match=r"NOT guarded +agent +Agent: this adapter cannot"):
        guarded = guard(build(("agent", Agent(chat_generator=Echo()))))
    coverage = handle(guarded).coverage
    assert [item.path for item in coverage.reached] == ["retriever", "model"]
    assert [item.path for item in coverage.unreached] == ["agent"]
