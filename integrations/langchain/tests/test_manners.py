"""A guarded object is as good as the plain one: equal, copied, pickled, shown, derived from."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableLambda,
    RunnablePassthrough,
    RunnablePick,
)
from langchain_core.tools import BaseTool, create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import BaseModel, ConfigDict

from ctxguard import Policy, guard, handle
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel

OBJECTS: dict[str, Callable[[], Any]] = {
    "retriever": lambda: FixedRetriever(documents=[Document(page_content="text", id="1")]),
    "model": lambda: ScriptedChatModel(profile={"max_input_tokens": 1000}),
    "binding": lambda: ScriptedChatModel().bind(stop=["x"]),
    "sequence": lambda: ChatPromptTemplate.from_template("{q}") | ScriptedChatModel(),
    "parallel": lambda: RunnablePassthrough.assign(a=RunnablePick("q") | ScriptedChatModel()),
    "alternatives": lambda: ScriptedChatModel().configurable_alternatives(
        ConfigurableField(id="model"), other=ScriptedChatModel()
    ),
}


@pytest.fixture(params=OBJECTS)
def plain(request: pytest.FixtureRequest) -> Any:
    return OBJECTS[str(request.param)]()


def test_it_looks_the_same(plain: Any) -> None:
    guarded = guard(plain)
    assert guarded == plain
    assert plain == guarded
    assert guarded == guard(plain)
    assert not (guarded != plain)  # noqa: SIM202 -- a method of its own
    assert repr(guarded) == repr(plain)
    assert str(guarded) == str(plain)
    assert inspect.signature(guarded.invoke) == inspect.signature(plain.invoke)
    assert type(guarded).__doc__ == type(plain).__doc__
    assert guarded.get_name() == plain.get_name()
    assert guarded.config_specs == plain.config_specs
    assert guarded.get_graph().to_json() == plain.get_graph().to_json()


def test_it_is_serialised_as_the_plain_one(plain: Any) -> None:
    guarded = guard(plain)
    assert guarded.model_dump() == plain.model_dump()
    assert dumpd(guarded) == dumpd(plain)
    assert guarded.lc_id() == plain.lc_id()
    assert guarded.lc_attributes == plain.lc_attributes
    assert guarded.model_fields_set == plain.model_fields_set


def test_what_differs_is_not_equal() -> None:
    guarded = guard(ScriptedChatModel())
    assert guarded != ScriptedChatModel(model_name="other")
    assert guarded != "model"
    assert guarded != guard(FixedRetriever())


def test_a_copy_has_the_same_handle(plain: Any) -> None:
    guarded = guard(plain)
    for made in (copy.copy(guarded), copy.deepcopy(guarded), guarded.model_copy()):
        assert made is not guarded
        assert handle(made) is handle(guarded)
        assert made == plain


def test_a_guarded_model_can_be_pickled() -> None:
    guarded = guard(ScriptedChatModel(script=["hello"]), Policy.lean())
    guarded.invoke("q")
    loaded = pickled(guarded)
    assert type(loaded).__name__ == "ScriptedChatModel"
    assert handle(loaded).policy == Policy.lean()
    assert handle(loaded).ledgers == ()
    assert loaded.invoke("q").content == "hello"
    assert len(handle(loaded).ledgers) == 1


def pickled(obj: Any) -> Any:
    """What comes back from a pickle."""
    return pickle.loads(pickle.dumps(obj))  # noqa: S301 -- its own


def plainly(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


TWICE = FixedRetriever(documents=[Document(page_content="one text that is there twice")] * 2)


def searching(question: str) -> str:
    return plainly(TWICE.invoke(question))


def test_a_guarded_chain_can_be_pickled(store: InMemoryVectorStore) -> None:
    prompt = ChatPromptTemplate.from_template("{text}")
    chain = {"text": RunnableLambda(searching)} | prompt | ScriptedChatModel()
    guarded = guard(chain)
    made = guarded | StrOutputParser()
    guarded.invoke("q")
    loaded = pickled(guarded)
    loaded.invoke("q")
    assert [step.kind for step in handle(loaded).ledgers[0].steps] == ["retrieval", "model"]
    assert handle(loaded).coverage == handle(guarded).coverage
    del made
    view = pickled(guard(store))
    assert len(view.similarity_search("notice", k=4)) == 3
    assert len(handle(view).ledgers) == 1


def test_what_was_derived_can_be_pickled() -> None:
    guarded = guard(ChatPromptTemplate.from_template("{q}") | ScriptedChatModel())
    loaded = pickled(guarded | StrOutputParser())
    assert loaded.invoke({"q": "q"}) == "done"
    assert len(handle(loaded).ledgers) == 1


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_what_langchain_saves_is_plain_when_it_is_loaded() -> None:
    chain = ChatPromptTemplate.from_template("{q}") | RunnablePassthrough()
    assert load(dumpd(guard_quietly(chain)), allowed_objects="core") == chain
    assert dumps(guard_quietly(chain)) == dumps(chain)


def guard_quietly(obj: Any) -> Any:
    with pytest.warns(UserWarning, match="found nothing"):
        return guard(obj)


def test_a_field_accepts_it() -> None:
    class Holder(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        model: ScriptedChatModel
        base: BaseChatModel
        retriever: BaseRetriever
        any_runnable: Runnable[Any, Any]

    model, retriever = guard(ScriptedChatModel()), guard(FixedRetriever())
    holder = Holder(model=model, base=model, retriever=retriever, any_runnable=retriever)
    assert holder.model is model
    assert holder.model_dump()["model"] == ScriptedChatModel().model_dump()


def test_guarding_again_is_the_same_or_anew(plain: Any) -> None:
    guarded = guard(plain)
    assert guard(guarded) is guarded
    other = guard(guarded, Policy.off())
    assert handle(other).policy == Policy.off()
    assert handle(other).unguard() is plain
    assert handle(guarded).policy == Policy()
    assert handle(other).coverage == handle(guarded).coverage


def test_guarding_anew_leaves_the_first_guard_alone(retriever: FixedRetriever) -> None:
    plain = RunnableLambda(retriever.invoke) | len
    first = guard(plain)
    second = guard(first | str, Policy.off())
    assert (first.invoke("q"), second.invoke("q")) == (3, "4")
    assert [len(handle(made).ledgers) for made in (first, second)] == [1, 1]


def test_a_guarded_part_keeps_its_own_policy(retriever: FixedRetriever) -> None:
    part = guard(retriever, Policy.off())
    whole = guard(part | plainly | ScriptedChatModel())
    whole.invoke("q")
    (ledger,) = handle(whole).ledgers
    assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
    assert ledger.dropped() == ()
    assert [item.type for item in handle(whole).coverage.reached] == [
        "FixedRetriever",
        "ScriptedChatModel",
    ]


def test_a_guarded_chain_inside_of_another_is_its_child(retriever: FixedRetriever) -> None:
    part = guard(retriever | plainly)
    whole = guard(RunnableLambda(part.invoke) | ScriptedChatModel())
    whole.invoke("q")
    (ledger,) = handle(whole).ledgers
    (child,) = ledger.children
    assert child.run_id == handle(part).ledgers[0].run_id
    assert any(segment.kind == "evidence" for segment in ledger.segments)


def test_configured_copies_stay_guarded() -> None:
    model = ScriptedChatModel().configurable_fields(script=ConfigurableField(id="script"))
    guarded = guard(model)
    configured = guarded.with_config(configurable={"script": ["hello"]})
    assert configured.invoke("q").content == "hello"
    assert guarded.invoke("q", {"configurable": {"script": ["there"]}}).content == "there"
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [1, 1]


def test_an_instance_that_its_class_makes_is_plain() -> None:
    guarded = guard(ScriptedChatModel())
    made = type(guarded)(script=["plain"])
    assert made.invoke("q").content == "plain"
    with pytest.raises(AttributeError, match="made by its class"):
        _ = made.ctxguard  # type: ignore[attr-defined]
    assert pickled(made).invoke("q").content == "plain"


class Answer(BaseModel):
    """An answer."""

    text: str


def test_tools_and_structured_output_before_and_after() -> None:
    model = ScriptedChatModel(arguments={"text": "x"})
    for made in (
        guard(model).with_structured_output(Answer),
        guard(model.with_structured_output(Answer)),
        guard(model.with_structured_output(Answer, include_raw=True)) | (lambda r: r["parsed"]),
    ):
        assert made.invoke("q") == Answer(text="x")
    for made in (guard(model).bind_tools([Answer]), guard(model.bind_tools([Answer]))):
        answer = made.invoke("q")
        assert isinstance(answer, AIMessage)
        assert answer.tool_calls[0]["args"] == {"text": "x"}
        assert handle(made).last is not None


def test_a_tool_is_guarded(retriever: FixedRetriever) -> None:
    plain = create_retriever_tool(retriever, "search", "Finds documents.")
    guarded = guard(plain)
    assert isinstance(guarded, BaseTool)
    assert guarded.args == plain.args
    assert guarded.run("q") == guarded.invoke({"query": "q"})
    assert len(guarded.run("q")) < len(plain.run("q"))
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [1, 1, 1]


def test_a_finaliser_runs_for_the_original_only() -> None:
    closed: list[str] = []

    class Closing(ScriptedChatModel):
        def __del__(self) -> None:
            closed.append(self.model_name)

    plain = Closing()
    guarded = guard(plain)
    del guarded
    assert closed == []
    del plain
    import gc

    gc.collect()
    assert closed == ["o200k_base"]
