"""What guard() reaches, what it reports, and that it never claims more."""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import re
import sys
import types
from collections import UserDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple
from unittest.mock import MagicMock

import pytest
from langchain.chat_models import init_chat_model
from langchain_core.documents import Document
from langchain_core.language_models import BaseLanguageModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.pregel.remote import RemoteGraph
from pydantic import BaseModel, ConfigDict, PrivateAttr

from ctxguard import Coverage, CoverageWarning, UnsupportedObjectError, guard, handle
from ctxguard_langchain.testing import FixedRetriever, HashEmbeddings, ScriptedChatModel

pytestmark = pytest.mark.anyio

TWICE = [Document(page_content="one and the same text, twice", id=str(n)) for n in range(2)]
RETRIEVER = FixedRetriever(documents=TWICE)
MODEL = ScriptedChatModel()
STORE = InMemoryVectorStore(HashEmbeddings())


def reported(obj: Any) -> Coverage:
    """The coverage of what guard() warns about."""
    with pytest.warns(CoverageWarning) as caught:
        guarded = guard(obj)
    coverage = handle(guarded).coverage
    for item in coverage.unreached:
        assert item.reason in str(caught[0].message)
    return coverage


def left_out(guarded: Any, given: Any = "q") -> int:
    """How many documents the last call left out."""
    guarded.invoke(given)
    last = handle(guarded).last
    return len(last.dropped()) if last else 0


# -- reached ------------------------------------------------------------------------------------


def test_paths_say_where_it_is() -> None:
    prompt = ChatPromptTemplate.from_template("{context}")
    chain = {"context": RETRIEVER | str} | prompt | MODEL.with_config(tags=["x"])
    coverage = handle(guard(chain)).coverage
    assert [(item.path, item.type, item.kind) for item in coverage.reached] == [
        ("steps[0]['context'].steps[0]", "FixedRetriever", "retriever"),
        ("steps[2].bound", "ScriptedChatModel", "model"),
    ]
    assert [item.path for item in handle(guard(RETRIEVER)).coverage.reached] == [""]


module = types.ModuleType("shelf")
module.__dict__["retriever"] = RETRIEVER
module.__dict__["inner"] = types.ModuleType("shelf.inner")
module.__dict__["inner"].__dict__["retriever"] = RETRIEVER


def test_an_attribute_of_a_module_is_reached() -> None:
    guarded = guard(RunnableLambda(lambda q: len(module.retriever.invoke(q))))
    assert left_out(guarded) == 1
    guarded = guard(RunnableLambda(lambda q: len(module.inner.retriever.invoke(q))))
    assert left_out(guarded) == 1
    assert module.retriever is RETRIEVER


@pytest.mark.parametrize("name", ["langchain_app", "langgraph_nodes", "shop.answers"])
def test_an_applications_module_may_have_any_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: Any = types.ModuleType(name)
    exec("def find(question):\n    return len(RETRIEVER.invoke(question))", vars(written))  # noqa: S102
    written.RETRIEVER = RETRIEVER
    monkeypatch.setitem(sys.modules, name, written)
    assert guard(RunnableLambda(written.find)).invoke("q") == 1


def importing(question: str) -> int:
    with contextlib.suppress(ImportError):
        from . import nothing  # noqa: F401, TID252 # pyright: ignore[reportMissingImports] -- of no package
    with contextlib.suppress(ImportError):
        import not_installed  # noqa: F401 # pyright: ignore[reportMissingImports] -- not loaded
    return len(RETRIEVER.invoke(question))


def test_imports_that_lead_nowhere_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "__package__", "")
    monkeypatch.setitem(globals(), "__spec__", None)
    assert guard(RunnableLambda(importing)).invoke("q") == 1


@functools.lru_cache(maxsize=4)
def remembered(question: str) -> int:
    return len(RETRIEVER.invoke(question))


def test_a_cached_function_gets_a_cache_of_its_own() -> None:
    assert remembered("q") == 2
    guarded = guard(RunnableLambda(lambda q: 0 + remembered(q)))
    assert guarded.invoke("q") == 1
    assert remembered("q") == 2


class Slotted:
    __slots__ = ("retriever",)

    def __init__(self) -> None:
        self.retriever = RETRIEVER

    def find(self, question: str) -> int:
        return len(self.retriever.invoke(question))


class Wrapped:
    """Reaches a global from every kind of method."""

    @staticmethod
    def static(question: str) -> int:
        return len(RETRIEVER.invoke(question))

    @classmethod
    def of_class(cls, question: str) -> int:
        return len(RETRIEVER.invoke(question))

    @property
    def size(self) -> int:
        return len(RETRIEVER.invoke("q"))

    @functools.cached_property
    def known_size(self) -> int:
        return len(RETRIEVER.invoke("q"))

    @functools.lru_cache  # noqa: B019 -- what is tested
    def cached(self, question: str) -> int:
        return len(RETRIEVER.invoke(question))

    def __call__(self, question: str) -> tuple[int, ...]:
        kept = (self.known_size, self.cached(question))
        return self.static(question), self.of_class(question), self.size, *kept


class Deep:
    """Holds a retriever in containers within containers."""

    def __init__(self) -> None:
        self.held = {"list": [(types.SimpleNamespace(retriever=RETRIEVER),)]}

    def find(self, question: str) -> int:
        return len(self.held["list"][0][0].retriever.invoke(question))


def test_objects_of_every_kind_are_reached() -> None:
    assert guard(RunnableLambda(Slotted().find)).invoke("q") == 1
    assert guard(RunnableLambda(Deep().find)).invoke("q") == 1
    held = UserDict(retriever=RETRIEVER)
    assert guard(RunnableLambda(lambda q: len(held["retriever"].invoke(str(q))))).invoke("q") == 1
    wrapped = Wrapped()
    assert guard(RunnableLambda(lambda q: wrapped(f"{q}"))).invoke("q") == (1, 1, 1, 1, 1)
    del wrapped.known_size  # kept in the state that they share, as it would be without a guard
    assert wrapped("q") == (2, 2, 2, 2, 2)


class Labelled(dict[str, Any]):
    """A mapping with an attribute, that reads its values in its own way."""

    def __init__(self, label: str, **held: Any) -> None:
        super().__init__(**held)
        self.label = label

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key), self.label


class Point(NamedTuple):
    retriever: Any
    label: str


@dataclass(frozen=True, slots=True)
class Frozen:
    retriever: Any


class Model(BaseModel):
    """With a private attribute, an extra one, and one that its class holds."""

    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)
    of_class: ClassVar[Any] = RETRIEVER
    _private: Any = PrivateAttr(default=RETRIEVER)

    def find(self, question: str) -> list[int]:
        held = (self._private, getattr(self, "extra"), self.of_class)  # noqa: B009 -- no field
        return [len(retriever.invoke(question)) for retriever in held]


def test_containers_and_values_of_every_kind_are_reached() -> None:
    queue = deque([RETRIEVER], maxlen=1)
    labelled = Labelled("label", r=RETRIEVER)
    defaults: Any = defaultdict(list, r=RETRIEVER)
    point, frozen = Point(RETRIEVER, "p"), Frozen(RETRIEVER)
    functions: Any = [{recursive}, frozenset({recursive})]

    def find(question: str) -> list[int]:
        defaults["made"] += [question]
        assert (queue.maxlen, labelled.label, point.label) == (1, "label", "p")
        held = (queue[0], labelled["r"][0], defaults["r"], point.retriever, frozen.retriever)
        found = [len(retriever.invoke(question)) for retriever in held]
        return [*found, *(function(question) for held in functions for function in held)]

    assert guard(RunnableLambda(find)).invoke("q") == [1] * 7
    assert find("q") == [2] * 7
    model = Model.model_validate({"extra": RETRIEVER})
    assert guard(RunnableLambda(model.find)).invoke("q") == [1, 1, 1]
    assert model.find("q") == [2, 2, 2]


def test_a_partial_is_rebuilt_with_all_that_it_has() -> None:
    partial: Any = functools.partial(Point, RETRIEVER, label="p")
    partial.made_for = RETRIEVER
    guarded = guard(RunnableLambda(lambda q: (partial(), partial.made_for)))
    point, made_for = guarded.invoke("q")
    assert point.label == "p"
    assert point.retriever is made_for is not RETRIEVER


def test_a_view_is_copied_with_what_it_shows() -> None:
    holder = Holder()

    def copies(question: str) -> list[int]:
        made = [copy.copy(holder), copy.deepcopy(holder)]
        holder.shared.append(question)
        return [len(one.retriever.invoke(question)) for one in made]

    assert guard(RunnableLambda(copies)).invoke("q") == [1, 1]
    assert holder.shared == ["q"]
    assert copies("q") == [2, 2]


class Holder:
    def __init__(self) -> None:
        self.retriever = RETRIEVER
        self.shared: list[str] = []


def test_an_attribute_that_is_set_later_is_what_it_is_set_to() -> None:
    holder = Holder()

    def find(question: str) -> int:
        holder.shared = [*holder.shared, question]
        return len(holder.retriever.invoke(question))

    guarded = guard(RunnableLambda(find))
    assert guarded.invoke("q") == 1
    assert holder.shared == ["q"]
    holder.retriever = FixedRetriever(documents=TWICE * 2)
    assert guarded.invoke("q") == 4  # set after guard(), and so not guarded


def test_a_cycle_ends() -> None:
    class Looping:
        def __init__(self) -> None:
            self.me = self
            self.others: list[Any] = [self]
            self.retriever = RETRIEVER
            self.find = self._find

        def _find(self, question: str) -> int:
            return len(self.others[0].me.retriever.invoke(question))

    assert guard(RunnableLambda(Looping().find)).invoke("q") == 1


def test_depth_has_no_limit() -> None:
    chain: Runnable[Any, Any] = RunnableLambda(lambda q: len(RETRIEVER.invoke(q)))
    nested: Any = RETRIEVER
    for _ in range(5000):
        nested = [nested]

    def find(question: str) -> int:
        held = nested
        while isinstance(held, list):
            held = held[0]
        return len(held.invoke(question))

    assert guard(RunnableLambda(find)).invoke("q") == 1
    for n in range(300):
        chain = RunnableLambda(functools.partial(lambda inner, q: inner, chain), name=f"level {n}")
    assert handle(guard(chain)).coverage.complete


def recursive(question: str, depth: int = 3) -> int:
    return recursive(question, depth - 1) if depth else len(RETRIEVER.invoke(question))


def test_a_recursive_function_is_guarded_all_the_way() -> None:
    assert guard(RunnableLambda(lambda q: recursive(str(q)))).invoke("q") == 1
    assert recursive("q") == 2


COUNTER = {"calls": 0}
LATER: Any = None


def reading(question: str) -> Any:
    COUNTER["calls"] += 1

    class Local:
        """Reads a global while the class is made."""

        seen = LATER

    return len(RETRIEVER.invoke(question)), LATER, Local.seen, globals()["LATER"]


def test_other_globals_are_read_as_they_are_now() -> None:
    guarded = guard(RunnableLambda(reading))
    assert guarded.invoke("q")[:2] == (1, None)
    try:
        globals()["LATER"] = "set afterwards"
        found = guarded.invoke("q")
        assert (found[0], found[1], found[3]) == (1, "set afterwards", "set afterwards")
    finally:
        globals()["LATER"] = None
    assert COUNTER["calls"] == 2


def test_a_global_that_is_set_anew_is_what_it_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = guard(
        RunnableLambda(lambda q: (recursive(str(q), 0), len(module.retriever.invoke(q))))
    )
    assert guarded.invoke("q") == (1, 1)
    monkeypatch.setitem(globals(), "recursive", lambda question, depth: "patched")
    monkeypatch.setitem(vars(module), "retriever", FixedRetriever())
    assert guarded.invoke("q") == ("patched", 0)


def test_functions_that_share_a_variable_go_on_sharing_it() -> None:
    held: Any = RETRIEVER
    seen: list[int] = []

    def find(question: str) -> int:
        seen.append(len(held.invoke(question)))
        return seen[-1]

    def count(_: int) -> int:
        nonlocal held
        held = FixedRetriever()
        return len(seen)

    guarded = guard(RunnableLambda(find) | count | str | find)
    assert guarded.invoke("q") == 0
    assert seen == [1, 0]


async def test_a_model_that_is_made_from_the_config_is_guarded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[ScriptedChatModel] = []

    def make(model: str, **kwargs: Any) -> ScriptedChatModel:
        made.append(ScriptedChatModel(script=[f"by {model}"]))
        return made[-1]

    monkeypatch.setattr("langchain.chat_models.base._init_chat_model_helper", make)
    model = init_chat_model(configurable_fields="any", config_prefix="my")
    config: Any = {"configurable": {"my_model": "openai:gpt"}}
    guarded = guard(model | (lambda message: message.content))
    assert guarded.invoke("q", config) == "by openai:gpt"
    assert await guarded.ainvoke("q", config) == "by openai:gpt"
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [1, 1]
    assert [item.type for item in handle(guarded).coverage.reached] == ["_ConfigurableModel"]
    alone = guard(model)
    for derived in (alone, alone.with_config(tags=["x"]), alone.bind_tools([left_out])):
        derived.invoke("q", config)
    assert [len(ledger.steps) for ledger in handle(alone).ledgers] == [1, 1, 1]
    assert model.invoke("q", config).content == "by openai:gpt"


def making(question: str) -> Any:
    """A node that makes what it uses, as many examples do."""
    assert isinstance(MODEL, ScriptedChatModel)
    store = InMemoryVectorStore.from_documents(TWICE, HashEmbeddings())
    found = [store.similarity_search(question), store.as_retriever().invoke(question)]
    found.append(FixedRetriever(documents=TWICE).invoke(question))
    answer = ScriptedChatModel().invoke(question)
    return [len(documents) for documents in found], type(answer).__name__


async def test_what_a_function_makes_is_guarded() -> None:
    guarded = guard(RunnableLambda(making))
    assert guarded.invoke("q") == ([1, 1, 1], "AIMessage")
    assert await guarded.ainvoke("q") == ([1, 1, 1], "AIMessage")
    kinds = [[step.kind for step in ledger.steps] for ledger in handle(guarded).ledgers]
    assert kinds == [["retrieval", "retrieval", "retrieval", "model"]] * 2
    assert handle(guarded).coverage.complete
    assert {item.type for item in handle(guarded).coverage.reached} == {
        "InMemoryVectorStore()",
        "FixedRetriever()",
        "ScriptedChatModel",
        "ScriptedChatModel()",
    }
    assert making("q")[0] == [2, 2, 2]


def asking_any(question: str) -> Any:
    return init_chat_model("openai:gpt").invoke(question)


def test_what_init_chat_model_makes_in_a_function_is_guarded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "langchain.chat_models.base._init_chat_model_helper", lambda *_, **__: ScriptedChatModel()
    )
    guarded = guard(RunnableLambda(asking_any))
    assert guarded.invoke("q").content == "done"
    assert [step.kind for step in handle(guarded).ledgers[0].steps] == ["model"]


def checking(model: Any) -> bool:
    return isinstance(model, ScriptedChatModel)


def test_a_class_that_is_only_compared_with_is_not_claimed() -> None:
    with pytest.warns(CoverageWarning, match="found nothing"):
        guarded = guard(RunnableLambda(checking))
    with pytest.warns(CoverageWarning, match="arrives in the input"):  # the model, not its class
        assert guarded.invoke(MODEL)
    assert not guarded.invoke(type(MODEL))


class Tool(BaseTool):
    """A tool of its own class, whose method uses a global."""

    name: str = "find"
    description: str = "Finds."

    def _run(self, query: str) -> int:
        return len(RETRIEVER.invoke(query))


def test_a_tool_of_its_own_class_is_reached() -> None:
    guarded = guard(Tool())
    assert isinstance(guarded, Tool)
    assert guarded.invoke({"query": "q"}) == 1
    assert Tool().invoke({"query": "q"}) == 2


# -- reported -----------------------------------------------------------------------------------


def test_nothing_to_guard_is_reported_at_the_callers_line() -> None:
    with pytest.warns(CoverageWarning, match="found nothing") as caught:
        guarded = guard(RunnableLambda(str) | str.upper)
    assert caught[0].filename == __file__
    assert handle(guarded).coverage == Coverage()
    assert guarded.invoke("q") == "Q"


class Config:
    retriever = RETRIEVER
    inner = types.SimpleNamespace(model=MODEL)


def of_class(question: str) -> int:
    return len(Config.retriever.invoke(question))


def unseen(state: dict[str, Any]) -> Any:
    return state["store"].similarity_search("q")


WRITTEN = 0


def writing(question: str) -> int:
    global WRITTEN  # noqa: PLW0603 -- what is tested
    WRITTEN += len(RETRIEVER.invoke(question))
    return WRITTEN


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (of_class, "belongs to a class"),
        (unseen, "calls similarity_search of something that could not be found"),
        (writing, "assigns the global WRITTEN"),
    ],
)
def test_what_a_function_hides_is_reported(function: Callable[..., Any], reason: str) -> None:
    coverage = reported(RunnableLambda(function))
    assert coverage.reached == ()
    assert any(reason in item.reason for item in coverage.unreached)


def test_the_store_of_a_retriever_is_guarded_where_it_is_searched() -> None:
    store = InMemoryVectorStore(HashEmbeddings())
    store.add_documents(TWICE)
    found = store.as_retriever()
    guarded = guard(
        RunnableLambda(lambda q: len(found.vectorstore.similarity_search(str(q)))) | str
    )
    assert guarded.invoke("q") == "1"

    def twice(question: str) -> list[int]:
        searched = found.vectorstore.search(question, "mmr")
        return [len(found.invoke(question)), len(searched)]

    both = guard(RunnableLambda(twice))
    assert both.invoke("q") == [1, 1]
    assert [len(ledger.steps) for ledger in handle(both).ledgers] == [2]


def test_a_function_that_searches_a_known_store_is_not_reported() -> None:
    guarded = guard(RunnableLambda(lambda q: STORE.similarity_search(str(q))))
    assert handle(guarded).coverage.complete


class Closing:
    __slots__ = ("retriever",)

    def __init__(self) -> None:
        self.retriever = RETRIEVER

    def find(self, question: str) -> int:
        return len(self.retriever.invoke(question))

    def __del__(self) -> None:
        pass


class Strict:
    """Allows no subclass without a name."""

    def __init__(self) -> None:
        self.retriever = RETRIEVER

    def __init_subclass__(cls, *, label: str) -> None:
        pass

    def find(self, question: str) -> int:
        return len(self.retriever.invoke(question))


def test_a_chain_in_front_of_a_guarded_one_is_looked_at_when_both_are_guarded() -> None:
    composed = (RunnableLambda(str) | RETRIEVER) | guard(RunnableLambda(str) | MODEL)
    guarded = guard(composed)
    assert {item.kind for item in handle(guarded).coverage.reached} == {"retriever", "model"}
    assert left_out(guarded) == 1
    assert [len(ledger.steps) for ledger in handle(guarded).ledgers] == [2]
    assert handle(guarded).unguard() is composed


def test_another_search_is_not_taken_for_one_of_a_vector_store() -> None:
    words = re.compile(r"\w+")

    def first_word(question: str) -> str:
        found = words.search(question)
        return found[0] if found and re.search("n", question) else question

    assert handle(guard(RunnableLambda(first_word) | RETRIEVER)).coverage.complete


@pytest.mark.parametrize("kind", ["mmr", "similarity"])
def test_a_search_that_says_how_is_reported(kind: str) -> None:
    def by_constant(state: dict[str, Any]) -> Any:
        return state["store"].search("q", "mmr")

    def by_keyword(state: dict[str, Any]) -> Any:
        return state["store"].search("q", search_type=kind)

    for function in (by_constant, by_keyword):
        coverage = reported(RunnableLambda(function))
        assert [item.reason for item in coverage.unreached] == [
            "it calls search of something that could not be found"
        ]


@pytest.mark.parametrize("kind", [Closing, Strict])
def test_an_object_that_cannot_be_copied_is_reported(kind: Any) -> None:
    coverage = reported(RunnableLambda(kind().find))
    assert coverage.reached == ()
    assert "FixedRetriever" in coverage.unreached[0].reason


def test_what_is_blocked_in_one_place_is_still_guarded_in_another() -> None:
    strict = Strict()
    coverage = reported(RunnableLambda(strict.find) | (lambda _: RETRIEVER.invoke("q")))
    assert len(coverage.reached) == 1
    assert len(coverage.unreached) == 1


def test_a_root_that_cannot_be_copied_is_refused() -> None:
    class Fixed(FixedRetriever):
        def __init_subclass__(cls, *, label: str = "", **kwargs: Any) -> None:
            if not label:
                raise TypeError("no subclass without a label")

    with pytest.raises(UnsupportedObjectError, match="no subclass without a label"):
        guard(Fixed())


def test_a_part_that_cannot_be_copied_is_reported() -> None:
    class Fixed(FixedRetriever):
        def __init_subclass__(cls, **kwargs: Any) -> None:
            raise TypeError("no subclasses")

    coverage = reported(Fixed() | len)
    assert coverage.reached == ()
    assert [(item.path, item.type) for item in coverage.unreached] == [("steps[0]", "Fixed")]


def test_a_method_of_an_object_that_cannot_be_copied_is_reported() -> None:
    class Closed:
        __slots__ = ()

        def find(self, question: str) -> int:
            return len(RETRIEVER.invoke(question))

        def __del__(self) -> None:
            pass

    with pytest.warns(CoverageWarning, match="finaliser"):
        guarded = guard(RunnableLambda(Closed().find))
    assert len(handle(guarded).coverage.reached) == 1
    assert guarded.invoke("q") == 1  # the method is made anew, its object is not


class Service:
    def __init__(self) -> None:
        self.retriever = RETRIEVER

    def find(self, question: str) -> int:
        return len(self.retriever.invoke(question))


def test_a_class_that_makes_its_own_use_of_a_retriever_is_reported() -> None:
    coverage = reported(RunnableLambda(lambda q: Service().find(str(q))))
    assert "belongs to a class" in coverage.unreached[0].reason


class Bypassing(ScriptedChatModel):
    """Answers without the methods that every model has."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        return "bypassed"

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return "bypassed"


class Extending(ScriptedChatModel):
    """Adds something, and goes the usual way."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        return super().invoke(*args, **kwargs)


def test_a_model_that_overrides_generate_is_reported_if_it_goes_its_own_way() -> None:
    coverage = reported(Bypassing())
    assert ["overrides generate" in item.reason for item in coverage.unreached] == [True]
    guarded = guard(Extending())
    guarded.invoke("q")
    assert handle(guarded).coverage.complete
    assert len(handle(guarded).ledgers[0].steps) == 1


def test_a_stand_in_is_reported() -> None:
    mock = MagicMock(spec=BaseRetriever)
    coverage = reported(RunnableLambda(lambda q: [mock.invoke(q)]))
    assert coverage.unreached[0].type == "MagicMock"


def test_a_foreign_object_that_holds_a_retriever_is_reported() -> None:
    foreign = argparse.Namespace(held={"retriever": RETRIEVER})
    coverage = reported(RunnableLambda(lambda q: [foreign.held["retriever"].invoke(q)]))
    assert "argparse" in coverage.unreached[0].reason


class OwnLanguageModel(BaseLanguageModel[str]):
    """Neither a chat model nor a completion model."""

    def generate_prompt(self, *args: Any, **kwargs: Any) -> Any: ...
    async def agenerate_prompt(self, *args: Any, **kwargs: Any) -> Any: ...
    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        return "own"


def test_another_kind_of_language_model_is_reported() -> None:
    coverage = reported(OwnLanguageModel() | str)
    assert "neither a BaseChatModel nor a BaseLLM" in coverage.unreached[0].reason


def test_a_graph_on_a_server_is_reported() -> None:
    remote = RemoteGraph("graph", url="http://127.0.0.1:9")
    coverage = reported(RunnableLambda(str) | remote)
    assert [item.reason for item in coverage.unreached] == ["it runs on a server"]


def test_too_much_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctxguard_langchain.walk.MOST_NODES", 50)
    many: list[Any] = [*([[n]] for n in range(100)), [RETRIEVER]]
    coverage = reported(RunnableLambda(lambda q: len(many[-1][0].invoke(q))))
    assert "more than 50 objects" in coverage.unreached[0].reason


def test_what_langchain_does_not_run_is_not_supported() -> None:
    for other in (object(), "text", RETRIEVER.invoke, {"a": RETRIEVER}):
        with pytest.raises(UnsupportedObjectError):
            guard(other)


def test_a_large_index_is_not_walked_through() -> None:
    class Index(BaseRetriever):
        vectors: dict[str, list[list[float]]]
        documents: list[Document]

        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return self.documents[:2]

    vectors = {str(n): [[0.0] * 100] for n in range(2000)}
    documents = [Document(page_content=f"text {n}") for n in range(50_000)]
    guarded = guard(Index(vectors=vectors, documents=documents))
    assert handle(guarded).coverage.complete
