"""An index with copies and versions, a scripted model, and an ear for LlamaIndex's events."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.schema import TextNode
from llama_index_instrumentation import get_dispatcher
from pydantic import Field

from ctxguard_llamaindex.testing import HashEmbedding, ScriptedLLM

# An index looks whether its embedding is one of LangChain's, which warns while it is imported when
# langchain-community is installed.
with warnings.catch_warnings(), contextlib.suppress(ImportError):
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("llama_index.core.bridge.langchain")


@dataclass(frozen=True)
class Corpus:
    """Texts of which two say the same, and two differ in one fact."""

    question: str = "What is the notice period for ending the supply agreement?"
    notice: str = (
        "The notice period for ending the supply agreement is thirty days, "
        "and notice must be given in writing to the other party."
    )
    other_notice: str = (
        "The notice period for ending the supply agreement is sixty days, "
        "and notice must be given in writing to the other party."
    )
    payment: str = "Payment is due within fourteen days after the buyer has received the invoice."


@pytest.fixture
def corpus() -> Corpus:
    return Corpus()


@pytest.fixture
def llm() -> ScriptedLLM:
    """A model whose answer is a checksum of its prompt."""
    return ScriptedLLM()


@pytest.fixture(autouse=True)
def _settings(llm: ScriptedLLM) -> Iterator[None]:
    """Nothing of LlamaIndex's own defaults: they would ask OpenAI.

    Past the setters, which import all of langchain-community to see whether it is one of theirs.
    """
    Settings._llm, Settings._embed_model = llm, HashEmbedding()
    yield
    Settings._llm, Settings._embed_model = None, None


def passages(corpus: Corpus) -> list[TextNode]:
    """A passage, its copy in another file, another version of it, and something else."""
    texts = (corpus.notice, corpus.notice, corpus.other_notice, corpus.payment)
    return [
        TextNode(id_=name, text=text, metadata={"file_name": f"{name}.md"})
        for name, text in zip("abcd", texts, strict=True)
    ]


@pytest.fixture
def nodes(corpus: Corpus) -> list[TextNode]:
    return passages(corpus)


@pytest.fixture
def index(nodes: list[TextNode]) -> VectorStoreIndex:
    return VectorStoreIndex(nodes)


class Ear(BaseEventHandler):
    """Keeps the names of LlamaIndex's events and spans, in order."""

    names: list[str] = Field(default_factory=list)

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.names.append(type(event).__name__)


class SpanEar(SimpleSpanHandler):
    """Keeps the names of LlamaIndex's spans, each with its parent's, in order."""

    names: list[tuple[str, str]] = Field(default_factory=list)

    def new_span(self, id_: str, *args: Any, **kwargs: Any) -> Any:
        parent = kwargs.get("parent_span_id") or ""
        self.names.append((id_.rsplit("-", 5)[0], parent.rsplit("-", 5)[0]))
        return super().new_span(id_, *args, **kwargs)


@pytest.fixture
def heard() -> Iterator[tuple[list[str], list[tuple[str, str]]]]:
    """Names of the events, and of the spans with their parents, since the test began."""
    dispatcher, events, spans = get_dispatcher(), Ear(), SpanEar()
    spans.names = []
    dispatcher.add_event_handler(events)
    dispatcher.add_span_handler(spans)
    yield events.names, spans.names
    dispatcher.event_handlers.remove(events)
    dispatcher.span_handlers.remove(spans)
