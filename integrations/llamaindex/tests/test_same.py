"""Same type back: copies, pickles, repeated guards, and the way back."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.llms import LLM, ChatMessage, MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import (
    BaseSynthesizer,
    ResponseMode,
    get_response_synthesizer,
)
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import QueryEngineTool

import ctxguard
from ctxguard import Handle, Policy, handle
from ctxguard_llamaindex import LlamaIndexAdapter, adapter
from ctxguard_llamaindex.testing import ScriptedLLM

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


def pickled(obj: Any) -> Any:
    return pickle.loads(pickle.dumps(obj))  # noqa: S301 -- its own pickle


class Fixed(BaseRetriever):
    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        self.texts = texts

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=text)) for text in self.texts]


@pytest.fixture
def engine(llm: ScriptedLLM, corpus: Any) -> Any:
    return RetrieverQueryEngine.from_args(Fixed([corpus.notice, corpus.notice]), llm=llm)


def test_the_type_is_the_same(engine: Any, llm: ScriptedLLM) -> None:
    for plain in (engine, llm, engine._retriever, engine._response_synthesizer):
        guarded = guard(plain)
        kind, new = type(plain), type(guarded)
        assert isinstance(guarded, kind)
        assert (new.__name__, new.__qualname__, new.__module__, new.__doc__) == (
            kind.__name__,
            kind.__qualname__,
            kind.__module__,
            kind.__doc__,
        )
        assert isinstance(guarded.ctxguard, Handle)
        assert handle(guarded) is guarded.ctxguard
        assert guarded.ctxguard.original is plain
        assert guarded.ctxguard.unguard() is plain
        assert not hasattr(plain, "ctxguard")


def test_models_dump_as_before(llm: ScriptedLLM) -> None:
    guarded = guard(llm)
    assert guarded.model_dump() == llm.model_dump()
    assert guarded.to_dict() == llm.to_dict()
    assert guarded.class_name() == llm.class_name()
    assert guarded.metadata == llm.metadata
    assert repr(guarded) == repr(llm)
    assert guarded.model_copy().ctxguard is guarded.ctxguard
    guarded.context_window = 5
    assert llm.context_window == 8192


def test_guarding_again_changes_nothing(engine: Any) -> None:
    guarded = guard(engine)
    assert guard(guarded) is guarded
    assert guard(guarded, Policy()) is guarded


def test_guarding_again_with_another_policy(engine: Any, corpus: Any) -> None:
    guarded = guard(engine)
    off = guard(guarded, Policy.off())
    assert off is not guarded
    assert off.ctxguard.original is engine
    assert off.ctxguard.policy == Policy.off()
    assert off._retriever.ctxguard is off._response_synthesizer._llm.ctxguard is off.ctxguard
    assert len(off.query(corpus.question).source_nodes) == 2
    assert len(guarded.query(corpus.question).source_nodes) == 1
    assert type(off).__mro__[1] is RetrieverQueryEngine
    assert len(off.ctxguard.ledgers) == len(guarded.ctxguard.ledgers) == 1


def test_changes_after_the_guard_are_kept_when_it_is_guarded_again(engine: Any) -> None:
    guarded = guard(engine)
    guarded._retriever.texts = ["something else altogether"]
    assert guard(guarded, Policy.off())._retriever.texts == ["something else altogether"]


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickled])
def test_copies(how: Any, corpus: Any) -> None:
    plain = RetrieverQueryEngine.from_args(
        Fixed([corpus.notice, corpus.notice]), llm=MockLLM(max_tokens=3)
    )
    guarded = guard(plain, budget=500)
    new = how(guarded)
    assert type(new) is type(guarded)
    assert new.ctxguard.policy == guarded.ctxguard.policy
    response = new.query(corpus.question)
    assert len(response.source_nodes) == 1
    assert str(response) == "text text text"
    assert [step.kind for step in new.ctxguard.last.steps] == ["retrieval", "model"]
    if how is not copy.copy:
        assert new._retriever is not guarded._retriever
        synthesizer = new._response_synthesizer
        assert synthesizer._program_factory.__self__ is synthesizer
    assert isinstance(new.ctxguard.original, RetrieverQueryEngine)
    assert not hasattr(plain, "ctxguard")


@pytest.mark.parametrize("kind", [ScriptedLLM, MockLLM])
def test_copies_of_models(kind: type[LLM]) -> None:
    guarded = guard(kind(), budget=500)
    for new in (copy.copy(guarded), copy.deepcopy(guarded), pickled(guarded)):
        assert issubclass(type(new), kind)
        assert new.ctxguard.policy == guarded.ctxguard.policy
        assert new.model_dump() == guarded.model_dump()
        new.chat([ChatMessage(content="Hello?")])
        assert new.ctxguard.last.steps[0].kind == "model"


def test_a_class_with_a_state_of_its_own() -> None:
    class Stateful(Fixed):
        __slots__ = ("extra",)

        def __getstate__(self) -> Any:
            return {"texts": self.texts, "extra": self.extra}

        def __setstate__(self, state: Any) -> None:
            super().__init__(state["texts"])
            self.extra = state["extra"]

    plain = Stateful(["one"])
    plain.extra = "kept"
    guarded = guard(plain)
    assert guarded.extra == "kept"
    new = copy.deepcopy(guarded)
    assert (new.extra, new.texts) == ("kept", ["one"])
    assert new.ctxguard is guarded.ctxguard


def test_parts_of_a_guarded_object_work_on_their_own(engine: Any, corpus: Any) -> None:
    guarded = guard(engine)
    guarded.retriever.retrieve(corpus.question)
    guarded._response_synthesizer.get_response(corpus.question, [corpus.notice])
    first, second = guarded.ctxguard.ledgers
    assert [step.kind for step in first.steps] == ["retrieval"]
    assert [step.kind for step in second.steps] == ["model"]


def test_synthesizers_and_tools(llm: ScriptedLLM, engine: Any, corpus: Any) -> None:
    synthesizer = get_response_synthesizer(llm=llm, response_mode=ResponseMode.REFINE)
    guarded: BaseSynthesizer = guard(synthesizer)
    nodes = [NodeWithScore(node=TextNode(text=corpus.notice)) for _ in range(2)]
    guarded.synthesize(corpus.question, nodes)
    (ledger,) = handle(guarded).ledgers
    assert [step.kind for step in ledger.steps] == ["model", "model"]
    assert ledger.question == corpus.question

    tool = guard(QueryEngineTool.from_defaults(engine))
    tool(corpus.question)
    tool.call(input=corpus.question)
    assert [ledger.question for ledger in handle(tool).ledgers] == [corpus.question] * 2


def test_the_adapter_is_one(index: VectorStoreIndex) -> None:
    assert isinstance(adapter, LlamaIndexAdapter)
    assert adapter.name == "llama_index"
    assert adapter.supports(index.as_retriever())
    assert not adapter.supports("a string")


def test_spans_of_methods_called_directly(llm: ScriptedLLM, heard: Any) -> None:
    events, spans = heard
    guard(llm, Policy.off()).complete("Hello?")
    guarded = (list(events), list(spans))
    events.clear()
    spans.clear()
    llm.complete("Hello?")
    assert (events, spans) == guarded
    assert isinstance(llm, BaseLLM)
