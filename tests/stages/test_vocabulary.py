"""Vocabulary: words are found again by their hash, whatever was met before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from ctxguard.stages import _vocabulary
from ctxguard.stages._vocabulary import Vocabulary, current_vocabulary
from ctxguard.text.lexicon import word_hash


def hashes_of(words: list[str]) -> NDArray[np.uint64]:
    return np.array([word_hash(word) for word in words], dtype=np.uint64)


def numbers_of(vocabulary: Vocabulary, words: list[str]) -> list[int]:
    return vocabulary.numbers_of(hashes_of(words), lambda place: words[place]).tolist()


def test_spellings_and_forms_of_a_word() -> None:
    vocabulary = Vocabulary()
    words = ["Termination", "terminate", "TERMINATION", "the", "fee"]
    numbers = numbers_of(vocabulary, words)
    assert numbers[0] == numbers[2] != numbers[1]
    terms = vocabulary.terms[numbers].tolist()
    assert terms[0] == terms[1] == terms[2] > 0
    assert terms[3] == 0
    assert [vocabulary.forms[n] for n in numbers][::3] == ["termination", "the"]
    assert vocabulary.hashes[numbers].tolist() == hashes_of(words).tolist()


@given(st.lists(st.text(alphabet="abcdefg", min_size=1, max_size=4), max_size=40))
def test_known_words_keep_their_numbers(words: list[str]) -> None:
    vocabulary = Vocabulary()
    first = numbers_of(vocabulary, words)
    assert [vocabulary.forms[n] for n in first] == words

    def spell(place: int) -> str:
        raise AssertionError(place)

    assert vocabulary.numbers_of(hashes_of(words), spell).tolist() == first
    assert len(vocabulary) == 1 + len(set(words))


def test_it_grows_and_finds_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_vocabulary, "_BITS", 3)
    vocabulary = Vocabulary()
    words = [f"w{n}" for n in range(300)]
    # Hashes that all want one place, so that every one is looked for behind the others.
    hashes = np.arange(1, 301, dtype=np.uint64) << np.uint64(32)
    first = vocabulary.numbers_of(hashes, words.__getitem__).tolist()
    assert first == list(range(1, 301))
    assert vocabulary.numbers_of(hashes[::-1], words.__getitem__).tolist() == first[::-1]
    assert vocabulary.forms[1:] == words


def test_a_vocabulary_that_is_too_large_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = current_vocabulary()
    assert current_vocabulary() is known
    monkeypatch.setattr(_vocabulary, "_MAX_WORDS", 0)
    assert current_vocabulary() is not known


def test_threads_agree_about_new_words() -> None:
    vocabulary = Vocabulary()
    words = [f"word{n}" for n in range(200)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: numbers_of(vocabulary, words), range(16)))
    assert all(numbers == found[0] for numbers in found)
    assert sorted(vocabulary.forms[1:]) == sorted(words)


def test_a_word_that_another_thread_learned_first_is_kept_once() -> None:
    vocabulary = Vocabulary()

    def spell(place: int) -> str:
        # Between the look-up and the learning, somebody else learns the same word.
        if len(vocabulary) == 1:
            vocabulary.numbers_of(hashes_of(["fee"]), lambda _: "fee")
        return "fee"

    assert vocabulary.numbers_of(hashes_of(["fee"]), spell).tolist() == [1]
    assert vocabulary.forms == ["", "fee"]
