"""Verification that is awaited: the same verdicts, and a loop that goes on while a scorer works."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence

import pytest

from ctxguard.errors import InputError
from ctxguard.types import Message
from ctxguard.verification import (
    Annotator,
    Ask,
    AsyncScorer,
    Evidence,
    Gate,
    Reply,
    Support,
    Verifier,
    Verify,
    adrive,
    draft,
    groundedness_scorer,
    repair,
)
from ctxguard.verification.judge import Judge

EVIDENCE = ["The fee is $500 per month. Cats sleep all day long."]
ANSWER = "A cat sleeps the whole day. The monthly fee is $600. Dogs bark in the night."


class Slow:
    """A scorer that notes which threads asked it."""

    def __init__(self, probability: float = 0.9) -> None:
        self.probability = probability
        self.threads: list[threading.Thread] = []

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> list[Support]:
        assert passages
        self.threads.append(threading.current_thread())
        return [Support(probability=self.probability) for _ in claims]


class Quick(Slow):
    quick = True


class Awaited(Slow):
    """A scorer that is awaited, as one that asks a server."""

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ascore(self, claims: Sequence[str], passages: Sequence[str]) -> list[Support]:
        self.started.set()
        await self.may_answer.wait()
        return self.score(claims, passages)


@pytest.mark.parametrize("kind", [None, Slow, Quick, Awaited, groundedness_scorer])
def test_awaited_verdicts_are_those_of_a_call(kind: type[Slow] | None) -> None:
    async def check() -> None:
        verifier = Verifier(scorer=kind and kind())
        assert await verifier.averify(ANSWER, EVIDENCE, "Why?") == verifier(
            ANSWER, EVIDENCE, "Why?"
        )

    asyncio.run(check())


def test_only_a_scorer_that_is_not_quick_runs_in_a_thread() -> None:
    slow, quick = Slow(), Quick()
    asyncio.run(Verifier(scorer=slow).averify(ANSWER, EVIDENCE))
    asyncio.run(Verifier(scorer=quick).averify(ANSWER, EVIDENCE))
    assert slow.threads[0] is not threading.current_thread()
    assert quick.threads == [threading.current_thread()]


def test_the_loop_goes_on_while_a_scorer_is_awaited() -> None:
    async def check() -> None:
        scorer = Awaited()
        scorer.may_answer.clear()
        assert isinstance(scorer, AsyncScorer)
        verifying = asyncio.create_task(Verifier(scorer=scorer).averify(ANSWER, EVIDENCE))
        await scorer.started.wait()
        assert not verifying.done()
        scorer.may_answer.set()
        assert len((await verifying).claims) == 3

    asyncio.run(check())


def test_a_session_judges_awaited() -> None:
    verifier = Verifier(scorer=Slow(0.2))
    claims = [verdict.claim for verdict in verifier(ANSWER, EVIDENCE).claims]
    awaited = asyncio.run(verifier.session(EVIDENCE).ajudge(claims, ANSWER))
    assert awaited == verifier.session(EVIDENCE).judge(claims, ANSWER)


@pytest.mark.parametrize("reader", [Gate, Annotator])
def test_a_stream_that_is_awaited_is_read_as_any(reader: type[Gate | Annotator]) -> None:
    plain, awaited = (reader(Verifier(scorer=Slow()), EVIDENCE) for _ in range(2))
    told = [one for letter in ANSWER for one in plain.push(letter)] + [*plain.finish()]

    async def read() -> list[object]:
        found = [one for letter in ANSWER for one in await awaited.apush(letter)]
        return [*found, *await awaited.afinish(), *await awaited.afinish()]

    assert asyncio.run(read()) == told
    assert awaited.verification == plain.verification


def test_a_push_that_is_cancelled_loses_nothing() -> None:
    async def read() -> Gate:
        scorer = Awaited()
        gate = Gate(Verifier(scorer=scorer), EVIDENCE)
        scorer.may_answer.clear()
        push = asyncio.create_task(gate.apush("Cats sleep at night. The fee is $500. Dogs bark."))
        await scorer.started.wait()
        push.cancel()
        with pytest.raises(asyncio.CancelledError):
            await push
        scorer.may_answer.set()
        await gate.apush(" And")
        await gate.apush(" so.")
        await gate.afinish()
        return gate

    gate = asyncio.run(read())
    assert gate.draft == "Cats sleep at night. The fee is $500. Dogs bark. And so."
    assert gate.released == gate.draft
    whole = Verifier(scorer=Slow())(gate.draft, EVIDENCE)
    assert gate.verification.claims == whole.claims


def _verdicts(ask: Ask) -> Reply:
    claims = json.loads(ask.messages[-1].text)["claims"]
    said = [{"claim": one["number"], "supported": 0.25, "passage": 0} for one in claims]
    return Reply(text=json.dumps(said))


async def _averdicts(ask: Ask) -> Reply:
    await asyncio.sleep(0)
    return _verdicts(ask)


def test_a_judge_is_awaited_where_it_can_be() -> None:
    for judge in (Judge(ask=_verdicts), Judge(aask=_averdicts)):
        found = asyncio.run(Verifier(scorer=judge).averify(ANSWER, EVIDENCE))
        assert [round(verdict.score, 2) for verdict in found.claims] == [0.25, 0.01, 0.25]


def test_a_judge_that_can_only_be_awaited_says_so() -> None:
    (verdict,) = Verifier(scorer=Judge(aask=_averdicts))("Cats dream.", EVIDENCE).claims
    assert (verdict.label, verdict.code) == ("not_judged", "scorer-failed")
    assert "has to be awaited" in verdict.reason


def test_a_judge_needs_somebody_to_ask() -> None:
    with pytest.raises(InputError, match=r"Judge\.ask"):
        Judge()


def test_a_repair_awaits_its_scorer() -> None:
    scorer = Awaited()
    settings = Verify(on_fail="repair", verifier=Verifier(scorer=scorer))

    async def ask(_: Ask) -> str:
        return "The fee is $500 per month."

    async def check() -> str:
        held = Evidence(settings.verifier.session(EVIDENCE).evidence.chunks)
        found = await settings.verifier.averify("The fee is $600 per month.", held)
        first = await adrive(repair(found, held, settings), ask=ask)
        messages = [Message(role="user", text="What is the fee?")]
        second = await adrive(draft(messages, held, settings), ask=ask)
        assert second.answer == first.answer
        return first.answer

    assert asyncio.run(check()) == "The fee is $500 per month."
    assert {thread is threading.current_thread() for thread in scorer.threads} == {True}
