"""Streams under verification: however they are cut, whatever else they carry, wherever they end."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser

from ctxguard import guard, handle
from ctxguard.verification import Verifier
from ctxguard_langchain.telling import CORRECTION, VERIFICATION
from integrations.langchain.tests.speaking import (
    BETTER,
    CUT,
    DRAFT,
    LAST,
    REPAIRED,
    RIGHT,
    WRONG,
    AsyncSpeaker,
    Completer,
    EventSpeaker,
    Listener,
    Speaker,
    chain,
    codes,
    last,
    pieces,
    policy,
)

pytestmark = pytest.mark.anyio


def merged(parts: Sequence[Any]) -> AIMessageChunk:
    return functools.reduce(operator.add, parts)


def usage(**more: Any) -> AIMessageChunk:
    counts: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    return AIMessageChunk(content="", usage_metadata=counts, **more)


HOSTILE = {
    "a character each": pieces(DRAFT, 1),
    "all in one": pieces(DRAFT, len(DRAFT)),
    "all in one, the last": [AIMessageChunk(content=DRAFT, chunk_position="last")],
    "empty ones between": [
        c for one in pieces(DRAFT) for c in (AIMessageChunk(content=""), one, usage())
    ],
    "the last one empty": [*pieces(DRAFT), usage(chunk_position="last")],
    "the last one blank blocks": [
        *pieces(DRAFT),
        AIMessageChunk(content=[], chunk_position="last"),
    ],
    "usage after the last": [
        *pieces(DRAFT),
        AIMessageChunk(content="", chunk_position="last"),
        usage(),
    ],
    "white space at the ends": [
        AIMessageChunk(content=" \n"),
        *pieces(DRAFT),
        AIMessageChunk(content="\n "),
    ],
    "blocks": [
        AIMessageChunk(content=[{"type": "text", "text": one.content, "index": 0}])
        for one in pieces(DRAFT)
    ],
    "strings in a list": [AIMessageChunk(content=[str(one.content)]) for one in pieces(DRAFT)],
    "two blocks": [
        AIMessageChunk(content=[{"type": "text", "text": DRAFT[:40], "index": 0}]),
        AIMessageChunk(content=[{"type": "reasoning", "reasoning": "hm", "index": 1}]),
        AIMessageChunk(content=[{"type": "text", "text": DRAFT[40:], "index": 2}]),
    ],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("on_fail", ["flag", "repair"])
async def test_hostile_streams(name: str, on_fail: Any) -> None:
    expected = CUT if on_fail == "flag" else REPAIRED
    for kind in (Speaker, AsyncSpeaker):
        model = kind(replies=[HOSTILE[name], pieces(BETTER)])
        guarded = guard(chain(model), policy("gate", on_fail))
        called = list(guarded.stream("q"))
        model.seen.clear()
        awaited = [part async for part in guarded.astream("q")]
        for parts in (called, awaited):
            assert merged(parts).text.strip() == expected
            assert WRONG not in merged(parts).text
            assert parts[-1].chunk_position == "last"
        plain = merged(HOSTILE[name])
        assert merged(called).usage_metadata == plain.usage_metadata


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("mode", ["after", "annotate"])
def test_a_stream_that_is_not_gated_is_the_same_stream(name: str, mode: Any) -> None:
    model = Speaker(replies=[HOSTILE[name]])
    given = [part.content for part in chain(model).stream("q")]
    guarded = guard(chain(model), policy(mode))
    assert [part.content for part in guarded.stream("q")] == given
    assert "amount-differs" in codes(guarded)


def test_a_stream_without_chunks_fails_as_it_does_unguarded() -> None:
    for model in (Speaker(replies=[[]]), guard(Speaker(replies=[[]]), policy())):
        with pytest.raises(ValueError, match="No generation chunks were returned"):
            list(model.stream("q"))


@pytest.mark.parametrize("size", [1, 7])
def test_a_reader_waits_one_sentence_at_most(size: int) -> None:
    model = Speaker(replies=[pieces(f"{RIGHT} {BETTER} {RIGHT} {BETTER}", size)])
    seen = ""
    for part in guard(chain(model) | StrOutputParser(), policy("gate", "repair")).stream("q"):
        seen += part
        written = model.pulled[-1] * size
        assert written - len(seen) <= len(RIGHT) + len(" The") + size
    assert seen == f"{RIGHT} {BETTER} {RIGHT} {BETTER}"


def test_what_is_no_text_passes_at_once() -> None:
    thought = AIMessageChunk(content=[{"type": "reasoning", "reasoning": "hm", "index": 0}])
    chunks = [pieces("The notice", 99)[0], thought, *pieces(" period is thirty days.")]
    model = Speaker(replies=[chunks])
    stream = iter(guard(chain(model), policy()).stream("q"))
    assert next(stream).text == ""
    assert next(stream).content == thought.content
    assert model.pulled == [2]
    assert merged(list(stream)).text == RIGHT


# -- replies that call tools ----------------------------------------------------------------------


def call(**more: Any) -> AIMessageChunk:
    chunk: Any = {"name": "look_up", "args": '{"query": "x"}', "id": "1", "index": 0}
    return AIMessageChunk(tool_call_chunks=[chunk | {"type": "tool_call_chunk"}], **more)


CALLING = {
    "text before": [*pieces(DRAFT), call(content="")],
    "text beside": [*pieces(DRAFT[:50]), call(content=DRAFT[50:])],
    "text after": [*pieces(RIGHT), call(content=""), *pieces(f" {WRONG} {LAST}")],
    "a block": [
        *(
            AIMessageChunk(content=[{"type": "text", "text": one.content, "index": 0}])
            for one in pieces(DRAFT)
        ),
        AIMessageChunk(content=[{"type": "tool_use", "id": "1", "name": "look_up", "index": 1}]),
    ],
    "a legacy call": [
        *pieces(DRAFT),
        AIMessageChunk(
            content="", additional_kwargs={"function_call": {"name": "x", "arguments": "{}"}}
        ),
    ],
}


@pytest.mark.parametrize("name", CALLING)
@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
@pytest.mark.parametrize("on_fail", ["flag", "raise"])
async def test_a_reply_that_calls_tools_passes_as_it_is(name: str, mode: Any, on_fail: Any) -> None:
    for kind in (Speaker, AsyncSpeaker):
        model = kind(replies=[CALLING[name]])
        bound = model.bind_tools(["look_up"])
        plain = merged(list(bound.stream("q")))
        guarded = guard(chain(bound), policy(mode, on_fail))
        called = merged(list(guarded.stream("q")))
        awaited = merged([part async for part in guarded.astream("q")])
        for found in (called, awaited):
            assert found.content == plain.content
            assert found.tool_calls == plain.tool_calls
        whole = guarded.invoke("q")
        assert (whole.text, whole.tool_calls) == (plain.text, plain.tool_calls)
        assert codes(guarded) == []


# -- events of the protocol -----------------------------------------------------------------------


def text_events(text: str, index: int = 0, size: int = 7) -> list[dict[str, Any]]:
    block = {"type": "text", "text": ""}
    deltas = [
        {
            "event": "content-block-delta",
            "index": index,
            "delta": {"type": "text-delta", "text": part.content},
        }
        for part in pieces(text, size)
    ]
    return [
        {"event": "content-block-start", "index": index, "content": block},
        *deltas,
        {"event": "content-block-finish", "index": index, "content": {**block, "text": text}},
    ]


def message(*blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    start = {"event": "message-start", "role": "ai", "id": "msg-1"}
    ends = [{"event": "message-finish", "reason": "stop"}]
    return [start, *(event for block in blocks for event in block), *ends]


def tool_events(index: int, args: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    begun = {"type": "tool_call_chunk", "id": "1", "name": "look_up", "args": ""}
    done = {"type": "tool_call", "id": "1", "name": "look_up", "args": args or {"query": "x"}}
    return [
        {"event": "content-block-start", "index": index, "content": begun},
        {"event": "content-block-finish", "index": index, "content": done},
    ]


def reasoning_events(index: int) -> list[dict[str, Any]]:
    block = {"type": "reasoning", "reasoning": WRONG}
    return [
        {"event": "content-block-start", "index": index, "content": {**block, "reasoning": ""}},
        {
            "event": "content-block-delta",
            "index": index,
            "delta": {"type": "reasoning-delta", "reasoning": WRONG},
        },
        {"event": "content-block-finish", "index": index, "content": block},
    ]


EVENTS = {
    "letters": message(text_events(DRAFT, size=1)),
    "all in one": message(text_events(DRAFT, size=999)),
    "only its end": message([text_events(DRAFT)[0], text_events(DRAFT)[-1]]),
    "reasoning first": message(reasoning_events(0), text_events(DRAFT, 1)),
    "reasoning last": message(text_events(DRAFT), reasoning_events(1)),
    "two blocks": message(text_events(DRAFT[:40]), text_events(DRAFT[40:], 1)),
    "no end of the block": message(text_events(DRAFT)[:-1]),
}


@pytest.mark.needs("langchain_core.language_models", "BaseChatModel.stream_events")
@pytest.mark.filterwarnings("ignore:The method `BaseChatModel._a?chat_model_stream_v3` is in beta")
@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize(
    ("mode", "on_fail", "expected"),
    [
        ("gate", "flag", CUT),
        ("gate", "repair", REPAIRED),
        ("after", "flag", DRAFT),
        ("annotate", "repair", DRAFT),
    ],
)
async def test_events_of_a_model_are_gated(
    name: str, mode: Any, on_fail: Any, expected: str
) -> None:
    model = EventSpeaker(replies=[pieces(DRAFT), pieces(BETTER)], events=EVENTS[name])
    for way in ("called", "awaited"):
        model.seen.clear()
        guarded = guard(model, policy(mode, on_fail))
        with handle(guarded).run("q"):
            handle(guarded).guard.prepare("q", [BETTER, RIGHT])
            if way == "called":
                stream: Any = guarded.stream_events("q", version="v3")
                events: list[Any] = list(stream)
                output = stream.output
            else:
                astream: Any = await guarded.astream_events("q", version="v3")
                events = [event async for event in astream]
                output = await astream.output
        assert output.text == expected
        deltas = [
            event["delta"]["text"]
            for event in events
            if event["event"] == "content-block-delta" and event["delta"]["type"] == "text-delta"
        ]
        if name != "only its end" or mode == "gate":
            assert "".join(deltas) == expected
        assert events[-1]["event"] == "message-finish"
        assert WRONG not in str(deltas) or mode != "gate"
        ends = [e["content"]["text"] for e in events if _ends_text(e)]
        assert "".join(ends) == ("" if name == "no end of the block" else expected)


def _ends_text(event: dict[str, Any]) -> bool:
    return event["event"] == "content-block-finish" and event["content"]["type"] == "text"


@pytest.mark.needs("langchain_core.language_models", "BaseChatModel.stream_events")
@pytest.mark.filterwarnings("ignore:The method `BaseChatModel._a?chat_model_stream_v3` is in beta")
@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
def test_events_of_a_call_of_tools_pass_as_they_are(mode: Any) -> None:
    model = EventSpeaker(replies=[], events=message(text_events(DRAFT), tool_events(1)))
    plain: list[Any] = list(model.stream_events("q", version="v3"))
    guarded = guard(model, policy(mode, "raise"))
    with handle(guarded).run("q"):
        handle(guarded).guard.prepare("q", [BETTER, RIGHT])
        stream: Any = guarded.stream_events("q", version="v3", tools=[{"name": "look_up"}])
        found: list[Any] = list(stream)
        assert stream.output.tool_calls[0]["name"] == "look_up"
        assert stream.output.text == DRAFT
    order = [(event["event"], event.get("index")) for event in found]
    kinds = list(dict.fromkeys(order))
    assert kinds == list(dict.fromkeys((e["event"], e.get("index")) for e in plain))
    ends = [event for event in found if _ends_text(event)]
    assert [event["content"]["text"] for event in ends] == [DRAFT]


# -- what listeners are told ----------------------------------------------------------------------


def test_corrections_are_told_after_the_chunk_that_they_concern() -> None:
    guarded, listener = (
        guard(chain(Speaker(replies=[pieces(DRAFT)])), policy("annotate")),
        Listener(),
    )
    list(guarded.stream("q", {"callbacks": [listener]}))
    names = [name for name, _ in listener.heard]
    at = names.index(CORRECTION)
    before = "".join(str(what) for name, what in listener.heard[:at] if name == "token")
    assert WRONG in before
    late = len(before) - before.index(WRONG) - len(WRONG)
    assert late < 2 * 7  # the first word after a sentence tells that it has ended
    assert listener.events[-1][0] == VERIFICATION
    assert "".join(str(what) for _, what in listener.heard[names.index(VERIFICATION) + 1 :]) == ""
    data = listener.heard[at][1]
    assert data["claim"] == DRAFT[slice(*data["span"])] == WRONG
    assert data["offset"] == DRAFT.index(WRONG) + len(WRONG)
    assert (data["label"], data["code"]) == ("contradicted", "amount-differs")
    assert data["quotes"][0]["chunk_id"] == "fee"
    assert 0 <= data["score"] < 0.5
    verdict = listener.events[-1][1]
    assert verdict["grounded"] is False
    assert verdict["ending"] == "flagged"
    assert verdict["counts"] == {"contradicted": 1, "not_judged": 1, "supported": 1}
    assert [one["claim"] for one in verdict["failed"]] == [WRONG]
    assert last(guarded).verification is not None


@pytest.mark.parametrize("mode", ["after", "annotate"])
async def test_a_better_answer_is_told_to_who_has_the_first(mode: Any) -> None:
    for streamed in (True, False):
        model = Speaker(replies=[pieces(DRAFT), pieces(BETTER)])
        guarded, listener = guard(chain(model), policy(mode, "repair")), Listener()
        if streamed:
            _ = [part async for part in guarded.astream("q", {"callbacks": [listener]})]
        else:
            await guarded.ainvoke("q", {"callbacks": [listener]})
        data = dict(listener.events)[VERIFICATION]
        assert data.get("repaired") == (REPAIRED if streamed else None)
        assert data["ending"] == "repaired"


@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
async def test_events_are_seen_in_astream_events(mode: Any) -> None:
    guarded = guard(chain(Speaker(replies=[pieces(DRAFT)])), policy(mode))
    events = [event async for event in guarded.astream_events("q", version="v2")]
    custom = [event for event in events if event["event"] == "on_custom_event"]
    names = [VERIFICATION] if mode == "gate" else [CORRECTION, VERIFICATION]
    assert [event["name"] for event in custom] == names
    runs = {event["run_id"] for event in events}
    assert {event["run_id"] for event in custom} <= runs


@pytest.mark.parametrize("where", ["config", "model"])
@pytest.mark.parametrize("way", ["invoke", "stream", "astream"])
async def test_a_bare_model_tells_too(where: str, way: str) -> None:
    listener = Listener()
    own: Any = [listener] if where == "model" else None
    guarded = guard(Speaker(replies=[pieces(DRAFT)], callbacks=own), policy("annotate"))
    config: Any = {"callbacks": [listener]} if where == "config" else {}
    with handle(guarded).run("q"):
        handle(guarded).guard.prepare("q", [BETTER, RIGHT])
        if way == "invoke":
            guarded.invoke("q", config)
        elif way == "stream":
            list(guarded.stream("q", config))
        else:
            _ = [part async for part in guarded.astream("q", config)]
    corrections = [] if way == "invoke" else [CORRECTION]
    assert [name for name, _ in listener.events] == [*corrections, VERIFICATION]


def test_nothing_is_made_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("ctxguard_langchain.telling._correction", made)
    monkeypatch.setattr("ctxguard_langchain.telling._ended", made)
    for mode in ("after", "gate", "annotate"):
        guarded = guard(chain(Speaker(replies=[pieces(DRAFT)])), policy(mode))
        list(guarded.stream("q"))
        assert last(guarded).error == ""


# -- where streams end ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
async def test_a_reader_may_leave(mode: Any) -> None:
    model = AsyncSpeaker(replies=[pieces(DRAFT)])
    guarded = guard(chain(model), policy(mode, "raise"))
    stream: Any = guarded.stream("q")
    next(stream)
    stream.close()
    astream: Any = guarded.astream("q")
    await anext(astream)
    await astream.aclose()
    assert [ledger.error for ledger in handle(guarded).ledgers] == ["", ""]
    assert max(model.pulled) < len(pieces(DRAFT))


@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
async def test_an_error_in_a_stream_reaches_its_reader(mode: Any) -> None:
    for kind in (Speaker, AsyncSpeaker):
        guarded = guard(chain(kind(replies=[pieces(DRAFT)], fails=True)), policy(mode))
        with pytest.raises(ConnectionError):
            list(guarded.stream("q"))
        with pytest.raises(ConnectionError):
            _ = [part async for part in guarded.astream("q")]
        assert last(guarded).error == "ConnectionError: gone"


async def test_two_interleaved_streams_are_verified_apart() -> None:
    other = f"{BETTER} The notice period is ninety days."
    model = AsyncSpeaker(replies=[pieces(DRAFT), pieces(other)])
    guarded = guard(chain(model) | StrOutputParser(), policy())
    first, second = guarded.stream("a"), guarded.stream("b")
    found = [next(first), next(second)]
    assert found == ["", ""]
    left = list(zip(first, second, strict=False))
    assert "".join(a for a, _ in left) + "".join(first) == CUT
    assert "".join(b for _, b in left) + "".join(second) == BETTER
    failed = [ledger.verification for ledger in handle(guarded).ledgers]
    assert sorted(one.failed[0].claim.text for one in failed if one) == sorted(
        [WRONG, "The notice period is ninety days."]
    )


# -- failures of the guard ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["invoke", "stream", "astream"])
async def test_an_adapter_that_fails_lets_the_answer_pass(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("of the adapter")

    monkeypatch.setattr("ctxguard_langchain.checking.text_of", broken)
    monkeypatch.setattr("ctxguard_langchain.reading.text_of", broken)
    guarded = guard(chain(Speaker(replies=[pieces(DRAFT)])), policy())
    if way == "invoke":
        said = guarded.invoke("q").text
    elif way == "stream":
        said = merged(list(guarded.stream("q"))).text
    else:
        said = merged([part async for part in guarded.astream("q")]).text
    assert said == DRAFT
    codes_ = {decision.code for decision in last(guarded).decisions if decision.action == "error"}
    assert codes_ == {"adapter-failed"}
    raising = guard(chain(Speaker(replies=[pieces(DRAFT)])), policy(), on_error="raise")
    with pytest.raises(ZeroDivisionError):
        raising.invoke("q")


def test_a_verifier_that_fails_lets_the_stream_pass() -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("of the verifier")

    class Broken(Verifier):
        def session(self, *args: Any, **kwargs: Any) -> Any:
            session = super().session(*args, **kwargs)
            session.judging = broken
            return session

    guarded = guard(
        chain(Speaker(replies=[pieces(DRAFT)])), policy("gate", "raise", verifier=Broken())
    )
    assert merged(list(guarded.stream("q"))).text == DRAFT
    assert codes(guarded) == ["verify-failed"]


# -- structured output that a model makes events of ------------------------------------------------


@pytest.mark.needs("langchain_core.language_models", "BaseChatModel.stream_events")
@pytest.mark.filterwarnings("ignore:The method `BaseChatModel._a?chat_model_stream_v3` is in beta")
@pytest.mark.parametrize("by", ["text", "call"])
def test_events_of_structured_output_pass_and_are_checked(by: str) -> None:
    fields = '{"fee": "$600 per month"}'
    told = text_events(fields) if by == "text" else tool_events(0, {"fee": "$600 per month"})
    model = EventSpeaker(replies=[], events=message(told))
    plain: list[Any] = list(model.stream_events("q", version="v3"))
    guarded = guard(model, policy("gate", "abstain"))
    with handle(guarded).run("q"):
        handle(guarded).guard.prepare("q", [BETTER, RIGHT])
        options: Any = {"response_format": {"type": "json_object"}}
        found: list[Any] = list(guarded.stream_events("q", version="v3", **options))
    assert found == plain
    assert "amount-differs" in codes(guarded)


# -- models with an entry of their own ------------------------------------------------------------


class OwnEntry(Speaker):
    """One whose `invoke` and `stream` never come to the methods below them."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        return AIMessage(content=DRAFT)

    def stream(self, *args: Any, **kwargs: Any) -> Any:
        for one in pieces(DRAFT):
            yield AIMessageChunk(content=one.content)


class OwnCompletion(Completer):
    """A completion model of that kind."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        return DRAFT

    def stream(self, *args: Any, **kwargs: Any) -> Any:
        for one in pieces(DRAFT):
            yield str(one.content)


def test_models_with_an_entry_of_their_own_are_verified() -> None:
    guarded = guard(chain(OwnEntry(replies=[])), policy())
    assert guarded.invoke("q").text == CUT
    assert merged(list(guarded.stream("q"))).text == CUT
    completing = guard(chain(OwnCompletion(script=[])), policy())
    assert completing.invoke("q") == CUT
    assert "".join(completing.stream("q")) == CUT
