"""Scorers and checks that fail: a verdict that says so, an error in the ledger, or the error."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from ctxguard import Guard, Policy
from ctxguard.types import Verdict
from ctxguard.verification import Answer, Evidence, Gate, Support, Verifier, Verify

EVIDENCE = ["The fee is $500 per month. Cats sleep all day long."]
ANSWER = "Cats sleep all day. The fee is $600 per month. A cat dreams. A cat sleeps the whole day."


class Interrupt(Exception):  # noqa: N818 -- as a framework names its control flow
    """Control flow of a framework."""


class Broken:
    def __init__(self, given: Callable[[int], Any]) -> None:
        self.given = given

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> list[Support]:
        assert passages
        return self.given(len(claims))


def gone(_: int) -> Any:
    raise ConnectionError("gone")


def interrupts(_: int) -> Any:
    raise Interrupt


def broken(answer: Answer, evidence: Evidence) -> Iterable[Verdict]:
    raise Interrupt


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (gone, "the scorer 'Broken' failed: ConnectionError: gone"),
        (lambda _: [], "expected a Support for each of 3 claims, got 0"),
        (lambda n: [Support(probability=math.nan)] * n, "0 to 1, got nan"),
        (lambda n: [Support(probability=2)] * n, "0 to 1, got 2"),
        (lambda n: [0.5] * n, "AttributeError"),
        (lambda n: None, "TypeError"),
    ],
)
def test_what_facts_do_not_decide_is_not_judged(given: Callable[[int], Any], reason: str) -> None:
    verifier = Verifier(scorer=Broken(given))
    for found in (verifier(ANSWER, EVIDENCE), asyncio.run(verifier.averify(ANSWER, EVIDENCE))):
        stated, wrong, *rest = found.claims
        assert (stated.label, stated.code) == ("supported", "stated")
        assert (wrong.label, wrong.code) == ("contradicted", "amount-differs")
        assert {(one.label, one.code) for one in rest} == {("not_judged", "scorer-failed")}
        assert all(reason in one.reason for one in rest)


def test_an_answer_whose_scorer_failed_is_not_called_grounded() -> None:
    verifier = Verifier(scorer=Broken(gone))
    assert verifier("Cats sleep all day. A cat dreams.", EVIDENCE).grounded is None
    assert verifier("Cats sleep all day.", EVIDENCE).grounded is True
    assert verifier(ANSWER, EVIDENCE).grounded is False


def test_a_gate_goes_on() -> None:
    gate = Gate(Verifier(scorer=Broken(gone)), EVIDENCE)
    gate.push("A cat dreams. A cat sleeps the whole day.")
    gate.finish()
    assert gate.released == gate.draft
    assert {verdict.code for verdict in gate.verification.claims} == {"scorer-failed"}


def test_the_ledger_has_one_error_for_a_scorer_that_failed() -> None:
    guard = Guard(Policy(verification=Verify(verifier=Verifier(scorer=Broken(gone)))))
    with guard.run("Why?") as run:
        guard.verify(ANSWER, EVIDENCE)
    (error,) = run.ledger().of("error")
    assert error.code == "scorer-failed"
    assert error.reason.startswith("2 claims were not judged: the scorer 'Broken' failed")
    assert error.details["claims"] == 2


def _read(gate: Gate) -> None:
    gate.push("A cat dreams of mice.")
    gate.finish()


def test_the_policy_raises_if_it_says_so() -> None:
    for verifier in (Verifier(scorer=Broken(interrupts)), Verifier(checks=[broken])):
        guard = Guard(Policy(verification=Verify(verifier=verifier), on_error="raise"))
        with pytest.raises(Interrupt):
            guard.verify(ANSWER, EVIDENCE)
        with pytest.raises(Interrupt):
            guard.verify_fields({"animal": "a dreaming cat"}, EVIDENCE)
        gate = guard.gate(EVIDENCE)
        with pytest.raises(Interrupt):
            _read(gate)


@pytest.mark.parametrize("scorer", [Broken(interrupts), None])
def test_control_flow_passes_through(scorer: Broken | None) -> None:
    def ends_well(error: BaseException) -> bool:
        return isinstance(error, Interrupt)

    verifier = Verifier(scorer=scorer, checks=[] if scorer else [broken])
    guard = Guard(Policy(verification=Verify(verifier=verifier)))
    with pytest.raises(Interrupt):
        guard.verify(ANSWER, EVIDENCE, ends_well=ends_well)
    with pytest.raises(Interrupt):
        asyncio.run(guard.averify(ANSWER, EVIDENCE, ends_well=ends_well))
    assert guard.verify(ANSWER, EVIDENCE).failed  # an error like any other
    own = Guard(Policy(verification=Verify(verifier=Verifier(scorer=Broken(gone)))))
    assert own.verify(ANSWER, EVIDENCE, ends_well=ends_well).failed


def test_what_a_verifier_lets_pass_a_guard_lets_pass() -> None:
    verifier = Verifier(scorer=Broken(interrupts), passes=lambda e: isinstance(e, Interrupt))
    with pytest.raises(Interrupt):
        verifier(ANSWER, EVIDENCE)
    guard = Guard(Policy(verification=Verify(verifier=verifier)))
    with pytest.raises(Interrupt):
        guard.verify(ANSWER, EVIDENCE, ends_well=lambda _: False)
