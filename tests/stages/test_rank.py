"""Rank: the order, the reasons, and weights of one's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from pydantic import TypeAdapter

from ctxguard.errors import InputError, MissingDependencyError, PolicyError
from ctxguard.reliability import reliability_of
from ctxguard.stages import Rank
from ctxguard.stages._cross_encoder import cross_encode
from ctxguard.stages._rank_fit import refitted
from ctxguard.stages._rank_model import shipped_model
from ctxguard.types import Budget, Chunk, Context
from tests.stages.helpers import check_laws, chunks_of, ids

TEXTS = (
    "The weather in Rome is mild. Rain is rare.",
    "Invoices are paid within 14 days.",
    "Either party may terminate this agreement. The notice period is 60 days.",
    "Deliveries are made on Mondays.",
)
QUESTION = "What is the notice period for termination?"


def context_with(question: str = QUESTION, texts: Sequence[str] = TEXTS) -> Context:
    return Context(question=question, chunks=chunks_of(texts))


class Judge:
    """A cross-encoder that gives what it was told to, and remembers what it was asked."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores
        self.pairs: list[tuple[str, str]] = []

    def predict(self, pairs: list[tuple[str, str]]) -> list[float]:
        self.pairs = pairs
        return list(self.scores[: len(pairs)])


# -- order ----------------------------------------------------------------------------------------


def test_the_best_comes_first_and_says_why() -> None:
    result = check_laws(Rank(), context_with())
    assert ids(result)[0] == "2"
    first = next(decision for decision in result.decisions if decision.subject == "2")
    assert (first.action, first.code) == ("move", "reranked")
    assert first.reason.startswith("rank 3 → 1: 0.")
    assert "'notice'" in first.reason
    assert first.details["from"] == 2
    assert first.details["to"] == 0
    relevance = [chunk.relevance for chunk in result.context.chunks]
    assert relevance == sorted(relevance, key=lambda p: -(p or 0))
    assert first.score == relevance[0]


def test_what_was_only_led_to_says_by_what() -> None:
    texts = (
        "Bread is made of flour.",
        "Voss was born in Tromvik.",
        "Skerry Light was built by Voss in a year.",
        "Tides come twice.",
    )
    result = Rank()(context_with("Who made Skerry Light?", texts))
    reasons = {decision.subject: decision.reason for decision in result.decisions}
    assert "of the question" in reasons["2"]
    led = Rank()(context_with("Skerry Light?", texts[::-1]))
    (shared,) = [d.reason for d in led.decisions if d.subject == "2"]
    assert shared.endswith("it shares 'voss' with a chunk that is like the question")


def test_without_reorder_chunks_are_only_judged() -> None:
    result = check_laws(Rank(reorder=False), context_with())
    assert ids(result) == ["0", "1", "2", "3"]
    assert not result.decisions
    assert max(result.context.chunks, key=lambda chunk: chunk.relevance or 0).id == "2"


def test_equal_chunks_keep_their_order() -> None:
    result = Rank()(context_with(texts=["the same"] * 5))
    assert ids(result) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("question", ["", " \n", "What is it?", "\ud800"])
def test_without_a_question_nothing_moves(question: str) -> None:
    result = check_laws(Rank(), context_with(question))
    assert [(d.action, d.code, d.subject) for d in result.decisions] == [
        ("flag", "no-question", "0")
    ]
    assert all(chunk.relevance is None for chunk in result.context.chunks)


def test_no_chunks_no_decisions() -> None:
    assert Rank()(Context(question=QUESTION)).decisions == ()


def test_nothing_relevant_is_an_outcome() -> None:
    result = check_laws(Rank(), context_with("How many moons does Saturn have?"))
    flag = result.decisions[-1]
    assert (flag.action, flag.code, flag.subject) == ("flag", "nothing-relevant", ids(result)[0])
    assert flag.score is not None
    assert flag.score < (flag.threshold or 0)
    assert not any(d.code == "nothing-relevant" for d in Rank()(context_with()).decisions)
    silent = Rank(nothing_below=0)(context_with("How many moons does Saturn have?"))
    assert not any(d.code == "nothing-relevant" for d in silent.decisions)


def test_the_retrievers_score_counts_where_it_is_known() -> None:
    def best(*scores: float | None) -> list[float]:
        texts = ["The notice period is long.", "The notice period is short."]
        chunks = [
            Chunk(id=str(n), text=text, score=score)
            for n, (text, score) in enumerate(zip(texts, scores, strict=True))
        ]
        result = check_laws(Rank(), Context(question=QUESTION, chunks=tuple(chunks)))
        return [chunk.relevance or 0 for chunk in sorted(result.context.chunks, key=lambda c: c.id)]

    unknown = best(None, None)
    assert best(0.7, 0.7) == best(float("nan"), float("inf")) == best(3.0, None) == unknown
    with_score = best(0.1, 0.9)
    assert with_score[1] > unknown[1]
    assert with_score[0] < unknown[0]


pool = st.lists(
    st.lists(
        st.sampled_from(["notice", "period", "Rome", "60", "days", "is", "terminate.", "灯", "\0"]),
        max_size=8,
    ).map(" ".join),
    max_size=20,
)


@given(texts=pool, question=st.sampled_from([QUESTION, "Rome?", "", "灯"]), vectors=st.booleans())
def test_laws(texts: list[str], question: str, vectors: bool) -> None:
    rank = Rank(encoder="static" if vectors else None)
    check_laws(rank, context_with(question, texts))


@pytest.mark.parametrize("text", ["x" * 1_000_000, "notice " * 150_000, "\ud800\0", ""])
def test_odd_texts(text: str) -> None:
    check_laws(Rank(), context_with(texts=[text, *TEXTS]))


# -- cross-encoder --------------------------------------------------------------------------------


def test_the_cross_encoder_judges_the_first_and_the_rest_stays_behind() -> None:
    judge = Judge(0.1, 0.9)
    result = check_laws(Rank(cross_encoder=judge, depth=2), context_with())
    assert len(judge.pairs) == 2
    assert result.context.chunks[0].relevance == 0.9
    assert result.context.chunks[1].relevance == 0.1
    assert all((chunk.relevance or 0) <= 0.1 for chunk in result.context.chunks[2:])


def test_log_odds_become_probabilities_and_nan_is_left_out() -> None:
    found = cross_encode(Judge(0.0, 4.0, float("nan")), "q\ud800", ["a", "b", "\ud800"])
    assert found[:2].tolist() == pytest.approx([0.5, 0.982], abs=0.001)
    assert np.isnan(found[2])
    lost = Rank(cross_encoder=Judge(*[float("nan")] * 4))(context_with())
    assert ids(lost) == ids(Rank()(context_with()))


def test_a_name_loads_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if name == "missing":
            raise OSError("no such model")
        return Judge(0.25)

    package = ModuleType("sentence_transformers")
    package.CrossEncoder = load  # type: ignore[attr-defined] -- a module is a namespace here
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    assert cross_encode("some/model", "q", ["a"]).tolist() == [0.25]
    with pytest.raises(InputError, match="'missing'"):
        cross_encode("missing", "q", ["a"])


def test_without_the_package_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingDependencyError, match="pip install sentence-transformers"):
        Rank(cross_encoder="other/model")(context_with())


# -- fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"reorder": 1}, "reorder"),
        ({"encoder": "minilm"}, "encoder"),
        ({"cross_encoder": 3}, "cross_encoder"),
        ({"depth": 0}, "depth"),
        ({"depth": True}, "depth"),
        ({"nothing_below": 1.5}, "nothing_below"),
        ({"nothing_below": float("nan")}, "nothing_below"),
        ({"nothing_below": True}, "nothing_below"),
        ({"model": {}}, "model"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(PolicyError, match=rf"Rank\.{name}:"):
        Rank(**fields)


def test_a_table_of_toml_makes_one() -> None:
    rank = TypeAdapter(Rank).validate_json('{"depth": 5, "cross_encoder": "a/b"}', strict=True)
    assert rank == Rank(depth=5, cross_encoder="a/b")


# -- fitting --------------------------------------------------------------------------------------


def judged(count: int) -> tuple[list[str], list[list[Chunk | str]], list[list[str]]]:
    """Questions whose answers stand in chunks that mention a ledger, wherever the words match."""
    questions = [f"What is the rate of plan{n}?" for n in range(count)]
    chunks: list[list[Chunk | str]] = [
        [
            f"The rate of plan{n} is discussed in many places.",
            f"By the ledger it is {n} percent. Ada, Bo and Cy signed for plan{n}.",
            "Nothing else.",
        ]
        for n in range(count)
    ]
    return questions, chunks, [["1"]] * count


@pytest.mark.parametrize("encoder", ["static", None])
def test_fitting_makes_probabilities_truer(encoder: Any) -> None:
    questions, chunks, relevant = judged(40)
    before = Rank(encoder=encoder).evaluate(questions[30:], chunks[30:], relevant[30:])
    fitted = Rank.fit(questions[:30], chunks[:30], relevant[:30], encoder=encoder)
    after = fitted.evaluate(questions[30:], chunks[30:], relevant[30:])
    assert after.brier < before.brier
    assert after.count == 30
    kept = shipped_model().words if encoder else shipped_model().vectors
    assert fitted.model is not None
    assert (fitted.model.words if encoder else fitted.model.vectors) == kept


def test_nothing_to_learn_from_leaves_the_weights() -> None:
    assert refitted(shipped_model(), []) is shipped_model()
    assert Rank.fit([""], [["a"]], [["0"]]).model is shipped_model()
    assert Rank.fit(["a question"], [[]], [[]]).model is shipped_model()


def test_one_of_each_per_question() -> None:
    with pytest.raises(PolicyError, match="1 questions, 2 lists of chunks and 0 of relevant ids"):
        Rank.fit(["q"], [["a"], ["b"]], [])


def test_reliability_counts_what_was_true() -> None:
    found = reliability_of([0.1, 0.1, 0.95, 1.0], [False, True, True, True])
    assert found.count == 4
    assert [one.count for one in found.bins] == [2, 2]
    assert found.bins[0].observed == 0.5
    assert found.ece == pytest.approx(0.5 * 0.4 + 0.5 * 0.025)
    assert found.brier == pytest.approx((0.01 + 0.81 + 0.0025) / 4)
    assert "4 judged: ECE 0.21" in str(found)
    assert reliability_of([], []).bins == ()


def test_versions_of_one_text_are_as_likely_and_keep_their_order() -> None:
    said = "The notice period for ending the supply agreement is {} days, in writing, by post."
    chunks = (
        Chunk(id="a", text=said.format("thirty"), conflicts=("b",)),
        Chunk(id="b", text=said.format("sixty"), conflicts=("a",)),
        Chunk(id="c", text="Payment is due within fourteen days after the buyer has the invoice."),
    )
    found = Rank()(Context(question="What is the notice period?", chunks=chunks)).context.chunks
    assert [chunk.id for chunk in found] == ["a", "b", "c"]
    assert found[0].relevance == found[1].relevance
    asked = "Where is the notice period sixty days?"
    found = Rank()(Context(question=asked, chunks=chunks)).context.chunks
    assert [chunk.id for chunk in found] == ["b", "a", "c"]


@pytest.mark.parametrize("limit", [None, 10_000, 20])
def test_where_everything_fits_a_policy_leaves_the_order_alone(limit: int | None) -> None:
    chunks = (
        Chunk(id="pay", text="Payment is due within fourteen days after the invoice."),
        Chunk(id="end", text="The notice period for ending the agreement is thirty days."),
    )
    asked = Context(
        question="What is the notice period?", chunks=chunks, budget=Budget(context_tokens=limit)
    )
    lazy, eager = Rank(always=False)(asked), Rank()(asked)
    assert [chunk.id for chunk in eager.context.chunks] == ["end", "pay"]
    if limit == 20:
        assert lazy == eager
    else:
        assert lazy.context == asked
        assert lazy.decisions == ()
