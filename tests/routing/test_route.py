from __future__ import annotations

from collections.abc import Callable

import pytest

from ctxguard.errors import InputError
from ctxguard.routing import Load, Price, Route
from ctxguard.routing.route import cost_of, ordered

CHEAP, DEAR = Price(input=1, output=2), Price(input=10, output=20, cache_read=1, cache_write=12.5)


def test_a_given_price_counts_the_cache() -> None:
    load = Load(input=1000, output=100, cache_read=600, cache_write=100)
    assert cost_of(Route(name="x", price=CHEAP), load) == pytest.approx(1200 / 1e6)
    spent = (300 * 10 + 600 * 1 + 100 * 12.5 + 100 * 20) / 1e6
    assert cost_of(Route(name="x", price=DEAR), load) == pytest.approx(spent)


def test_a_route_is_not_charged_for_more_than_it_may_say() -> None:
    load = Load(input=0, output=500)
    assert cost_of(Route(name="x", price=CHEAP, max_output=100), load) == pytest.approx(200 / 1e6)


@pytest.mark.parametrize("name", ["gpt-4o-mini", "openai/gpt-4o-mini"])
def test_published_prices_know_the_cache(name: str) -> None:
    plain = cost_of(Route(name="x", model=name), Load(input=1000, output=10))
    cached = cost_of(Route(name="x", model=name), Load(input=1000, output=10, cache_read=900))
    assert plain is not None
    assert cached is not None
    assert 0 < cached < plain


@pytest.mark.parametrize("name", ["", "my-own-model", "nobody/nothing"])
def test_an_unknown_price_is_none(name: str) -> None:
    assert cost_of(Route(name="x", model=name), Load()) is None


def test_routes_are_ordered_by_what_this_request_costs() -> None:
    # Cheaper by the token, dearer where the prompt is in the other one's cache.
    first = Route(name="first", price=Price(input=2, output=2))
    second = Route(name="second", price=Price(input=5, output=5, cache_read=0.1))
    assert [one.name for one, _ in ordered([second, first], Load())] == ["first", "second"]
    cached = Load(input=10_000, output=100, cache_read=10_000)
    assert [one.name for one, _ in ordered([first, second], cached)] == ["second", "first"]


def test_routes_without_prices_stay_as_given() -> None:
    routes = [Route(name="dear", price=DEAR), Route(name="unknown"), Route(name="x", price=CHEAP)]
    assert [one.name for one, _ in ordered(routes, Load())] == ["dear", "unknown", "x"]


def test_a_window_holds_prompt_and_answer() -> None:
    route = Route(name="x", window=1300)
    assert route.fits(Load(input=1000, output=300))
    assert not route.fits(Load(input=1001, output=300))
    assert Route(name="x", window=1300, max_output=100).fits(Load(input=1200, output=300))
    assert Route(name="x").fits(Load(input=10**9))


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (lambda: Route(name=""), "needs a name"),
        (lambda: Route(name="x", top_k=0), "Route.top_k"),
        (lambda: Route(name="x", window=-1), "Route.window"),
        (lambda: Route(name="x", effort="huge"), "Route.effort: expected 'none'"),  # type: ignore[arg-type]
        (lambda: Route(name="x", verification="gate"), "Route.verification: .*'repair'"),  # type: ignore[arg-type]
        (lambda: Route(name="x", price=3), "Route.price: expected Price"),  # type: ignore[arg-type]
        (lambda: Price(input=-1, output=0), "Price.input"),
        (lambda: Price(input=0, output=float("nan")), "Price.output"),
        (lambda: Load(input=-1), "from 0 on"),
        (lambda: Load(input=10, cache_read=6, cache_write=5), "parts of input"),
        (lambda: ordered([], Load()), "at least one"),
        (lambda: ordered([Route(name="x"), Route(name="x")], Load()), "names tell them apart"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(made: Callable[[], object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        made()
