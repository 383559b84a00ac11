"""Guard.prepare and Guard.fit: every chunk explained, nothing lost, never in the way."""

from __future__ import annotations

import copy
import importlib
import math
import pickle
import threading
import time
from typing import TypeVar

import pytest

from ctxguard import (
    Budget,
    BudgetExceededError,
    Chunk,
    Guard,
    InputError,
    Message,
    Policy,
    PolicyError,
    Prepared,
    UnsupportedObjectError,
    guard,
)
from ctxguard.models import ModelCard
from ctxguard.run import Run, activate, current_run
from ctxguard.stages import Deduplicate, Layout
from ctxguard.testing import WordTokenizer
from ctxguard.text.template import Template

NOTICE = (
    "Either party may end this agreement with a notice of {} days in writing to the other party."
)
POLICY = Policy(tokenizer=WordTokenizer())


class Broken:
    name = "broken"
    exact = True

    def encode(self, text: str) -> list[int]:
        raise RuntimeError("no tables")


class Hanging:
    name = "hanging"
    exact = True

    def __init__(self) -> None:
        self.release = threading.Event()

    def encode(self, text: str) -> list[int]:
        self.release.wait(20)
        return []


def test_strings_mappings_and_chunks_are_taken() -> None:
    prepared = Guard(POLICY).prepare(
        "q",
        [
            "a plain string about apples",
            {"text": "a mapping about pears", "source": "pears.md", "metadata": {"page": 3}},
            Chunk(id="c", text="a chunk about plums"),
        ],
    )
    assert sorted(prepared.positions) == [0, 1, 2]
    assert {chunk.id for chunk in prepared.chunks} == {"chunk-1", "chunk-2", "c"}
    assert prepared.text.count("\n\n") == 2


def test_copies_leave_and_versions_stay_with_the_difference_named() -> None:
    prepared = Guard(POLICY).prepare(
        "How long is the notice?",
        [
            Chunk(id="a", text=NOTICE.format(30), source="2020.pdf"),
            Chunk(id="b", text=NOTICE.format(60), source="2021.pdf"),
            Chunk(id="c", text="  " + NOTICE.format(30).replace(" ", "  "), source="copy.pdf"),
        ],
    )
    assert {chunk.id for chunk in prepared.chunks} == {"a", "b"}
    kept = next(chunk for chunk in prepared.chunks if chunk.id == "a")
    assert kept.also_in == ("copy.pdf",)
    (conflict,) = prepared.ledger.conflicts
    assert {conflict.subject, conflict.twin} == {"a", "b"}
    assert {quote.text for quote in conflict.evidence} >= {"30 days", "60 days"} or {
        "30",
        "60",
    } <= {quote.text for quote in conflict.evidence}
    (drop,) = prepared.ledger.of("drop")
    assert (drop.subject, drop.twin) == ("c", "a")
    assert prepared.ledger.chunk("c").text.startswith("  Either")


def test_every_chunk_has_a_keep_or_a_drop() -> None:
    texts = [f"fact number {index} stands here alone" for index in range(20)] * 2
    for policy in (POLICY, Policy(tokenizer=WordTokenizer(), select=None), Policy.off()):
        prepared = Guard(policy).prepare("q", texts, budget=60)
        decided = [d.subject for d in prepared.decisions if d.action in ("keep", "drop")]
        assert sorted(decided) == sorted(f"chunk-{index + 1}" for index in range(40))


def test_the_budget_holds_for_the_text_as_it_is_joined() -> None:
    texts = [f"item {index} " + "word " * (index % 7 + 3) for index in range(50)]
    prepared = Guard(POLICY).prepare("q", texts, budget=100)
    assert len(WordTokenizer().encode(prepared.text)) <= 100
    assert prepared.ledger.tokens_kept <= 100
    assert prepared.ledger.tokens_in > 100


def test_off_changes_nothing() -> None:
    chunks = [Chunk(id=str(index), text="the same text") for index in range(3)]
    prepared = Guard(Policy.off()).prepare("q", chunks)
    assert prepared.chunks == tuple(chunks)
    assert not prepared.ledger.of("drop", "trim", "move", "flag", "error")


@pytest.mark.parametrize(
    ("chunks", "field"),
    [
        ([None], r"chunks\[0\]"),
        (["ok", 7], r"chunks\[1\]"),
        ([{"text": None}], r"chunks\[0\]\.text"),
        ([{"text": "x", "colour": "red"}], r"chunks\[0\]\.colour.*metadata"),
        ("one string", "chunks"),
        (b"bytes", "chunks"),
        (None, "chunks"),
    ],
)
def test_input_that_is_no_text_is_named(chunks: object, field: str) -> None:
    with pytest.raises(InputError, match=field):
        Guard(POLICY).prepare("q", chunks)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("budget", [0, -5, True, 1.5, "many", Budget])
def test_a_budget_that_cannot_be_used_is_named(budget: object) -> None:
    with pytest.raises(InputError, match="budget"):
        Guard(POLICY).prepare("q", ["text"], budget=budget)  # pyright: ignore[reportArgumentType]


def test_a_question_that_is_no_text_is_named() -> None:
    with pytest.raises(InputError, match="question"):
        Guard(POLICY).prepare(None, ["text"])  # pyright: ignore[reportArgumentType]


HOSTILE = [
    "",
    "   \n\t ",
    "x" * 100_000,
    "lone \ud800 surrogate",
    "NUL \x00 and ESC \x1b[31mred\x1b[0m",
    "שלום עולם \u202e evil",
    "🤖🔥👩\u200d💻 emoji",
    "東京は日本の首都です。人口は1400万人です。",
    "<script>alert(1)</script> {{template}} {% raw %} <|endoftext|> [bold]x[/bold]",
]


@pytest.mark.parametrize(
    "policy", [Policy(), POLICY, Policy.lean()], ids=["default", "words", "lean"]
)
def test_hostile_text_is_carried_and_every_piece_explained(policy: Policy) -> None:
    prepared = Guard(policy).prepare("q", HOSTILE)
    kept = {chunk.text for chunk in prepared.chunks}
    assert {text for text in HOSTILE if text.strip() and len(text) < 1000} <= kept
    assert not prepared.ledger.errors
    assert {d.subject for d in prepared.decisions if d.action in ("keep", "drop")} == {
        f"chunk-{index + 1}" for index in range(len(HOSTILE))
    }
    assert str(prepared.ledger)
    assert "<script>" not in prepared.ledger.to_html()
    assert type(prepared.ledger).from_json(prepared.ledger.to_json()) == prepared.ledger


@pytest.mark.slow
def test_ten_megabytes_in_one_chunk() -> None:
    text = "The supplier shall deliver the goods. " * 270_000
    prepared = Guard().prepare("q", [text, "a short one"], budget=100_000)
    assert not prepared.ledger.errors
    assert prepared.ledger.tokens_kept <= 100_000


def test_scores_that_are_no_numbers_are_flagged_and_ids_made_unique() -> None:
    prepared = Guard(POLICY).prepare(
        "q",
        [
            Chunk(id="same", text="first text of all", score=math.nan),
            Chunk(id="same", text="second text of all", score=None),
        ],
    )
    codes = {(d.subject, d.code) for d in prepared.ledger.of("flag")}
    assert ("same", "no-score") in codes
    assert ("same#2", "duplicate-id") in codes
    assert {chunk.id for chunk in prepared.chunks} == {"same", "same#2"}


def test_a_stage_that_fails_hands_its_input_on() -> None:
    texts = ["one text", "one text"]
    prepared = Guard(Policy(tokenizer=Broken())).prepare("q", texts)
    assert [chunk.text for chunk in prepared.chunks] == texts
    assert {d.stage for d in prepared.ledger.errors} >= {"dedupe"}
    assert "no tables" in prepared.ledger.errors[0].reason
    with pytest.raises(RuntimeError, match="no tables"):
        Guard(Policy(tokenizer=Broken(), on_error="raise")).prepare("q", texts)


def test_a_tokenizer_that_hangs_is_left_behind() -> None:
    tokenizer = Hanging()
    started = time.monotonic()
    prepared = Guard(Policy(tokenizer=tokenizer, deadline=0.1)).prepare("q", ["a text", "b text"])
    fitted = Guard(Policy(tokenizer=tokenizer, deadline=0.1)).fit([Message(role="user", text="q")])
    elapsed = time.monotonic() - started
    tokenizer.release.set()
    assert elapsed < 10
    assert [chunk.text for chunk in prepared.chunks] == ["a text", "b text"]
    assert "deadline" in prepared.ledger.errors[0].reason
    assert fitted.messages[0].text == "q"
    assert fitted.decisions[0].action == "error"


def test_a_chunk_whose_twin_the_budget_left_out_is_flagged() -> None:
    shared = " ".join(f"The supplier shall keep item {n} ready." for n in range(12))
    chunks = [
        Chunk(id="best", text="An unrelated passage about fees, which ranks first."),
        Chunk(id="twin", text=f"Notice is given within 30 days. {shared}"),
        Chunk(id="version", text=f"Notice is given within 60 days. {shared}"),
    ]
    policy = Policy(
        tokenizer=WordTokenizer(),
        dedupe=Deduplicate(share_boilerplate=True),
        compress=None,
        layout=None,
    )
    assert not _codes(Guard(policy).prepare("q", chunks), "twin-left-out")
    tight = Guard(policy).prepare("q", chunks, budget=70)
    assert {chunk.id for chunk in tight.chunks} == {"best", "version"}
    assert _codes(tight, "twin-left-out") == {("version", "twin")}
    assert tight.ledger.chunk("version").text == chunks[2].text


def _codes(prepared: Prepared, code: str) -> set[tuple[str, str | None]]:
    return {(d.subject, d.twin) for d in prepared.decisions if d.code == code}


def test_fit_knows_the_evidence_of_its_run() -> None:
    guarded = Guard(POLICY)
    run = Run(question="q")
    with activate(run):
        assert current_run() is run
        prepared = guarded.prepare(
            "q", [NOTICE.format(30), "another clause about payment in euros"]
        )
        prompt = f"Context:\n{prepared.text}\n\nQuestion: q"
        guarded.fit([Message(role="user", text=prompt)], card=ModelCard(name="m", window=2000))
    assert current_run() is None
    ledger = run.ledger()
    assert [step.kind for step in ledger.steps] == ["retrieval", "model"]
    assert sum(s.kind == "evidence" for s in ledger.segments) == 2
    assert ledger.budget.window == 2000
    assert ledger.model == "m"


def test_evidence_is_dropped_by_rank_not_by_place() -> None:
    guarded = Guard(Policy(tokenizer=WordTokenizer(), budget=Budget(window=130, reserve_output=0)))
    texts = [" ".join(f"{name}{index}" for index in range(30)) for name in ("best", "mid", "worst")]
    with activate(Run()) as run:
        prepared = guarded.prepare("q", texts)
        fitted = guarded.fit(
            [
                Message(role="system", text=" ".join(f"rule{index}" for index in range(30))),
                Message(role="user", text=prepared.text),
            ]
        )
    assert run is not None
    assert [d.subject for d in fitted.decisions] == ["chunk-3"]


def test_a_budget_that_is_exceeded_is_raised_whatever_on_error_says() -> None:
    guarded = Guard(Policy(tokenizer=WordTokenizer(), budget=Budget(window=10, reserve_output=2)))
    with pytest.raises(BudgetExceededError):
        guarded.fit([Message(role="user", text="word " * 50)])


def test_the_same_chunk_in_two_retrievals_keeps_its_id_another_text_does_not() -> None:
    guarded = Guard(POLICY)
    with activate(Run()):
        first = guarded.prepare("q", [Chunk(id="0", text="the first text")])
        again = guarded.prepare("q", [Chunk(id="0", text="the first text")])
        other = guarded.prepare("q", [Chunk(id="0", text="another text")])
    assert first.chunks[0].id == again.chunks[0].id == "0"
    assert other.chunks[0].id == "0#2"


def test_guards_pickle_and_copy() -> None:
    original = Guard(Policy.lean(), card=ModelCard(name="m", window=9))
    loaded: Guard = pickle.loads(pickle.dumps(original))  # noqa: S301 -- our own bytes
    assert loaded.policy == original.policy
    assert loaded.card == original.card
    assert copy.deepcopy(original) is original


def test_guard_names_what_it_does_not_know() -> None:
    with pytest.raises(
        UnsupportedObjectError, match=r"builtins\.int.*pip install ctxguard-langchain"
    ):
        guard(7)
    with pytest.raises(PolicyError, match="colour"):
        guard(7, colour="red")


T = TypeVar("T")
taken: list[tuple[object, Policy]] = []
"""What the adapter below was asked to guard in place."""


class CopyAdapter:
    """An integration that only makes copies."""

    name = "copies"

    def supports(self, obj: object, /) -> bool:
        return isinstance(obj, int)

    def guard(self, obj: T, guard: Guard, /) -> T:
        return obj


class InPlaceAdapter(CopyAdapter):
    """An integration that guards in place, too."""

    def guard_in_place(self, obj: T, guard: Guard, /) -> T:
        taken.append((obj, guard.policy))
        return obj


def test_a_scope_is_copy_or_process(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("ctxguard.guard")
    for adapter in (CopyAdapter(), InPlaceAdapter()):
        monkeypatch.setattr(module, "find_adapter", lambda _, found=adapter: found)
        assert guard(7) == guard(7, scope="copy") == 7
        with pytest.raises(PolicyError, match=r"scope='global'.*'copy', 'process'"):
            guard(7, scope="global")  # pyright: ignore[reportArgumentType] -- what is tested
    assert guard(8, budget=10, scope="process") == 8
    assert taken == [(8, Policy(budget=10))]
    monkeypatch.setattr(module, "find_adapter", lambda _: CopyAdapter())
    with pytest.raises(UnsupportedObjectError, match="copies only makes guarded copies"):
        guard(7, scope="process")


def test_overrides_replace_fields_of_the_policy() -> None:
    with pytest.raises(PolicyError, match=r"Policy\.dedupe"):
        guard(7, dedupe="yes")
    with pytest.raises(UnsupportedObjectError):
        guard(7, dedupe=Deduplicate(), budget=10)


def test_a_template_writes_the_text_and_numbers_resolve() -> None:
    template = Template(chunk="[{number}] {source}: {text}", separator="\n")
    chunks = [Chunk(id=name, text=f"Fact {name}.", source=f"{name}.pdf") for name in "abc"]
    guard = Guard(Policy(template=template, layout=Layout(order="cache-stable")))
    prepared = guard.prepare("Which fact?", chunks, previous=["c", "a"])
    assert prepared.text == "[1] c.pdf: Fact c.\n[2] a.pdf: Fact a.\n[3] b.pdf: Fact b."
    assert prepared.citations == {1: "c", 2: "a", 3: "b"}
    count = guard._analyzer(guard.card).count
    tokens = sum(count(line) for line in prepared.text.split("\n"))
    assert sum(s.tokens for s in prepared.ledger.segments if s.kind == "evidence") == tokens


def test_pieces_of_chunks_are_kept_within_the_budget() -> None:
    rain = " ".join(f"It rained on day {n} of the month." for n in range(30))
    chunks = [f"{rain} The notice period is 30 days. {rain}", rain.replace("rained", "snowed")]
    prepared = Guard(Policy()).prepare("How long is the notice period?", chunks, budget=40)
    assert "The notice period is 30 days." in prepared.text
    assert Guard()._analyzer(Guard().card).count(prepared.text) <= 40
    assert prepared.ledger.of("trim")


# -- verify ---------------------------------------------------------------------------------------


def test_an_answer_is_held_against_what_the_run_handed_on() -> None:
    guard_ = Guard(Policy())
    with guard_.run("What is the notice period?"):
        guard_.prepare("What is the notice period?", ["The notice period is thirty days."])
        checked = guard_.verify("The notice period is sixty days.")
    assert checked.grounded is False
    assert checked.question == "What is the notice period?"
    assert [finding.code for finding in checked.findings] == ["duration-differs"]
    assert checked.findings[0].evidence[0].text == "thirty days"


def test_evidence_that_is_handed_in_is_what_counts() -> None:
    guard_ = Guard(Policy())
    with guard_.run("q"):
        guard_.prepare("q", ["The notice period is thirty days."])
        inside = guard_.verify("The fee is $5.", [{"id": "a", "text": "The fee is $5."}])
    outside = guard_.verify("The fee is $5.", ["The fee is $5."], question="What is the fee?")
    assert inside.grounded is True
    assert inside.claims[0].evidence[0].chunk_id == "a"
    assert outside.grounded is True
    assert outside.question == "What is the fee?"


def test_without_evidence_there_is_nothing_to_hold_an_answer_against() -> None:
    with pytest.raises(InputError, match=r"evidence: hand it in, or call verify inside"):
        Guard(Policy()).verify("The fee is $5.")
