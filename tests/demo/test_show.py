from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from ctxguard.demo import show
from ctxguard.demo.chains import Passage
from ctxguard.demo.corpus import Corpus
from ctxguard.demo.document import to_json
from ctxguard.demo.measures import Retained
from ctxguard.demo.run import Answer, Comparison, summarise
from ctxguard.ledger import Ledger
from ctxguard.types import Chunk, Decision
from ctxguard.verification import Verifier

RETAINED = Retained(copies=6, copies_left=0, facts=4, facts_lost=(), wording=1.0)


def answer(*, tokens: int, chunks: int, first_token: float | None) -> Answer:
    passages = tuple(Passage(text="text", source=f"package-{n}") for n in range(chunks))
    return Answer(
        text="Yes, the licence\nsays so.",
        passages=passages,
        prompt_tokens=tokens,
        first_token=first_token,
        seconds=(first_token or 0) + 1,
        sources=tuple(f"package-{n}" for n in range(8)),
        in_prompt=True,
    )


@pytest.fixture
def timed() -> Comparison:
    return Comparison(
        question="Does it?",
        first="plain",
        plain=answer(tokens=1490, chunks=8, first_token=10.04),
        guarded=answer(tokens=416, chunks=2, first_token=2.51),
        retained=RETAINED,
        ledger=Ledger(run_id="run"),
    )


def shown(item: RenderableType, *, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    with console.capture() as capture:
        console.print(item)
    return capture.get()


def row(text: str, start: str) -> list[str]:
    """The cells of the line that starts so, the bar left out."""
    line = next(line for line in text.splitlines() if line.strip().startswith(start))
    return [cell for cell in line.split() if "█" not in cell]


@pytest.mark.parametrize("width", [80, 120])
def test_a_question_shows_both_sides_and_fits_the_terminal(timed: Comparison, width: int) -> None:
    text = shown(show.comparison(timed), width=width)
    assert row(text, "plain") == ["plain", "1,490", "10.0", "s", "8", "6", "8", "4"]
    assert row(text, "guarded") == ["guarded", "416", "2.5", "s", "2", "0", "8", "4"]
    assert "“Yes, the licence says so.”" in text
    assert all(len(line) <= width for line in text.splitlines())
    assert "!" not in text


def test_without_a_model_there_are_no_times_and_no_answers(timed: Comparison) -> None:
    silent = replace(timed.plain, first_token=None, text="")
    text = shown(show.comparison(replace(timed, plain=silent, guarded=silent)))
    assert "first token" not in text
    assert "“" not in text


def test_what_went_wrong_is_shown(timed: Comparison) -> None:
    failed = Decision(stage="dedupe", action="error", subject="", code="failed", reason="it broke")
    text = shown(
        show.comparison(
            replace(
                timed,
                guarded=replace(timed.guarded, in_prompt=False),
                retained=replace(RETAINED, facts_lost=(("year", "2019"),)),
                ledger=Ledger(run_id="run", decisions=(failed,)),
            )
        )
    )
    assert "! guarded: a passage was changed" in text
    assert "! no longer in the prompt: 2019" in text
    assert "! error: it broke" in text
    assert row(text, "guarded")[-1] == "3"


def test_the_first_reason_is_given_and_the_others_counted(timed: Comparison) -> None:
    chunks = tuple(Chunk(id=f"c{n}", text="text", source=f"package-{n}") for n in range(3))
    decisions = (
        Decision(
            stage="dedupe", action="drop", subject="c1", code="exact-duplicate", reason="same"
        ),
        Decision(
            stage="dedupe", action="drop", subject="c2", code="exact-duplicate", reason="same"
        ),
        Decision(
            stage="dedupe", action="flag", subject="c0", code="conflict", reason="2 or 3 " * 40
        ),
    )
    ledger = Ledger(run_id="run", chunks=chunks, decisions=decisions)
    text = shown(show.comparison(replace(timed, ledger=ledger)), width=200)
    assert row(text, "left out") == ["left", "out", "package-1:", "same;", "1", "more"]
    assert row(text, "both kept")[:3] == ["both", "kept", "package-0:"]
    assert "…" in text


def test_the_summary_sets_what_was_retained_beside_what_was_saved(timed: Comparison) -> None:
    other = replace(
        timed,
        plain=answer(tokens=510, chunks=8, first_token=4.0),
        guarded=answer(tokens=484, chunks=7, first_token=3.5),
        retained=replace(
            RETAINED, copies=4, copies_left=1, facts=16, facts_lost=(("year", "1"),), wording=0.9
        ),
    )
    text = shown(show.summary(summarise([timed, other]), framework="langchain"))
    assert row(text, "prompt tokens")[2:] == ["2,000", "900", "45", "%", "of", "plain"]
    assert row(text, "time to first token")[4:6] == ["14.0", "s"]
    assert "43 % of plain" in text
    assert "90 % of them left out" in text
    assert row(text, "facts in")[4:8] == ["20", "19", "95.0", "%"]
    assert "95.0 % of it kept" in text
    assert "--framework llama-index" in text


def test_a_long_answer_is_cut_and_says_so(timed: Comparison) -> None:
    long = replace(timed.plain, text="word " * 100)
    assert "…”" in shown(show.comparison(replace(timed, plain=long)))


def test_where_to_go_next_exists(pytestconfig: pytest.Config) -> None:
    documents = [where for where, _ in show.NEXT if where.startswith("docs/")]
    assert documents
    assert all((pytestconfig.rootpath / where).is_file() for where in documents)


def test_answers_have_the_verdict_of_their_evidence(timed: Comparison) -> None:
    evidence = ["The fee is $500 per month. Notice is thirty days."]
    wrong = "Notice is thirty days. The fee is $600 per month."
    plain = replace(timed.plain, text=wrong, verification=Verifier()(wrong, evidence))
    open_ = "I don't know."
    guarded = replace(timed.guarded, text=open_, verification=Verifier()(open_, evidence))
    result = replace(timed, plain=plain, guarded=guarded)
    text = shown(show.comparison(result))
    assert "plain    ✗ contradicted    “Notice is thirty days." in text
    assert "the claim says '$600 per month'" in text
    assert "guarded  · claims nothing  “I don't know.”" in text
    assert "claims flagged by their own evidence: plain 1 of 2, guarded 0 of 0" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    total = shown(show.summary(summarise([result]), framework="langchain"))
    assert row(total, "claims of the answers") == [
        "claims",
        "of",
        "the",
        "answers",
        "2",
        "0",
        "judged",
    ]
    assert row(total, "flagged among them")[:5] == ["flagged", "among", "them", "1", "0"]
    said = json.loads(to_json([result], summarise([result]), run={}, corpus=Corpus(licences=())))
    verdict = said["questions"][0]["plain"]["verdict"]
    assert verdict["outcome"] == "contradicted"
    assert [one["code"] for one in verdict["failed"]] == ["amount-differs"]
    assert said["questions"][0]["guarded"]["verdict"]["score"] is None
