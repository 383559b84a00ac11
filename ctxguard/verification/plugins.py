"""Models of others as scorers: cross-encoders (NLI, HHEM), token classifiers (LettuceDetect).

The packages are imported when a model is named, and never for an object that is handed over. A
model whose code comes from a hub is loaded by its user, who decides whether to trust it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.types import Span
from ctxguard.verification._nearest import nearest
from ctxguard.verification.scorer import Support

__all__ = ["CrossEncoderScorer", "TokenScorer"]

_SUPPORTED = re.compile(r"entail|support|consist|fact|ground")
_NEGATED = re.compile(rf"(?:^|[^a-z])(?:un|in|non|not?)[\s_-]*(?:{_SUPPORTED.pattern})")
Model = Any
"""An object of an optional package."""
Floats = NDArray[np.float64]


class CrossEncoderScorer:
    """P(supported) by a model that reads evidence and claim together.

    For models that give one number for a pair (HHEM, rerankers) it is P, or log-odds where it is
    outside 0 to 1. Of models with a class for each relation, the one that means support is found by
    its label in the model's configuration, whatever the order of the classes.
    """

    def __init__(self, model: Model | str, *, supported: str | None = None, depth: int = 8) -> None:
        """Take a model.

        Args:
            model: a `CrossEncoder` of sentence-transformers, any object with `predict(pairs)` as
                HHEM has it, or a name to load.
            supported: the label of support; None: "entailment", "supported", "consistent", …
            depth: passages that a claim is held against, those with most of its words: each on its
                own, and all of them together.

        Raises:
            MissingDependencyError: a name was given and sentence-transformers is not installed.
            InputError: the model cannot be loaded, or its labels do not say which one is support.
        """
        if depth < 1:
            raise InputError(f"CrossEncoderScorer.depth: expected 1 or more, got {depth!r}")
        self.name = f"cross-encoder {model if isinstance(model, str) else _name_of(model)}"
        self._model = _loaded(model) if isinstance(model, str) else model
        if not callable(getattr(self._model, "predict", None)):
            raise InputError(
                f"CrossEncoderScorer.model: expected predict(pairs), got {type(model).__name__}"
            )
        self._column = _column(_labels(self._model), supported)
        self._depth = depth

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> Sequence[Support]:
        """One Support for each claim, in order; all pairs are handed to the model at once."""
        near = nearest(claims, passages, self._depth)
        pairs: list[tuple[str, str]] = []
        for claim, places in zip(claims, near, strict=True):
            texts = [passages[at] for at in places]
            together = [" ".join(texts)] if len(texts) > 1 else []
            pairs += [(_printable(text), _printable(claim)) for text in (*texts, *together)]
        p = self._probabilities(pairs) if pairs else []
        found: list[Support] = []
        for places in near:
            count = len(places) + (len(places) > 1)
            mine, p = p[:count], p[count:]
            found.append(_best(mine, places, passages))
        return found

    def _probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """P(supported) of each pair."""
        given = _array(self._model.predict(list(pairs))).reshape(len(pairs), -1)
        if given.shape[1] == 1:
            one = given[:, 0]
            is_p = bool(np.all((one >= 0) & (one <= 1)))
            p = one if is_p else 1 / (1 + np.exp(-np.clip(one, -30, 30)))
        elif self._column is None or self._column >= given.shape[1]:
            raise InputError(
                f"{self.name}: it has {given.shape[1]} classes and no label says which is support; "
                "name it: CrossEncoderScorer(model, supported=…)"
            )
        else:
            p = _softmax(given)[:, self._column]
        return np.nan_to_num(p, nan=0.0).tolist()  # what is no number supports nothing


class TokenScorer:
    """P(supported) by a model that marks the unsupported words of a claim.

    The claim is as likely as its least likely word; `spans` says which words those are.
    """

    def __init__(
        self, model: Model, tokenizer: Model, *, unsupported: int = 1, depth: int = 16
    ) -> None:
        """Take a model.

        Args:
            model: a token classifier of transformers.
            tokenizer: its tokenizer, a fast one: it says where tokens stand.
            unsupported: the class of unsupported words; 1 in LettuceDetect.
            depth: passages that are shown of a claim, those with most of its words.

        Raises:
            InputError: the tokenizer does not say where tokens stand.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise InputError("TokenScorer.tokenizer: expected a fast one, which knows offsets")
        self.name = f"tokens {_name_of(model)}"
        self._model, self._tokenizer = model, tokenizer
        self._unsupported = unsupported
        self._depth = depth

    def score(self, claims: Sequence[str], passages: Sequence[str]) -> Sequence[Support]:
        """One Support for each claim, in order."""
        found: list[Support] = []
        for claim, places in zip(claims, nearest(claims, passages, self._depth), strict=True):
            words = list(self._words(claim, [passages[at] for at in places]))
            worst = max((p for _, p in words), default=1.0)
            at = places[0] if len(places) == 1 else -1
            span = (0, len(passages[at])) if at >= 0 else (0, 0)
            found.append(Support(probability=1 - worst, passage=at, span=span))
        return found

    def spans(self, claim: str, passages: Sequence[str], *, least: float = 0.5) -> tuple[Span, ...]:
        """The unsupported words of a claim; words that touch or follow each other are one span.

        Args:
            claim: a statement.
            passages: what it is held against.
            least: P of a word that is unsupported.
        """
        runs = groupby(self._words(claim, passages), lambda word: word[1] >= least)
        marked = [[span for span, _ in run] for is_marked, run in runs if is_marked]
        return tuple((run[0][0], run[-1][1]) for run in marked)

    def _words(self, claim: str, passages: Sequence[str]) -> Iterator[tuple[Span, float]]:
        """Where the claim's tokens stand, and P that they are unsupported."""
        inputs = self._tokenizer(
            _printable("\n".join(passages)),
            _printable(claim),
            return_offsets_mapping=True,
            return_tensors="pt",
            truncation="only_first",
        )
        part = inputs.sequence_ids(0)
        offsets = cast("list[list[int]]", inputs.pop("offset_mapping")[0].tolist())
        p = _softmax(_array(self._model(**inputs).logits)[0])[:, self._unsupported]
        for of, (start, end), value in zip(part, offsets, p.tolist(), strict=True):
            if of == 1 and end > start:
                yield (start, end), value


def _best(p: Sequence[float], places: Sequence[int], passages: Sequence[str]) -> Support:
    """The highest P, and the passage that gives most of it on its own."""
    if not places:
        return Support(probability=0.0)
    alone = p[: len(places)]
    at = places[max(range(len(places)), key=lambda place: alone[place])]
    return Support(probability=max(p), passage=at, span=(0, len(passages[at])))


# -- models ---------------------------------------------------------------------------------------


def _labels(model: Model) -> Mapping[int, str]:
    """The names of a model's classes."""
    for owner in (model, getattr(model, "model", None)):
        names: object = getattr(getattr(owner, "config", None), "id2label", None)
        if isinstance(names, Mapping):
            table = cast("Mapping[object, object]", names)
            return {int(str(key)): str(label) for key, label in table.items()}
    return {}


def _column(labels: Mapping[int, str], supported: str | None) -> int | None:
    """The class that means support; None where no label says so."""
    if supported is not None:
        known = [at for at, label in labels.items() if label == supported]
        if not known:
            names = ", ".join(repr(label) for label in labels.values()) or "none"
            raise InputError(
                f"CrossEncoderScorer.supported: no label {supported!r}; it has: {names}"
            )
        return known[0]
    plain = {at: label.lower() for at, label in labels.items()}
    fits = [
        at for at, label in plain.items() if _SUPPORTED.search(label) and not _NEGATED.search(label)
    ]
    return fits[0] if len(fits) == 1 else None


def _loaded(name: str) -> Model:
    try:
        # By name, so that a type checker does not need the package either.
        package: Model = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise MissingDependencyError(
            'CrossEncoderScorer needs sentence-transformers:\n  pip install "ctxguard-core[nli]"'
        ) from error
    try:
        return package.CrossEncoder(name)
    except OSError as error:
        raise InputError(
            f"CrossEncoderScorer({name!r}): cannot be loaded, neither from disk nor from the "
            "Hugging Face hub"
        ) from error


def _name_of(model: Model) -> str:
    """What a model was loaded from, else its class."""
    for owner in (model, getattr(model, "model", None)):
        name: object = getattr(getattr(owner, "config", None), "_name_or_path", None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__


def _array(values: Model) -> Floats:
    """The numbers of a tensor, on whatever device, or of a sequence."""
    for step in ("detach", "cpu"):
        values = getattr(values, step, lambda given=values: given)()
    return np.asarray(values, dtype=np.float64)


def _softmax(values: Floats) -> Floats:
    """Probabilities of the classes; rows that are some already stay."""
    if np.all(values >= 0) and np.allclose(values.sum(axis=-1), 1, atol=1e-3):
        return values
    raised = np.exp(values - values.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def _printable(text: str) -> str:
    """The text with lone surrogates replaced: tokenizers written in Rust refuse them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
