"""What the tests of routed agents share: two providers' models, routes to them, what was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field
from typing_extensions import override

from ctxguard import Ledger, Policy
from ctxguard.routing import Price, Route, Router, Routes
from ctxguard_langchain import CtxGuardMiddleware
from ctxguard_langchain.testing import ScriptedChatModel

EASY = "What is the fee?"
HARD = (
    "If 17 workers, each paid $23.50 per hour, work 8 hours a day for 12 days, and 3 of them are "
    "paid twice as much unless it is a Sunday, how much more than 9,000 is paid in total?"
)
CHEAP = Price(input=1, output=2, cache_read=0.1)
DEAR = Price(input=10, output=20, cache_read=1)

_KEEPING = threading.Lock()
"""A call is kept in two steps, and branches of a graph ask one model from several threads."""


class RateLimitError(Exception):
    """As the SDKs have it."""

    status_code = 429


class Turning(ScriptedChatModel):
    """Calls its tools so many times before it answers, and fails where it is told to."""

    max_tokens: int | None = None
    turns: int = 1
    """Turns in which tools are called."""
    fails: list[int] = Field(default_factory=list[int])
    """Calls that are refused as too many, counted from 0."""

    @override
    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        with _KEEPING:
            if len(self.seen) in self.fails:
                self.seen.append(list(messages))
                self.calls.append(kwargs)
                raise RateLimitError("slow down")
            done = sum(isinstance(message, ToolMessage) for message in messages)
            shown = [m for m in messages if not isinstance(m, ToolMessage)]
            made = super()._answer(shown if done < self.turns else messages, kwargs)
            self.seen[-1] = list(messages)
        calls = [{**call, "id": f"{call['id']}-{done}"} for call in made.tool_calls]
        return made.model_copy(update={"tool_calls": calls})


class One(Turning):
    """A model of one provider."""

    model_name: str = "one"


class Other(Turning):
    """A model of another provider, which takes tools in a form of its own."""

    model_name: str = "other"

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        made = [convert_to_openai_tool(one)["function"] for one in tools]
        own = [{"name": one["name"], "input_schema": one["parameters"]} for one in made]
        return self.bind(tools=own, choice=tool_choice, **kwargs)

    @override
    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        own: list[dict[str, Any]] = kwargs.get("tools", [])
        tools = [
            {"function": {"name": one["name"], "parameters": one["input_schema"]}} for one in own
        ]
        answer = super()._answer(messages, {**kwargs, "tools": tools})
        self.calls[-1] = kwargs
        return answer


class Third(Turning):
    """A model of a third provider, which takes no tools."""

    @override
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


@tool
def look_up(query: str) -> str:
    """Look something up."""
    return f"found {query}"


def routes(*given: Route, **settings: Any) -> Routes:
    """Routes of which the question decides, and no state that outlives a test."""
    return Routes(
        routes=given, **{"router": Router(thresholds=(0.1,)), "state": "memory", **settings}
    )


def middleware(*given: Route, verification: Any = None, **settings: Any) -> CtxGuardMiddleware:
    return CtxGuardMiddleware(Policy(routing=routes(*given, **settings), verification=verification))


def light(**fields: Any) -> Route:
    """What is configured."""
    return Route(**{"name": "light", "price": CHEAP, **fields})


def heavy(model: Any, **fields: Any) -> Route:
    return Route(**{"name": "heavy", "model": model, "price": DEAR, **fields})


def asked(question: str) -> Any:
    return {"messages": [("user", question)]}


def codes(ledger: Ledger | None) -> list[str]:
    """What was decided of routes."""
    assert ledger is not None
    return [decision.code for decision in ledger.decisions if decision.stage == "route"]


def taken(ledger: Ledger | None) -> list[tuple[str, str]]:
    """The routes of the calls, and why."""
    assert ledger is not None
    return [(call.route, call.reason) for call in ledger.calls]
