"""A cross-encoder of sentence-transformers as P of each text; the package is imported when used."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctxguard.errors import InputError, MissingDependencyError

__all__ = ["cross_encode"]


def cross_encode(
    model: Any,  # noqa: ANN401 -- a CrossEncoder, whose class is in an optional package
    question: str,
    texts: Sequence[str],
) -> NDArray[np.float64]:
    """P of each text, shape `(len(texts),)`; NaN where the model gave no number.

    Models that end in a sigmoid give P themselves; what others give is taken for log-odds.

    Args:
        model: an object with `predict(pairs)`, or a name to load.
        question: the first of each pair.
        texts: the second.

    Raises:
        MissingDependencyError: a name was given and sentence-transformers is not installed.
        InputError: the model cannot be loaded.
    """
    judge = _loaded(model) if isinstance(model, str) else model
    pairs = [(_printable(question), _printable(text)) for text in texts]
    found = np.asarray(judge.predict(pairs), dtype=np.float64).reshape(len(texts), -1)[:, -1]
    found = np.where(np.isfinite(found), found, np.nan)
    if np.all((found >= 0) & (found <= 1) | np.isnan(found)):
        return found
    return 1 / (1 + np.exp(-np.clip(found, -30, 30)))


@lru_cache(maxsize=4)
def _loaded(name: str) -> Any:  # noqa: ANN401 -- as above
    try:
        # By name, so that a type checker does not need the package either.
        package: Any = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise MissingDependencyError(
            "Rank(cross_encoder=…) needs sentence-transformers:\n"
            "  pip install sentence-transformers"
        ) from error
    try:
        return package.CrossEncoder(name)
    except OSError as error:
        raise InputError(
            f"Rank(cross_encoder={name!r}): cannot be loaded, neither from disk nor from the "
            "Hugging Face hub"
        ) from error


def _printable(text: str) -> str:
    """The text with lone surrogates replaced: tokenizers written in Rust refuse them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
