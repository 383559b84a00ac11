"""Token ids as arrays, and how much of a text each token stands for."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

import numpy as np
import tiktoken
from numpy.typing import NDArray

from ctxguard.text.tokens import EstimateTokenizer, TiktokenTokenizer, Tokenizer

__all__ = ["byte_lengths", "ids_of", "known_byte_lengths"]

_LONG = 100_000
"""Characters beyond which `encode` is asked, which takes very long texts in slices."""


def ids_of(tokenizer: Tokenizer, text: str) -> NDArray[np.int64]:
    """The token ids of a text as a read-only array of shape `(tokens,)`.

    From whatever a tokenizer returns: a list, bytes, an array, a tensor with a batch dimension of
    one, or an `Encoding` of Hugging Face tokenizers (its `ids`).
    """
    found: object = None
    if isinstance(tokenizer, TiktokenTokenizer) and len(text) <= _LONG:
        with suppress(UnicodeEncodeError):  # lone surrogates, which `encode` replaces
            # No list of ints in between: 7 % of the time.
            found = tokenizer.encoding.encode_to_numpy(text, disallowed_special=())
    if found is None:
        encoded = tokenizer.encode(text)
        found = getattr(encoded, "ids", encoded)
    if isinstance(found, bytes | bytearray):
        found = list(found)  # numpy would read them as one string
    ids = np.array(found, dtype=np.int64).reshape(-1)
    ids.flags.writeable = False
    return ids


def byte_lengths(tokenizer: Tokenizer, text: str, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many UTF-8 bytes of a text each of its tokens stands for; shape `(tokens,)`.

    Together they are the text's bytes. Equal shares where the tokenizer does not say: a foreign
    one, or a text with lone surrogates.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    lengths = known_byte_lengths(tokenizer, ids)
    if isinstance(tokenizer, EstimateTokenizer):
        lengths = np.array([len(piece) for piece in tokenizer.pieces(text)], dtype=np.int64)
    if lengths is None or lengths.size != ids.size or lengths.sum() != size:
        return np.diff(np.arange(ids.size + 1, dtype=np.int64) * size // max(1, ids.size))
    return lengths


def known_byte_lengths(tokenizer: Tokenizer, ids: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """How many bytes each token stands for, None where that depends on the text it stands in."""
    if not isinstance(tokenizer, TiktokenTokenizer):
        return None
    return _tiktoken_lengths(tokenizer.encoding, ids)


def _tiktoken_lengths(encoding: tiktoken.Encoding, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    table = _length_table(encoding)
    lengths = table[ids]
    if not lengths.all():
        for token in np.unique(ids[lengths == 0]).tolist():
            table[token] = len(encoding.decode_single_token_bytes(token))
        lengths = table[ids]
    return lengths


@lru_cache(maxsize=16)
def _length_table(encoding: tiktoken.Encoding) -> NDArray[np.int64]:
    """Bytes of each token of an encoding, 0 until it is met; decoding all takes 0.1 s."""
    return np.zeros(encoding.max_token_value + 1, dtype=np.int64)
