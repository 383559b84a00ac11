"""Where users keep a retriever that an object of theirs asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSerializable
from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from ctxguard_langchain.testing import FixedRetriever
from integrations.langchain.tests.matrix.harness import Shape
from integrations.langchain.tests.matrix.parts import (
    ONLY_ASYNC,
    answering,
    joined,
    retriever,
    step_of,
)

__all__ = ["OBJECTS", "Application"]

GLOBAL = retriever()


class Application:
    """An object of an application, whose bound method is a step."""

    shared = GLOBAL

    def __init__(self) -> None:
        self.found = retriever()
        self.by_name = {"contracts": [retriever()]}

    def __call__(self, question: str) -> str:
        return self.own(question)

    def own(self, question: str) -> str:
        return joined(self.found.invoke(question))

    async def natively(self, question: str) -> str:
        return joined(await self.found.ainvoke(question))

    def in_containers(self, question: str) -> str:
        return joined(self.by_name["contracts"][0].invoke(question))

    def of_class(self, question: str) -> str:
        return joined(self.shared.invoke(question))

    def of_module(self, question: str) -> str:
        return self._search(question)

    def _search(self, question: str) -> str:
        return joined(GLOBAL.invoke(question))

    @staticmethod
    def static(question: str) -> str:
        return joined(GLOBAL.invoke(question))

    @classmethod
    def of_classmethod(cls, question: str) -> str:
        return joined(GLOBAL.invoke(question))

    @property
    def seen(self) -> BaseRetriever:
        return self.found

    def by_property(self, question: str) -> str:
        return joined(self.seen.invoke(question))


class Inherited(Application):
    def own(self, question: str) -> str:
        return super().own(question)


class Nested:
    """Holds an application that holds a retriever."""

    def __init__(self) -> None:
        self.application = Application()

    def find(self, question: str) -> str:
        return self.application.own(question)


class Slotted:
    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found = retriever()

    def find(self, question: str) -> str:
        return joined(self.found.invoke(question))


@dataclass
class Data:
    found: BaseRetriever

    def find(self, question: str) -> str:
        return joined(self.found.invoke(question))


@dataclass(frozen=True)
class FrozenData:
    found: BaseRetriever

    def find(self, question: str) -> str:
        return joined(self.found.invoke(question))


@dataclass(slots=True)
class SlottedData:
    found: BaseRetriever

    def find(self, question: str) -> str:
        return joined(self.found.invoke(question))


@dataclass(frozen=True, slots=True)
class FrozenSlottedData:
    found: BaseRetriever

    def find(self, question: str) -> str:
        return joined(self.found.invoke(question))


class Named(NamedTuple):
    found: BaseRetriever

    def find(self, question: str) -> str:
        return joined(self.found.invoke(question))


class Settings(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)
    found: BaseRetriever

    def find(self, question: str) -> str:
        return joined(self.found.invoke(question))


DATA = FrozenSlottedData(retriever())


def from_global_data(question: str) -> str:
    return joined(DATA.found.invoke(question))


class OwnRunnable(Runnable[str, str]):
    """A Runnable of an application's own, with its own `invoke`."""

    def __init__(self) -> None:
        self.found = retriever()

    @override
    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return joined(self.found.invoke(input, config))


class OwnSerializable(RunnableSerializable[str, str]):
    """The same, as a pydantic model."""

    found: BaseRetriever

    @override
    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        return joined(self.found.invoke(input, config))


class OverridingRetriever(BaseRetriever):
    """A retriever that overrides `invoke`, and never comes to the usual method."""

    documents: list[Document]

    @override
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        raise NotImplementedError

    @override
    def invoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        return list(self.documents)

    @override
    async def ainvoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        return list(self.documents)


class ExtendingRetriever(FixedRetriever):
    """A retriever that adds something to `invoke`, and goes the usual way."""

    @override
    def invoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        return super().invoke(input.strip(), config, **kwargs)


OBJECTS: dict[str, Shape] = {
    "method of an object": Shape(make=step_of(lambda: Application().own)),
    "coroutine method": Shape(make=step_of(lambda: Application().natively), raises=ONLY_ASYNC),
    "containers of an object": Shape(make=step_of(lambda: Application().in_containers)),
    "attribute of a class": Shape(make=step_of(lambda: Application().of_class)),
    "global in a method": Shape(make=step_of(lambda: Application().of_module)),
    "static method": Shape(make=step_of(lambda: Application().static)),
    "class method": Shape(make=step_of(lambda: Application().of_classmethod)),
    "property": Shape(make=step_of(lambda: Application().by_property)),
    "inherited method": Shape(make=step_of(lambda: Inherited().own)),
    "callable object": Shape(make=step_of(Application)),
    "object in an object": Shape(make=step_of(lambda: Nested().find)),
    "slotted object": Shape(make=step_of(lambda: Slotted().find)),
    "dataclass": Shape(make=step_of(lambda: Data(retriever()).find)),
    "frozen dataclass": Shape(make=step_of(lambda: FrozenData(retriever()).find)),
    "slotted dataclass": Shape(make=step_of(lambda: SlottedData(retriever()).find)),
    "frozen slotted dataclass": Shape(make=step_of(lambda: FrozenSlottedData(retriever()).find)),
    "named tuple": Shape(make=step_of(lambda: Named(retriever()).find)),
    "pydantic model": Shape(make=step_of(lambda: Settings(found=retriever()).find)),
    "own Runnable": Shape(make=lambda: answering(OwnRunnable())),
    "own serializable Runnable": Shape(make=lambda: answering(OwnSerializable(found=retriever()))),
    "retriever that overrides invoke": Shape(
        make=lambda: answering(OverridingRetriever(documents=retriever().documents) | joined)
    ),
    "retriever that extends invoke": Shape(
        make=lambda: answering(ExtendingRetriever(documents=retriever().documents) | joined)
    ),
    "global dataclass": Shape(make=step_of(lambda: from_global_data)),
}
