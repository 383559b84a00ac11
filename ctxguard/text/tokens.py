"""Tokenizers: exact where tiktoken's tables are at hand, a conservative estimate elsewhere.

`tokenizer_for` never raises and never hangs: tables on disk come first, a download has a few
seconds, and what is left is `EstimateTokenizer`, with one `TokenizerWarning` that says so.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import tempfile
import threading
import warnings
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import tiktoken
import tiktoken.registry

__all__ = [
    "EstimateTokenizer",
    "TiktokenTokenizer",
    "Tokenizer",
    "TokenizerWarning",
    "tokenizer_for",
]

DEFAULT_ENCODING = "o200k_base"
LOCAL_SECONDS = 30.0
"""For reading tables from disk: 0.6 s measured, far more allowed on a machine that is busy."""
DOWNLOAD_SECONDS = 5.0
"""For a download of 2 to 4 MB; it goes on in the background, for the next process."""


class TokenizerWarning(UserWarning):
    """Token counts are estimates: too high rather than too low, but not exact."""


class Tokenizer(Protocol):
    """What counts tokens. Anything with these three members will do."""

    @property
    def name(self) -> str:
        """Name of the encoding, shown in ledgers."""
        ...

    @property
    def exact(self) -> bool:
        """Whether `encode` gives the tokens that the model sees."""
        ...

    def encode(self, text: str) -> Sequence[int]:
        """One id per token; special tokens in the text are read as plain text."""
        ...


# -- exact ----------------------------------------------------------------------------------------

_SLICE = 500_000
"""Characters per call: tiktoken 0.14 panics on a run of 1,000,000 spaces (its regex engine's stack
limit), 999,000 pass; older releases have the same limit for other patterns."""
_CUT = re.compile(r"(?<=\S) (?=\w)|(?<=\n)(?=\w)")
"""Where a slice may end without a change of tokens: a space between words opens a token in every
OpenAI pattern, and a line break before a word closes one."""


@dataclass(frozen=True, slots=True)
class TiktokenTokenizer:
    """An encoding of tiktoken: the counts of OpenAI models, special tokens read as plain text."""

    name: str
    encoding: tiktoken.Encoding = field(repr=False, compare=False)
    exact: bool = field(default=True, init=False)

    def encode(self, text: str) -> Sequence[int]:
        """The token ids; lone surrogates count as U+FFFD.

        Texts above 500,000 characters are encoded in slices cut between words, which gives the
        same tokens; only in a run of 500,000 characters without a word boundary may a cut add one.
        """
        if len(text) <= _SLICE:
            return self.encoding.encode_ordinary(text)
        ids: list[int] = []
        for part in _slices(text):
            ids += self.encoding.encode_ordinary(part)
        return ids

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by name: tables weigh megabytes, and the other process finds its own."""
        return (tokenizer_for, (self.name,))

    def __deepcopy__(self, _memo: dict[int, object]) -> TiktokenTokenizer:
        """Itself: nothing in it can change."""
        return self


def _slices(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _SLICE:
        end = start + _SLICE
        cuts = [cut.start() for cut in _CUT.finditer(text, end - 2_000, end)]
        end = cuts[-1] if cuts else end
        yield text[start:end]
        start = end
    yield text[start:]


# -- estimated ------------------------------------------------------------------------------------

_CHEAP = {
    0xC2: 0xFEFFFFFF00040001, 0xC3: 0x3F7FFFFF94CB629F, 0xC4: 0x000308008A0B20AA,
    0xC5: 0x5402882A8A0A2014, 0xC6: 0x0001000200000000, 0xC8: 0x000000000A000000,
    0xC9: 0x0020000002000000, 0xCC: 0x0000000000000003, 0xCE: 0xBFBEF00000000000,
    0xCF: 0x00000000000012FF, 0xD0: 0xFFFFA0DFFDBF0004, 0xD1: 0x000000000042FFFF,
    0xD7: 0x0000070552BB0000, 0xD8: 0x07FFFFA800001000, 0xD9: 0x400000000007C7FE,
    0xDA: 0x0000820000000000, 0xDB: 0x0000000000001000, 0xE0: 0x37FFCFF0FFFFFFFF,
    0xE1: 0x0C000000C0000009, 0xE2: 0x0000000073F20377, 0xE3: 0x000000000000002F,
    0xE4: 0xFF00000000000000, 0xE5: 0xFF87E0BFB87BFFEB, 0xE6: 0x1FFFF02BFFF6FF1B,
    0xE7: 0x7C36FFF63E31C312, 0xE8: 0xE0FFE7CE0201BF8F, 0xE9: 0x4800024F3FFC108F,
    0xEA: 0x03AF000000000000, 0xEB: 0x014D86EBC019AC34, 0xEC: 0x024500D17FE00C7C,
    0xED: 0x000000000320141A, 0xEF: 0xF100000000000004,
}  # fmt: skip
"""UTF-8 lead byte → bit mask of the second bytes (0x80 plus the bit's number) with which the pair
is one token in cl100k_base and in o200k_base: a character of two bytes then costs one token, one of
three bytes at most two. Without the bit, a character costs one token per byte: the upper bound of
every byte-level BPE."""

_WORDS = (
    "the of and to in or for with this that shall any by be as such not from will which on is are "
    "at an all its has have may other under it was were he she his her they their you we our can "
    "but if no one would been who more when out up so what said there about than into could them "
    "only some time these two like then also"
)


def _estimate_pattern() -> re.Pattern[bytes]:
    """One match per estimated token; together the matches are the whole text."""
    words = b"|".join(sorted(_WORDS.encode().split(), key=len, reverse=True))
    pairs = (
        re.escape(bytes([lead]))
        + b"["
        + bytes(0x80 + bit for bit in range(64) if mask >> bit & 1)
        + b"]"
        for lead, mask in _CHEAP.items()
    )
    pieces = (
        b" (?:" + words + b")(?![a-z])",  # the commonest English words are one token in both tables
        # Two to four letters around a vowel make one token, others one each: 1.7 times the truth
        # on English prose, and above it even on random letters (plain four-letter pieces: half).
        b" ?[A-Za-z](?:[aeiouy][a-z]{0,2}|[a-z][aeiouy])?",
        b" {1,8}|\n\n?",
        *pairs,
        b"\xf0\x9f",  # emoji: three tokens at most, other characters of four bytes four
        b".",  # a digit each, as many open models have it; punctuation; the other bytes
    )
    return re.compile(b"|".join(pieces), re.DOTALL)


_PIECE = _estimate_pattern()


@dataclass(frozen=True, slots=True)
class EstimateTokenizer:
    """An upper estimate without tables, for models whose tokenizer is unknown.

    Measured against the larger count of cl100k_base and o200k_base: English prose 1.7 times, legal
    text 1.9, code 2.1, JSON 1.8, digits 2.4, Chinese 1.3 to 1.6, Russian 1.8 to 2.2, Arabic 1.4;
    random letters 1.1, random characters of any script 1.0. Ids are checksums of the pieces: the
    same in every process.
    """

    name: str = field(default="estimate", init=False)
    exact: bool = field(default=False, init=False)

    def encode(self, text: str) -> Sequence[int]:
        """One pseudo-id per estimated token, in 0..2**32-1; equal pieces have equal ids."""
        return list(map(zlib.crc32, self.pieces(text)))

    def pieces(self, text: str) -> list[bytes]:
        """The pieces that it takes for a token each, in UTF-8."""
        return _PIECE.findall(text.encode("utf-8", "surrogatepass"))


# -- which one ------------------------------------------------------------------------------------


def tokenizer_for(model: str | None = None) -> Tokenizer:
    """The tokenizer of a model, or of an encoding; never raises, never hangs.

    Args:
        model: a model ("gpt-4o", "openai/gpt-4o", "azure/gpt-4o", "ft:gpt-4o-mini:org::id") or one
            of tiktoken's encodings ("cl100k_base"); None or blank: o200k_base.

    Returns:
        An exact tokenizer, or `EstimateTokenizer` when the model is unknown or its tables cannot
        be had; then one `TokenizerWarning` per reason and process says why.
    """
    return _LOADER.tokenizer(model)


_HOST = "https://openaipublic.blob.core.windows.net/"
_TABLES: Mapping[str, tuple[str, ...]] = {
    "gpt2": ("gpt-2/encodings/main/vocab.bpe", "gpt-2/encodings/main/encoder.json"),
    "r50k_base": ("encodings/r50k_base.tiktoken",),
    "p50k_base": ("encodings/p50k_base.tiktoken",),
    "p50k_edit": ("encodings/p50k_base.tiktoken",),
    "cl100k_base": ("encodings/cl100k_base.tiktoken",),
    "o200k_base": ("encodings/o200k_base.tiktoken",),
    "o200k_harmony": ("encodings/o200k_base.tiktoken",),
}
"""Files of each encoding; tiktoken caches each under the SHA-1 of its address."""


class _Loader:
    """Finds the tables of each encoding once, and warns once per reason."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, Tokenizer] = {}
        self._reasons: dict[str, str] = {}
        self._warned: set[str] = set()

    def tokenizer(self, model: object) -> Tokenizer:
        """See `tokenizer_for`; `model` may be anything, frameworks hand in anything."""
        name = _encoding_name(model)
        if name is None:
            reason = f"the tokenizer of the model {str(model)[:100]!r} is not known"
            self._warn(reason)
            return EstimateTokenizer()
        with self._lock:
            if name not in self._found:
                self._find(name)
            found = self._found[name]
        if not found.exact:
            self._warn(self._reasons[name])
        return found

    def _find(self, name: str) -> None:
        tried: list[str] = []
        encoding = tiktoken.registry.ENCODINGS.get(name) or _from_disk(name, tried)
        if encoding is None:
            encoding = _from_network(name, tried)
        if encoding is None:
            self._reasons[name] = f"no tables for the encoding {name!r} ({'; '.join(tried)})"
        self._found[name] = TiktokenTokenizer(name, encoding) if encoding else EstimateTokenizer()

    def _warn(self, reason: str) -> None:
        with self._lock:
            if reason in self._warned:
                return
            self._warned.add(reason)
        warnings.warn(
            f"{reason}. Token counts are estimates, on purpose too high (about 1.7 times the truth "
            "for English prose), so that a budget holds although it is not used up. For exact "
            "counts set TIKTOKEN_CACHE_DIR to a folder that holds tiktoken's tables, or hand in a "
            "tokenizer: Policy(tokenizer=…).",
            TokenizerWarning,
            stacklevel=4,
        )


_LOADER = _Loader()


def _encoding_name(model: object) -> str | None:
    """The encoding that a model name stands for, None when tiktoken does not know it."""
    if model is None or model == "":
        return DEFAULT_ENCODING
    known = _constructors()
    name = re.sub(r"(^|/)ft:", r"\1", str(model).strip().lower())
    # Provider prefixes end in a slash, a colon (init_chat_model) or a dot (Bedrock): try the whole
    # name, then what follows each of them.
    for start in (0, *(match.end() for match in re.finditer(r"[/:.]", name[:200]))):
        tail = name[start:]
        # A fine-tune or a tag follows a colon; "-" at the end lets tiktoken's prefixes match.
        for candidate in (tail, re.sub("[:@]", "-", tail) + "-", tail.partition(":")[0]):
            if candidate in known:
                return candidate
            try:
                return tiktoken.encoding_name_for_model(candidate)
            except KeyError:
                continue
    return None


def _constructors() -> Mapping[str, Callable[[], dict[str, Any]]]:
    """What builds each encoding that tiktoken and its plugins know, by name."""
    if tiktoken.registry.ENCODING_CONSTRUCTORS is None:
        with suppress(Exception):  # whatever a broken plugin raises
            tiktoken.list_encoding_names()  # fills it
    return tiktoken.registry.ENCODING_CONSTRUCTORS or {}


# -- where tables come from -----------------------------------------------------------------------


def _from_disk(name: str, tried: list[str]) -> tiktoken.Encoding | None:
    """The encoding, if one folder holds all its files: then tiktoken needs no network."""
    keys = [
        hashlib.sha1((_HOST + path).encode(), usedforsecurity=False).hexdigest()
        for path in _TABLES.get(name, ())
    ]
    for folder in _cache_folders():
        if keys and all(_is_file(folder / key) for key in keys):
            with _environment("TIKTOKEN_CACHE_DIR", str(folder)):
                encoding = _within(LOCAL_SECONDS, name, tried)
            if encoding is not None:
                return encoding
    tried.append("not in a cache folder of tiktoken, not in llama-index-core")
    return None


def _from_network(name: str, tried: list[str]) -> tiktoken.Encoding | None:
    """The encoding, if tiktoken gets its files within a few seconds and may try."""
    if os.environ.get("CTXGUARD_OFFLINE", "") not in ("", "0"):
        tried.append("not downloaded, CTXGUARD_OFFLINE is set")
        return None
    return _within(DOWNLOAD_SECONDS, name, tried)


def _cache_folders() -> Iterator[Path]:
    """Folders that may hold tables: tiktoken's own, then the one inside llama-index-core."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if folder := os.environ.get(variable):
            yield Path(folder)
    with suppress(OSError):  # no folder for temporary files at all
        yield Path(tempfile.gettempdir()) / "data-gym-cache"
    try:
        spec = importlib.util.find_spec("llama_index")  # the namespace only: imports nothing
    except (ImportError, ValueError, AttributeError):
        return
    for root in (spec and spec.submodule_search_locations) or ():
        yield Path(root) / "core" / "_static" / "tiktoken_cache"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be read
        return False


@contextmanager
def _environment(name: str, value: str) -> Generator[None]:
    """Set a variable and restore exactly what was there, unset included."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def _within(seconds: float, name: str, tried: list[str]) -> tiktoken.Encoding | None:
    """The encoding, built in a daemon thread that is left behind when it takes too long."""
    result: list[tiktoken.Encoding | BaseException] = []

    def build() -> None:
        try:
            result.append(_build(name))
        except BaseException as error:  # tiktoken's panics are BaseExceptions
            result.append(error)

    thread = threading.Thread(target=build, name="ctxguard-tokenizer", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # no threads here, or the interpreter is shutting down
        tried.append(f"could not load: {error}")
        return None
    thread.join(seconds)
    outcome = result[0] if result else TimeoutError(f"no answer within {seconds:g} s")
    if isinstance(outcome, tiktoken.Encoding):
        return outcome
    tried.append(f"could not load: {type(outcome).__name__}: {str(outcome)[:200]}")
    return None


def _build(name: str) -> tiktoken.Encoding:
    """What `tiktoken.get_encoding` does, without its lock.

    The lock would be held while a download hangs, and every other use of tiktoken in this process
    would hang with it. The registry still gets the encoding, so that tables are held once.
    """
    encoding = tiktoken.Encoding(**_constructors()[name]())
    return tiktoken.registry.ENCODINGS.setdefault(name, encoding)
