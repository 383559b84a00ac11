"""A small real agent for benchmarks: create_agent over a scripted model and two tools."""

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
