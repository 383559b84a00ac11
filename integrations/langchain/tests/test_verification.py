"""Answers of guarded models are verified: called and streamed, of chains and of bare models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult

from ctxguard import Policy, guard
from ctxguard.errors import UngroundedAnswerError
from integrations.langchain.tests.speaking import (
    BETTER,
    CUT,
    DRAFT,
    REPAIRED,
    RIGHT,
    WRONG,
    AsyncSpeaker,
    Completer,
    Listener,
    Speaker,
    chain,
    codes,
    last,
    pieces,
    policy,
)

pytestmark = pytest.mark.anyio

Way = Callable[[Any], str]


def invoked(guarded: Any) -> str:
    return guarded.invoke("q")


def ainvoked(guarded: Any) -> str:
    return asyncio.run(guarded.ainvoke("q"))


def batched(guarded: Any) -> str:
    return guarded.batch(["q"])[0]


def streamed(guarded: Any) -> str:
    return "".join(guarded.stream("q"))


def astreamed(guarded: Any) -> str:
    async def read() -> list[str]:
        return [part async for part in guarded.astream("q")]

    return "".join(asyncio.run(read()))


def evented(guarded: Any) -> str:
    async def read() -> list[str]:
        events = guarded.astream_events("q", version="v2")
        return [
            event["data"]["chunk"].content
            async for event in events
            if event["event"] == "on_chat_model_stream"
        ]

    return "".join(asyncio.run(read()))


CALLS: dict[str, Way] = {"invoke": invoked, "ainvoke": ainvoked, "batch": batched}
STREAMS: dict[str, Way] = {"stream": streamed, "astream": astreamed, "events": evented}


def speaker(kind: type[Speaker] = Speaker, *replies: str) -> Speaker:
    return kind(replies=[pieces(text) for text in replies or (DRAFT, BETTER)])


TABLE = [
    # mode, on_fail, what a call gives, what a stream shows
    ("after", "flag", DRAFT, DRAFT),
    ("annotate", "flag", DRAFT, DRAFT),
    ("gate", "flag", CUT, CUT),
    ("after", "repair", REPAIRED, DRAFT),
    ("annotate", "repair", REPAIRED, DRAFT),
    ("gate", "repair", REPAIRED, REPAIRED),
]


@pytest.mark.parametrize("kind", [Speaker, AsyncSpeaker])
@pytest.mark.parametrize(("mode", "on_fail", "called", "shown"), TABLE)
def test_the_table(kind: type[Speaker], mode: Any, on_fail: Any, called: str, shown: str) -> None:
    for ways, expected in ((CALLS, called), (STREAMS, shown)):
        for name, way in ways.items():
            model = speaker(kind)
            plain = chain(model) | StrOutputParser()
            guarded = guard(plain, policy(mode, on_fail))
            assert way(guarded) == expected, name
            assert last(guarded).verification is not None, name
            model.seen.clear()
            assert way(plain) == DRAFT  # the original is untouched


@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
@pytest.mark.parametrize("way", [*CALLS.values(), *STREAMS.values()])
def test_what_nothing_puts_right_is_abstained_from_or_raised(mode: Any, way: Way) -> None:
    plain = chain(speaker(Speaker, DRAFT)) | StrOutputParser()
    with pytest.raises(UngroundedAnswerError) as caught:
        way(guard(plain, policy(mode, "raise", attempts=0)))
    assert [one.claim.text for one in caught.value.verification.failed] == [WRONG]
    guarded = guard(plain, policy(mode, "abstain", attempts=0))
    said = way(guarded)
    if mode == "gate" or way in CALLS.values():
        assert said.startswith(RIGHT)
        assert said.endswith("I could not find a full answer in the sources.")
        assert WRONG not in said
        assert "abstained" in codes(guarded)
    else:
        assert said == DRAFT
        assert "shown-already" in codes(guarded)


@pytest.mark.parametrize("way", [*CALLS.values(), *STREAMS.values()])
def test_a_right_answer_passes_as_it_is(way: Way) -> None:
    for mode in ("after", "gate", "annotate"):
        guarded = guard(chain(speaker(Speaker, RIGHT)) | StrOutputParser(), policy(mode, "raise"))
        assert way(guarded) == RIGHT
        assert codes(guarded) == []
        verification = last(guarded).verification
        assert verification is not None
        assert verification.grounded is True


def test_without_evidence_it_is_said_that_nothing_was_verified() -> None:
    guarded = guard(speaker(Speaker, DRAFT), policy("gate", "raise"))
    assert guarded.invoke("q").content == DRAFT
    assert codes(guarded) == ["not-verified"]
    assert "".join(str(chunk.content) for chunk in guarded.stream("q")) == DRAFT


def test_a_policy_without_verification_changes_nothing() -> None:
    guarded = guard(chain(speaker(Speaker, DRAFT)) | StrOutputParser(), Policy())
    assert invoked(guarded) == streamed(guarded) == DRAFT
    assert last(guarded).verification is None


# -- what stands beside the text ------------------------------------------------------------------


def rich() -> list[AIMessageChunk]:
    """A reply with reasoning, blocks, usage and metadata."""
    texts = [
        AIMessageChunk(content=[{"type": "text", "text": part.content, "index": 1}])
        for part in pieces(DRAFT)
    ]
    usage: Any = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
    return [
        AIMessageChunk(content=[{"type": "reasoning", "reasoning": WRONG, "index": 0}], id="msg-1"),
        *texts,
        AIMessageChunk(
            content=[], usage_metadata=usage, response_metadata={"finish_reason": "stop"}
        ),
    ]


@pytest.mark.parametrize("on_fail", ["flag", "repair"])
def test_only_the_text_changes(on_fail: Any) -> None:
    model = Speaker(replies=[rich(), pieces(BETTER)])
    expected = CUT if on_fail == "flag" else REPAIRED
    called = guard(chain(model), policy("gate", on_fail)).invoke("q")
    model.seen.clear()
    parts = list(guard(chain(model), policy("gate", on_fail)).stream("q"))
    whole = parts[0]
    for part in parts[1:]:
        whole += part
    for message in (called, whole):
        assert [block["type"] for block in message.content] == ["reasoning", "text"]
        assert message.content[0]["reasoning"] == WRONG  # it is no part of the answer
        assert message.text == expected
        assert message.id == "msg-1"
        assert message.usage_metadata["total_tokens"] == 30
        assert message.response_metadata["finish_reason"] == "stop"


def test_blocks_that_say_the_same_stay_the_same() -> None:
    class Blocks(Speaker):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            result = super()._generate(*args, **kwargs)
            message = result.generations[0].message
            message.content = [
                {"type": "text", "text": RIGHT, "annotations": [{"type": "citation"}]},
                {"type": "image", "url": "https://example.invalid/a.png"},
                {"type": "text", "text": f" {WRONG}", "annotations": [{"type": "citation"}]},
                f" {BETTER}",
            ]
            return ChatResult(generations=[ChatGeneration(message=message)])

    content = guard(chain(Blocks(replies=[pieces(DRAFT)])), policy()).invoke("q").content
    assert content == [
        {"type": "text", "text": RIGHT, "annotations": [{"type": "citation"}]},
        {"type": "image", "url": "https://example.invalid/a.png"},
        {"type": "text", "text": f" {BETTER}"},
    ]


def test_every_generation_of_a_call_is_verified() -> None:
    class Two(Speaker):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            results = [Speaker._generate(self, *args, **kwargs) for _ in range(2)]
            return ChatResult(generations=[one.generations[0] for one in results])

    model = Two(replies=[pieces(DRAFT), pieces(RIGHT)])
    guarded = guard(chain(model), policy())
    assert guarded.invoke("q").content == CUT
    assert len(last(guarded).verifications) == 2


# -- models that complete text --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "on_fail", "called", "shown"),
    TABLE,
)
async def test_a_completion_model(mode: Any, on_fail: Any, called: str, shown: str) -> None:
    def guarded() -> Any:
        return guard(chain(Completer(script=[DRAFT, BETTER])), policy(mode, on_fail))

    assert guarded().invoke("q") == await guarded().ainvoke("q") == called
    assert "".join(guarded().stream("q")) == shown
    assert "".join([part async for part in guarded().astream("q")]) == shown
    listener = Listener()
    assert "".join(guarded().stream("q", {"callbacks": [listener]})) == listener.tokens == shown


def test_each_prompt_of_a_batch_is_verified() -> None:
    model = guard(Completer(script=[RIGHT, DRAFT]), policy())
    assert model.generate(["a", "b"]).generations[1][0].text == DRAFT
    assert codes(model) == ["not-verified", "not-verified"]


# -- what handlers are told -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Speaker, AsyncSpeaker])
@pytest.mark.parametrize("notifies", [True, False])
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_tokens_are_told_when_they_are_released(
    kind: type[Speaker], notifies: bool, way: str
) -> None:
    for on_fail, expected in (("flag", CUT), ("repair", REPAIRED)):
        model = kind(replies=[pieces(DRAFT), pieces(BETTER)], notifies=notifies)
        guarded, listener = guard(chain(model), policy("gate", on_fail)), Listener()
        config: Any = {"callbacks": [listener]}
        if way == "invoke":
            guarded.invoke("q", config)
        elif way == "ainvoke":
            await guarded.ainvoke("q", config)
        elif way == "stream":
            list(guarded.stream("q", config))
        else:
            _ = [part async for part in guarded.astream("q", config)]
        told = way.endswith("stream") or notifies
        assert listener.tokens == (expected if told else "")


def test_a_run_manager_that_is_none_is_left_alone() -> None:
    guarded = guard(speaker(), policy())
    result = guarded._generate([], run_manager=None)
    assert result.generations[0].message.content == DRAFT
