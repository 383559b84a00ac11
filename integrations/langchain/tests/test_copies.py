"""Copies, pickles and other processes: a guarded object travels as the plain one does, guarded."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cloudpickle
import joblib
import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.graph import START, MessagesState, StateGraph

from ctxguard import Coverage, Policy, guard, handle
from ctxguard_langchain.testing import FixedRetriever, HashEmbeddings, ScriptedChatModel

NOTICE = "The notice period for ending the supply agreement is thirty days, given in writing."
POLICY = Policy.lean()
RETRIEVER = FixedRetriever(documents=[Document(NOTICE, id=name) for name in "ab"])
MODEL = ScriptedChatModel(script=["hello"])


def joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


def retrieve(state: MessagesState) -> dict[str, Any]:
    return {"messages": [("user", joined(RETRIEVER.invoke("q")))]}


def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [MODEL.invoke(state["messages"])]}


def chain(join: Callable[[list[Document]], str]) -> Any:
    steps = {"context": RETRIEVER | join, "question": RunnablePassthrough()}
    return steps | ChatPromptTemplate.from_template("{context} {question}") | MODEL


def graph() -> Any:
    made = StateGraph(MessagesState)
    made.add_sequence([retrieve, answer])
    made.add_edge(START, "retrieve")
    return made.compile()


def store() -> InMemoryVectorStore:
    made = InMemoryVectorStore(HashEmbeddings())
    made.add_documents(RETRIEVER.documents)
    return made


def tool() -> Any:
    return create_retriever_tool(RETRIEVER, "search", "Find passages.")


MESSAGES = {"messages": [("user", "What is the notice period?")]}
PLAIN: dict[str, tuple[Callable[[], Any], str, Any]] = {
    "model": (lambda: MODEL, "invoke", "q"),
    "completion model": (lambda: FakeListLLM(responses=["hello"]), "invoke", "q"),
    "bound model": (lambda: MODEL.bind(stop=["x"]), "invoke", "q"),
    "retriever": (lambda: RETRIEVER, "invoke", "q"),
    "retriever of a store": (lambda: store().as_retriever(), "invoke", "q"),
    "store": (store, "similarity_search", "q"),
    "chain": (lambda: chain(joined), "invoke", "q"),
    "chain with a lambda": (lambda: chain(lambda found: str(joined(found))), "invoke", "q"),
    "function": (lambda: RunnableLambda(retrieve), "invoke", MESSAGES),
    "retry": (RETRIEVER.with_retry, "invoke", "q"),
    "fallbacks": (lambda: MODEL.with_fallbacks([MODEL]), "invoke", "q"),
    "tool": (tool, "invoke", {"query": "q"}),
    "graph": (graph, "invoke", MESSAGES),
    "agent": (lambda: create_agent(MODEL, [tool()]), "invoke", MESSAGES),
}
"""How it is made, the method that asks it, and what it is asked."""


@dataclass(frozen=True)
class Seen:
    """What can be seen of a guarded object and of one call of it."""

    type: str
    policy: str
    coverage: Coverage
    answer: str
    steps: tuple[tuple[str, str, int, int], ...]
    dropped: tuple[str, ...]


def look(guarded: Any, method: str, asked: Any) -> Seen:
    """Ask a guarded object, wherever this runs."""
    found = getattr(guarded, method)(asked)
    messages = found.get("messages") if isinstance(found, dict) else None
    shown = [getattr(each, "content", each) for each in messages or (found,)]
    ledger = handle(guarded).last
    assert ledger is not None
    return Seen(
        type=f"{type(guarded).__module__}.{type(guarded).__qualname__}",
        policy=handle(guarded).policy.fingerprint(),
        coverage=handle(guarded).coverage,
        answer=str(shown),
        steps=tuple((s.kind, s.name, s.tokens_before, s.tokens_after) for s in ledger.steps),
        dropped=tuple(chunk.id for chunk in ledger.dropped()),
    )


def look_pickled(data: bytes, method: str, asked: Any) -> Seen:
    return look(pickle.loads(data), method, asked)  # noqa: S301 -- made here


def pickled(obj: Any) -> Any:
    return pickle.loads(pickle.dumps(obj))  # noqa: S301 -- made here


def cloudpickled(obj: Any) -> Any:
    return pickle.loads(cloudpickle.dumps(obj))  # noqa: S301 -- made here


WAYS = [pickled, cloudpickled, copy.copy, copy.deepcopy]


_ADDRESS = re.compile(r"0x[0-9a-f]+")


def outcome(work: Callable[[], Any]) -> tuple[Any, str]:
    """What a piece of work gives, or its error as type and message, without what changes."""
    try:
        return work(), ""
    except Exception as error:
        message = str(error).partition("\n")[0]
        return None, f"{type(error).__name__}: {_ADDRESS.sub('0x', message)}"


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_guarded_by_the_same_policy_or_fails_as_the_plain_one(
    way: Callable[[Any], Any], name: str
) -> None:
    make, method, asked = PLAIN[name]
    plain = make()
    guarded = guard(plain, POLICY)
    assert error_of(way, guarded, method, asked) == error_of(way, plain, method, asked)
    made, refused = outcome(lambda: way(guarded))
    if refused or name in BROKEN.get(way, ()):
        return
    assert made is not guarded
    before = len(handle(guarded).ledgers)
    assert look(made, method, asked) == look(guarded, method, asked)
    shared = way in (copy.copy, copy.deepcopy)
    assert (handle(made) is handle(guarded)) is shared
    assert len(handle(guarded).ledgers) == before + (2 if shared else 1)
    assert not hasattr(way(plain), "ctxguard")


def error_of(way: Callable[[Any], Any], obj: Any, method: str, asked: Any) -> str:
    """What goes wrong when an object is copied and the copy is asked."""
    return outcome(lambda: getattr(way(obj), method)(asked))[1]


BROKEN: dict[Callable[[Any], Any], tuple[str, ...]] = {
    # LangGraph compares with a sentinel that a copy in depth copies too.
    cloudpickled: ("graph", "agent"),
    copy.deepcopy: ("graph", "agent"),
}
"""Copies of plain objects that can be made and do not work."""


def test_what_the_plain_objects_cannot_do_is_known() -> None:
    """The test above would hold if nothing could be copied."""
    found = {
        way: tuple(name for name, (make, *ask) in PLAIN.items() if error_of(way, make(), *ask))
        for way in WAYS
    }
    refused = ("chain with a lambda", "tool", "graph", "agent")
    assert found == {pickled: refused, copy.copy: (), **BROKEN}


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", ["model", "completion model", "retriever", "tool", "chain"])
def test_model_copy(deep: bool, name: str) -> None:
    make, method, asked = PLAIN[name]
    guarded = guard(make(), POLICY)
    made = guarded.model_copy(deep=deep)
    assert made is not guarded
    assert handle(made) is handle(guarded)
    assert look(made, method, asked) == look(guarded, method, asked)


def test_model_copy_with_other_fields() -> None:
    guarded = guard(MODEL, POLICY)
    made = guarded.model_copy(update={"script": ["other"]})
    assert made.invoke("q").text == "other"
    assert guarded.invoke("q").text == "hello"
    assert len(handle(guarded).ledgers) == 2
    fewer = guard(RETRIEVER, Policy.off()).model_copy(update={"k": 1})
    assert len(fewer.invoke("q")) == 1


@pytest.mark.parametrize("way", [*WAYS, lambda obj: obj.model_copy(deep=True)])
def test_copies_do_not_share_what_the_plain_ones_would_not(way: Callable[[Any], Any]) -> None:
    shared = way is copy.copy
    plain = FixedRetriever(documents=[Document(NOTICE)])
    of_plain, of_guarded = way(plain), way(guard(plain))
    for made in (of_plain, of_guarded):
        made.documents.append(Document("Something else that is said in another passage."))
        assert (len(plain.documents) == 2) is shared
        del plain.documents[1:], made.documents[1:]


@pytest.mark.parametrize("way", WAYS)
def test_a_policy_with_a_tokenizer_travels_with_what_it_guards(way: Callable[[Any], Any]) -> None:
    guarded = guard(RETRIEVER, Policy(tokenizer=Words()))
    made = way(guarded)
    made.invoke("q")
    ledger = handle(made).last
    assert ledger is not None
    assert ledger.tokenizer == "words"
    assert handle(made).guard.fingerprint == handle(guarded).guard.fingerprint


class Words:
    """A user's own tokenizer."""

    name = "words"
    exact = False

    def encode(self, text: str) -> list[int]:
        return list(range(len(text.split())))


def test_a_policy_that_cannot_be_pickled_says_what_in_it_cannot() -> None:
    class Local(Words):
        pass

    guarded = guard(RETRIEVER, Policy(tokenizer=Local()))
    with pytest.raises((AttributeError, pickle.PicklingError), match="Local"):
        pickle.dumps(guarded)
    assert len(cloudpickled(guarded).invoke("q")) == 1


def test_what_is_derived_from_a_guarded_chain_travels() -> None:
    guarded = guard(chain(joined), POLICY) | StrOutputParser()
    for way in WAYS:
        made = way(guarded)
        assert made.invoke("q") == "hello"
        assert handle(made).policy == POLICY


# -- other processes ----------------------------------------------------------------------------

TRAVELLING = [name for name in PLAIN if name not in BROKEN[cloudpickled]]


@pytest.mark.slow
def test_a_spawned_process_guards_as_this_one_does() -> None:
    guarded = {name: guard(PLAIN[name][0](), POLICY) for name in TRAVELLING}
    tasks = [(cloudpickle.dumps(obj), *PLAIN[name][1:]) for name, obj in guarded.items()]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.starmap(look_pickled, tasks)
        again = pool.starmap(look, [(guarded["chain"], *PLAIN["chain"][1:])])
    here = [look(obj, *PLAIN[name][1:]) for name, obj in guarded.items()]
    assert found == here
    assert again == [here[TRAVELLING.index("chain")]]


@pytest.mark.slow
def test_joblib_guards_as_this_process_does() -> None:
    asked = [PLAIN[name] for name in TRAVELLING]
    guarded = [(guard(make(), POLICY), *ask) for make, *ask in asked]
    found = joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(look)(*each) for each in guarded
    )
    assert found == [look(*each) for each in guarded]
