from __future__ import annotations

import math

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.errors import PolicyError
from ctxguard.stages import Deduplicate, _rephrased
from ctxguard.stages._paraphrase import Judgement, judge
from ctxguard.stages._rephrased import leave_out_rephrased
from ctxguard.stages._statement import Statement
from ctxguard.text.analysis import default_analyzer
from ctxguard.text.encoders import static_encoder
from ctxguard.text.thesaurus import Relatedness, default_thesaurus
from ctxguard.types import Chunk, Context, Decision, StageResult

SAID = [
    ("The kids are playing in the garden.", "The children are playing in the garden."),
    ("A boy is playing a guitar.", "A boy is playing an instrument."),
    ("A cook is slicing a large onion quickly.", "A cook is cutting an onion."),
    ("The dog is chasing the cat.", "The cat is being chased by the dog."),
    ("The cat is chased by the dog.", "The dog chases the cat."),
    ("Two women are sitting on stone steps.", "Two women are sitting on steps of stone."),
    ("The buyer may end the contract.", "The purchaser may terminate the contract."),
    ("A man is reading.", "One man is reading."),
    ("They walk around the lake.", "They walk around the lake in a hurry."),
]
"""Better-ranked first; the last pair the other way round."""
NOT_SAID = [
    ("A boy is playing an instrument.", "A boy is playing a guitar."),
    ("A man is playing a guitar.", "A woman is playing a guitar."),
    ("The dog is chasing the cat.", "The cat is chasing the dog."),
    ("The dog is chasing the cat.", "The dog is chased by the cat."),
    ("The man is not running.", "The man is running."),
    ("Nobody is running in the park.", "A man is running in the park."),
    ("There is no man in the park.", "There is a man in the park."),
    ("The door is opening.", "The door is closing."),
    ("A man is walking up the stairs.", "A man is walking down the stairs."),
    ("The tenant shall pay the rent.", "The tenant may pay the rent."),
    ("The fee is at most 5 dollars.", "The fee is at least 5 dollars."),
    ("The fee is 5 dollars.", "The fee is 6 dollars."),
    ("The fee is 5 dollars (6 euros).", "The fee is 5 dollars."),
    ("Few dogs are barking.", "Dogs are barking."),
    ("The tenant shall pay rent or leave.", "The tenant shall pay rent and leave."),
    ("Distributor shall keep records.", "Company shall keep records."),
    ("The works were seen by Ann Lee.", "The works were seen by Ann Roe."),
    ("The seller delivers the product.", "The seller delivers the products."),
    ("A woman is drawing a man.", "A man is drawing."),
    ("The rate is .5 per month.", "The rate is 5 per month."),
    ("It takes 3 \u2013 5 days.", "It takes 3 5 days."),
    ("Then a != b holds.", "Then a = b holds."),
    ("The fee for kids is due.", "The fee for children"),
    ("The red car and the blue house.", "The blue car and the red house."),
]


def judged(better: str, worse: str, *, least: float = 0.0) -> Judgement:
    thesaurus = default_thesaurus()
    return judge(
        Statement(worse, thesaurus),
        Statement(better, thesaurus),
        thesaurus=thesaurus,
        encoder=static_encoder(),
        least=least,
    )


def deduplicated(*texts: str, paraphrase: float | None = 0.7) -> StageResult:
    chunks = tuple(Chunk(id=str(place), text=text) for place, text in enumerate(texts))
    return Deduplicate(paraphrase=paraphrase)(Context(chunks=chunks))


def kept(result: StageResult) -> list[str]:
    return [chunk.id for chunk in result.context.chunks]


# -- judgement ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("better", "worse"), SAID[:-1])
def test_what_is_said_in_other_words_is_redundant(better: str, worse: str) -> None:
    assert judged(better, worse).score >= 0.7
    assert kept(deduplicated(better, worse)) == ["0"]


@pytest.mark.parametrize(("better", "worse"), [*NOT_SAID, SAID[-1]])
def test_what_is_not_said_stays(better: str, worse: str) -> None:
    assert judged(better, worse).score < 0.5
    assert kept(deduplicated(better, worse)) == ["0", "1"]


@pytest.mark.parametrize(("better", "worse"), [*SAID, *NOT_SAID])
def test_stopping_early_decides_the_same(better: str, worse: str) -> None:
    whole, early = judged(better, worse), judged(better, worse, least=0.5)
    assert (whole.score >= 0.5) == (early.score >= 0.5)
    assert early.score in (0.0, whole.score)


def test_a_long_sentence_may_add_nothing() -> None:
    long = (
        "The supplier shall deliver the goods to the warehouse of the buyer in the harbour of the "
    )
    long += "town by ship and by train and on foot"
    assert judged(f"{long} for free.", f"{long}.").score < 0.5


def test_a_lower_threshold_asks_for_most_words_only() -> None:
    better, worse = "The dog is running on the beach.", "The dog is running on the sunny beach."
    score = judged(better, worse).score
    assert 0.3 < score < 0.5
    assert kept(deduplicated(better, worse)) == ["0", "1"]
    assert kept(deduplicated(better, worse, paraphrase=0.3)) == ["0"]


@given(st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_is_judged(better: str, worse: str) -> None:
    score = judged(better, worse).score
    assert 0 <= score <= 1
    assert judged(better, worse).score == score


# -- the stage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["- The kids are playing.", "Garden\nThe kids are playing.", "The kids\tare playing."]
)
def test_what_is_laid_out_is_not_judged(text: str) -> None:
    assert kept(deduplicated(text, text.replace("kids", "children"))) == ["0", "1"]


def test_a_line_may_be_wrapped() -> None:
    text = "The kids of the village are playing football in the\ngarden."
    assert kept(deduplicated(text, text.replace("kids", "children"))) == ["0"]


def test_the_reason_names_the_words() -> None:
    result = deduplicated("The kids are playing.", "The children are playing.")
    (decision,) = result.decisions
    assert (decision.action, decision.code, decision.subject) == ("drop", "paraphrase", "1")
    assert (decision.twin, decision.threshold, decision.tokens_after) == ("0", 0.7, 0)
    assert decision.reason == "says in other words what 0 says: “children” ≈ “kids”"
    assert decision.details == {"words": [["children", "kids"]]}


def test_the_twin_remembers_where_else_it_is_said() -> None:
    chunks = (
        Chunk(id="a", text="The kids are playing.", source="a.pdf"),
        Chunk(id="b", text="The children are playing.", source="b.pdf"),
        Chunk(id="c", text="the children are playing", source="c.pdf"),
    )
    result = Deduplicate()(Context(chunks=chunks))
    assert [chunk.also_in for chunk in result.context.chunks] == [("b.pdf", "c.pdf")]
    reasons = {decision.subject: decision for decision in result.decisions}
    assert reasons["c"].twin == "a"
    assert "which says in other words what a.pdf (a) says" in reasons["c"].reason


def test_it_can_be_turned_off() -> None:
    texts = ("The kids are playing.", "The children are playing.")
    assert kept(deduplicated(*texts, paraphrase=None)) == ["0", "1"]


def test_what_conflicts_with_a_third_text_stays() -> None:
    texts = (
        "The lessee shall pay 500 dollars on the first day of each month to the owner.",
        "The lessee shall pay 600 dollars on the first day of each month to the owner.",
        "The renter shall pay 600 dollars on the first day of each month to the owner.",
    )
    assert {"0", "1"} <= set(kept(deduplicated(*texts)))


@pytest.mark.parametrize("field", ["conflicts", "leans_on"])
def test_what_is_tied_to_another_chunk_stays(field: str) -> None:
    tie = {field: ("2",)}
    chunks = (
        Chunk(id="0", text="The kids are playing."),
        Chunk(id="1", text="The children are playing.", **tie),  # type: ignore[arg-type]
        Chunk(id="2", text="The lease ends in March."),
    )
    left, decisions = leave_out_rephrased(chunks, (), default_analyzer(), 0.7)
    assert left == chunks
    assert decisions == ()


def test_what_was_trimmed_and_what_it_leans_on_stay() -> None:
    chunks = (
        Chunk(id="0", text="The kids are playing."),
        Chunk(id="1", text="The children are playing."),
    )
    trim = Decision(
        stage="dedupe", action="trim", subject="1", code="overlap", reason="cut", twin="0"
    )
    assert leave_out_rephrased(chunks, (trim,), default_analyzer(), 0.7) == (chunks, (trim,))


def test_only_the_best_ranked_of_very_many_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rephrased, "_MOST", 2)
    texts = ("The kids are playing.", "The lease ends in March.", "The children are playing.")
    assert kept(deduplicated(*texts)) == ["0", "1", "2"]


def test_each_sentence_must_be_said_in_order() -> None:
    better = "The kids are playing. The big dog is barking. The sun shines."
    assert kept(deduplicated(better, "The children are playing. A dog is barking.")) == ["0"]
    assert kept(deduplicated(better, "The dog is barking. The children are playing.")) == ["0", "1"]
    assert kept(deduplicated(better, "The children are playing. A cat is sleeping.")) == ["0", "1"]


def test_a_pronoun_does_not_point_to_what_another_text_names() -> None:
    assert kept(deduplicated("The tower was built in 1990.", "It was built in 1990.")) == ["0", "1"]


def test_many_sentences_and_long_texts_are_not_judged() -> None:
    many = "The kids play. The dog barks. The sun shines. The man sings."
    assert kept(deduplicated(many, many.replace("kids", "children"))) == ["0", "1"]
    long = " and ".join(f"the kids of house {number} play" for number in range(30))
    assert kept(deduplicated(long, long.replace("kids", "children"))) == ["0", "1"]


@pytest.mark.parametrize(
    "vectors",
    [
        [[1.0, 0.0], [1.0, 0.1]],
        [[math.nan, 0.0], [1.0, 0.1]],
        [[0.0, 0.0], [1.0]],
        [None, [1.0, 0.0]],
    ],
)
def test_the_retrievers_vectors_are_used_where_they_are_sane(
    vectors: list[list[float] | None],
) -> None:
    texts = ("The kids are playing.", "The children are playing.")
    chunks = tuple(
        Chunk(id=str(place), text=text, embedding=vector)
        for place, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    )
    assert kept(Deduplicate()(Context(chunks=chunks))) == ["0"]


def test_texts_that_the_retriever_holds_apart_are_not_judged() -> None:
    chunks = (
        Chunk(id="0", text="The kids are playing.", embedding=[1.0, 0.0]),
        Chunk(id="1", text="The children are playing.", embedding=[0.0, 1.0]),
    )
    assert kept(Deduplicate()(Context(chunks=chunks))) == ["0", "1"]


SENTENCES = [text for pair in (*SAID, *NOT_SAID) for text in pair]


@given(st.lists(st.sampled_from(SENTENCES), max_size=8))
@settings(max_examples=40, deadline=None)
def test_laws(texts: list[str]) -> None:
    result = deduplicated(*texts)
    again = Deduplicate()(result.context)
    assert again.context.chunks == result.context.chunks
    assert deduplicated(*texts) == result
    left = {chunk.id: chunk.text for chunk in result.context.chunks}
    assert all(texts[int(name)] == text for name, text in left.items())
    assert list(left) == sorted(left, key=int)
    drops = [decision.subject for decision in result.decisions if decision.action == "drop"]
    assert sorted([*drops, *left], key=int) == [str(place) for place in range(len(texts))]
    assert all(decision.twin in left for decision in result.decisions if decision.twin)


def test_a_rival_that_is_gone_is_no_rival() -> None:
    result = deduplicated("A man is reading.", "One man is reading.")
    (left,) = result.context.chunks
    assert [(one.subject, one.code) for one in result.decisions] == [("1", "paraphrase")]
    assert left.conflicts == ()
    assert left.also_in == ("1",)


@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan, True, "high"])
def test_a_threshold_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(PolicyError, match=r"Deduplicate\.paraphrase"):
        Deduplicate(paraphrase=value)  # type: ignore[arg-type]


# -- the thesaurus ------------------------------


@pytest.mark.parametrize(
    ("said", "wanted", "kind"),
    [
        ("running", "runs", "same"),
        ("kids", "children", "synonym"),
        ("guitar", "instrument", "broader"),
        ("large", "small", "opposite"),
        ("huge", "small", "opposite"),
        ("dog", "cat", "sibling"),
        ("bigger", "big", "same"),
        ("women", "woman", "same"),
    ],
)
def test_how_words_relate(said: str, wanted: str, kind: str) -> None:
    relation = default_thesaurus().relate(said, wanted)
    assert relation is not None
    assert relation.kind == kind


@pytest.mark.parametrize(("said", "wanted"), [("instrument", "guitar"), ("xyzzy", "dog"), ("", "")])
def test_what_is_not_known_has_no_relation(said: str, wanted: str) -> None:
    expected = Relatedness("same") if said == wanted else None
    assert default_thesaurus().relate(said, wanted) == expected


def test_a_word_has_the_part_of_speech_that_it_mostly_is() -> None:
    thesaurus = default_thesaurus()
    assert [thesaurus.main_part(word) for word in ("dog", "held", "quickly", "xyzzy")] == [
        "n", "v", "r", "",
    ]  # fmt: skip
    assert "dog" in thesaurus
    assert "dogs" not in thesaurus
