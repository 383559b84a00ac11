"""Where no copy can reach a retriever: `guard()` says so."""

from __future__ import annotations

import functools
import queue
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from langchain_core.runnables import RunnableLambda
from pydantic import validate_call

from integrations.langchain.tests.matrix.harness import QUESTION, Shape
from integrations.langchain.tests.matrix.parts import joined, model, retriever, step, store
from integrations.langchain.tests.matrix.shapes_objects import Application

__all__ = ["UNREACHED"]

GLOBAL = retriever()
STORE = store()


class Config:
    found = GLOBAL


def of_a_class(question: str) -> str:
    return joined(Config.found.invoke(question))


def of_an_object_made_here(question: str) -> str:
    return Application().of_module(question)


VARIABLE: ContextVar[Any] = ContextVar("retriever", default=GLOBAL)
UNSET: ContextVar[Any] = ContextVar("unset")
REFERENCE = weakref.ref(GLOBAL)
PROXY = MappingProxyType({"contracts": GLOBAL})
QUEUE: queue.Queue[Any] = queue.Queue()
QUEUE.put(GLOBAL)


def from_variable(question: str) -> str:
    UNSET.set(question)
    return joined(VARIABLE.get().invoke(question))


def from_reference(question: str) -> str:
    found = REFERENCE()
    return joined(found.invoke(question)) if found else ""


def from_proxy(question: str) -> str:
    return joined(PROXY["contracts"].invoke(question))


def from_queue(question: str) -> str:
    return joined(QUEUE.queue[0].invoke(question))


@validate_call
def validated(question: str) -> str:
    return joined(GLOBAL.invoke(question))


COUNT = 0


def counting(question: str) -> str:
    global COUNT  # noqa: PLW0603 -- what cannot be reached
    COUNT += 1
    return joined(GLOBAL.invoke(question))


def given_a_store(given: dict[str, Any]) -> str:
    return joined(given["store"].similarity_search(given["question"], k=4))


@functools.singledispatch
def by_type(question: object) -> str:
    raise TypeError(question)


@by_type.register
def _(question: str) -> str:
    return joined(GLOBAL.invoke(question))


def unreached(
    function: Callable[..., Any], reason: str, kinds: Mapping[str, int] | None = None
) -> Shape:
    return Shape(make=step(function), retrievals=0, dropped=0, kinds=kinds, unreached=(reason,))


UNREACHED: dict[str, Shape] = {
    "class": unreached(of_a_class, "belongs to a class"),
    "object made in the function": unreached(of_an_object_made_here, "belongs to a class"),
    "function that assigns a global": unreached(counting, "assigns the global COUNT"),
    "function by type": unreached(by_type, "in a cache of its own"),
    "context variable": unreached(from_variable, "cannot be copied safely"),
    "weak reference": unreached(from_reference, "a weakref object cannot be copied safely"),
    "read-only mapping": unreached(from_proxy, "cannot be copied safely"),
    "queue": unreached(from_queue, "a queue object cannot be copied safely"),
    # The wrapper has the function a second time, where it is guarded and never called.
    "validated call": unreached(validated, "cannot be copied safely", {"retriever": 1, "model": 1}),
    "store in the input": Shape(
        make=lambda: RunnableLambda(given_a_store) | str | model(),
        given={"store": STORE, "question": QUESTION},
        retrievals=0,
        dropped=0,
        unreached=("calls similarity_search of something that could not be found",),
        warns="arrives in the input",
    ),
}
