"""One reply of a guarded model: what its reader sees, what stands in the end, what is noted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from ctxguard import Chunk, Guard, Policy
from ctxguard.answering import Answering, Settled, answering
from ctxguard.errors import UngroundedAnswerError
from ctxguard.run import Run, Source
from ctxguard.types import Claim, Verdict
from ctxguard.verification import (
    Answer,
    Ask,
    Evidence,
    Retrieve,
    Session,
    Verifier,
    Verify,
    adrive,
    drive,
)

EVIDENCE = ["The fee is $500 per month.", "The notice period is thirty days."]
RIGHT = "The notice period is thirty days."
WRONG = "The fee is $600 per month."
BETTER = "The fee is $500 per month."
LAST = "Is there more to say?"
DRAFT = f"{RIGHT} {WRONG} {LAST}"
CUT = f"{RIGHT} {LAST}"
QUESTION = "What is the fee, and how is it ended?"
WHOLE: tuple[str, ...] = (DRAFT,)
LETTERS = tuple(DRAFT)
PIECES = ("The notice period is thirty", " days. The fee", "", " is $600 per mo", f"nth. {LAST}")


class Told:
    """What a reader saw of one reply, and what came of it."""

    def __init__(self, run: Run, shown: str, settled: Settled) -> None:
        self.shown = shown
        self.settled = settled
        self.codes = [d.code for d in run.ledger().decisions if d.stage == "verify"]
        self.verifications = run.ledger().verifications

    @property
    def read(self) -> str:
        """All that the reader has in the end."""
        return self.shown + self.settled.rest


def heavy(ask: Ask) -> str | None:
    """A heavy model that knows better; the light one does not answer."""
    return BETTER if ask.route == "heavy" else None


def told(
    settings: Verify,
    pieces: Sequence[str] = PIECES,
    *,
    ask: Any = heavy,
    on_error: Any = "pass",
    **options: Any,
) -> Told:
    guard = Guard(Policy(verification=settings, on_error=on_error))
    with guard.run(QUESTION) as run:
        guard.prepare(QUESTION, EVIDENCE)
        begun = answering(guard, **options)
        assert begun is not None
        shown = "".join(begun.push(piece).text for piece in pieces)
        settled = drive(begun.settle(), ask=ask, retrieve=begun.retrieve)
        return Told(run, shown, settled)


# -- the table: when it is verified, and what happens to an answer that fails ---------------------

REPAIRED = f"{RIGHT} {BETTER}"
TABLE: list[tuple[Any, Any, bool, str, str, list[str]]] = [
    # mode, on_fail, streamed, what was shown while it came, what stands in the end, the ledger
    ("after", "flag", False, DRAFT, DRAFT, ["amount-differs"]),
    ("after", "flag", True, DRAFT, DRAFT, ["amount-differs"]),
    ("annotate", "flag", False, DRAFT, DRAFT, ["amount-differs"]),
    ("annotate", "flag", True, DRAFT, DRAFT, ["amount-differs"]),
    ("gate", "flag", False, DRAFT, CUT, ["amount-differs", "withheld"]),
    ("gate", "flag", True, RIGHT, CUT, ["amount-differs", "withheld"]),
    ("after", "escalate", False, DRAFT, REPAIRED, ["no-model", "no-retriever", "grounded"]),
    (
        "after",
        "escalate",
        True,
        DRAFT,
        DRAFT,
        ["no-model", "no-retriever", "grounded", "shown-already", "amount-differs"],
    ),
    ("annotate", "escalate", False, DRAFT, REPAIRED, ["no-model", "no-retriever", "grounded"]),
    (
        "annotate",
        "escalate",
        True,
        DRAFT,
        DRAFT,
        ["no-model", "no-retriever", "grounded", "shown-already", "amount-differs"],
    ),
    ("gate", "escalate", False, DRAFT, REPAIRED, ["no-model", "no-retriever", "grounded"]),
    ("gate", "escalate", True, RIGHT, REPAIRED, ["no-model", "no-retriever", "grounded"]),
]


@pytest.mark.parametrize(
    ("mode", "on_fail", "streamed", "shown", "answer", "codes"),
    TABLE,
    ids=[f"{row[0]}-{row[1]}-{'stream' if row[2] else 'call'}" for row in TABLE],
)
def test_the_table(
    mode: Any, on_fail: Any, streamed: bool, shown: str, answer: str, codes: list[str]
) -> None:
    found = told(Verify(mode=mode, on_fail=on_fail), streamed=streamed)
    assert found.shown == shown
    assert found.settled.answer == answer
    assert found.codes == codes
    if streamed:
        assert found.read == answer


@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
@pytest.mark.parametrize("pieces", [WHOLE, LETTERS, PIECES], ids=["whole", "letters", "pieces"])
@pytest.mark.parametrize("on_fail", ["flag", "repair", "escalate", "abstain"])
def test_how_the_text_is_cut_changes_nothing(
    mode: Any, on_fail: Any, pieces: tuple[str, ...]
) -> None:
    settings = Verify(mode=mode, on_fail=on_fail)
    found, other = told(settings, pieces, streamed=True), told(settings, streamed=True)
    assert found.read == found.settled.answer == other.settled.answer
    assert found.codes == other.codes


@pytest.mark.parametrize("mode", ["after", "annotate"])
def test_a_reader_who_has_the_answer_is_told_of_a_better_one(mode: Any) -> None:
    settled = told(Verify(mode=mode, on_fail="escalate"), streamed=True).settled
    assert settled.repaired is not None
    assert settled.repaired.answer == REPAIRED
    assert settled.ending == "repaired"
    assert settled.verification is not None
    assert settled.verification.answer == DRAFT


@pytest.mark.parametrize(("streamed", "mode"), [(False, "after"), (False, "gate"), (True, "gate")])
def test_what_nobody_has_seen_is_abstained_from(streamed: bool, mode: Any) -> None:
    found = told(
        Verify(mode=mode, on_fail="abstain"), ask=lambda _: None, streamed=streamed
    ).settled
    assert found.answer.startswith(RIGHT)
    assert WRONG not in found.answer
    assert found.answer.endswith("I could not find a full answer in the sources.")
    assert found.ending == "abstained"


@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_that_nothing_put_right_is_raised(mode: Any, streamed: bool) -> None:
    with pytest.raises(UngroundedAnswerError) as caught:
        told(Verify(mode=mode, on_fail="raise"), ask=lambda _: None, streamed=streamed)
    assert [verdict.code for verdict in caught.value.verification.failed] == ["amount-differs"]


@pytest.mark.parametrize(
    ("mode", "streamed", "raises"),
    [("gate", True, False), ("gate", False, False), ("after", False, False), ("after", True, True)],
)
def test_an_answer_that_is_put_right_is_only_raised_where_it_was_shown(
    mode: Any, streamed: bool, raises: bool
) -> None:
    settings = Verify(mode=mode, on_fail="raise")
    if raises:
        with pytest.raises(UngroundedAnswerError):
            told(settings, streamed=streamed)
    else:
        assert told(settings, streamed=streamed).settled.answer == REPAIRED


def test_corrections_follow_what_was_shown() -> None:
    guard = Guard(Policy(verification=Verify(mode="annotate")))
    with guard.run(QUESTION):
        guard.prepare(QUESTION, EVIDENCE)
        begun = answering(guard, streamed=True)
        assert begun is not None
        early = [begun.push(piece) for piece in PIECES]
        settled = drive(begun.settle(), ask=heavy)
    assert [len(shown.corrections) for shown in early] == [0, 0, 0, 0, 1]
    correction = early[-1].corrections[0]
    assert correction.claim.text == WRONG
    assert correction.offset == len(f"{RIGHT} {WRONG}")
    assert settled.corrections == ()


def test_what_is_verified_after_a_stream_is_corrected_at_its_end() -> None:
    settled = told(Verify(mode="after"), streamed=True).settled
    assert [(one.offset, one.claim.text) for one in settled.corrections] == [(len(DRAFT), WRONG)]


def test_an_answer_that_holds_passes_with_its_verdicts() -> None:
    for mode in ("after", "gate", "annotate"):
        found = told(Verify(mode=mode, on_fail="raise"), (RIGHT,), streamed=True)
        assert found.read == found.settled.answer == RIGHT
        assert found.settled.ending == "passed"
        assert found.codes == []
        assert found.verifications[-1].grounded is True


# -- what is no answer ----------------------------------------------------------------------------


def test_no_policy_no_run_no_answering() -> None:
    guard = Guard(Policy())
    with guard.run(QUESTION):
        assert answering(guard) is None
    assert answering(Guard(Policy(verification=Verify()))) is None


@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
def test_without_evidence_it_passes_and_says_so(mode: Any) -> None:
    guard = Guard(Policy(verification=Verify(mode=mode, on_fail="raise")))
    with guard.run(QUESTION) as run:
        begun = answering(guard, streamed=True)
        assert begun is not None
        assert begun.push(WRONG).text == WRONG
        settled = drive(begun.settle(), ask=heavy)
    assert (settled.answer, settled.rest, settled.verification) == (WRONG, "", None)
    assert [decision.code for decision in run.ledger().decisions] == ["not-verified"]


@pytest.mark.parametrize("text", ["", " \n "])
def test_a_blank_reply_is_no_answer(text: str) -> None:
    found = told(Verify(mode="gate", on_fail="raise"), (text,), streamed=True)
    assert found.read == text
    assert found.codes == []


@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
@pytest.mark.parametrize("on_fail", ["flag", "raise"])
@pytest.mark.parametrize("pieces", [WHOLE, LETTERS, PIECES], ids=["whole", "letters", "pieces"])
def test_a_reply_that_calls_tools_passes_as_it_is(
    mode: Any, on_fail: Any, pieces: tuple[str, ...]
) -> None:
    guard = Guard(Policy(verification=Verify(mode=mode, on_fail=on_fail)))
    with guard.run(QUESTION) as run:
        guard.prepare(QUESTION, EVIDENCE)
        begun = answering(guard, streamed=True, calls=True)
        assert begun is not None
        shown = "".join(begun.push(piece).text for piece in pieces)
        assert shown + begun.hand_on() == DRAFT
        assert begun.push("more").text == "more"
        settled = drive(begun.settle(), ask=heavy)
    assert settled.rest == ""
    assert settled.verification is None
    assert [d for d in run.ledger().decisions if d.stage == "verify"] == []


def test_a_gate_shows_the_rest_later_where_tools_may_be_called() -> None:
    found = told(Verify(mode="gate"), streamed=True, calls=True)
    assert found.shown == RIGHT
    assert found.read == CUT


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("on_fail", ["flag", "repair", "escalate", "abstain"])
def test_fields_are_flagged_and_never_written_anew(streamed: bool, on_fail: Any) -> None:
    text = '{"fee": "$600 per month"}'
    settings = Verify(mode="gate", on_fail=on_fail)
    found = told(settings, tuple(text), streamed=streamed, form="fields")
    assert found.settled.answer == text
    assert found.settled.rest == ""
    assert found.settled.ending == "flagged"
    assert "amount-differs" in found.codes


def test_fields_that_fail_are_raised() -> None:
    with pytest.raises(UngroundedAnswerError):
        told(Verify(on_fail="raise"), ('{"fee": "$600 per month"}',), form="fields")


# -- evidence -------------------------------------------------------------------------------------


def test_what_tools_returned_is_evidence() -> None:
    guard = Guard(Policy(verification=Verify()))
    results = [Chunk(id="tool-1", text="The deposit is $900.")]
    with guard.run(QUESTION):
        guard.prepare(QUESTION, EVIDENCE)
        begun = answering(guard, results=results)
        assert begun is not None
        begun.push(f"The deposit is $900. {RIGHT}")
        verification = drive(begun.settle(), ask=heavy).verification
    assert verification is not None
    assert verification.grounded is True
    quoted = {quote.chunk_id for verdict in verification.claims for quote in verdict.evidence}
    assert "tool-1" in quoted


def test_evidence_that_a_tool_returned_is_not_held_twice() -> None:
    guard = Guard(Policy(verification=Verify()))
    with guard.run(QUESTION) as run:
        guard.prepare(QUESTION, EVIDENCE)
        results = [
            Chunk(id="tool-1", text="\n\n".join(EVIDENCE)),
            Chunk(id="tool-2", text=f"{EVIDENCE[0]}\nThe deposit is $900."),
        ]
        begun = answering(guard, results=results)
        assert begun is not None
        chunks = begun._evidence.chunks
        assert chunks[: len(run.evidence)] == run.evidence
    assert [chunk.text for chunk in chunks[2:]] == ["The deposit is $900."]


def test_more_evidence_is_found_by_the_sources_of_the_run() -> None:
    asked: list[str] = []

    def search(query: str) -> list[Chunk]:
        asked.append(query)
        return [Chunk(id="new", text="From June on, the fee is $600 per month.")]

    async def asearch(query: str) -> list[Chunk]:
        return search(query)

    async def awaited(begun: Answering) -> Settled:
        async def ask(_: Ask) -> None:
            return None

        return await adrive(begun.settle(), ask=ask, retrieve=begun.aretrieve)

    guard = Guard(Policy(verification=Verify(on_fail="repair")))
    for way in ("called", "awaited"):
        with guard.run(QUESTION) as run:
            guard.prepare(QUESTION, EVIDENCE)
            begun = answering(guard)
            assert begun is not None
            run.offer(Source(name="s", search=search, asearch=asearch))
            begun.push(DRAFT)
            settled = (
                drive(begun.settle(), ask=lambda _: None, retrieve=begun.retrieve)
                if way == "called"
                else asyncio.run(awaited(begun))
            )
        assert settled.answer == DRAFT
        assert "new" in {chunk.id for chunk in run.ledger().chunks}
    assert asked == [WRONG, WRONG]


def test_a_search_ends_with_its_time() -> None:
    async def asearch(_: str) -> list[Chunk]:
        raise AssertionError

    def search(_: str) -> list[Chunk]:
        raise AssertionError

    guard = Guard(Policy(verification=Verify()))
    with guard.run(QUESTION) as run:
        begun = answering(guard)
        assert begun is not None
        late = Retrieve(queries=("q",), seconds=-1.0)
        assert begun.retrieve(late) is None
        assert asyncio.run(begun.aretrieve(late)) is None
        run.offer(Source(name="s", search=search, asearch=asearch))
        assert begun.retrieve(late) == []
        assert asyncio.run(begun.aretrieve(late)) == []


# -- failures -------------------------------------------------------------------------------------


class Broken(Verifier):
    """A verifier that fails at its second sentence."""

    def session(self, *args: Any, **kwargs: Any) -> Session:
        session = super().session(*args, **kwargs)
        judging, calls = session.judging, [0]

        def failing(claims: Sequence[Claim], text: str, **more: Any) -> Any:
            calls[0] += 1
            if calls[0] > 1:
                raise ZeroDivisionError("of the verifier")
            return judging(claims, text, **more)

        session.judging = failing
        return session

    def verifying(self, *_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("of the verifier")


@pytest.mark.parametrize("mode", ["after", "gate", "annotate"])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_verifier_that_fails_lets_the_answer_pass(mode: Any, streamed: bool) -> None:
    found = told(Verify(mode=mode, on_fail="raise", verifier=Broken()), streamed=streamed)
    assert found.settled.answer == DRAFT
    assert found.settled.verification is None
    assert found.codes == ["verify-failed"]
    if streamed:
        assert found.read == DRAFT


@pytest.mark.parametrize("streamed", [True, False])
def test_or_its_failure_is_raised(streamed: bool) -> None:
    settings = Verify(mode="gate", verifier=Broken())
    with pytest.raises(ZeroDivisionError):
        told(settings, streamed=streamed, on_error="raise")


def test_control_flow_of_a_framework_passes_through() -> None:
    class InterruptError(Exception):
        pass

    def ask(_: Ask) -> str:
        raise InterruptError

    guard = Guard(Policy(verification=Verify(on_fail="repair")))
    with guard.run(QUESTION):
        guard.prepare(QUESTION, EVIDENCE)
        begun = answering(guard)
        assert begun is not None
        begun.push(DRAFT)
        with pytest.raises(InterruptError):
            drive(begun.settle(lambda error: isinstance(error, InterruptError)), ask=ask)


def test_a_check_of_ones_own_that_fails_at_the_end_of_a_gate_is_said() -> None:
    def polite(answer: Answer, _: Evidence) -> list[Verdict]:
        claim = Claim(text=answer.text, span=(0, len(answer.text)))
        return [Verdict(claim=claim, label="not_found", score=0.0, code="rude", reason="no please")]

    settings = Verify(mode="gate", verifier=Verifier(checks=[polite]))
    found = told(settings, (RIGHT,), streamed=True)
    assert found.read == found.settled.answer == RIGHT  # it was shown when the check could read it
    assert "rude" in found.codes
