"""Learned groundedness: edits lower a claim's probability, and the edited word is named."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.text.encoders import static_encoder
from ctxguard.text.thesaurus import default_thesaurus
from ctxguard.types import Chunk, Claim
from ctxguard.verification import Evidence, Verifier, groundedness_scorer
from ctxguard.verification._align import case_of
from ctxguard.verification._network import load_weights
from ctxguard.verification._reading import Reading, read_term
from ctxguard.verification._relations import KINDS
from ctxguard.verification._wordsigns import SIGNS, read_signs

STORY = (
    "The harbour company opened a new ferry line to the northern islands on Monday.",
    "Residents welcomed the service because the old bridge has been closed for repairs.",
    "The mayor said the ferry would reduce traffic in the city centre.",
    "Critics fear that rising fuel prices could make tickets expensive.",
    "Sales of day tickets increased strongly during the first week.",
)
EDITS = (
    ("The ferry would reduce traffic in the city.", "reduce", "increase"),
    ("Ticket sales increased strongly.", "increased", "decreased"),
    ("The old bridge has been closed.", "bridge", "airport"),
    ("Critics fear expensive tickets.", "expensive", "cheap"),
    ("The company opened a ferry line.", "a ferry line", "a ferry line, but refused to hire"),
)
"""Claims that the story supports, and what an editor makes of them."""


def reading_of(*texts: str) -> Reading:
    """Texts as evidence that is read for claims."""
    return Reading(Evidence([Chunk(id=str(n), text=text) for n, text in enumerate(texts)]))


def p_of(claim: str, *passages: str) -> float:
    """P(supported) of one claim."""
    (found,) = groundedness_scorer().score([claim], passages or STORY)
    return found.probability


@pytest.mark.parametrize(("claim", "said", "instead"), EDITS)
def test_an_edit_lowers_the_probability(claim: str, said: str, instead: str) -> None:
    assert p_of(claim.replace(said, instead)) < p_of(claim) - 0.05


def doubt_of(claim: str, part: str) -> float:
    """How far the most doubted word of a part of a claim is doubted."""
    start = claim.index(part)
    return max(
        doubt.probability
        for doubt in groundedness_scorer().doubts(claim, STORY)
        if start <= doubt.span[0] < start + len(part)
    )


@pytest.mark.parametrize(("claim", "said", "instead"), EDITS)
def test_an_edited_word_is_doubted_more_than_what_stood_there(
    claim: str, said: str, instead: str
) -> None:
    assert doubt_of(claim.replace(said, instead), instead) > doubt_of(claim, said) + 0.2


def kinds_of(one: str, other: str) -> dict[str, float]:
    """What the relations say of two words."""
    encode, relations = static_encoder().encode_words, load_weights()[1]
    shares = relations.between(encode([one]), encode([other]))[0, 0]
    return dict(zip(KINDS, shares.tolist(), strict=True))


@pytest.mark.parametrize(
    ("one", "other"), [("lowered", "raised"), ("begin", "end"), ("cheap", "expensive")]
)
def test_opposites_are_no_synonyms(one: str, other: str) -> None:
    kinds = kinds_of(one, other)
    assert kinds["opposite"] > kinds["synonym"]


@pytest.mark.parametrize(
    ("one", "other"), [("begin", "start"), ("cheap", "inexpensive"), ("buy", "purchase")]
)
def test_synonyms_are_no_opposites(one: str, other: str) -> None:
    kinds = kinds_of(one, other)
    assert kinds["synonym"] > kinds["opposite"]


def test_the_best_passage_is_named() -> None:
    (found,) = groundedness_scorer().score(["Fuel prices could rise."], STORY)
    assert found.passage == 3
    assert found.span == (0, len(STORY[3]))


def test_shares_of_relations_add_up_and_are_symmetric_in_shape() -> None:
    vectors = static_encoder().encode_words(["rise", "fall", "harbour"])
    shares = load_weights()[1].between(vectors, vectors[:2])
    assert shares.shape == (3, 2, len(KINDS))
    assert np.allclose(shares.sum(axis=2), 1, atol=1e-5)


def test_many_claims_score_as_each_alone() -> None:
    claims = [claim for claim, _, _ in EDITS]
    together = groundedness_scorer().score(claims, STORY)
    assert [one.probability for one in together] == [p_of(claim) for claim in claims]


@pytest.mark.parametrize("passages", [(), ("",), ("...",), ("\U0001f600",)])
def test_without_evidence_there_is_no_best_passage(passages: tuple[str, ...]) -> None:
    (found,) = groundedness_scorer().score(["The ferry sank."], passages)
    assert (found.passage, found.span) == (-1, (0, 0))
    assert found.probability < p_of("The ferry line opened on Monday.")


def test_nothing_speaks_against_what_says_nothing() -> None:
    assert p_of("It is.") > 0.5
    assert groundedness_scorer().doubts("", STORY) == []
    assert groundedness_scorer().score([], STORY) == []


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.lists(st.text(max_size=80), max_size=4))
def test_any_text_gets_a_probability(claim: str, passages: list[str]) -> None:
    (found,) = groundedness_scorer().score([claim], passages)
    assert 0 <= found.probability <= 1
    assert -1 <= found.passage < len(passages)
    for doubt in groundedness_scorer().doubts(claim, passages):
        start, end = doubt.span
        assert 0 <= start < end <= len(claim)
        assert 0 <= doubt.probability <= 1


def test_signs_are_numbers_for_every_word() -> None:
    signs = read_signs("Q3 sales rose 4.5%, not 5%.", reading_of(*STORY), load_weights()[1])
    assert signs.rows.shape == (len(signs.words), len(SIGNS))
    assert np.isfinite(signs.rows).all()


def test_figures_and_quarters_are_met_in_other_forms() -> None:
    reading = reading_of("Revenue of the third quarter was 29.9 million from two regions.")
    found = [reading.has_term(read_term(key)) for key in ("q3", "29.9m", "2", "two", "3")]
    assert found == [True, True, True, True, False]


def test_a_word_is_met_in_its_form_by_its_parts() -> None:
    reading = reading_of("It wasn't 1.5 tons.")
    assert [reading.has_form(key) for key in ("wasn't", "1.5", "were", "tons", "%")] == [
        True, True, False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("kept", [1, 3])
def test_passages_may_be_texts_of_several_sentences(kept: int) -> None:
    texts = [" ".join(STORY[:kept]), " ".join(STORY[kept:])]
    (found,) = groundedness_scorer().score(["Fuel prices could rise."], texts)
    assert found.passage == 1
    assert found.span == (0, len(texts[1]))


def test_cases_score_as_their_texts() -> None:
    claims = [claim for claim, _, _ in EDITS]
    evidence = Evidence([Chunk(id=str(n), text=text) for n, text in enumerate(STORY)])
    cases = [case_of(Claim(text=claim, span=(0, len(claim))), evidence) for claim in claims]
    found = groundedness_scorer().score_cases(cases)
    assert [one.probability for one in found] == [p_of(claim) for claim in claims]
    assert groundedness_scorer().score_cases([]) == []


GERMAN = "Die Miete ist 500 Euro und der Vertrag wird von den Parteien nicht mit dem Jahr beendet."


@pytest.mark.parametrize(
    "claim",
    ["Die Miete ist 500 Euro.", "Die Miete ist 600 Euro.", "Die Miete wird von ihm bezahlt."],
)
def test_other_languages_are_judged_as_without_a_scorer(claim: str) -> None:
    with_scorer, without = (
        Verifier(scorer=scorer)(claim, [GERMAN]) for scorer in (groundedness_scorer(), None)
    )
    assert with_scorer.grounded == without.grounded
    assert [one.label for one in with_scorer.claims] == [one.label for one in without.claims]


def test_a_verifier_takes_it_and_still_believes_copies() -> None:
    verifier = Verifier(scorer=groundedness_scorer())
    found = verifier(" ".join(STORY), [" ".join(STORY)])
    assert found.grounded
    assert found.score == 1.0
    wrong = verifier("The mayor said the ferry would not reduce traffic.", [" ".join(STORY)])
    assert wrong.grounded is False


def test_weights_are_small_arrays_without_pickle() -> None:
    stored = resources.files("ctxguard.verification") / "groundedness.npz"
    with resources.as_file(stored) as path:
        assert path.stat().st_size < 1_000_000
        with np.load(path, allow_pickle=False) as table:
            arrays = dict(table)
    with pytest.raises(KeyError, match="out"):
        load_weights({name: array for name, array in arrays.items() if name != "out"})
    with pytest.raises(ValueError, match="signs"):
        load_weights(arrays | {"mean": arrays["mean"][:-1]})


def test_meanings_say_what_relate_says() -> None:
    thesaurus = default_thesaurus()
    rise, fall, guitar = map(thesaurus.meanings, ("rise", "fall", "guitar"))
    assert rise.opposites & fall.own
    assert thesaurus.meanings("instrument").own & guitar.broader
    assert guitar.parents <= guitar.broader
    assert not thesaurus.meanings("xyzzy").own
