"""Query engines as routes, at guard() time: what is reached, set, shared and refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer

import ctxguard
from ctxguard import CoverageWarning, Policy, PolicyError
from ctxguard.routing import Cascade, Route, Router, Routes
from ctxguard_llamaindex.testing import ScriptedLLM
from integrations.llamaindex.tests.routed import (
    QUESTION,
    clauses,
    engine,
    query,
    saying,
    to,
)

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


@pytest.fixture
def index() -> VectorStoreIndex:
    return clauses()


def test_the_engines_that_were_handed_in_stay_as_they_are(index: VectorStoreIndex) -> None:
    light, heavy = engine(index, saying("It is light.")), engine(index, saying("It is heavy."))
    before = {**vars(light)}, {**vars(heavy)}
    guarded = guard(light, to("heavy", heavy))
    guarded.query(QUESTION)
    assert (vars(light), vars(heavy)) == before
    assert query(light) == ("It is light.", 2)


def test_coverage_lists_what_routes_lead_to(index: VectorStoreIndex) -> None:
    heavy = engine(index, saying("It is heavy."))
    coverage = guard(engine(index, saying("It is light.")), to("heavy", heavy)).ctxguard.coverage
    assert coverage.complete
    assert [(one.path, one.kind) for one in coverage.reached][2:] == [
        ("routing.heavy._retriever", "retriever"),
        ("routing.heavy._response_synthesizer._llm", "model"),
    ]


def test_coverage_says_what_of_a_route_is_not_guarded(index: VectorStoreIndex) -> None:
    class Own(BaseQueryEngine):
        """Makes what it asks in the middle of a call."""

        def __init__(self) -> None:
            super().__init__(None)

        def _query(self, query_bundle: Any) -> Any:
            return index.as_query_engine(llm=ScriptedLLM()).query(query_bundle)

        async def _aquery(self, query_bundle: Any) -> Any:
            return self._query(query_bundle)

        def _get_prompt_modules(self) -> Any:
            return {}

    with pytest.warns(CoverageWarning, match=r"routing\.heavy"):
        guarded = guard(engine(index, saying("It is light.")), to("heavy", Own()))
    assert not guarded.ctxguard.coverage.complete


def test_an_engine_that_is_guarded_already_follows_its_routes_policy(
    index: VectorStoreIndex,
) -> None:
    other = guard(engine(index, saying("It is heavy.")), Policy())
    guarded = guard(engine(index, saying("It is light.")), to("heavy", other))
    assert query(guarded) == ("It is heavy.", 12)
    assert other.ctxguard.last is None


def test_guarded_again_it_has_the_new_routes(index: VectorStoreIndex) -> None:
    light, heavy = engine(index, saying("It is light.")), engine(index, saying("It is heavy."))
    guarded = guard(light, to("heavy", heavy))
    assert guard(guarded, guarded.ctxguard.policy) is guarded
    assert query(guard(guarded, to("light", heavy)))[0] == "It is light."
    plain = guard(guarded, Policy())
    assert query(plain)[0] == "It is light."
    assert plain.ctxguard.last.calls == ()
    assert query(guarded)[0] == "It is heavy."


# -- what is refused -----------------------------------------------------------------------------


def test_routes_of_another_kind_are_refused(index: VectorStoreIndex, llm: ScriptedLLM) -> None:
    query_engine = engine(index, saying("It is light."))
    chat = SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults())
    with pytest.raises(
        PolicyError, match="'heavy' is a chat engine, and what is guarded is a query"
    ):
        guard(query_engine, to("heavy", chat))
    with pytest.raises(PolicyError, match="'heavy' is a query engine, and what is guarded is S"):
        guard(llm, to("heavy", query_engine))
    with pytest.raises(PolicyError, match="'heavy' is a query engine"):
        guard(index.as_retriever(), to("heavy", query_engine), scope="process")


def test_models_beside_engines_are_refused(index: VectorStoreIndex, llm: ScriptedLLM) -> None:
    routes = (
        Route(name="light"),
        Route(name="middle", model="gpt-4o-mini"),
        Route(name="heavy", model=engine(index, saying("It is heavy."))),
    )
    routing = Routes(routes=routes, router=Router(thresholds=(0.1, 0.2)))
    with pytest.raises(PolicyError, match="'middle' is a model, and others are engines"):
        guard(engine(index, saying("It is light.")), routing=routing)


def test_a_cascade_of_engines_is_refused(index: VectorStoreIndex) -> None:
    heavy = engine(index, saying("It is heavy."))
    with pytest.raises(PolicyError, match="cascade"):
        guard(engine(index, saying("It is light.")), to("light", heavy, cascade=Cascade()))


def test_a_block_has_nothing_that_engines_could_stand_in_for(index: VectorStoreIndex) -> None:
    light, heavy = engine(index, saying("It is light.")), engine(index, saying("It is heavy."))
    with (
        pytest.raises(PolicyError, match="only models can be routes"),
        ctxguard.guarded(to("heavy", heavy)),
    ):
        light.query(QUESTION)
    with (
        pytest.raises(PolicyError, match="only models can be routes"),
        ctxguard.guarded(to("heavy", heavy)),
    ):
        ScriptedLLM().complete(QUESTION)


def test_an_engine_that_cannot_be_copied_is_refused(index: VectorStoreIndex) -> None:
    class Closed(type(engine(index, saying("")))):
        def __init_subclass__(cls) -> None:
            raise TypeError("is final")

    closed = engine(index, saying("It is heavy."))
    object.__setattr__(closed, "__class__", Closed)
    light = engine(index, saying("It is light."))
    for scope in ("copy", "process"):
        with pytest.raises(PolicyError, match="'heavy': guard: Closed: is final"):
            guard(light, to("heavy", closed), scope=scope)
    assert not [name for name in vars(light) if "ctxguard" in name]


# -- copies and pickles --------------------------------------------------------------------------


def test_pickled_it_has_its_routes(index: VectorStoreIndex) -> None:
    light, heavy = (index.as_query_engine(llm=ScriptedLLM(), similarity_top_k=k) for k in (2, 3))
    guarded = guard(light, to("heavy", heavy))
    loaded: Any = pickle.loads(pickle.dumps(guarded))  # noqa: S301 -- its own pickle
    assert len(loaded.query(QUESTION).source_nodes) == 12
    assert [call.route for call in loaded.ctxguard.last.calls] == ["heavy"]
    assert guarded.ctxguard.last is None


def test_a_copy_shares_its_routes(index: VectorStoreIndex) -> None:
    guarded = guard(
        engine(index, saying("It is light.")), to("heavy", engine(index, saying("It is heavy.")))
    )
    assert query(copy.copy(guarded)) == ("It is heavy.", 12)


# -- what a route sets in an engine --------------------------------------------------------------


class Bounded(ScriptedLLM):
    """Says how long its answers may become."""

    max_tokens: int | None = None

    def _reply(self, messages: Sequence[ChatMessage]) -> ChatMessage:
        return ChatMessage(role="assistant", content=f"at most {self.max_tokens}")


def test_limits_are_set_in_the_models_of_an_engine(index: VectorStoreIndex) -> None:
    light, heavy = (index.as_query_engine(llm=Bounded(max_tokens=900)) for _ in range(2))
    routes = (Route(name="light", max_output=100), Route(name="heavy", model=heavy, max_output=500))

    def asked(threshold: float) -> str:
        routing = Routes(
            routes=routes, router=Router(thresholds=(threshold,)), state="memory", mode="act"
        )
        return str(guard(light, routing=routing).query(QUESTION))

    assert asked(1.0) == "at most 100"
    assert asked(-1.0) == "at most 500"
    shadow = Routes(routes=routes, router=Router(thresholds=(1.0,)), state="memory", mode="shadow")
    assert str(guard(light, routing=shadow).query(QUESTION)) == "at most 900"
    assert str(light.query(QUESTION)) == str(heavy.query(QUESTION)) == "at most 900"


def test_what_cannot_be_set_is_said(index: VectorStoreIndex) -> None:
    heavy = engine(index, saying("It is heavy."))
    routes = (Route(name="light"), Route(name="heavy", model=heavy, effort="high"))
    with pytest.warns(CoverageWarning, match=r"routing\.heavy.*has no field for Route\.effort"):
        guarded = guard(engine(index, saying("It is light.")), routing=Routes(routes=routes))
    assert not guarded.ctxguard.coverage.complete
