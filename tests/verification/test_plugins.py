"""Models of others as scorers: order of classes, one number or several, words that are marked."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.verification import Verifier
from ctxguard.verification.plugins import CrossEncoderScorer, TokenScorer

EVIDENCE = ["Cats sleep all day long. The fee is $500 per month. Birds sing in the morning."]
CLAIM = "A cat dozes the whole day."
PASSAGES = ["Cats sleep all day long.", "Dogs bark.", "A cat eats fish all day."]


class Model:
    """Gives what it was told to for each pair, and notes the pairs."""

    def __init__(self, rows: Any, labels: dict[int, str] | None = None) -> None:
        self.rows = rows
        self.pairs: list[tuple[str, str]] = []
        if labels is not None:
            self.config = SimpleNamespace(id2label=labels, _name_or_path="org/model")

    def predict(self, pairs: Sequence[tuple[str, str]]) -> Any:
        self.pairs += pairs
        return np.array([self.rows] * len(pairs))


@pytest.mark.parametrize(
    ("labels", "column"),
    [
        ({0: "contradiction", 1: "entailment", 2: "neutral"}, 1),
        ({0: "ENTAILMENT", 1: "NEUTRAL", 2: "CONTRADICTION"}, 0),
        ({0: "not_entailment", 1: "entailment"}, 1),
        ({0: "entailment", 1: "not entailment"}, 0),
        ({0: "unsupported", 1: "supported"}, 1),
        ({0: "consistent", 1: "label_inconsistent"}, 0),
        ({0: "hallucinated", 1: "factual"}, 1),
    ],
)
def test_the_order_of_classes_is_read_from_the_configuration(
    labels: dict[int, str], column: int
) -> None:
    odds = [-2.0] * len(labels)
    odds[column] = 2.0
    (found,) = CrossEncoderScorer(Model(odds, labels)).score([CLAIM], PASSAGES[:1])
    assert found.probability > 0.9
    assert (found.passage, found.span) == (0, (0, len(PASSAGES[0])))


def test_probabilities_stay_what_they_are() -> None:
    labels = {0: "entailment", 1: "neutral", 2: "contradiction"}
    (found,) = CrossEncoderScorer(Model([0.7, 0.2, 0.1], labels)).score([CLAIM], PASSAGES)
    assert found.probability == 0.7


@pytest.mark.parametrize(("given", "p"), [(0.8, 0.8), (2.0, 0.881), (float("nan"), 0.0)])
def test_one_number_is_a_probability_or_log_odds(given: float, p: float) -> None:
    (found,) = CrossEncoderScorer(Model([given])).score([CLAIM], PASSAGES)
    assert round(found.probability, 3) == p


def test_each_passage_is_read_alone_and_all_together() -> None:
    model = Model([0.8])
    scorer = CrossEncoderScorer(model, depth=2)
    scorer.score([CLAIM], PASSAGES)
    assert model.pairs == [
        (PASSAGES[0], CLAIM),
        (PASSAGES[2], CLAIM),
        (f"{PASSAGES[0]} {PASSAGES[2]}", CLAIM),
    ]
    assert scorer.score([CLAIM], [])[0].probability == 0.0
    assert scorer.score([], PASSAGES) == []


def test_a_verifier_is_given_one() -> None:
    scorer = CrossEncoderScorer(Model([0.1]))
    (doubted,) = Verifier(scorer=scorer)(CLAIM, EVIDENCE).claims
    assert (doubted.label, doubted.score) == ("not_found", 0.1)
    assert Verifier(scorer=scorer).settings["scorer"] == "cross-encoder Model"
    named = CrossEncoderScorer(Model([0.1], {}))
    assert named.name == "cross-encoder org/model"


def test_labels_that_do_not_say_it_have_to_be_named() -> None:
    model = Model([1.0, -1.0], {0: "LABEL_0", 1: "LABEL_1"})
    with pytest.raises(InputError, match=r"2 classes and no label .* supported=…"):
        CrossEncoderScorer(model).score([CLAIM], PASSAGES)
    (found,) = CrossEncoderScorer(model, supported="LABEL_1").score([CLAIM], PASSAGES)
    assert found.probability < 0.2
    with pytest.raises(InputError, match="no label 'yes'; it has: 'LABEL_0', 'LABEL_1'"):
        CrossEncoderScorer(model, supported="yes")


def test_what_cannot_be_used() -> None:
    with pytest.raises(InputError, match=r"expected predict\(pairs\), got int"):
        CrossEncoderScorer(3)
    with pytest.raises(InputError, match="depth"):
        CrossEncoderScorer(Model([1.0]), depth=0)
    with pytest.raises(InputError, match="fast one"):
        TokenScorer(Model([1.0]), object())


def test_a_name_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(MissingDependencyError, match=r'pip install "ctxguard-core\[nli\]"'):
        CrossEncoderScorer("org/model")


def test_a_name_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> object:
        raise OSError(name)

    package = SimpleNamespace(CrossEncoder=load)
    monkeypatch.setattr(importlib, "import_module", lambda _: package)
    with pytest.raises(InputError, match="cannot be loaded"):
        CrossEncoderScorer("org/model")


class Tokenizer:
    """Words are tokens; the first text, then the claim, with a mark between them."""

    is_fast = True

    def __call__(self, text: str, claim: str, **_: object) -> Any:
        spans = [(0, 0), *_words(text), (0, 0), *_words(claim)]
        parts = [None, *[0] * len(_words(text)), None, *[1] * len(_words(claim))]
        inputs = Inputs(offset_mapping=np.array([spans]), words=[claim[s:e] for s, e in spans])
        inputs.parts = parts
        return inputs


class Inputs(dict[str, Any]):
    parts: list[int | None]

    def sequence_ids(self, _: int) -> list[int | None]:
        return self.parts


def _words(text: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for word in text.split():
        start = text.index(word, found[-1][1] if found else 0)
        found.append((start, start + len(word)))
    return found


def mark(words: Sequence[str]) -> Any:
    """Words in capitals are unsupported."""
    return SimpleNamespace(logits=[[[-3.0, 3.0] if w.isupper() else [3.0, -3.0] for w in words]])


def test_unsupported_words_are_marked() -> None:
    scorer = TokenScorer(mark, Tokenizer())
    claim = "cats SLEEP WELL and eat FISH daily"
    assert [claim[slice(*span)] for span in scorer.spans(claim, PASSAGES)] == ["SLEEP WELL", "FISH"]
    right, wrong = scorer.score(["cats sleep", "cats FLY"], PASSAGES[:1])
    assert (round(right.probability, 2), round(wrong.probability, 2)) == (1.0, 0.0)
    assert (right.passage, right.span) == (0, (0, len(PASSAGES[0])))
    assert scorer.score(["cats sleep"], PASSAGES)[0].passage == -1


# -- real models, tiny and untrained --------------------------------------------------------------


@pytest.fixture
def vocabulary(tmp_path: Path) -> Any:
    transformers: Any = importlib.import_module("transformers")
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] a cat cats sleep dozes the whole day all long . fee is"
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(words.split()), encoding="utf-8")
    return transformers.BertTokenizerFast(str(path), model_max_length=32)


def tiny(**labels: Any) -> Any:
    transformers: Any = importlib.import_module("transformers")
    return transformers.BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64, **labels,
    )  # fmt: skip


@pytest.mark.models
def test_a_real_cross_encoder_gives_the_class_of_its_label(vocabulary: Any, tmp_path: Path) -> None:
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    labels = {0: "neutral", 1: "entailment", 2: "contradiction"}
    model = transformers.BertForSequenceClassification(tiny(id2label=labels, num_labels=3))
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 4.0, 0.0]))
    folder = str(tmp_path / "model")
    model.save_pretrained(folder)
    vocabulary.save_pretrained(folder)
    scorer = CrossEncoderScorer(folder)
    (found,) = scorer.score([CLAIM], PASSAGES)
    assert abs(found.probability - np.exp(4) / (np.exp(4) + 2)) < 1e-4
    assert Verifier(scorer=scorer)(CLAIM, EVIDENCE).grounded


@pytest.mark.models
def test_a_real_token_classifier_marks_words_of_the_claim_only(vocabulary: Any) -> None:
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    torch.manual_seed(0)
    model = transformers.BertForTokenClassification(tiny(num_labels=2)).eval()
    scorer = TokenScorer(model, vocabulary)
    (found,) = scorer.score(["Cats sleep."], PASSAGES * 20)  # longer than what it reads
    assert 0 < found.probability < 1
    claim = "Cats sleep all day."
    assert scorer.spans(claim, PASSAGES, least=0.0) == ((0, len(claim)),)
    assert scorer.spans(claim, PASSAGES, least=1.0) == ()
