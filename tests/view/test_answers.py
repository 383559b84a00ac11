"""The verdicts on an answer, as both views show them."""

from __future__ import annotations

from dataclasses import replace

from ctxguard import Chunk, Ledger
from ctxguard.verification import Verifier
from ctxguard.view.html import to_html
from ctxguard.view.text import to_text

CHUNKS = (Chunk(id="c1", source="contract.md", text="The fee is $500 per month."),)
ANSWER = "The fee is $600 per month. The fee is $500 per month. Is it much?"


def ledger(answer: str = ANSWER) -> Ledger:
    checked = Verifier()(answer, CHUNKS)
    return Ledger(run_id="r", chunks=CHUNKS, verifications=(Verifier()("x", CHUNKS), checked))


def test_verdicts_stand_with_their_quotes_and_what_failed_comes_first() -> None:
    for shown in (to_text(ledger(), width=90), to_html(ledger())):
        assert "not grounded, 1 contradicted, 1 supported, 1 not judged, 1 earlier check" in shown
        assert shown.index("contradicted") < shown.index("Is it much?")
        assert "contract.md" in shown
        assert "600" in shown
        assert "score" in shown
    assert "not grounded" in repr(ledger())
    assert "Nothing was recorded" not in to_text(ledger(), width=90)


def test_without_a_check_nothing_is_said() -> None:
    plain = replace(ledger(), verifications=())
    assert "Answer" not in to_text(plain, width=90)
    assert "Answer" not in to_html(plain)


def test_many_claims_are_counted_and_hostile_ones_are_harmless() -> None:
    text = to_text(ledger("The fee is $600 per month. " * 30), width=80)
    assert "and 18 more claims: ledger.verification" in text
    shown = to_html(ledger("<script>x</script> costs $7 \u202e per \x1b[31m month. " * 900))
    assert "<script>" not in shown
    assert "\x1b" not in shown
    assert "more claim" in shown
    assert len(shown) < 300_000


def test_an_older_ledger_is_read() -> None:
    old = Ledger(run_id="r").to_json().replace('"schema_version": 2', '"schema_version": 1')
    assert Ledger.from_json(old) == Ledger(run_id="r")
