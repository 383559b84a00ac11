"""LangChain's own test suites for plain and guarded parts; `test_standard.py` compares them.

What is left out, plain and guarded: reading settings from the environment and serialising, which
the fake model does not do, and a benchmark of recorded HTTP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import BaseTool, create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_tests.integration_tests import (
    ChatModelIntegrationTests,
    RetrieversIntegrationTests,
    ToolsIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import ChatModelUnitTests, ToolsUnitTests

from ctxguard import Guard, Handle, Policy, guard
from ctxguard_langchain.carrying import give
from ctxguard_langchain.hooks import hooked
from ctxguard_langchain.scope import scoped
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel

T = TypeVar("T")
ARGUMENTS = {
    "input": 3,
    "answer_style": "pirate",
    "customer_name": "你好啊集团 こんにちは株式会社",
    "description": "a company",
}
"""What the suites' questions ask the model to call their tools with."""


class Model(ScriptedChatModel):
    """With the parameters that every model has, and the answers that the suites ask for."""

    model: str = "o200k_base"
    temperature: float = 0.0
    max_tokens: int | None = None
    timeout: float | None = None
    stop: list[str] | None = None
    max_retries: int | None = None
    arguments: dict[str, Any] = ARGUMENTS

    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        answer = super()._answer(messages, kwargs)
        if kwargs.get("response_format") == {"type": "json_object"}:
            keys = re.findall(r"'(\w+)'", messages[-1].text)  # in JSON mode only the prompt says
            answer.content = json.dumps(dict.fromkeys(keys, "text"))
        return answer

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = super()._get_ls_params(stop=stop, **kwargs)
        return {
            **params,
            "ls_provider": "scripted",
            "ls_model_name": kwargs.get("model", self.model),
        }


class Retriever(FixedRetriever):
    """Finds numbered documents, as many as are asked for."""

    k: int = 4

    def _get_relevant_documents(self, query: str, *, run_manager: Any, **kwargs: Any) -> Any:
        return [Document(page_content=f"document {n}") for n in range(kwargs.get("k", self.k))]


class GuardedModel(scoped(hooked(Model))):
    """A guarded Model that can be constructed, as the suites want it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        give(self, Handle(Guard(Policy()), self))


class GuardedRetriever(scoped(hooked(Retriever))):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        give(self, Handle(Guard(Policy()), self))


def with_properties(**values: object) -> Callable[[type[T]], type[T]]:
    """A suite in which these properties have these values."""

    def change(suite: type[T]) -> type[T]:
        for name, value in values.items():
            assert isinstance(getattr(suite, name), property)
            setattr(suite, name, property(lambda _, value=value: value))
        return suite

    return change


# -- chat models ----------------------------------------------------------------------------------


class TestPlainUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[Any]:
        return Model

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "o200k_base"}


class TestGuardedUnit(TestPlainUnit):
    @property
    def chat_model_class(self) -> type[Any]:
        return GuardedModel


@with_properties(
    supports_json_mode=True,
    supports_image_inputs=True,
    supports_image_urls=True,
    supports_image_tool_message=True,
    supports_pdf_inputs=True,
    supports_pdf_tool_message=True,
    supports_audio_inputs=True,
    supports_video_inputs=True,
    supports_anthropic_inputs=True,
    supports_model_override=True,
    model_override_value="cl100k_base",
)
class TestPlainIntegration(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[Any]:
        return Model

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "o200k_base"}

    @pytest.fixture(autouse=True)
    def _no_downloads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The suites download a picture, a sound and a document to send; these bytes stand in."""
        found = SimpleNamespace(content=b"\x89PNG\r\n\x1a\n")
        monkeypatch.setattr("httpx.get", lambda *_, **__: found)
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "none")


class TestGuardedIntegration(TestPlainIntegration):
    @property
    def chat_model_class(self) -> type[Any]:
        return GuardedModel


@with_properties(structured_output_kwargs={"method": "json_schema"})
class TestPlainSchema(TestPlainIntegration):
    """Structured output as text instead of by a tool call."""


class TestGuardedSchema(TestPlainSchema):
    @property
    def chat_model_class(self) -> type[Any]:
        return GuardedModel


# -- what retrieves -------------------------------------------------------------------------------


class TestPlainRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[Any]:
        return Retriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {}

    @property
    def retriever_query_example(self) -> str:
        return "q"


class TestGuardedRetriever(TestPlainRetriever):
    @property
    def retriever_constructor(self) -> type[Any]:
        return GuardedRetriever


class TestPlainStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return InMemoryVectorStore(self.get_embeddings())


class TestGuardedStore(TestPlainStore):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return guard(InMemoryVectorStore(self.get_embeddings()))


def searching() -> BaseTool:
    return create_retriever_tool(Retriever(), "search", "Finds documents.")


class TestPlainToolUnit(ToolsUnitTests):
    @property
    def tool_constructor(self) -> BaseTool:
        return searching()

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "q"}


class TestGuardedToolUnit(TestPlainToolUnit):
    @property
    def tool_constructor(self) -> BaseTool:
        return guard(searching())


class TestPlainTool(ToolsIntegrationTests):
    @property
    def tool_constructor(self) -> BaseTool:
        return searching()

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "q"}


class TestGuardedTool(TestPlainTool):
    @property
    def tool_constructor(self) -> BaseTool:
        return guard(searching())
