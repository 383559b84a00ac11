"""Candidates: who shares word sequences with whom; a bound that is never too low; linear."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ctxguard.stages import _shingles
from ctxguard.stages._shingles import Candidate, candidates, containment, shingles_of
from ctxguard.text.lexicon import hash_words

WORDS = st.lists(st.sampled_from("abcdefg"), max_size=60).map(" ".join)
LONG = " ".join(f"word{number}" for number in range(100))


def found(texts: Sequence[str], size: int = 5, most: int = 16) -> list[list[Candidate]]:
    return candidates([words.hashes for words in hash_words(texts)], size, most=most)


def shared(one: str, other: str, size: int = 5) -> float:
    left, right = (shingles_of(words.hashes, size) for words in hash_words([one, other]))
    assert containment(left, right) == containment(right, left)
    return containment(left, right)


@given(st.lists(WORDS, max_size=40), st.integers(1, 8))
def test_containment_is_at_most_what_a_candidate_says(texts: list[str], size: int) -> None:
    for worse, twins in enumerate(found(texts, size)):
        assert len({twin.rank for twin in twins}) == len(twins) <= 16
        for better, at_most in twins:
            assert better < worse
            assert shared(texts[worse], texts[better], size) <= at_most <= 1


@given(st.lists(WORDS.filter(bool), min_size=1, max_size=24), st.integers(1, 8))
def test_who_shares_half_is_a_candidate(texts: list[str], size: int) -> None:
    """Up to 24 texts no shingle is too common, so that the index is exact."""
    for worse, twins in enumerate(found(texts, size, most=24)):
        near = {other for other in range(worse) if shared(texts[worse], texts[other], size) >= 0.5}
        assert near <= {twin.rank for twin in twins}


@given(st.lists(WORDS, max_size=30))
def test_in_parts_as_at_once(texts: list[str]) -> None:
    whole = found(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_shingles, "_PART", 50)
        assert found(texts) == whole


def test_most_shared_first_then_best_ranked() -> None:
    half = LONG[: len(LONG) // 2]
    assert [twin.rank for twin in found([half, "other words", LONG, LONG, LONG])[4]] == [2, 3, 0]
    assert [twin.rank for twin in found([half, LONG, LONG, LONG], most=1)[3]] == [1]


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        (LONG, LONG, 1),
        (LONG, "", 0),
        ("", "", 0),
        ("one", "one", 1),
        ("the fee is due", "the fee is due now", 1),  # three pairs, all in the other
        ("a b c d", "a b x d", 1 / 3),
        (LONG, "word1 word2 word3 word4 word5", 1),
    ],
)
def test_containment(one: str, other: str, share: float) -> None:
    assert shared(one, other) == pytest.approx(share)


def test_nothing_in_common_is_no_candidate() -> None:
    assert found([]) == []
    assert found(["", "", "one"]) == [[], [], []]
    assert found(["one two three four five six", "seven eight nine ten eleven twelve"]) == [[], []]
    assert found([LONG, "word1 word2 word3 word4 word5 " + "other " * 60])[1] == []  # by chance


def test_texts_with_one_letterhead_make_few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    head = " ".join(f"head{number}" for number in range(20))
    texts = [f"{head} " + " ".join(f"w{text}x{word}" for word in range(80)) for text in range(300)]
    links: list[int] = []
    counted = _shingles._Index.links

    def count(index: _shingles._Index) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        codes = counted(index)
        links.append(codes.size)
        return codes

    monkeypatch.setattr(_shingles._Index, "links", count)
    twins = found(texts)
    assert links[0] <= 300 * 16 * 4
    assert all(twins[1:])
    assert twins[299][0].at_most < 0.5


@pytest.mark.slow
def test_cost_is_linear() -> None:
    rng = np.random.default_rng(0)
    few, many = (
        [rng.integers(0, 2**63, 165, dtype=np.uint64) for _ in range(n)] for n in (2_000, 20_000)
    )
    assert _index_seconds(many) < 25 * _index_seconds(few)


def _index_seconds(texts: Sequence[np.ndarray[tuple[int], np.dtype[np.uint64]]]) -> float:
    import time

    times: list[float] = []
    for _ in range(3):
        started = time.process_time()
        candidates(texts, 5, most=16)
        times.append(time.process_time() - started)
    return min(times)
