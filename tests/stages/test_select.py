"""Select: what fits the budget, counted on the joined text."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from ctxguard.errors import PolicyError
from ctxguard.stages import Select
from ctxguard.text.analysis import Analyzer
from ctxguard.text.tokens import EstimateTokenizer
from ctxguard.types import Budget, Chunk, Context, Message, StageResult
from tests.stages.helpers import by_action, chunks_of, context_of, ids

SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank."


def tokens(context: Context, *texts: str) -> int:
    return context.analyzer.count("\n\n".join(texts))


def codes(result: StageResult) -> list[tuple[str, str, str]]:
    return [(d.subject, d.action, d.code) for d in result.decisions]


def test_a_separator_has_to_be_text() -> None:
    with pytest.raises(PolicyError, match=r"^Select\.separator: expected a str"):
        Select(separator=None)  # type: ignore[arg-type] -- what an untyped caller writes


def test_without_a_limit_everything_stays() -> None:
    context = context_of("one", "two", "")
    result = Select()(context)
    assert result.context.chunks == context.chunks
    assert codes(result) == [(n, "keep", "no-limit") for n in "012"]
    assert result.decisions[1].details == {"rank": 2, "total": 2}


def test_no_chunks_no_decisions() -> None:
    assert Select()(context_of(budget=Budget(context_tokens=5))).decisions == ()


def test_what_just_fits_stays_and_one_token_less_does_not() -> None:
    texts = [f"Sentence number {n} ends here." for n in range(8)]
    exact = tokens(context_of(), *texts)
    kept = Select()(context_of(*texts, budget=Budget(context_tokens=exact)))
    assert ids(kept) == list("01234567")
    assert kept.decisions[-1].details == {"rank": 8, "total": exact, "limit": exact}
    cut = Select()(context_of(*texts, budget=Budget(context_tokens=exact - 1)))
    assert ids(cut) == list("0123456")
    assert codes(cut)[-1] == ("7", "drop", "over-budget")


def test_a_smaller_chunk_after_one_that_does_not_fit_is_still_tried() -> None:
    texts = [SENTENCE, SENTENCE * 9, "Short one."]
    limit = tokens(context_of(), texts[0], texts[2])
    result = Select()(context_of(*texts, budget=Budget(context_tokens=limit)))
    assert ids(result) == ["0", "2"]
    [drop] = by_action(result, "drop")
    assert drop.subject == "1"
    assert drop.tokens_after == 0
    assert drop.reason.startswith("rank 2 needs ")


def test_any_order_of_what_is_kept_fits() -> None:
    texts = ["Ends with a word", "Ends with a stop.", "(in brackets)", "a number 7", "Done!\n"]
    for limit in range(1, 40):
        budget = Budget(context_tokens=limit)
        result = Select()(context_of(*texts, budget=budget))
        shown = [chunk.text for chunk in result.context.chunks]
        for order in itertools.permutations(shown):
            assert tokens(result.context, *order) <= limit


def test_the_best_chunk_is_cut_to_whole_sentences_when_it_alone_is_too_large() -> None:
    text = " ".join(f"This is the sentence with number {n}." for n in range(50))
    result = Select()(context_of(text, SENTENCE, budget=Budget(context_tokens=40)))
    [kept] = result.context.chunks
    assert text.startswith(kept.text)
    assert kept.text.endswith("number 3.")
    trim, keep, drop = result.decisions
    assert (trim.action, trim.code, trim.details) == (
        "trim", "over-budget", {"removed": [[len(kept.text), len(text)]]}
    )  # fmt: skip
    assert (keep.action, drop.action) == ("keep", "drop")
    assert trim.tokens_after == keep.tokens_after == tokens(result.context, kept.text) <= 40


def test_when_not_one_sentence_fits_the_next_chunk_is_tried() -> None:
    result = Select()(context_of(SENTENCE, "Yes.", budget=Budget(context_tokens=5)))
    assert ids(result) == ["1"]
    assert "not even its first sentence fits" in result.decisions[0].reason


def test_a_budget_of_one_token() -> None:
    result = Select()(context_of(SENTENCE, "one", "two", budget=Budget(context_tokens=1)))
    assert ids(result) == ["1"]


def test_what_the_framework_renders_is_counted_and_cut() -> None:
    text = " ".join(f"This is the sentence with number {n}." for n in range(50))
    chunk = Chunk(id="1", text=text, rendered=f"title: fox\n\n{text}")
    context = Context(chunks=(chunk,), budget=Budget(context_tokens=40))
    [kept] = Select()(context).context.chunks
    assert kept.rendered == f"title: fox\n\n{kept.text}"
    assert context.analyzer.count(kept.rendered) <= 40


@pytest.mark.parametrize("text", ["", SENTENCE])
def test_a_rendered_form_that_does_not_hold_the_text_is_not_cut(text: str) -> None:
    chunk = Chunk(id="1", text=text, rendered="summary " * 50)
    result = Select()(Context(chunks=(chunk,), budget=Budget(context_tokens=10)))
    assert codes(result) == [("1", "drop", "over-budget")]


# -- the limit -----------------------------------------------------------------------------------

TEN = "one two three four five six seven eight nine ten"


def limit_of(budget: Budget, **fields: Any) -> object:
    context = Context(chunks=chunks_of(["x"]), budget=budget, **fields)
    return Select()(context).decisions[0].details.get("limit")


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        (Budget(), None),
        (Budget(context_tokens=50), 50),
        (Budget(context_tokens=50, ceilings={"evidence": 20}), 20),
        (Budget(context_tokens=20, ceilings={"evidence": 50}), 20),
        (Budget(ceilings={"evidence": 30}), 30),
        (Budget(window=100, reserve_output=20), 80 - 30),
        (Budget(window=100, reserve_output=20, ceilings={"evidence": 10}), 10),
        (Budget(window=100, reserve_output=20, floors={"evidence": 55}), 55),
        (Budget(window=100, reserve_output=20, floors={"evidence": 99}), 80 - 20),
        (Budget(window=100, reserve_output=20, context_tokens=70), 80 - 20),
        (Budget(window=100, reserve_output=20, context_tokens=40), 40),
    ],
)
def test_the_limit_is_the_smallest_that_holds(budget: Budget, limit: int | None) -> None:
    history = (Message(role="user", text=TEN),)
    assert limit_of(budget, instructions=TEN, question=TEN, history=history) == limit


def test_without_room_nothing_stays() -> None:
    budget = Budget(window=20, reserve_output=5)
    context = Context(chunks=chunks_of(["x"]), question=TEN * 3, budget=budget)
    assert codes(Select()(context)) == [("0", "drop", "over-budget")]


def test_tokens_that_are_no_text_of_a_message_count() -> None:
    budget = Budget(window=100, reserve_output=20)
    history = (Message(role="assistant", text="", extra_tokens=33),)
    assert limit_of(budget, history=history) == 47


# -- other tokenizers ----------------------------------------------------------------------------


class Greedy:
    """Counts more tokens for a text than for its parts, as no sane tokenizer does."""

    name = "greedy"
    exact = True

    def encode(self, text: str) -> list[int]:
        return [0] * (len(text.split()) ** 2)


@pytest.mark.parametrize("tokenizer", [EstimateTokenizer(), Greedy()])
def test_no_tokenizer_brings_it_over_the_limit(tokenizer: EstimateTokenizer | Greedy) -> None:
    analyzer = Analyzer(tokenizer)
    for limit in (1, 5, 30, 200):
        context = Context(
            chunks=chunks_of([SENTENCE, "b c", "d", "e f g"] * 2),
            budget=Budget(context_tokens=limit),
            analyzer=analyzer,
        )
        result = Select()(context)
        joined = "\n\n".join(chunk.text for chunk in result.context.chunks)
        assert not joined or len(tokenizer.encode(joined)) <= limit
        decided = [d.subject for d in by_action(result, "keep", "drop")]
        assert decided == list("01234567")
