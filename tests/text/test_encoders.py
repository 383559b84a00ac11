from __future__ import annotations

import pickle
import sys
import threading
import types
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.text import encoders
from ctxguard.text._tokenrows import TokenRows, as_offsets
from ctxguard.text._wordpieces import split_pieces, words_of
from ctxguard.text.encoders import (
    Encoder,
    SentenceTransformerEncoder,
    StaticEncoder,
    as_encoder,
    static_encoder,
    unit_rows,
)
from ctxguard.text.tokens import EstimateTokenizer

ODD = ["", " \n", "\x00", "\ud800", "...", "漢字", "a" * 1_000_000, "é" * 300, "1" * 101]


class Encoding:
    """One token per character, ids from 0; 9 stands for no token."""

    TEXTS = (
        b"The",
        b" notice",
        b" period",
        b"ing",
        b"!",
        b"\xff",
        b" notice period",
        b" Per",
        b"ed",
    )

    def decode_single_token_bytes(self, token: int) -> bytes:
        try:
            return self.TEXTS[token]
        except IndexError as error:
            raise KeyError(token) from error


class Tokens:
    name = "tokens"
    exact = True
    encoding = Encoding()

    def encode(self, text: str) -> Sequence[int]:
        return [0] * len(text)


def cosine(one: str, other: str) -> float:
    left, right = static_encoder().encode([one, other])
    return float(left @ right)


# -- words ----------------------------------------------------------------------------------------


def test_words_are_lower_case_without_accents_and_punctuation() -> None:
    assert words_of("The Café's fee: 30 days_long!") == [
        "the", "cafe", "s", "fee", "30", "days", "long",
    ]  # fmt: skip


def test_a_word_is_cut_into_the_longest_pieces() -> None:
    pieces = {"warrant": 0, "war": 1, "##ies": 2, "##i": 3, "##es": 4}
    assert split_pieces("warranties", pieces) == [0, 2]
    assert split_pieces("ies", pieces, inside=True) == [2]


@pytest.mark.parametrize("word", ["warrants", "x", "war" * 40])
def test_a_word_with_an_unknown_part_has_no_pieces(word: str) -> None:
    assert split_pieces(word, {"war": 0, "##war": 1}) == []


# -- the one that ships ---------------------------------------------------------------------------


def test_it_is_an_encoder_and_is_read_once() -> None:
    assert isinstance(static_encoder(), Encoder)
    assert static_encoder() is static_encoder()
    assert repr(static_encoder()) == "StaticEncoder(27,558 pieces, 128 dimensions)"


def test_rows_are_unit_or_zero() -> None:
    rows = static_encoder().encode(["The notice period is thirty days.", "", "漢字"])
    assert rows.dtype == np.float32
    assert rows.shape == (3, static_encoder().dimensions)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 0, 0], abs=1e-5)


def test_no_texts_give_no_rows() -> None:
    assert static_encoder().encode([]).shape == (0, 128)
    assert static_encoder().encode_words([]).shape == (0, 128)


def test_what_means_the_same_is_nearer_than_what_does_not() -> None:
    same = cosine("The children are playing football.", "Kids play soccer.")
    other = cosine("The children are playing football.", "The lease ends in March.")
    assert same > other + 0.3


def test_words_near_in_meaning_are_near() -> None:
    child, kid, lease = static_encoder().encode_words(["child", "kid", "lease"])
    assert child @ kid > child @ lease + 0.3


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_texts_give_finite_rows(text: str) -> None:
    rows = static_encoder().encode([text, "notice"])
    assert np.isfinite(rows).all()
    assert np.linalg.norm(rows[1]) == pytest.approx(1, abs=1e-5)


@given(st.lists(st.text(max_size=40), max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_row_depends_on_its_text_alone(texts: list[str]) -> None:
    encoder = static_encoder()
    together = encoder.encode(texts)
    apart = [encoder.encode([text])[0] for text in texts]
    assert all(np.array_equal(row, one) for row, one in zip(together, apart, strict=True))


def test_words_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_MAX_WORDS", 3)
    encoder = StaticEncoder({"a": 0, "##b": 1}, np.eye(2, dtype=np.float32))
    first = encoder.encode(["a ab abb"])
    encoder.encode(["abbb abbbb abbbbb"])
    assert np.array_equal(encoder.encode(["a ab abb"]), first)


def test_many_new_words_make_the_table_grow() -> None:
    encoder = StaticEncoder({"a": 0, "##a": 1}, np.eye(2, dtype=np.float32))
    words = ["a" * length for length in range(1, 90)]
    many = [f"{word}{'a' * 0} x{number}" for number in range(40) for word in words]
    rows = encoder.encode(many)
    assert np.array_equal(rows[0], [1, 0])


def test_threads_get_the_same_rows() -> None:
    encoder = pickle.loads(pickle.dumps(static_encoder()))  # noqa: S301 -- made here
    texts = [f"notice period number {number} of the lease" for number in range(200)]
    want, got = static_encoder().encode(texts), list[np.ndarray]()
    threads = [threading.Thread(target=lambda: got.append(encoder.encode(texts))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert all(np.array_equal(rows, want) for rows in got)


# -- token ids ------------------------------------------------------------------------------------


def test_tokens_that_are_words_give_what_the_words_give() -> None:
    encoder = static_encoder()
    rows = encoder.encode_ids(np.array([0, 1, 2]), Tokens())
    assert rows is not None
    assert rows[0] == pytest.approx(encoder.encode(["the notice period"])[0], abs=1e-6)


def test_runs_are_summed_on_their_own() -> None:
    encoder = static_encoder()
    ids = np.array([1, 2, 6, 0])
    rows = encoder.encode_ids(ids, Tokens(), [0, 2, 2, 3])
    assert rows is not None
    assert rows[0] == pytest.approx(rows[2], abs=1e-6)
    assert not rows[1].any()


def test_long_runs_give_what_short_runs_give() -> None:
    encoder = static_encoder()
    ids = np.array([0, 1, 2] * 40)
    one, three = encoder.encode_ids(ids, Tokens()), encoder.encode_ids(ids[:3], Tokens())
    assert one is not None
    assert three is not None
    assert one[0] == pytest.approx(three[0], abs=1e-5)


def test_letters_without_a_space_are_the_rest_of_a_word() -> None:
    pieces = {"ing": 0, "##ing": 1}
    table = TokenRows(Encoding().decode_single_token_bytes, pieces, np.eye(2, dtype=np.float32))
    assert np.array_equal(table.sums(np.array([3]), np.array([0])), [[0, 1]])


def test_letters_that_are_no_rest_are_a_word() -> None:
    table = TokenRows(Encoding().decode_single_token_bytes, {"ed": 0}, np.eye(1, dtype=np.float32))
    assert np.array_equal(table.sums(np.array([8]), np.array([0])), [[1]])


@pytest.mark.parametrize("ids", [[9], [-1], [10**12], [4, 5], []])
def test_ids_without_a_meaning_are_zero(ids: list[int]) -> None:
    rows = static_encoder().encode_ids(np.array(ids, dtype=np.int64), Tokens())
    assert rows is not None
    assert rows.shape == (1, 128)
    assert not rows.any()


def test_a_token_table_grows() -> None:
    class Many:
        def decode_single_token_bytes(self, token: int) -> bytes:
            return b"a" * (1 + token % 9)

    table = TokenRows(
        Many().decode_single_token_bytes, {"a": 0, "##a": 1}, np.eye(2, dtype=np.float32)
    )
    ids = np.arange(1500)
    sums = table.sums(ids, np.arange(1500))
    assert sums.shape == (1500, 2)
    assert sums.any(axis=1).all()
    assert np.array_equal(table.sums(ids, np.arange(1500)), sums)


def test_an_estimate_has_no_ids_to_look_up() -> None:
    tokenizer = EstimateTokenizer()
    ids = np.array(tokenizer.encode("the notice period"), dtype=np.int64)
    assert static_encoder().encode_ids(ids, tokenizer) is None


@given(st.lists(st.integers(-5, 50)), st.integers(0, 20))
def test_offsets_are_ascending_and_inside(offsets: list[int], size: int) -> None:
    starts = as_offsets(offsets, size)
    assert len(starts) == len(offsets)
    assert (np.diff(starts) >= 0).all()
    assert not len(starts) or (starts[0] >= 0 and starts[-1] <= size)


# -- those of others ------------------------------------------------------------------------------


class LangChainLike:
    model_name = "mine"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[3.0, 4.0] if text != "odd" else [1.0] for text in texts]


class LlamaIndexLike:
    def get_text_embedding_batch(self, texts: list[str]) -> list[list[float]]:
        return [[float("nan"), 1.0] if text == "odd" else [0.0, 2.0] for text in texts]


class ModelLike:
    """Called as sentence-transformers is."""

    def encode(self, texts: list[str], **options: object) -> np.ndarray:
        assert options["show_progress_bar"] is False
        return np.ones((len(texts), 4))


@pytest.mark.parametrize(
    ("model", "name", "dimensions"),
    [
        (LangChainLike(), "mine", 2),
        (LlamaIndexLike(), "LlamaIndexLike", 2),
        (ModelLike(), "ModelLike", 4),
    ],
)
def test_embeddings_of_frameworks_are_encoders(model: object, name: str, dimensions: int) -> None:
    encoder = as_encoder(model)
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.dimensions) == (name, dimensions)
    rows = encoder.encode(["a", "b\ud800"])
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1])
    assert encoder.encode([]).shape == (0, dimensions)


@pytest.mark.parametrize("model", [LangChainLike(), LlamaIndexLike()])
def test_bad_vectors_are_zero_rows(model: object) -> None:
    rows = as_encoder(model).encode(["a", "odd", "b"])
    assert rows.any(axis=1).tolist() == [True, False, True]


def test_an_encoder_is_taken_as_it_is() -> None:
    assert as_encoder(static_encoder()) is static_encoder()


@pytest.mark.parametrize("value", [None, 3, "all-MiniLM-L6-v2", object()])
def test_anything_else_is_refused_by_name(value: object) -> None:
    with pytest.raises(InputError, match="expected an Encoder"):
        as_encoder(value)


def test_without_sentence_transformers_the_install_line_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingDependencyError, match="pip install sentence-transformers"):
        SentenceTransformerEncoder("some-model")


def test_a_model_is_loaded_by_name_or_its_absence_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(name: str) -> ModelLike:
        if name == "missing":
            raise OSError("offline")
        return ModelLike()

    package = types.ModuleType("sentence_transformers")
    monkeypatch.setattr(package, "SentenceTransformer", load, raising=False)
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    encoder = SentenceTransformerEncoder("there")
    assert (encoder.name, encoder.dimensions) == ("there", 4)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        SentenceTransformerEncoder("missing")


# -- rows -----------------------------------------------------------------------------------------


def test_what_cannot_be_compared_is_a_zero_row() -> None:
    vectors = [[1.0, 1.0], None, [float("nan"), 1], [float("inf"), 1], [0, 0], [1.0], "ab", [2, 0]]
    rows = unit_rows(vectors)
    assert rows.shape == (8, 2)
    assert rows.any(axis=1).tolist() == [True, *[False] * 6, True]


def test_the_length_that_most_have_counts() -> None:
    assert unit_rows([[1.0], [1.0, 0.0], [0.0, 1.0]]).tolist() == [[0, 0], [1, 0], [0, 1]]
    assert unit_rows([[1.0, 2.0]], dimensions=3).tolist() == [[0, 0, 0]]
    assert unit_rows([]).shape == (0, 0)


def test_very_large_and_very_small_numbers_keep_their_direction() -> None:
    rows = unit_rows([[1e300, 1e300], [1e-300, 0.0]])
    assert rows == pytest.approx(np.array([[0.5**0.5, 0.5**0.5], [1, 0]]), abs=1e-6)
