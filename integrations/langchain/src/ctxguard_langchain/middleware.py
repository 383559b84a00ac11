"""The explicit way for agents: `create_agent(model, tools, middleware=[CtxGuardMiddleware()])`.

The model and the tool of each call are guarded when they are called, so the same hooks apply as
with `guard(agent)`, and what the tools retrieved is known as evidence when the model is asked. With
routes, each call of the model goes to that of its route.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from typing_extensions import override

from ctxguard.dispatching import dispatching
from ctxguard.errors import MissingDependencyError
from ctxguard.guard import Guard
from ctxguard.handle import Handle
from ctxguard.policy import Policy
from ctxguard.run import Run, activate, current_run
from ctxguard_langchain.adapter import cover_part
from ctxguard_langchain.calling import calling
from ctxguard_langchain.carrying import is_guarded
from ctxguard_langchain.convert import question_of, short
from ctxguard_langchain.schemas import note_schemas
from ctxguard_langchain.stepping import ends_well

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
    from langgraph.config import get_config
except ImportError as error:
    raise MissingDependencyError(
        "CtxGuardMiddleware is for LangChain's agents: pip install 'ctxguard-langchain[agents]'"
    ) from error
from ctxguard_langchain.dynamic import Dynamic, state_of
from ctxguard_langchain.turns import (
    Turn,
    beside,
    check_routes,
    go_on,
    note_model,
    schemas_asked,
)

__all__ = ["CtxGuardMiddleware", "GuardedState"]

T = TypeVar("T")
_KEPT_PARTS = 64
"""Models and tools whose guarded forms are kept; a request may bring new ones every time."""
_KEPT_RUNS = 256
"""Invocations under way; newer ones push out one that failed or was cancelled and never ends."""


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
    An invocation has its ledger from its first call on, and the ledger grows with every call; what
    was interrupted goes on in the same one when its thread is resumed. Put it where you like among
    other middleware: the models and tools that those choose are guarded, too. What they retrieve
    themselves is not, `guard(agent)` does that. An agent that guard() has guarded already is left
    to it: the policy is applied once.

    With `Policy(routing=…)` an invocation goes on the route that its question deserves, and never
    to a lighter one; its thread is the conversation whose route is kept, and `ctxguard_tenant`
    beside `thread_id` says who pays. What other middleware inside of this one puts in the place of
    the route's model is asked, and the ledger says so.
    """

    state_schema = GuardedState

    def __init__(self, policy: Policy | None = None) -> None:
        """Set up, without loading anything.

        Args:
            policy: None: `CTXGUARD_POLICY`'s file if that is set, else the balanced preset.

        Raises:
            PolicyError: a route's model is no chat model.
        """
        super().__init__()
        self.tools = []
        self.ctxguard = Handle(Guard(policy), self, ends_well=ends_well)
        check_routes(self.ctxguard.policy)
        self._model_request = _guarding(ModelRequest, "model", self._asked)
        self._tool_request = _guarding(ToolCallRequest, "tool", self._guarded)
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
        """Keep a run until it ends, in place of the one that its thread was left with."""
        place = _place()
        with self._lock:
            self._runs.pop(self._places.pop(place, ""), None)
            self._runs[run.run_id] = run
            if place:
                self._places[place] = run.run_id
            for run_id in list(self._runs)[:-_KEPT_RUNS]:
                self._drop(run_id)

    def _drop(self, run_id: str) -> Run | None:
        self._places = {place: name for place, name in self._places.items() if name != run_id}
        return self._runs.pop(run_id, None)

    def _run_id(self, state: Dynamic) -> str:
        values = cast("Mapping[str, Any]", state if isinstance(state, Mapping) else {})
        return values.get("ctxguard_run") or self._places.get(_place(), "")

    def _run_of(self, state: Dynamic) -> Run | None:
        """The invocation's run, which may have begun in another process.

        None: a guard around the agent has one.
        """
        if current_run() is not None:
            return None
        place = _place()
        run = self._runs.get(self._run_id(state))
        if run is None:
            values = cast("Mapping[str, Any]", state if isinstance(state, Mapping) else {})
            run = self.ctxguard.start(short(question_of(values.get("messages", []))), self.name)
            if place:
                self._keep(run)
            dispatcher = self.ctxguard.guard.dispatcher
            if place and dispatcher is not None:
                with activate(run):
                    go_on(dispatcher, place)
        return run

    async def _arun_of(self, state: Dynamic) -> Run | None:
        """As `_run_of`; the state that processes share is asked in a thread."""
        dispatcher = self.ctxguard.guard.dispatcher
        if dispatcher is None or self._run_id(state) in self._runs:
            return self._run_of(state)
        return await dispatcher.off_loop(lambda: self._run_of(state))

    def _finish(self, state: Dynamic) -> None:
        with self._lock:
            run = self._drop(self._run_id(state))
        if run is not None:
            self.ctxguard.finish(run)

    @contextmanager
    def _within(self, run: Run | None) -> Generator[None]:
        """The invocation's run around one call.

        What ends the invocation besides `after_agent` is not told: an error that no other
        middleware handles, an interrupt, a command to the graph around it.
        """
        if run is None:
            yield
            return
        error: BaseException | None = None
        try:
            with calling(), activate(run):
                yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            self.ctxguard.publish(run, error)

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
            UngroundedAnswerError: with `on_fail="raise"`, for an answer that nothing put right.
        """
        self._note_schemas(request)
        with self._within(self._run_of(request.state)):
            turn = self._turn(request)
            if turn is not None:
                return turn.call(handler)
            with beside(request.model):
                return handler(_as(self._model_request, request))

    @override
    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """As `wrap_model_call`."""
        self._note_schemas(request)
        with self._within(await self._arun_of(request.state)):
            turn = self._turn(request)
            if turn is not None:
                return await turn.acall(handler)
            with beside(request.model):
                return await handler(_as(self._model_request, request))

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]
    ) -> Dynamic:
        """Run the guarded form of the request's tool: its retrievers' results pass the policy."""
        with self._within(self._run_of(request.state)):
            return handler(_as(self._tool_request, request))

    @override
    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Dynamic:
        """As `wrap_tool_call`."""
        with self._within(await self._arun_of(request.state)):
            return await handler(_as(self._tool_request, request))

    def _turn(self, request: ModelRequest[Any]) -> Turn | None:
        """What routes a call; None: nothing does, or the model has a guard of its own."""
        if is_guarded(request.model):
            return None
        routed = dispatching(self.ctxguard.guard.dispatcher)
        if routed is None:
            return None
        return Turn(self.ctxguard, routed, _as(self._model_request, request), _place())

    def _note_schemas(self, request: ModelRequest[Any]) -> None:
        """Remember which of its tools are schemas of the agent's answer."""
        specs = schemas_asked(request.response_format)
        note_schemas(self.ctxguard, (spec.name for spec in specs))

    def _asked(self, model: T) -> T:
        """The guarded form of a model, which is asked now."""
        made = self._guarded(model)
        note_model(made)
        return made

    def _guarded(self, part: T) -> T:
        """The guarded form of a model or a tool, made once."""
        if part is None or is_guarded(part):  # the node answers for a tool that it does not know
            return part
        with self._lock:
            known = self._parts.get(id(part))
            if known is None:
                made, coverage = cover_part(part, self.ctxguard)
                self.ctxguard.coverage = self.ctxguard.coverage.merged(coverage)
                while len(self._parts) >= _KEPT_PARTS:
                    self._parts.pop(next(iter(self._parts)))
                known = self._parts[id(part)] = (part, made)  # keeps `part`, and so its id
        return known[1]


def _guarding(base: type[T], name: str, guarded: Callable[[Any], Any]) -> type[T]:
    """A class of requests whose model or tool is guarded, whoever puts it there.

    Middleware inside of this one may put another model into the request that it hands on.
    """

    def get(self: Dynamic) -> Dynamic:
        try:
            return state_of(self)[name]
        except KeyError:
            raise AttributeError(name) from None

    def put(self: Dynamic, value: Dynamic) -> None:
        state_of(self)[name] = guarded(value)

    space = {name: property(get, put), "__module__": base.__module__, "__doc__": base.__doc__}
    return cast("type[T]", type(base.__name__, (base,), space))


def _as(kind: type[T], request: T) -> T:
    """A copy of a request that has this class."""
    return kind(
        **{f.name: getattr(request, f.name) for f in dataclasses.fields(cast("Any", request))}
    )


def _place() -> str:
    """The thread of the graph's checkpoints and the agent's place in it, blank without one.

    An invocation that was interrupted is found again by it, since no checkpoint saves its run.
    """
    configurable = _config().get("configurable", {})
    thread = configurable.get("thread_id")
    around = str(configurable.get("checkpoint_ns", "")).rpartition("|")[0]
    return f"{thread}|{around}" if thread else ""


def _config() -> RunnableConfig:
    try:
        return get_config()
    except RuntimeError:  # a hook that is called outside of a graph
        return {}
