"""LangChain's own test suites for plain and guarded classes; `test_standard.py` compares them."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage
from langchain_tests.integration_tests import (
    ChatModelIntegrationTests,
    RetrieversIntegrationTests,
)
from langchain_tests.unit_tests import ChatModelUnitTests

from ctxguard import Guard, Handle, Policy
from ctxguard_langchain.classes import give
from ctxguard_langchain.hooks import hooked
from ctxguard_langchain.scope import scoped
from ctxguard_langchain.testing import FixedRetriever, ScriptedChatModel


class Model(ScriptedChatModel):
    """With the parameters that every model has, and an answer that says what the suites expect."""

    model: str = "o200k_base"
    temperature: float = 0.0
    max_tokens: int | None = None
    timeout: float | None = None
    stop: list[str] | None = None
    max_retries: int | None = None

    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        answer = super()._answer(messages, {**kwargs, "tools": []})
        return answer.model_copy(update={"content": "hello world"})

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


class TestPlainIntegration(ChatModelIntegrationTests):
    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False

    @property
    def chat_model_class(self) -> type[Any]:
        return Model

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "o200k_base"}


class TestGuardedIntegration(TestPlainIntegration):
    @property
    def chat_model_class(self) -> type[Any]:
        return GuardedModel


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
