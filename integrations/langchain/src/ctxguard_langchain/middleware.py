"""The explicit way for agents: `create_agent(model, tools, middleware=[CtxGuardMiddleware()])`.

The model and the tool of each call are guarded when they are called, so the same hooks apply as
with `guard(agent)`, and what the tools retrieved is known as evidence when the model is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, NotRequired, TypeVar, cast

from typing_extensions import override

from ctxguard.errors import MissingDependencyError
from ctxguard.guard import Guard
from ctxguard.handle import Coverage, Handle
from ctxguard.policy import Policy
from ctxguard.run import Run, activate, current_run
from ctxguard_langchain.adapter import cover_part
from ctxguard_langchain.classes import is_guarded
from ctxguard_langchain.convert import question_of, short
from ctxguard_langchain.stepping import ends_well

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ModelRequest,
        ModelResponse,
        ToolCallRequest,
    )
    from langchain.agents.middleware.types import PrivateStateAttr
    from langgraph.channels.untracked_value import (  # pyright: ignore[reportMissingTypeStubs] -- a namespace package, whose py.typed is overlooked
        UntrackedValue,
    )
    from langgraph.config import get_config
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
"""Invocations under way; one that was cancelled never ends, and newer ones push it out, which ends
it."""


class GuardedState(AgentState[Any]):
    """The agent's state with the id of this invocation's run; no checkpoint saves it."""

    ctxguard_run: NotRequired[Annotated[str, UntrackedValue, PrivateStateAttr]]


class CtxGuardMiddleware(AgentMiddleware[Any, Any, Any]):
    """Applies a policy to an agent's model calls and to what its tools retrieve.

    `middleware.ctxguard` is the Handle: `.last`, `.ledgers`, `.coverage` (what was called so far).
    An invocation that is interrupted goes on in the same run when its thread is resumed, and has
    its ledger at its end. An agent that guard() has guarded already is left to it: the policy is
    applied once.
    """

    state_schema = GuardedState

    def __init__(self, policy: Policy | None = None) -> None:
        """Set up, without loading anything.

        Args:
            policy: None: `CTXGUARD_POLICY`'s file if that is set, else the balanced preset.
        """
        super().__init__()
        self.tools = []
        self.ctxguard = Handle(Guard(policy), self, ends_well=ends_well)
        self._parts: dict[int, tuple[object, Any]] = {}
        self._runs: dict[str, Run] = {}
        self._places: dict[str, str] = {}
        self._lock = threading.Lock()

    # -- one run per invocation -----------------------------------------------------------------

    @override
    def before_agent(self, state: GuardedState, runtime: Dynamic) -> dict[str, Any] | None:
        """Start the run that all calls of this invocation belong to."""
        if current_run() is not None:
            return None
        question = short(question_of(state.get("messages", [])))
        run = self.ctxguard.start(question, self.name)
        self._keep(run)
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

    def _keep(self, run: Run) -> None:
        """Keep a run until it ends; the one that its thread was left with ends here."""
        place = _place()
        with self._lock:
            left = [self._places.pop(place, "")]
            self._runs[run.run_id] = run
            if place:
                self._places[place] = run.run_id
            left += list(self._runs)[:-_KEPT_RUNS]
        for run_id in left:
            self._end(run_id)

    def _run(self, state: Dynamic) -> Run | None:
        """The run of this invocation; None when another process began it: each call has its own."""
        return self._runs.get(self._run_id(state))

    def _run_id(self, state: Dynamic) -> str:
        values = cast("Mapping[str, Any]", state if isinstance(state, Mapping) else {})
        return values.get("ctxguard_run") or self._places.get(_place(), "")

    def _finish(self, state: Dynamic, error: BaseException | None = None) -> None:
        self._end(self._run_id(state), error)

    def _end(self, run_id: str, error: BaseException | None = None) -> None:
        with self._lock:
            run = self._runs.pop(run_id, None)
            self._places = {k: v for k, v in self._places.items() if v != run_id}
        if run is not None:
            self.ctxguard.finish(run, error)

    @contextmanager
    def _within(self, state: Dynamic) -> Generator[None]:
        """The invocation's run around one call, unless a guard around the agent has one."""
        run = self._run(state)
        if current_run() is not None:
            yield
        elif run is None:
            with self.ctxguard.run("", self.name):
                yield
        else:
            try:
                with activate(run):
                    yield
            except BaseException as error:
                if self.ctxguard.is_error(error):
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


def _place() -> str:
    """The thread of the graph's checkpoints and the agent's place in it, blank without one.

    An invocation that was interrupted is found again by it, since no checkpoint saves its run.
    """
    try:
        configurable = get_config().get("configurable", {})
    except RuntimeError:  # a hook that is called outside of a graph
        return ""
    thread = configurable.get("thread_id")
    around = str(configurable.get("checkpoint_ns", "")).rpartition("|")[0]
    return f"{thread}|{around}" if thread else ""
