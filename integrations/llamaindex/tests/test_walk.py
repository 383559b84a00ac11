"""The walk: what is reached and copied, what is shared, and what is reported."""

from __future__ import annotations

import functools
import sys
import threading
import types
import warnings
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import LLM
from llama_index.core.multi_modal_llms.base import MultiModalLLM
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.postprocessor.node import AutoPrevNextNodePostprocessor
from llama_index.core.query_engine import CustomQueryEngine, RetrieverQueryEngine
from llama_index.core.response_synthesizers import Refine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from pydantic import PrivateAttr
from workflows.resource import Resource

import ctxguard
from ctxguard import CoverageWarning, Policy, UnsupportedObjectError
from ctxguard_llamaindex import CtxGuardPostprocessor
from ctxguard_llamaindex.testing import HashEmbedding, ScriptedLLM

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say


Pair = namedtuple("Pair", "left right")


class Nothing(BaseRetriever):
    """Finds nothing."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return []


class Holder(Workflow):
    """A user's workflow that holds something."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.held = held

    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


class Box:
    """A user's plain object."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def find(self, query: str) -> Any:
        return self.held.retrieve(query)


class Slotted:
    __slots__ = ("__hidden", "held")

    def __init__(self, held: Any) -> None:
        self.held = held
        self.__hidden = held

    @property
    def hidden(self) -> Any:
        return self.__hidden


@dataclass(frozen=True, slots=True)
class Frozen:
    held: Any


class Model(CustomQueryEngine):
    field: Any
    _private: Any = PrivateAttr()

    def custom_query(self, query_str: str) -> str:
        return ""


def guarded_in(held: Any) -> Any:
    """What became of something that a workflow holds."""
    return guard(Holder(held)).held


def is_guarded(obj: Any) -> bool:
    return hasattr(obj, "ctxguard")


# -- what is reached -----------------------------------------------------------------------------


def test_containers() -> None:
    one, two = Nothing(), Nothing()
    for held, get in [
        ([one, two], list),
        ((one, two), list),
        (Pair(one, two), list),
        (deque([one, two], maxlen=2), list),
        ({one, two}, list),
        (frozenset({one, two}), list),
        ({"a": one, "b": two}, lambda new: list(new.values())),
        (OrderedDict(a=one, b=two), lambda new: list(new.values())),
        (defaultdict(list, a=one, b=two), lambda new: list(new.values())),
        (types.SimpleNamespace(a=one, b=two), lambda new: [new.a, new.b]),
        (
            [[{"a": (one, {"b": [two]})}]],
            lambda new: [new[0][0]["a"][0], new[0][0]["a"][1]["b"][0]],
        ),
    ]:
        new = guarded_in(held)
        assert type(new) is type(held)
        assert new is not held
        assert len(get(new)) == 2
        assert all(is_guarded(item) for item in get(new))
        assert not is_guarded(one)
    assert guarded_in(deque([one], maxlen=2)).maxlen == 2
    assert guarded_in(defaultdict(list, a=one)).default_factory is list


def test_objects() -> None:
    one = Nothing()
    slotted = guarded_in(Slotted(one))
    assert is_guarded(slotted.held)
    assert is_guarded(slotted.hidden)
    assert is_guarded(guarded_in(Frozen(one)).held)
    assert is_guarded(guarded_in(Box(Box(one))).held.held)
    model = Model(field={"deep": [one]})
    model._private = one
    new = guard(model)
    assert is_guarded(new.field["deep"][0])
    assert is_guarded(new._private)
    assert not is_guarded(model._private)


def test_functions() -> None:
    one = Nothing()

    def closed(query: str, *, limit: int = 3) -> Any:
        """Finds."""
        return one, query, limit

    closed.note = "kept"  # type: ignore[attr-defined]

    def defaulted(query: str, by: Any = one, *, also: Any = one) -> Any:
        return by, also

    @functools.wraps(closed)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return closed(*args, **kwargs)

    new = guarded_in(closed)
    assert is_guarded(new("q")[0])
    assert new("q")[1:] == ("q", 3)
    assert (new.__name__, new.__doc__, new.note) == ("closed", "Finds.", "kept")
    assert not is_guarded(closed("q")[0])
    assert all(is_guarded(item) for item in guarded_in(defaulted)("q"))
    assert is_guarded(guarded_in(decorated)("q")[0])
    assert is_guarded(guarded_in(functools.partial(closed, limit=9))("q")[0])
    assert guarded_in(functools.partial(closed, limit=9))("q")[2] == 9
    assert is_guarded(guarded_in(functools.partial(max, one)).args[0])
    assert is_guarded(guarded_in(Box(one).find).__self__.held)


def test_functions_that_share_a_variable_still_do() -> None:
    retriever, count = Nothing(), 0

    def use() -> Any:
        nonlocal count
        count += 1
        return retriever

    def used() -> tuple[int, Any]:
        return count, retriever

    class Both(Holder):
        pass

    guarded = guard(Both({"use": use, "used": used}))
    guarded.held["use"]()
    assert guarded.held["used"]()[0] == 1
    assert used()[0] == 0 or guarded.held["used"]()[1] is guarded.held["use"]()


def test_a_method_kept_in_an_attribute_is_the_copys(llm: ScriptedLLM) -> None:
    refine: Any = Refine(llm=llm)
    guarded = guard(refine)
    assert guarded._program_factory.__self__ is guarded
    assert is_guarded(guarded._program_factory.__self__._llm)
    assert refine._program_factory.__self__ is refine

    class Kept(Holder):
        def __init__(self, held: Any) -> None:
            super().__init__(held)
            self.again = self.use
            self.retrieve = held.retrieve

        def use(self) -> Any:
            return self.held

    kept = guard(Kept(Nothing()))
    assert kept.again() is kept.held
    kept.retrieve("q")
    assert len(kept.ctxguard.ledgers) == 1


def test_circles() -> None:
    box, other, retriever = Box(None), Box(None), Nothing()
    box.held, other.held = [other, retriever], (box,)
    new = guarded_in(box)
    assert new.held[0].held[0] is new
    assert is_guarded(new.held[1])
    assert box.held[0].held[0] is box
    retriever.owner = box  # type: ignore[attr-defined]
    again = guarded_in(retriever)
    assert again.owner.held[1] is again


def test_depth_has_no_limit() -> None:
    held: Any = Nothing()
    for number in range(3000):
        held = [Box(held), {"held": held}, Box(held).find][number % 3]
    new: Any = guarded_in(held)
    for number in reversed(range(3000)):
        step_in = [lambda at: at.held, lambda at: at["held"], lambda at: at.__self__.held]
        new = step_in[number % 3](new)
    assert is_guarded(new)


def test_one_object_stays_one() -> None:
    retriever = Nothing()
    guarded = guard(Holder([retriever, retriever, Box(retriever)]))
    first, second, box = guarded.held
    assert first is second is box.held
    (reached,) = guarded.ctxguard.coverage.reached
    assert reached.path == "held[0]"


def test_paths_and_kinds(index: VectorStoreIndex, llm: ScriptedLLM) -> None:
    engine = RetrieverQueryEngine.from_args(
        index.as_retriever(),
        llm=llm,
        node_postprocessors=[LLMRerank(llm=llm), CtxGuardPostprocessor()],
    )
    reached = guard(Holder({"engine": engine})).ctxguard.coverage.reached
    assert [(item.path, item.type, item.kind) for item in reached] == [
        ("held['engine']._retriever", "VectorIndexRetriever", "retriever"),
        ("held['engine']._response_synthesizer._llm", "ScriptedLLM", "model"),
        ("held['engine']._node_postprocessors[1]", "CtxGuardPostprocessor", "postprocessor"),
    ]


# -- what is shared ------------------------------------------------------------------------------


def test_indices_stores_and_embeddings_are_shared(
    index: VectorStoreIndex, llm: ScriptedLLM
) -> None:
    engine: Any = index.as_query_engine(llm=llm)
    guarded = guard(engine)
    for name in ("_index", "_vector_store", "_embed_model", "_docstore", "callback_manager"):
        assert getattr(guarded._retriever, name) is getattr(engine._retriever, name)


def test_only_what_leads_to_something_guarded_is_copied() -> None:
    lock, box = threading.Lock(), Box("nothing")
    held = {"box": box, "lock": lock, "retriever": Nothing()}
    new = guarded_in(held)
    assert new["box"] is box
    assert new["lock"] is lock
    assert (
        guard(Holder([held["retriever"]])).held[0].callback_manager
        is held["retriever"].callback_manager
    )


def test_prompts_of_the_copy_are_its_own(index: VectorStoreIndex, llm: ScriptedLLM) -> None:
    from llama_index.core import PromptTemplate
    from llama_index.core.agent.workflow import ReActAgent

    engine = index.as_query_engine(llm=llm)
    guarded = guard(engine)
    assert set(guarded.get_prompts()) == set(engine.get_prompts())
    template = PromptTemplate("Answer {query_str} from {context_str}")
    guarded.update_prompts({"response_synthesizer:text_qa_template": template})
    name = "response_synthesizer:text_qa_template"
    assert guarded.get_prompts()[name].get_template() == template.get_template()
    assert engine.get_prompts()[name].get_template() != template.get_template()
    guarded.query("notice")
    assert str(llm.prompts[-1][-1].content).startswith("Answer notice from")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agent = ReActAgent(llm=llm)
        new = guard(agent)
    new.update_prompts({"react_header": PromptTemplate("Think.")})
    assert new.formatter.system_header == "Think."
    assert agent.formatter.system_header != "Think."


# -- what is reported ----------------------------------------------------------------------------

RETRIEVER_OF_THE_MODULE = Nothing()
RETRIEVERS_OF_THE_MODULE = [Nothing()]


def finds_globally(query: str) -> Any:
    return RETRIEVER_OF_THE_MODULE.retrieve(query)


def finds_through_another(query: str) -> Any:
    return finds_globally(query)


RETRIEVERS_BY_NAME = {"a": Nothing()}
BOX_OF_THE_MODULE = Box(Nothing())


def finds_by_name(query: str) -> Any:
    return [RETRIEVERS_BY_NAME[name].retrieve(query) for name in "a"]


def finds_in_a_box(query: str) -> Any:
    return BOX_OF_THE_MODULE.find(query)


def finds_in_a_list(query: str) -> Any:
    return [retriever.retrieve(query) for retriever in RETRIEVERS_OF_THE_MODULE]


def asks_settings(query: str) -> Any:
    return Settings.llm.complete(query)


def unreached(obj: Any, *, match: str) -> list[tuple[str, str]]:
    with pytest.warns(CoverageWarning, match=match) as caught:
        guarded = guard(obj)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert not guarded.ctxguard.coverage.complete
    return [(item.path, item.type) for item in guarded.ctxguard.coverage.unreached]


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        (finds_globally, ("held:RETRIEVER_OF_THE_MODULE", "Nothing")),
        (
            finds_through_another,
            ("held:finds_globally:RETRIEVER_OF_THE_MODULE", "Nothing"),
        ),
        (finds_in_a_list, ("held:RETRIEVERS_OF_THE_MODULE[0]", "Nothing")),
        (finds_by_name, ("held:RETRIEVERS_BY_NAME['a']", "Nothing")),
        (finds_in_a_box, ("held:BOX_OF_THE_MODULE.held", "Nothing")),
        (asks_settings, ("held", "Settings.llm")),
    ],
)
def test_globals(function: Any, missing: tuple[str, str]) -> None:
    assert unreached(Holder(function), match="not guarded") == [missing]


def makes_a_retriever(query: str, index: Any = None) -> Any:
    return index.as_retriever().retrieve(query)


def makes_a_model(query: str) -> Any:
    return ScriptedLLM().complete(query)


def names_a_model(query: Any) -> bool:
    return isinstance(query, ScriptedLLM)


def test_what_is_made_while_it_runs() -> None:
    assert unreached(Holder(makes_a_retriever), match="made while") == [("held", "as_retriever")]
    assert unreached(Holder(makes_a_model), match="made while") == [("held", "ScriptedLLM")]
    assert guard(Holder([names_a_model, Nothing()])).ctxguard.coverage.complete


# What functions import when they run; the modules are made for the test.


def imports_a_class(query: str) -> Any:
    from ctxguard_llamaindex.testing import ScriptedLLM as Model

    return Model().complete(query)


def imports_a_class_for_code_inside(query: str) -> Any:
    from ctxguard_llamaindex.testing import ScriptedLLM as Model

    return any(Model().complete(part) for part in query)


def imports_a_class_to_name_it(query: Any) -> bool:
    from ctxguard_llamaindex.testing import ScriptedLLM as Model

    return isinstance(query, Model)


def imports_a_module(query: str) -> Any:
    import ctxguard_llamaindex.testing as models

    return models.ScriptedLLM().complete(query)


def imports_a_module_to_name_it(query: Any) -> bool:
    import ctxguard_llamaindex.testing as models

    return isinstance(query, models.ScriptedLLM)


def imports_settings(query: str) -> Any:
    from llama_index.core import Settings as Chosen

    return Chosen.llm.complete(query)


def imports_what_is_not_loaded(query: str) -> Any:
    from llama_index.llms.nobody_has_this import Model  # pyright: ignore[reportMissingImports] -- not there

    return Model().complete(query)


def imports_what_is_not_loaded_and_no_model(query: str) -> Any:
    from some_package_that_nobody_has import Model  # pyright: ignore[reportMissingImports] -- not there

    return Model().complete(query)


def imports_a_users_object(query: str) -> Any:
    from parts_of_an_application import retriever  # pyright: ignore[reportMissingImports] -- a fixture

    return retriever.retrieve(query)


def imports_a_users_function(query: str) -> Any:
    from parts_of_an_application import find  # pyright: ignore[reportMissingImports] -- a fixture

    return find(query)


def imports_a_users_module(query: str) -> Any:
    import parts_of_an_application  # pyright: ignore[reportMissingImports] -- a fixture

    return parts_of_an_application.retriever.retrieve(query)


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("parts_of_an_application")
    code = "def find(query):\n    return retriever.retrieve(query)\n"
    exec(code, vars(module))  # noqa: S102 -- a module as a user would write it
    module.retriever = Nothing()
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("application")
@pytest.mark.parametrize(
    ("function", "missing"),
    [
        (imports_a_class, ("held", "Model")),
        (imports_a_class_for_code_inside, ("held", "Model")),
        (imports_a_module, ("held:models", "ScriptedLLM")),
        (imports_settings, ("held", "Settings.llm")),
        (imports_what_is_not_loaded, ("held", "Model")),
        (imports_a_users_object, ("held:retriever", "Nothing")),
        (imports_a_users_function, ("held:find:retriever", "Nothing")),
        (imports_a_users_module, ("held:parts_of_an_application:retriever", "Nothing")),
    ],
)
def test_imports_in_functions(function: Any, missing: tuple[str, str]) -> None:
    assert unreached(Holder(function), match="not guarded") == [missing]


def test_imports_that_make_nothing() -> None:
    functions = [
        imports_a_class_to_name_it,
        imports_a_module_to_name_it,
        imports_what_is_not_loaded_and_no_model,
    ]
    assert guard(Holder([*functions, Nothing()])).ctxguard.coverage.complete


@pytest.mark.usefixtures("application")
def test_what_a_function_imports_is_guarded_in_place() -> None:
    module = sys.modules["parts_of_an_application"]
    held = guard(Holder(imports_a_users_object), scope="process")
    assert is_guarded(module.retriever)
    held.ctxguard.unguard()
    assert not is_guarded(module.retriever)


def test_globals_of_a_tool(llm: ScriptedLLM) -> None:
    tool = FunctionTool.from_defaults(finds_globally)
    assert ("_fn:RETRIEVER_OF_THE_MODULE", "Nothing") in [
        (path.replace("_real_fn", "_fn"), kind) for path, kind in unreached(tool, match="global")
    ]


def test_properties_and_class_methods() -> None:
    class Owner(Holder):
        @property
        def found(self) -> Any:
            return RETRIEVER_OF_THE_MODULE.retrieve("q")

        @classmethod
        def finds(cls) -> Any:
            return RETRIEVER_OF_THE_MODULE.retrieve("q")

        @classmethod
        def from_somewhere(cls) -> Any:
            return cls(RETRIEVER_OF_THE_MODULE)

    assert unreached(Owner(Nothing()), match="global") == [
        ("found:RETRIEVER_OF_THE_MODULE", "Nothing"),
        ("finds:RETRIEVER_OF_THE_MODULE", "Nothing"),
    ]


def test_a_name_without_a_value_yet() -> None:
    def later(query: str) -> Any:
        return retriever, unbound

    retriever = Nothing()

    class Closed(Holder):
        def use(self) -> Any:
            return unbound

    assert guard(Closed(later)).ctxguard.coverage.complete
    unbound = "bound"


def test_a_guarded_global_is_not_missing() -> None:
    guarded_before = guard(Nothing())

    def finds(query: str) -> Any:
        return guarded_before.retrieve(query)

    assert guard(Holder(finds)).ctxguard.coverage.complete


def test_attributes_of_the_class() -> None:
    class Shared(Holder):
        retriever = Nothing()

    assert unreached(Shared(Nothing()), match="attribute of the class") == [
        ("retriever", "Nothing")
    ]


def test_an_index_that_is_used(index: VectorStoreIndex) -> None:
    def finds(query: str) -> Any:
        return index.as_retriever().retrieve(query)

    assert unreached(Holder(index), match="makes retrievers") == [("held", "VectorStoreIndex")]
    assert unreached(Holder(finds), match="makes retrievers") == [
        ("held:index", "VectorStoreIndex")
    ]


def test_an_index_inside_a_retriever(index: VectorStoreIndex) -> None:
    class Own(Nothing):
        def __init__(self) -> None:
            super().__init__()
            self.index = index

    assert guard(Own()).ctxguard.coverage.complete


def test_a_resource_of_a_step(index: VectorStoreIndex) -> None:
    def make() -> LLM:
        return ScriptedLLM()

    class Resourceful(Workflow):
        @step
        async def go(self, ev: StartEvent, llm: Annotated[LLM, Resource(make)]) -> StopEvent:
            return StopEvent()

    assert unreached(Resourceful(), match="resource factory") == [("go:llm", "LLM")]


def test_a_model_for_pictures() -> None:
    class Pictures(MultiModalLLM):
        """Never called here."""

    Pictures.__abstractmethods__ = frozenset()
    make: Any = Pictures
    missing = unreached(Holder([make(), Nothing()]), match="interface of its own")
    assert missing == [("held[0]", "Pictures")]


def test_a_model_that_is_looked_up_later(index: VectorStoreIndex, llm: ScriptedLLM) -> None:
    late = AutoPrevNextNodePostprocessor(docstore=index.docstore)
    engine = RetrieverQueryEngine.from_args(
        index.as_retriever(), llm=llm, node_postprocessors=[late]
    )
    assert unreached(engine, match="looked up") == [("_node_postprocessors[0].llm", "Settings.llm")]


def test_a_wrapper_that_cannot_be_rebuilt() -> None:
    retriever = Nothing()

    @functools.lru_cache
    def finds(query: str) -> Any:
        return retriever.retrieve(query)

    holder = Holder([finds, Nothing()])
    assert unreached(holder, match="cannot be rebuilt") == [("held[0]", "_lru_cache_wrapper")]


def test_an_object_that_cannot_be_copied() -> None:
    class Sealed(tuple):
        """Made in a way that only it knows."""

        def __new__(cls, first: Any, second: Any) -> Any:
            return super().__new__(cls, (first, second))

    assert unreached(Holder([Sealed(1, Nothing()), Nothing()]), match="held") == [
        ("held[0]", "Sealed")
    ]


def test_a_class_that_cannot_be_subclassed() -> None:
    class Final(Nothing):
        def __init_subclass__(cls, **kwargs: Any) -> None:
            raise TypeError("Final is final")

    missing = unreached(Holder([Final(), Nothing()]), match="Final is final")
    assert missing == [("held[0]", "Final")]
    with pytest.raises(UnsupportedObjectError, match="Final is final"):
        guard(Final())


def test_nothing_to_guard() -> None:
    with pytest.warns(CoverageWarning, match="nothing in it retrieves or asks a model"):
        guarded = guard(Holder("nothing"))
    assert guarded.ctxguard.coverage.reached == ()


def test_what_is_no_prompts_business(index: VectorStoreIndex) -> None:
    with pytest.raises(UnsupportedObjectError, match=r"guard\(index.as_query_engine\(\)\)"):
        guard(index)
    with pytest.raises(UnsupportedObjectError, match="embedding"):
        guard(HashEmbedding())
    with pytest.raises(UnsupportedObjectError, match="ingestion"):
        guard(IngestionPipeline())
    with pytest.raises(UnsupportedObjectError):
        guard(Box(Nothing()))


def test_a_model_of_ones_own_that_reads_settings_while_it_is_built() -> None:
    class Building(Holder):
        def __init__(self) -> None:
            super().__init__(Settings.llm)

    assert guard(Building()).ctxguard.coverage.complete


def test_guarded_objects_can_be_put_into_new_ones(
    index: VectorStoreIndex, llm: ScriptedLLM, corpus: Any
) -> None:
    own = guard(llm)
    retriever = guard(index.as_retriever(similarity_top_k=4), Policy(layout=None))
    engine = RetrieverQueryEngine.from_args(retriever, llm=own)
    engine.query(corpus.question)
    assert len(retriever.ctxguard.ledgers) == len(own.ctxguard.ledgers) == 1

    guarded = guard(engine)
    assert guarded._retriever is retriever
    assert guarded.ctxguard.coverage.complete
    guarded.query(corpus.question)
    ledger = guarded.ctxguard.last
    assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
    assert [child.name for child in ledger.children] == ["VectorIndexRetriever", "ScriptedLLM"]
