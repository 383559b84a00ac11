"""Words as numbers: equal for equal words, wherever they stand and however they are written."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ctxguard.text import lexicon
from ctxguard.text.lexicon import hash_words, word_hash

ASCII = st.text(st.characters(max_codepoint=127), max_size=60)
ANY = st.text(st.characters(), max_size=60) | st.text("aé\u0301ß-\n \u00ad日ไ_5.'", max_size=30)
JOINT = re.compile(r"(?<=[^\W\d_])-[ \t]*\r?\n[ \t]*(?=[^\W\d_])")


def words_in(text: str) -> list[str]:
    words = hash_words([text])[0]
    return [text[start:end] for start, end in words.spans.tolist()]


@given(st.lists(ASCII, max_size=5))
def test_words_are_runs_of_letters_and_digits(texts: list[str]) -> None:
    for text, words in zip(texts, hash_words(texts), strict=True):
        if not JOINT.search(text):
            spans = [list(match.span()) for match in re.finditer(r"[^\W_]+", text)]
            assert words.spans.tolist() == spans
            found = [word_hash(text[slice(*span)]) for span in spans]
            assert words.hashes.tolist() == found


@given(st.lists(ANY, max_size=5))
def test_a_batch_reads_each_text_as_if_alone(texts: list[str]) -> None:
    for text, words in zip(texts, hash_words(texts), strict=True):
        alone = hash_words([text])[0]
        assert words.hashes.tolist() == alone.hashes.tolist()
        assert words.spans.tolist() == alone.spans.tolist()
        assert len(words) == words.hashes.size == words.spans.shape[0]
        edges = words.spans.reshape(-1)
        assert (np.diff(edges) >= 0).all()
        assert (words.spans[:, 1] > words.spans[:, 0]).all()


@given(ANY)
def test_every_letter_and_digit_is_in_a_word(text: str) -> None:
    covered = {
        place for start, end in hash_words([text])[0].spans.tolist() for place in range(start, end)
    }
    assert {place for place, character in enumerate(text) if character.isalnum()} <= covered


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Agreement", "AGREEMENT"),
        ("Straße", "STRASSE"),
        ("é", "e\u0301"),
        ("\ufb01ne", "fine"),
        ("agree\u00adment", "agreement"),
        ("no\u200btice", "notice"),
        ("\uff15", "5"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
    ],
)
def test_one_word_written_two_ways(one: str, other: str) -> None:
    assert word_hash(one) == word_hash(other)
    assert hash_words([one])[0].hashes.tolist() == [word_hash(other)]


@pytest.mark.parametrize(
    ("one", "other"), [("ab", "ba"), ("a", "aa"), ("1", "11"), ("e", "é"), ("o", "0")]
)
def test_other_words_have_other_hashes(one: str, other: str) -> None:
    assert word_hash(one) != word_hash(other)


def test_hashes_are_the_same_in_every_process() -> None:
    assert word_hash("Agreement") == hash_words(["the agreement"])[0].hashes[1]
    assert word_hash("a") == 17189161910051005891


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("_ . \0", []),
        ("\u200b ❤\ufe0f", []),
        ("don't snake_case", ["don", "t", "snake", "case"]),
        ("agree-\nment", ["agree-\nment"]),
        ("agree-\r\n  ment, one-\ntwo", ["agree-\r\n  ment", "one-\ntwo"]),
        ("été agree\u2010\nment x", ["été", "agree\u2010\nment", "x"]),
        ("5-\n6 -\na", ["5", "6", "a"]),
        ("日本go", ["日", "本", "go"]),
        ("\ud800a", ["a"]),
    ],
)
def test_where_words_stand(text: str, words: list[str]) -> None:
    assert words_in(text) == words


def test_a_hyphen_at_the_end_of_a_text_joins_nothing() -> None:
    assert [len(words) for words in hash_words(["agree-\n", "ment"])] == [1, 1]


def test_texts_longer_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["one two " * 30_000, "three", "vier fünf " * 9_000]
    found = hash_words(texts)
    assert [len(words) for words in found] == [60_000, 1, 18_000]
    monkeypatch.setattr(lexicon, "_BLOCK", 7)
    monkeypatch.setattr(lexicon, "_POWERS", {})
    for words, small in zip(found, hash_words(texts), strict=True):
        assert np.array_equal(words.hashes, small.hashes)


def test_a_word_of_a_million_letters() -> None:
    assert len(hash_words(["a" * 1_000_000])[0]) == 1


def test_arrays_cannot_be_changed() -> None:
    words = hash_words(["some words"])[0]
    with pytest.raises(ValueError, match="read-only"):
        words.hashes[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        words.spans[0] = 1


def test_threads_that_meet_new_characters_agree() -> None:
    text = "".join(map(chr, range(0x1E00, 0x1F00)))
    results: list[list[int]] = []

    def read() -> None:
        results.append(hash_words([text])[0].hashes.tolist())

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [results[0]] * 8
