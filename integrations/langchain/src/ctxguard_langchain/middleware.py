"""The explicit way for agents: `create_agent(model, tools, middleware=[CtxGuardMiddleware()])`.

The model and the tool of each call are guarded when they are called, so the same hooks apply as
with `guard(agent)`, and what the tools retrieved is known as evidence when the model is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypeVar, cast

from typing_extensions import override

from ctxguard.errors import MissingDependencyError
from ctxguard.guard import Guard
from ctxguard.handle import Coverage, Handle
from ctxguard.policy import Policy
from ctxguard.run import Run, activate, current_run
from ctxguard_langchain.adapter import cover_part
from ctxguard_langchain.classes import is_guarded
from ctxguard_langchain.convert import question_of, short
from ctxguard_langchain.stepping import in_run, noted

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ModelRequest,
        ModelResponse,
    )
    from langchain.agents.middleware.types import PrivateStateAttr, ToolCallRequest
    from langgraph.channels.untracked_value import (  # pyright: ignore[reportMissingTypeStubs] -- a namespace package, whose py.typed is overlooked
        UntrackedValue,
    )
except ImportError as error:
    raise MissingDependencyError(
        "CtxGuardMiddleware is for LangChain's agents: pip install 'ctxguard-langchain[agents]'"
    ) from error
from ctxguard_langchain.dynamic import Dynamic

__all__ = ["CtxGuardMiddleware", "GuardedState"]

T = TypeVar("T")
_KEPT_PARTS = 64
"""Models and tools whose guarded forms are kept; a request may bring new ones every time."""
_KEPT_RUNS = 256
"""Invocations under way; one that was cancelled never ends, and newer ones push it out."""


class GuardedState(AgentState[Any]):
    """The agent's state with the id of this invocation's run; no checkpoint saves it."""

    ctxguard_run: NotRequired[Annotated[str, UntrackedValue, PrivateStateAttr]]


# How many type parameters it has depends on LangChain's version.
if TYPE_CHECKING:
    _Middleware = AgentMiddleware[Any, Any, Any]
else:
    _Middleware = AgentMiddleware


class CtxGuardMiddleware(_Middleware):
    """Applies a policy to an agent's model calls and to what its tools retrieve.

    `middleware.ctxguard` is the Handle: `.last`, `.ledgers`, `.coverage` (what was called so far).
    An agent that guard() has guarded already is left to it: the policy is applied once.
    """

    state_schema = GuardedState

    def __init__(self, policy: Policy | None = None) -> None:
        """Set up, without loading anything.

        Args:
            policy: None: `CTXGUARD_POLICY`'s file if that is set, else the balanced preset.
        """
        super().__init__()
        self.tools = []
        self.ctxguard = Handle(Guard(policy), self)
        self._parts: dict[int, tuple[object, Any]] = {}
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    # -- one run per invocation -----------------------------------------------------------------

    @override
    def before_agent(self, state: GuardedState, runtime: Dynamic) -> dict[str, Any] | None:
        """Start the run that all calls of this invocation belong to."""
        if current_run() is not None:
            return None
        question = short(question_of(state.get("messages", [])))
        run = self.ctxguard.start(question, self.name)
        with self._lock:
            self._runs[run.run_id] = run
            while len(self._runs) > _KEPT_RUNS:
                self._runs.pop(next(iter(self._runs)))
        return {"ctxguard_run": run.run_id}

    @override
    async def abefore_agent(self, state: GuardedState, runtime: Dynamic) -> dict[str, Any] | None:
        """As `before_agent`."""
        return self.before_agent(state, runtime)

    @override
    def after_agent(self, state: GuardedState, runtime: Dynamic) -> dict[str, Any] | None:
        """Freeze the run: it is the newest ledger now."""
        self._finish(state)
        return None

    @override
    async def aafter_agent(self, state: GuardedState, runtime: Dynamic) -> dict[str, Any] | None:
        """As `after_agent`."""
        return self.after_agent(state, runtime)

    def _run(self, state: Dynamic) -> Run | None:
        """The run of this invocation; None after an interrupt: then each call has its own."""
        values = cast("Mapping[str, Any]", state if isinstance(state, Mapping) else {})
        return self._runs.get(values.get("ctxguard_run", ""))

    def _finish(self, state: Dynamic, error: BaseException | None = None) -> None:
        run = self._run(state)
        if run is not None:
            with self._lock:
                self._runs.pop(run.run_id, None)
            self.ctxguard.finish(run, error)

    @contextmanager
    def _within(self, state: Dynamic) -> Generator[None]:
        """The invocation's run around one call, unless a guard around the agent has one."""
        run = self._run(state)
        if current_run() is not None:
            yield
        elif run is None:
            with in_run(self.ctxguard, "", self.name):
                yield
        else:
            try:
                with activate(run):
                    yield
            except BaseException as error:
                if noted(error) is not None:
                    self._finish(state, error)
                raise

    # -- calls -----------------------------------------------------------------------------------

    @override
    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Ask the guarded form of the request's model.

        Raises:
            BudgetExceededError: what is pinned does not fit its window.
        """
        with self._within(request.state):
            return handler(request.override(model=self._guarded(request.model)))

    @override
    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """As `wrap_model_call`."""
        with self._within(request.state):
            return await handler(request.override(model=self._guarded(request.model)))

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]
    ) -> Dynamic:
        """Run the guarded form of the request's tool: its retrievers' results pass the policy."""
        with self._within(request.state):
            return handler(self._with_guarded_tool(request))

    @override
    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Dynamic:
        """As `wrap_tool_call`."""
        with self._within(request.state):
            return await handler(self._with_guarded_tool(request))

    def _with_guarded_tool(self, request: ToolCallRequest) -> ToolCallRequest:
        if request.tool is None:  # the node answers for a tool that it does not know
            return request
        return request.override(tool=self._guarded(request.tool))

    def _guarded(self, part: T) -> T:
        """The guarded form of a model or a tool, made once."""
        if is_guarded(part):
            return part
        with self._lock:
            known = self._parts.get(id(part))
            if known is None:
                made, coverage = cover_part(part, self.ctxguard)
                self._note(coverage)
                while len(self._parts) >= _KEPT_PARTS:
                    self._parts.pop(next(iter(self._parts)))
                known = self._parts[id(part)] = (part, made)  # keeps `part`, and so its id
        return known[1]

    def _note(self, found: Coverage) -> None:
        so_far = self.ctxguard.coverage
        self.ctxguard.coverage = Coverage(
            tuple(dict.fromkeys((*so_far.reached, *found.reached))),
            tuple(dict.fromkeys((*so_far.unreached, *found.unreached))),
        )
