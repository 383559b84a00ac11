"""Analyses: computed once, shared by threads, bounded in bytes, with any tokenizer."""

from __future__ import annotations

import copy
import pickle
import threading
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from ctxguard.text.analysis import Analysis, Analyzer, default_analyzer
from ctxguard.text.facts import extract_facts
from ctxguard.text.normalise import normalise
from ctxguard.text.sentences import split_sentences
from ctxguard.text.tokens import EstimateTokenizer, tokenizer_for


@dataclass
class Counting:
    """One token per character, and a note of every text that was encoded."""

    name: str = "counting"
    exact: bool = True
    seen: list[str] = field(default_factory=list)
    seconds: float = 0

    def encode(self, text: str) -> Sequence[int]:
        self.seen.append(text)
        time.sleep(self.seconds)
        return [ord(character) for character in text]


def test_an_analysis_holds_everything_about_a_text() -> None:
    text = "The notice period is 30 days. It may not be shorter."
    analysis = Analyzer(tokenizer_for()).analyse(text)
    assert analysis.text == text
    assert analysis.ids.tolist() == list(tokenizer_for().encode(text))
    assert analysis.tokens == len(analysis.ids) == 14
    assert analysis.normalised == normalise(text)
    assert analysis.sentences == split_sentences(text)
    assert analysis.facts == extract_facts(text)
    assert repr(analysis) == f"Analysis(tokens=14, text={text[:40]!r})"


def test_parts_are_computed_once() -> None:
    analysis = Analyzer(EstimateTokenizer()).analyse("Pay $5 now. Or never.")
    assert analysis.facts is analysis.facts
    assert analysis.sentences is analysis.sentences
    assert analysis.normalised is analysis.normalised


def test_ids_cannot_be_changed() -> None:
    ids = Analyzer(EstimateTokenizer()).analyse("some text").ids
    assert (ids.dtype, ids.ndim) == (np.int64, 1)
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 1


def test_a_text_is_tokenised_once() -> None:
    tokenizer = Counting()
    analyzer = Analyzer(tokenizer)
    first = analyzer.analyse("abc")
    assert analyzer.analyse("".join("abc")) is first
    assert analyzer.count("abc") == 3
    assert tokenizer.seen == ["abc"]


def test_what_was_used_last_stays() -> None:
    tokenizer = Counting()
    size = 4_000
    analyzer = Analyzer(tokenizer, max_bytes=3 * (9 * size + 700))
    texts = [letter * size for letter in "abc"]
    for text in (*texts, texts[0], "d" * size):  # "a" is used again, "b" is the oldest
        analyzer.analyse(text)
    tokenizer.seen.clear()
    for text in (texts[0], texts[2], texts[1]):
        analyzer.analyse(text)
    assert tokenizer.seen == [texts[1]]


@given(st.lists(st.text(max_size=50), max_size=30), st.integers(0, 20_000))
def test_the_cache_keeps_to_its_limit(texts: list[str], limit: int) -> None:
    analyzer = Analyzer(EstimateTokenizer(), max_bytes=limit)
    for text in texts:
        assert analyzer.analyse(text).text == text
        assert 0 <= analyzer._bytes <= limit
        assert bool(analyzer._bytes) == bool(analyzer._cache)


def test_a_text_beyond_the_limit_is_analysed_and_not_kept() -> None:
    tokenizer = Counting()
    analyzer = Analyzer(tokenizer, max_bytes=1_000)
    assert analyzer.count("x" * 2_000) == analyzer.count("x" * 2_000) == 2_000
    assert len(tokenizer.seen) == 2


@pytest.mark.parametrize(
    "unit", ["Acme shall pay $5 on May 3, 2014 (no later than 30 days). ", "1 2 3 ", "a. B "]
)
def test_what_is_computed_later_counts(unit: str) -> None:
    text = unit * 200
    analyzer = Analyzer(EstimateTokenizer())
    analysis = analyzer.analyse(text)
    before = analyzer._bytes
    tracemalloc.start()
    assert analysis.normalised
    assert analysis.sentences
    assert len(analysis.facts) >= 0
    computed, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert computed <= analyzer._bytes - before
    assert analyzer._bytes == analysis.size


def test_what_grows_beyond_the_limit_is_forgotten() -> None:
    analyzer = Analyzer(EstimateTokenizer(), max_bytes=20_000)
    analysis = analyzer.analyse("1 2 3 4 5 6 7 8 9 " * 10)
    assert analyzer._bytes == analysis.size
    assert len(analysis.facts) == 90
    assert (analyzer._bytes, len(analyzer._cache)) == (0, 0)
    assert len(analysis.sentences) == 1  # computed after it was forgotten: counts no more
    assert analyzer._bytes == 0


def test_an_analysis_of_its_own_needs_no_cache() -> None:
    analysis = Analysis("a 5.", np.zeros(3, dtype=np.int64))
    assert (analysis.tokens, len(analysis.facts), analysis.normalised) == (3, 1, "a 5.")


def test_threads_get_one_analysis_and_do_not_wait_for_each_other() -> None:
    tokenizer = Counting(seconds=0.1)
    analyzer = Analyzer(tokenizer)
    texts = ["same", "same", *map(str, range(8))]
    found: dict[int, Analysis] = {}

    def work(index: int) -> None:
        found[index] = analyzer.analyse(texts[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(texts))]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 0.8  # one after the other: a second
    assert found[0] is found[1] is analyzer.analyse("same")
    assert [found[index].text for index in range(len(texts))] == texts


@pytest.mark.parametrize(
    "encoded",
    [
        [1, 2, 3],
        (1, 2, 3),
        np.array([1, 2, 3], dtype=np.uint32),
        np.array([[1, 2, 3]], dtype=np.int32),
        SimpleNamespace(ids=[1, 2, 3], tokens=["a", "b", "c"]),
        range(1, 4),
    ],
    ids=["list", "tuple", "array", "batch of one", "an Encoding of tokenizers", "range"],
)
def test_a_tokenizer_may_return_its_ids_in_any_form(encoded: Any) -> None:
    tokenizer: Any = SimpleNamespace(name="mine", exact=True, encode=lambda text: encoded)
    analysis = Analyzer(tokenizer).analyse("abc")
    assert analysis.ids.tolist() == [1, 2, 3]
    assert analysis.tokens == 3


def test_the_array_of_a_tokenizer_stays_its_own() -> None:
    own = np.array([1, 2, 3], dtype=np.int64)
    tokenizer: Any = SimpleNamespace(name="mine", exact=True, encode=lambda text: own)
    Analyzer(tokenizer).analyse("abc")
    own[0] = 7
    assert Analyzer(tokenizer).analyse("abc").ids.tolist() == [7, 2, 3]


def test_what_a_tokenizer_raises_passes_through() -> None:
    class Broken(Counting):
        def encode(self, text: str) -> Sequence[int]:
            raise LookupError(text)

    analyzer = Analyzer(Broken())
    with pytest.raises(LookupError, match="abc"):
        analyzer.count("abc")
    with pytest.raises(LookupError, match="abc"):
        analyzer.analyse("abc")


@pytest.mark.parametrize(
    "text", ["", " \n", "\x00", "a\ud800", "\u202eabc", "😀", "中文。", "x" * 10**5]
)
def test_any_string_can_be_analysed(text: str) -> None:
    for tokenizer in (tokenizer_for(), EstimateTokenizer()):
        analysis = Analyzer(tokenizer).analyse(text)
        assert (analysis.tokens == 0) == (text == "")
        assert analysis.normalised == normalise(text)
        assert analysis.sentences == split_sentences(text)
        assert analysis.facts == extract_facts(text)


def test_ten_megabytes_are_analysed_in_seconds() -> None:
    text = "The Supplier shall deliver the goods in thirty days. " * 190_000
    started = time.process_time()
    assert default_analyzer().count(text) > 1_000_000
    assert time.process_time() - started < 8


# -- copies ---------------------------------------------------------------------------------------


def test_copies_leave_the_cache_behind() -> None:
    analyzer = Analyzer(tokenizer_for(), max_bytes=12_345)
    analyzer.analyse("abc")
    for other in (
        copy.copy(analyzer),
        copy.deepcopy(analyzer),
        pickle.loads(pickle.dumps(analyzer)),  # noqa: S301 -- our own bytes
    ):
        assert other is not analyzer
        assert other.tokenizer == analyzer.tokenizer
        assert other.max_bytes == 12_345
        assert "0 texts, 0 of 12,345 bytes" in repr(other)
        assert other.analyse("abc").ids.tolist() == analyzer.analyse("abc").ids.tolist()


def test_a_tokenizer_that_cannot_be_copied_is_shared() -> None:
    class Uncopyable(Counting):
        def __deepcopy__(self, memo: object) -> Uncopyable:
            raise TypeError("cannot be copied")

    tokenizer = Uncopyable()
    assert copy.deepcopy(Analyzer(tokenizer)).tokenizer is tokenizer


def test_the_default_is_shared_and_exact_where_tables_are() -> None:
    assert default_analyzer() is default_analyzer()
    assert default_analyzer().tokenizer == tokenizer_for("o200k_base")


def test_a_tokenizer_may_return_bytes() -> None:
    class Bytes:
        name = "bytes"
        exact = True

        def encode(self, text: str) -> bytes:
            return text.encode()

    assert Analyzer(Bytes()).count("four") == 4


# -- many at once, words, tokens of a span --------------------------------------------------------


def test_many_texts_are_tokenised_once_each() -> None:
    tokenizer = Counting()
    analyzer = Analyzer(tokenizer)
    first = analyzer.analyse("b")
    found = analyzer.analyse_all(["a", "b", "a", ""])
    assert [analysis.text for analysis in found] == ["a", "b", "a", ""]
    assert found[0] is found[2]
    assert found[1] is first
    assert tokenizer.seen == ["b", "a", ""]
    assert analyzer.analyse_all([]) == []


def test_a_pool_larger_than_the_cache_is_tokenised_once_while_it_is_held() -> None:
    tokenizer = Counting()
    analyzer = Analyzer(tokenizer, max_bytes=5_000)
    texts = [str(number) * 100 for number in range(20)]
    held = analyzer.analyse_all(texts)
    assert analyzer._bytes <= 5_000
    assert [analyzer.analyse(text) for text in texts] == held
    assert analyzer.analyse_all(texts) == held
    assert len(tokenizer.seen) == 20
    del held
    analyzer.count(texts[0])
    assert len(tokenizer.seen) == 21


def test_words_are_read_once_and_weighed() -> None:
    analyzer = Analyzer(EstimateTokenizer())
    analysis = analyzer.analyse("The notice period")
    before = analyzer._bytes
    words = analysis.words
    assert words.spans.tolist() == [[0, 3], [4, 10], [11, 17]]
    assert analysis.words is words
    assert analyzer._bytes == before + words.nbytes
    analysis.give_words(words)
    assert analyzer._bytes == before + words.nbytes


def test_words_of_many_texts_tokenise_nothing() -> None:
    tokenizer = Counting()
    analyzer = Analyzer(tokenizer)
    known = analyzer.analyse("the notice")
    read = analyzer.analyse("the period")
    _ = read.words
    found = analyzer.words_of(["a b", "the notice", "the period", "a b"])
    assert [len(words) for words in found] == [2, 2, 2, 2]
    assert found[1] is known.words
    assert found[2] is read.words
    assert tokenizer.seen == ["the notice", "the period"]


TOKENIZERS = [tokenizer_for(), EstimateTokenizer(), Counting()]
CHARACTERS = st.text(st.characters() | st.sampled_from("aé日😀. \n\ud800"), max_size=40)


@given(CHARACTERS, st.sampled_from(TOKENIZERS))
def test_tokens_end_in_order_and_cover_the_text(text: str, tokenizer: Any) -> None:
    analysis = Analyzer(tokenizer).analyse(text)
    ends = analysis.token_ends
    assert ends.shape == (analysis.tokens,)
    assert (np.diff(ends) >= 0).all()
    assert analysis.tokens_between(0, len(text)) == analysis.tokens
    if text:
        assert ends[-1] == len(text)


@given(CHARACTERS, st.data())
def test_a_span_has_the_tokens_that_reach_into_it(text: str, data: st.DataObject) -> None:
    analysis = Analyzer(tokenizer_for()).analyse(text)
    cut = data.draw(st.integers(0, len(text)))
    left, right = analysis.tokens_of([(0, cut), (cut, len(text))]).tolist()
    assert analysis.tokens <= left + right
    assert analysis.tokens_between(cut, cut) == max(0, left + right - analysis.tokens) or cut == 0
    assert (left, right) == (
        analysis.tokens_between(0, cut),
        analysis.tokens_between(cut, len(text)),
    )


def test_tokens_of_sentences_add_up() -> None:
    text = "The notice period is 30 days.\n\nIt may not be shorter. Fees are due."
    analysis = Analyzer(tokenizer_for()).analyse(text)
    assert analysis.tokens_of(analysis.sentences).sum() == analysis.tokens
    assert analysis.token_ends.tolist()[:3] == [3, 10, 17]
    assert analysis.tokens_of([]).tolist() == []


def test_without_a_tokenizer_tokens_are_equally_long() -> None:
    analysis = Analysis("abcdef", np.zeros(3, dtype=np.int64))
    assert analysis.token_ends.tolist() == [2, 4, 6]
    assert Analyzer(Counting()).analyse("añb").token_ends.tolist() == [1, 2, 3]


@given(st.lists(st.text(max_size=30) | st.text(alphabet="ab .1", max_size=30), max_size=6))
def test_token_ends_read_in_one_go_are_those_of_each(texts: list[str]) -> None:
    for tokenizer in (tokenizer_for("o200k_base"), EstimateTokenizer(), Counting()):
        together, alone = Analyzer(tokenizer), Analyzer(tokenizer)
        found = together.analyse_all(texts)
        together.read_token_ends(found)
        together.read_token_ends(found)
        for analysis in found:
            assert analysis.token_ends.tolist() == alone.analyse(analysis.text).token_ends.tolist()


def test_what_a_stage_notes_is_computed_once_and_weighs() -> None:
    analyzer = Analyzer(EstimateTokenizer())
    analysis = analyzer.analyse("Some text.")
    before = analysis.size
    asked: list[str] = []

    def compute(one: Analysis) -> tuple[str, int]:
        asked.append(one.text)
        return one.text.upper(), 1000

    assert [analysis.note("upper", compute) for _ in range(3)] == ["SOME TEXT."] * 3
    assert analysis.note("again", compute) == "SOME TEXT."
    assert asked == ["Some text."] * 2
    assert analysis.size == before + 2000
