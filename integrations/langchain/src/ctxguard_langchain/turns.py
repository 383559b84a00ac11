"""A turn of an agent: one call of its model, as each route gets it.

`create_agent` binds tools and chooses how it asks for a structured answer after all middleware, for
the model that the request names then. So a route only has to name its model, and to leave out what
this model does not take.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar, cast

from langchain.agents.middleware import ModelRequest
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.language_models import BaseChatModel

from ctxguard.attempts import Attempt
from ctxguard.dispatcher import Answered, Dispatcher
from ctxguard.dispatching import Dispatching, dispatching
from ctxguard.errors import PolicyError
from ctxguard.handle import Handle
from ctxguard.policy import Policy
from ctxguard.routing import Route
from ctxguard_langchain.binding import alike, rebound
from ctxguard_langchain.convert import card_of
from ctxguard_langchain.dynamic import Dynamic, class_of
from ctxguard_langchain.metering import Meter, metering
from ctxguard_langchain.routes import note_once, request_of, target_for, target_of
from ctxguard_langchain.stepping import ends_well

__all__ = ["Turn", "beside", "check_routes", "go_on", "note_model", "schemas_asked"]

T = TypeVar("T")

_OWN_TOOLS = ("function", "custom", "object")
"""Types of tools and schemas, as dicts, that LangChain writes anew for every provider."""


def check_routes(policy: Policy) -> None:
    """Refuse routes that no turn of an agent can take.

    Raises:
        PolicyError: a route's model is no chat model.
    """
    for route in policy.routing.routes if policy.routing else ():
        if not isinstance(route.model, str | BaseChatModel):
            raise PolicyError(
                f"Policy.routing: route {route.name}: an agent's turn takes a chat model or the "
                f"name of one, got {class_of(route.model).__name__}"
            )


def schemas_asked(response_format: Dynamic) -> Sequence[Any]:
    """The schemas that a turn may offer as tools for a structured answer.

    Args:
        response_format: of a request. Where it leaves the way to the model, another route may take
            another one.
    """
    if response_format is None or isinstance(response_format, ProviderStrategy):
        return ()
    if isinstance(response_format, ToolStrategy):
        return cast("ToolStrategy[Any]", response_format).schema_specs
    free = isinstance(response_format, AutoStrategy)
    schema = cast("AutoStrategy[Any]", response_format).schema if free else response_format
    return ToolStrategy[Any](schema).schema_specs


class Turn:
    """One call of an agent's model, before it is known which model that is."""

    def __init__(
        self, handle: Handle, routed: Dispatching, request: ModelRequest[Any], place: str = ""
    ) -> None:
        """Look at what is asked.

        Args:
            handle: whose policy routes.
            routed: chooses the route.
            request: with the configured model, guarded.
            place: by which the invocation is found when it goes on in another process.
        """
        self._handle, self._routed, self._request = handle, routed, request
        self._place, self._before = place, routed.route
        system = () if request.system_message is None else (request.system_message,)
        known = request_of(handle, request.model, [*system, *request.messages], self._arguments())
        self._refuses = known.refuses
        self._described = replace(known, refuses=self._refused)

    def call(self, handler: Callable[[ModelRequest[Any]], T]) -> T:
        """What the handler returns for the request on one of the routes."""

        def ask(attempt: Attempt) -> T:
            with self._on(attempt) as request:
                return handler(request)

        result = self._routed.call(self._described, ask, ends_well)
        self._keep()
        return result

    async def acall(self, handler: Callable[[ModelRequest[Any]], Awaitable[T]]) -> T:
        """As `call`."""

        async def ask(attempt: Attempt) -> T:
            with self._on(attempt) as request:
                return await handler(request)

        result = await self._routed.acall(self._described, ask, ends_well)
        await self._routed.dispatcher.off_loop(self._keep)
        return result

    def _keep(self) -> None:
        """Let the route be found where the invocation goes on."""
        route = self._routed.route
        if self._place and route != self._before and self._routed.settings.mode == "act":
            _keep_route(self._routed.dispatcher, self._place, route)

    def _arguments(self) -> dict[str, Any]:
        """What the model will be called with besides the messages, as far as that is known here."""
        request, form = self._request, self._request.response_format
        tools: list[Any] = [*request.tools]
        given: dict[str, Any] = {**request.model_settings}
        if isinstance(form, ProviderStrategy):
            given |= form.to_model_kwargs()
        else:
            tools += [
                {"name": spec.name, "description": spec.description, "parameters": spec.json_schema}
                for spec in schemas_asked(form)
            ]
        return {**given, "tools": tools} if tools else given

    def _refused(self, route: Route) -> str:
        """Why a route cannot take this turn; blank: it can."""
        configured = self._request.model
        target = target_of(self._handle, configured, route)
        own = [tool for tool in self._request.tools if _is_of_provider(tool)]
        if own and not alike(target, configured):
            named = cast("Mapping[str, Any]", own[0])["type"]
            return f"{named} is a tool of the configured model's provider"
        structured = isinstance(self._request.response_format, ProviderStrategy)
        if structured and (target.profile or {}).get("structured_output") is False:
            return "its profile says that it gives no structured answers of its own"
        return self._refuses(route)

    # -- on a route -------------------------------------------------------------------------------

    @contextmanager
    def _on(self, attempt: Attempt) -> Generator[ModelRequest[Any]]:
        """The request on a route, while it is handed on; whoever puts another model in is noted."""
        model = self._target(attempt)
        settings = self._settings(attempt, model)
        meter = Meter(attempt, self._target)
        token = _turn.set((attempt, model))
        try:
            with metering(meter):
                yield self._request.override(model=model, model_settings=settings)
        finally:
            _turn.reset(token)
            meter.close()

    def _target(self, attempt: Attempt) -> BaseChatModel:
        return target_for(self._handle, self._request.model, attempt)

    def _settings(self, attempt: Attempt, model: BaseChatModel) -> dict[str, Any]:
        """The settings of the request that a model takes; what is left out is noted, once."""
        settings, configured = self._request.model_settings, self._request.model
        if not settings or alike(model, configured):
            return settings
        binds = self._request.tools or self._request.response_format is not None
        names = inspect.signature(model.bind_tools).parameters.keys() if binds else set[str]()
        others = {name: value for name, value in settings.items() if name not in names}
        taken = rebound(model, configured, others).kwargs
        for name in sorted(others.keys() - taken.keys()):
            said = f"{name} was left out: the model of {attempt.route.name} does not take it"
            note_once(attempt, "argument-dropped", said)
        return {name: value for name, value in settings.items() if name in names or name in taken}


def _is_of_provider(tool: object) -> bool:
    """Whether a tool runs at the provider: others do not know it."""
    if not isinstance(tool, Mapping):
        return False
    known = cast("Mapping[str, Any]", tool)
    return bool(known.get("type")) and known["type"] not in _OWN_TOOLS


# -- from one process to the next -----------------------------------------------------------------


def _keep_route(dispatcher: Dispatcher, place: str, route: str) -> None:
    """Remember the route of an invocation, which may be interrupted, by its place."""
    dispatcher.remember(_kept(place), Answered(route=route, fails=None))


def go_on(dispatcher: Dispatcher, place: str) -> None:
    """Let the run of now go on with the route that its invocation had where it began."""
    routed, before = dispatching(dispatcher), dispatcher.answered(_kept(place))
    if routed is not None and before is not None:
        routed.resume(before.route)


def _kept(place: str) -> str:
    return f"invocation {place}"


# -- other models -------------------------------------------------------------------------------

_turn: ContextVar[tuple[Attempt, object] | None] = ContextVar("ctxguard_turn", default=None)
"""The attempt that is handed on in this context, and the model that its route asks."""


def note_model(model: object) -> None:
    """Take that a request names this model now, whoever put it there."""
    turn = _turn.get()
    if turn is not None:
        attempt, own = turn
        attempt.instead(None if _is_same(model, own) else card_of(model))


def _is_same(model: object, own: object) -> bool:
    """Whether it is the model of the route, which may have been copied to set something."""
    return model is own or (alike(model, own) and card_of(model).name == card_of(own).name)


@contextmanager
def beside(model: object) -> Generator[None]:
    """Requests in this block, which begin with a model, are no turn of a route's.

    They may be those of another agent, asked by middleware inside of a turn; those with the turn's
    own model come from further out in the same turn.
    """
    turn = _turn.get()
    token = _turn.set(turn if turn is not None and turn[1] is model else None)
    try:
        yield
    finally:
        _turn.reset(token)
