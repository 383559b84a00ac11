"""Parts of models on routes: what is set in a model, what a reply says, what guard() refuses."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncGenerator, Generator
from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import CompletionResponse, LLMMetadata, LogProb
from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.postprocessor import LLMRerank
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

import ctxguard
from ctxguard import CoverageWarning, Guard, Handle, InputError, Policy, PolicyError
from ctxguard.routing import Cascade, Load, Price, Route, Router, Routes, SpendLimit
from ctxguard_llamaindex.requests import request_of
from ctxguard_llamaindex.routes import target_of
from ctxguard_llamaindex.setting import settings_for
from ctxguard_llamaindex.testing import ScriptedLLM
from ctxguard_llamaindex.usage import Meter, load_of, probabilities_of

guard: Any = ctxguard.guard  # its result has `.ctxguard`, which its type does not say

EASY = "What is the fee?"
HARD = (
    "If 17 workers, each paid $23.50 per hour, work 8 hours a day for 12 days, and 3 of them are "
    "paid twice as much unless it is a Sunday, how much more than 9,000 is paid in total?"
)
PLAIN = Policy()


def policy(*routes: Route, **settings: Any) -> Policy:
    given = {"router": Router(thresholds=(0.1,)), "state": "memory", **settings}
    return Policy(routing=Routes(routes=routes, **given))


def openai(model: str = "gpt-4o-mini", **settings: Any) -> OpenAI:
    return OpenAI(model=model, api_key="none", **settings)


def set_in(llm: Any, **route: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    return settings_for(llm, Route(name="one", **route), PLAIN)


# -- what a route sets in a model ------------------------------------------------------------------


class Thinks(ScriptedLLM):
    """Has the fields of Anthropic's class."""

    model: str = "claude"
    temperature: float = 0.1
    max_tokens: int | None = None
    thinking_dict: dict[str, Any] | None = None


class ThinksAsBedrock(ScriptedLLM):
    """Has no temperature to set, and another name for its thinking."""

    max_tokens: int | None = None
    thinking: dict[str, Any] | None = None


@pytest.mark.parametrize(
    ("model", "route", "update"),
    [
        (openai(), {"model": "gpt-4o"}, {"model": "gpt-4o"}),
        (openai(), {"model": "o3-mini"}, {"model": "o3-mini", "temperature": 1.0}),
        (openai("o3-mini"), {"effort": "low"}, {"reasoning_effort": "low"}),
        (
            openai(),
            {"model": "o3-mini", "effort": "low"},
            {"model": "o3-mini", "temperature": 1.0, "reasoning_effort": "low"},
        ),
        (
            OpenAILike(model="gpt-oss", additional_kwargs={"seed": 7}),
            {"effort": "high"},
            {"additional_kwargs": {"seed": 7, "reasoning_effort": "high"}},
        ),
        (
            OpenAIResponses(api_key="none", reasoning_options={"summary": "auto"}),
            {"effort": "low", "max_output": 9},
            {"reasoning_options": {"summary": "auto", "effort": "low"}, "max_output_tokens": 9},
        ),
        (Ollama(model="qwen3"), {"effort": "low"}, {"thinking": "low"}),
        (
            Ollama(model="qwen3", additional_kwargs={"num_predict": 5, "seed": 1}),
            {"max_output": 9},
            {"additional_kwargs": {"num_predict": 5, "seed": 1}},
        ),
        (
            Thinks(),
            {"effort": "high", "max_output": 8000},
            {
                "max_tokens": 8000,
                "temperature": 1.0,
                "thinking_dict": {"type": "enabled", "budget_tokens": 6000},
            },
        ),
        (
            ThinksAsBedrock(max_tokens=4096),
            {"effort": "minimal"},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
        (Thinks(), {"effort": "none"}, {"thinking_dict": {"type": "disabled"}}),
        (openai(max_tokens=5), {"max_output": 9}, {"max_tokens": 5}),
        (ScriptedLLM(), {"window": 1000}, {"context_window": 1000}),
        (openai(), {"window": 1000}, {}),
    ],
)
def test_a_route_sets_the_fields_that_a_class_has(model: Any, route: Any, update: Any) -> None:
    assert set_in(model, **route) == (update, ())


@pytest.mark.parametrize(
    ("model", "route", "lacks"),
    [
        (openai(), {"effort": "low"}, ("effort",)),
        (ScriptedLLM(), {"effort": "low"}, ("effort",)),
        (ScriptedLLM(), {"max_output": 9, "effort": "none"}, ("max_output", "effort")),
        (Thinks(max_tokens=1024), {"effort": "low"}, ("effort",)),
        (Thinks(), {"effort": "low"}, ("effort",)),
        (Ollama(model="qwen3"), {"effort": "minimal"}, ("effort",)),
    ],
)
def test_what_a_class_has_no_field_for_is_told(model: Any, route: Any, lacks: Any) -> None:
    assert set_in(model, **route)[1] == lacks


def test_probabilities_are_asked_for_where_a_cascade_looks_at_them() -> None:
    class Counts(ScriptedLLM):
        logprobs: int | None = None

    routes = (Route(name="light"), Route(name="heavy", model="gpt-4o"))
    looks = policy(*routes, cascade=Cascade(confidence=0.5))
    for made, model, update in (
        (looks, openai(), {"logprobs": True}),
        (looks, openai(logprobs=True), {}),
        (looks, Counts(), {}),
        (looks, ScriptedLLM(), {}),
        (policy(*routes, cascade=Cascade(confidence=0.5), mode="shadow"), openai(), {}),
        (policy(*routes, cascade=Cascade()), openai(), {}),
    ):
        assert settings_for(model, routes[0], made) == (update, ())


# -- the model of a route --------------------------------------------------------------------------


def test_the_model_of_a_route_is_made_once() -> None:
    heavy = openai("gpt-4o")
    light = guard(openai(), policy(Route(name="light"), Route(name="heavy", model=heavy)))
    handle: Handle = light.ctxguard
    routing = handle.policy.routing
    assert routing is not None
    first, second = routing.routes
    assert target_of(handle, light, first) is light
    made: Any = target_of(handle, light, second)
    assert made is target_of(handle, light, second)
    assert type(made).__name__ == "OpenAI"
    assert made.ctxguard is handle
    assert heavy.__class__ is OpenAI, "what was handed in stays as it is"
    named = Route(name="named", model="gpt-4", max_output=7)
    other = target_of(handle, light, named)
    assert (other.model, other.max_tokens, light.model) == ("gpt-4", 7, "gpt-4o-mini")
    assert {"model", "max_tokens"} <= other.model_fields_set


def test_models_that_are_made_for_a_call_do_not_fill_the_memory() -> None:
    handle = Handle(Guard(policy(Route(name="one", model="gpt-4o"))), None)
    assert handle.policy.routing is not None
    (route,) = handle.policy.routing.routes
    models = [openai() for _ in range(100)]
    made = [target_of(handle, model, route) for model in models]
    assert target_of(handle, models[-1], route) is made[-1]
    assert target_of(handle, models[0], route) is not made[0]


def test_a_model_that_is_guarded_already_follows_the_policy_of_the_routes() -> None:
    own = guard(ScriptedLLM(script=lambda _: "heavy"), Policy())
    routes = (Route(name="light", price=Price(input=1, output=1)), Route(name="heavy", model=own))
    light = guard(
        ScriptedLLM(script=lambda _: "light"), policy(*routes, router=Router(thresholds=(0.0,)))
    )
    assert light.chat([ChatMessage(content=HARD)]).message.content == "heavy"
    assert (len(light.ctxguard.ledgers), own.ctxguard.ledgers) == (1, ())


class Answer(BaseModel):
    """An answer."""

    answer: str


def test_a_structured_model_stands_for_the_one_inside() -> None:
    heavy = ScriptedLLM(script=lambda _: "heavy")
    routes = (Route(name="light"), Route(name="heavy", model=heavy.as_structured_llm(Answer)))
    light = guard(ScriptedLLM(), policy(*routes, router=Router(thresholds=(0.0,))))
    assert light.chat([ChatMessage(content=HARD)]).message.content == "heavy"


def test_a_guarded_model_on_routes_is_pickled() -> None:
    light = guard(openai(), policy(Route(name="light"), Route(name="heavy", model="gpt-4o")))
    again = pickle.loads(pickle.dumps(light))  # noqa: S301 -- made in the line
    policy_again = again.ctxguard.policy
    assert policy_again == light.ctxguard.policy
    heavy = target_of(again.ctxguard, again, policy_again.routing.routes[1])
    assert (heavy.model, heavy.ctxguard) == ("gpt-4o", again.ctxguard)


# -- what guard() says -----------------------------------------------------------------------------


class Nameless(CustomLLM):
    """Has no field for a model's name."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=prompt)

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> Generator[CompletionResponse, None, None]:
        yield CompletionResponse(text=prompt, delta=prompt)


class Deployed(ScriptedLLM):
    """Is asked under the name of its deployment, as Azure's class is."""

    model: str = "gpt-4o"
    engine: str = "mine"


@pytest.mark.parametrize("scope", ["copy", "process"])
@pytest.mark.parametrize(
    ("model", "route", "message"),
    [
        (Nameless(), Route(name="heavy", model="gpt-4o"), "'heavy' names 'gpt-4o', and Nameless"),
        (Deployed(), Route(name="heavy", model="gpt-4o"), "is made for one deployment"),
        (OpenAI(api_key="k"), Route(name="heavy", model="gpt-x"), "'gpt-x', which OpenAI does not"),
        (ScriptedLLM(), Route(name="heavy", model=object()), "'heavy' is a object, and no model"),
    ],
)
def test_a_route_that_cannot_be_is_refused(
    model: Any, route: Route, message: str, scope: Any
) -> None:
    given = {} if scope == "copy" else {"scope": scope}
    before = type(model)
    with pytest.raises(PolicyError, match=message):
        guard(model, policy(Route(name="light"), route), **given)
    assert type(model) is before


def test_coverage_lists_the_models_of_routes_and_those_that_take_none() -> None:
    index = VectorStoreIndex([])
    engine = index.as_query_engine(
        llm=openai(), node_postprocessors=[LLMRerank(llm=Nameless(), choice_batch_size=2)]
    )
    routes = (Route(name="light"), Route(name="heavy", model="gpt-4o"))
    with pytest.warns(CoverageWarning, match="has no field for a name"):
        guarded = guard(engine, policy(*routes))
    (missing,) = [one for one in guarded.ctxguard.coverage.unreached if "routed" in one.reason]
    assert (missing.type, missing.path) == ("Nameless", "_node_postprocessors[0].llm")
    other = guard(
        openai(), policy(Route(name="light"), Route(name="heavy", model=openai("gpt-4o")))
    )
    assert [(one.path, one.type) for one in other.ctxguard.coverage.reached] == [
        ("", "OpenAI"),
        ("routing.heavy", "OpenAI"),
    ]


def test_a_model_that_cannot_take_a_name_stays_itself() -> None:
    light, nameless = ScriptedLLM(), Nameless()
    made = policy(
        Route(name="light"), Route(name="heavy", model="gpt-4o"), router=Router(thresholds=(0.0,))
    )
    handle = guard(light, made).ctxguard
    request = request_of(handle, nameless, [ChatMessage(content=EASY)])
    assert made.routing is not None
    routes = made.routing.routes
    assert [bool(request.refuses(route)) for route in routes] == [False, True]
    assert request.card(routes[1]).name == "gpt-4o"
    with ctxguard.guarded(made) as block:
        assert nameless.complete(HARD).text == HARD
    (ledger,) = block.ledgers
    assert (ledger.calls[0].route, ledger.decisions[0].code) == ("light", "route-unsuitable")


# -- requests --------------------------------------------------------------------------------------


def test_tokens_are_counted_where_it_matters() -> None:
    cheap = Price(input=1, output=1)
    for given, counts in (
        ({}, False),
        ({"limits": (SpendLimit(usd=1, per="day"),)}, True),
    ):
        handle = Handle(Guard(policy(Route(name="one", price=cheap), **given)), None)
        request = request_of(
            handle,
            openai(),
            [ChatMessage(content="internationalization")],
            given={"max_tokens": 30, "max_output_tokens": 20},
        )
        assert (request.count is not None) == counts
        assert request.output == 20
        assert request.load().input == (5 if not counts else request.load().input)
    near = Handle(Guard(policy(Route(name="one", window=10))), None)
    assert request_of(near, openai(), [ChatMessage(content=HARD)]).count is not None
    assert request_of(Handle(Guard(), None), openai(), [ChatMessage(content=HARD)]).count is None


def test_a_call_that_cannot_be_read_goes_on() -> None:
    guarded = guard(ScriptedLLM(script=lambda _: "yes"), policy(Route(name="one")))

    class Odd(list[Any]):
        """Cannot be gone through."""

        def __iter__(self) -> Any:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        guarded.chat(Odd())
    codes = [decision.code for decision in guarded.ctxguard.last.decisions]
    assert "adapter-failed" in codes


# -- what a reply says -----------------------------------------------------------------------------


def reply(raw: Any = None, **given: Any) -> ChatResponse:
    return ChatResponse(message=ChatMessage(content="x"), raw=raw, **given)


USAGES: list[tuple[Any, Load | None]] = [
    (reply(), None),
    (reply({"usage": None}), None),
    (reply({"usage": {"prompt_tokens": 9}}), Load(input=9, output=0)),
    (
        reply(SimpleNamespace(usage=SimpleNamespace(prompt_tokens=9, completion_tokens=3))),
        Load(input=9, output=3),
    ),
    (
        reply(
            {
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 3,
                    "prompt_tokens_details": {"cached_tokens": 8},
                }
            }
        ),
        Load(input=9, output=3, cache_read=8),
    ),
    (
        reply(
            {
                "usage": {
                    "input_tokens": 1,
                    "output_tokens": 3,
                    "cache_read_input_tokens": 6,
                    "cache_creation_input_tokens": 2,
                }
            }
        ),
        Load(input=9, output=3, cache_read=6, cache_write=2),
    ),
    (
        reply(
            {
                "usage_metadata": {
                    "prompt_token_count": 9,
                    "candidates_token_count": 3,
                    "thoughts_token_count": 4,
                    "cached_content_token_count": 5,
                }
            }
        ),
        Load(input=9, output=7, cache_read=5),
    ),
    (reply({"prompt_eval_count": 9, "eval_count": 3}), Load(input=9, output=3)),
    (reply({"usage": {"inputTokens": 9, "outputTokens": 3}}), Load(input=9, output=3)),
    (
        reply(additional_kwargs={"prompt_tokens": 9, "completion_tokens": 3}),
        Load(input=9, output=3),
    ),
]


@pytest.mark.parametrize(("response", "load"), USAGES)
def test_providers_say_what_was_used_in_their_own_words(response: Any, load: Load | None) -> None:
    assert load_of(response) == load


def test_a_reply_tells_how_probable_its_words_are() -> None:
    chat = {"choices": [{"logprobs": {"content": [{"logprob": -1.0}, {"logprob": -2}]}}]}
    text = SimpleNamespace(choices=[SimpleNamespace(logprobs={"token_logprobs": [-1.0, None]})])
    likely = [[LogProb(token="x", logprob=-0.5, bytes=[])], []]  # noqa: S106 -- a word
    assert probabilities_of(reply(chat)) == [-1.0, -2.0]
    assert probabilities_of(reply(text)) == [-1.0]
    assert probabilities_of(reply(logprobs=likely)) == [-0.5]
    assert probabilities_of(reply({"choices": []})) == []


class Told:
    """An attempt that keeps what it is told."""

    def __init__(self) -> None:
        self.request = SimpleNamespace(adds_up=False)
        self.loads: list[Load] = []
        self.logs: list[list[float]] = []

    def used(self, load: Load, *, measured: bool = True) -> None:
        self.loads.append(load)

    def told(self, logs: list[float]) -> None:
        self.logs.append(list(logs))


PARTS = [
    reply({"usage": usage})
    for usage in ({"input_tokens": 9, "output_tokens": 1}, None, {"output_tokens": 5})
]


def streaming(count: int, *, cut: bool) -> Generator[ChatResponse, None, None]:
    yield from PARTS[:count]
    if cut:
        raise RuntimeError("cut")


async def astreaming(count: int, *, cut: bool) -> AsyncGenerator[ChatResponse, None]:
    for part in streaming(count, cut=cut):
        yield part


def read(attempt: Any, *, count: int, most: int, cut: bool) -> None:
    counted = Meter(attempt).stream(streaming(count, cut=cut))
    for _ in range(most):
        next(counted, None)
    counted.close()


def aread(attempt: Any, *, count: int, most: int, cut: bool) -> None:
    async def read() -> None:
        counted = Meter(attempt).astream(astreaming(count, cut=cut))
        for _ in range(most):
            await anext(counted, None)
        await counted.aclose()

    asyncio.run(read())


@pytest.mark.parametrize("way", [read, aread])
def test_a_stream_counts_as_far_as_it_came(way: Any) -> None:
    whole, left, broken = Told(), Told(), Told()
    way(whole, count=3, most=4, cut=False)
    way(left, count=3, most=2, cut=False)
    with pytest.raises(RuntimeError, match="cut"):
        way(broken, count=2, most=3, cut=True)
    outputs = [[load.output for load in told.loads] for told in (whole, left, broken)]
    assert outputs == [[5], [1], [1]]


def test_what_a_limit_does_not_know_the_price_of_is_not_asked() -> None:
    limits = (SpendLimit(usd=1, per="day"),)
    llm = ScriptedLLM()
    guarded = guard(llm, policy(Route(name="one", max_output=5), limits=limits))
    with pytest.raises(InputError, match="price"):
        guarded.chat([ChatMessage(content=EASY)])
    assert llm.prompts == []
