"""Tracers see a guarded object as the plain one: names, kinds, parents, inputs and outputs."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough, chain
from langchain_core.tools import create_retriever_tool
from langchain_core.tracers import LangChainTracer
from langgraph.graph import START, MessagesState, StateGraph
from langsmith import Client
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ctxguard import Policy, guard
from ctxguard_langchain.testing import AsyncFixedRetriever, FixedRetriever, ScriptedChatModel

pytestmark = pytest.mark.anyio

Seen = list[tuple[Any, ...]]
Mode = Callable[[Any, Any, dict[str, Any]], Any]

DOCUMENTS = [
    Document(f"The notice period for ending agreement {n} is thirty days.", id=str(n))
    for n in (1, 1, 2)
]


def joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


def sequence(retriever: Any = None, model: Any = None) -> Any:
    steps = {
        "context": (retriever or FixedRetriever(documents=DOCUMENTS)) | joined,
        "question": RunnablePassthrough(),
    }
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    return steps | prompt | (model or ScriptedChatModel())


def function() -> Any:
    retriever, model = FixedRetriever(documents=DOCUMENTS), ScriptedChatModel()

    @chain
    def answer(question: str) -> Any:
        return model.invoke(joined(retriever.invoke(question)))

    return answer


def graph() -> Any:
    retriever, model = FixedRetriever(documents=DOCUMENTS), ScriptedChatModel()

    def retrieve(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("user", joined(retriever.invoke("q")))]}

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    made = StateGraph(MessagesState)
    made.add_sequence([retrieve, answer])
    made.add_edge(START, "retrieve")
    return made.compile()


def agent() -> Any:
    tool = create_retriever_tool(FixedRetriever(documents=DOCUMENTS), "search", "Find passages.")
    return create_agent(ScriptedChatModel(), [tool])


class Failing(ScriptedChatModel):
    """Fails in every mode."""

    def _answer(self, messages: Any, kwargs: Any) -> Any:
        raise LookupError("no answer")


MESSAGES = {"messages": [("user", "What is the notice period?")]}
OBJECTS: dict[str, tuple[Callable[[], Any], Any]] = {
    "retriever": (lambda: FixedRetriever(documents=DOCUMENTS), "q"),
    "async retriever": (lambda: AsyncFixedRetriever(documents=DOCUMENTS), "q"),
    "model": (ScriptedChatModel, "q"),
    "completion model": (lambda: FakeListLLM(responses=["x", "y"]), "q"),
    "bound model": (lambda: ScriptedChatModel().bind(stop=["x"]), "q"),
    "sequence": (sequence, "q"),
    "completing sequence": (lambda: sequence(model=FakeListLLM(responses=["x", "y"])), "q"),
    "failing sequence": (lambda: sequence(model=Failing()), "q"),
    "function": (function, "q"),
    "retry": (lambda: sequence().with_retry(), "q"),
    "fallbacks": (lambda: Failing().with_fallbacks([ScriptedChatModel()]), "q"),
    "graph": (graph, MESSAGES),
    "agent": (agent, MESSAGES),
}


async def invoke(obj: Any, asked: Any, config: Any) -> None:
    obj.invoke(asked, config)


async def ainvoke(obj: Any, asked: Any, config: Any) -> None:
    await obj.ainvoke(asked, config)


async def stream(obj: Any, asked: Any, config: Any) -> None:
    for _ in obj.stream(asked, config):
        pass


async def astream(obj: Any, asked: Any, config: Any) -> None:
    async for _ in obj.astream(asked, config):
        pass


async def batch(obj: Any, asked: Any, config: Any) -> None:
    obj.batch([asked], config)


MODES = [invoke, ainvoke, stream, astream]


async def traced(mode: Mode, obj: Any, asked: Any, config: dict[str, Any]) -> str:
    """What a call ends with, blank when it ends well."""
    try:
        await mode(obj, asked, config)
    except LookupError as error:
        return repr(error)
    return ""


# -- LangSmith ----------------------------------------------------------------------------------


class Session:
    """What LangSmith's client sends its requests with; nothing leaves the process."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def request(self, method: str, url: str, *, data: Any = None, **_: Any) -> Any:
        self.sent.append((method, json.loads(data) if data else {}))
        return Accepted()

    def mount(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        pass


class Accepted:
    status_code = 202
    text = "{}"
    headers: dict[str, str] = {}  # noqa: RUF012 -- empty, and only read

    def raise_for_status(self) -> None:
        pass

    def json(self) -> dict[str, Any]:
        return {}


_CHANGING = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|0x[0-9a-f]+|line \d+, in [^,]*?<module>"
)


def steady(value: object) -> object:
    """A value without what differs from call to call: ids, addresses, order of parallel steps."""
    return _CHANGING.sub("…", json.dumps(read(value), default=str, sort_keys=True))


def read(value: Any) -> Any:
    """A value with the JSON inside of it read, so that keys can be sorted there, too."""
    if isinstance(value, dict):
        return {key: read(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [read(item) for item in value]
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


async def sent_to_langsmith(mode: Mode, obj: Any, asked: Any) -> Seen:
    session: Any = Session()
    client = Client(
        api_url="http://127.0.0.1:1", api_key="none", session=session, auto_batch_tracing=False
    )
    tracer = LangChainTracer(client=client, project_name="tests")
    ended = await traced(mode, obj, asked, {"callbacks": [tracer], "tags": ["tag"]})
    tracer.wait_for_futures()
    runs: dict[str, dict[str, Any]] = {}
    for method, body in session.sent:
        if "id" in body:
            runs.setdefault(body["id"], {}).update({"method": method, **body})
    names = {key: run.get("name", "") for key, run in runs.items()}
    sent = (
        (
            run.get("name"),
            run.get("run_type"),
            names.get(run.get("parent_run_id") or ""),
            steady(run.get("inputs")),
            steady(run.get("outputs")),
            (run.get("error") or "").partition("Traceback")[0],
            steady(run.get("tags")),
            steady(sorted((run.get("extra") or {}).get("metadata", {}))),
            steady([event["name"] for event in run.get("events") or ()]),
            steady(run.get("serialized")),
        )
        for run in runs.values()
    )
    return [*sorted(sent, key=repr), ("ended", ended)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OBJECTS)
async def test_langsmith_is_sent_what_it_is_sent_of_the_plain_object(name: str, mode: Mode) -> None:
    make, asked = OBJECTS[name]
    plain = await sent_to_langsmith(mode, make(), asked)
    guarded = await sent_to_langsmith(mode, guard(make(), Policy.off()), asked)
    assert len(plain) > 1
    assert guarded == plain


# -- OpenInference ------------------------------------------------------------------------------


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()


def as_seen(spans: tuple[ReadableSpan, ...]) -> Seen:
    names = {span.context.span_id: span.name for span in spans if span.context}
    seen = (
        (
            span.name,
            names.get(span.parent.span_id) if span.parent else None,
            span.status.status_code.name,
            steady(dict(span.attributes or {})),
            steady([event.name for event in span.events]),
        )
        for span in spans
    )
    return sorted(seen, key=repr)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OBJECTS)
async def test_openinference_sees_the_spans_of_the_plain_object(
    name: str, mode: Mode, spans: InMemorySpanExporter
) -> None:
    make, asked = OBJECTS[name]
    found: list[Seen] = []
    for obj in (make(), guard(make(), Policy.off())):
        await traced(mode, obj, asked, {})
        found.append(as_seen(spans.get_finished_spans()))
        spans.clear()
    assert found[0]
    assert found[1] == found[0]


async def test_openinference_sees_what_the_policy_left(spans: InMemorySpanExporter) -> None:
    guard(sequence()).invoke("q")
    by_kind = {
        (span.attributes or {})["openinference.span.kind"]: dict(span.attributes or {})
        for span in spans.get_finished_spans()
    }
    found = [name for name in by_kind["RETRIEVER"] if name.endswith("document.content")]
    assert len(found) == 2, "the copy is gone before the tracer looks"
