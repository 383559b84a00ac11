"""Real agents over a scripted model, and a model and a retriever that do nothing."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import create_retriever_tool, tool
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.llms import MockLLM
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode


class ScriptedModel(BaseChatModel):
    """Calls the search tool once, then answers."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Any tools; the script does not look at them."""
        return self.bind(**kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> ChatResult:
        answered = any(isinstance(message, ToolMessage) for message in messages)
        call = {"name": "search", "args": {"query": "q"}, "id": "1"}
        message = AIMessage("done") if answered else AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])


@tool
def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


def agent() -> Any:
    """A new agent; nothing in it is guarded."""
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=16))
    store.add_documents([Document(f"passage {index // 2}") for index in range(8)])
    search = create_retriever_tool(store.as_retriever(), "search", "Search the passages.")
    return create_agent(ScriptedModel(), [search, add], system_prompt="Be brief.")


def large_agent() -> Any:
    """A new agent with eight tools, each of which has a retriever of its own."""
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=16))
    searches = [
        create_retriever_tool(store.as_retriever(), f"search_{n}", "Search some passages.")
        for n in range(8)
    ]
    return create_agent(ScriptedModel(), searches, system_prompt="Be brief.")


class IdleModel(BaseChatModel):
    """Answers at once, and reads nothing."""

    model_name: str = "gpt-4o"
    """One whose window and encoding are known, so that a policy with a window counts."""

    @property
    def _llm_type(self) -> str:
        return "idle"

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("done"))])


class IdleLLM(MockLLM):
    """Answers at once with a word of the prompt."""

    @property
    def metadata(self) -> LLMMetadata:
        """A window and an encoding that are known, so that a policy with a window counts."""
        return LLMMetadata(context_window=128_000, model_name="gpt-4o", is_chat_model=True)


class IdleRetriever(BaseRetriever):
    """Finds the same nodes whatever is asked."""

    def __init__(self, nodes: list[TextNode]) -> None:
        self._found = [NodeWithScore(node=node, score=1.0) for node in nodes]
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return list(self._found)
