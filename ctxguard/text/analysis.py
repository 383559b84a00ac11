"""What is known about a text, computed once per distinct text and shared by every stage."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ctxguard.text.facts import Fact, extract_facts
from ctxguard.text.ids import byte_lengths, ids_of, known_byte_lengths
from ctxguard.text.lexicon import WordHashes, hash_words
from ctxguard.text.normalise import normalise
from ctxguard.text.recent import Recent
from ctxguard.text.sentences import Span, split_sentences
from ctxguard.text.tokens import Tokenizer, tokenizer_for

__all__ = ["Analysis", "Analyzer", "default_analyzer", "shared_analyzer"]

T = TypeVar("T")

_MAX_BYTES = 64 * 1024 * 1024
_MAX_RECENT = 32 * 1024 * 1024
_BYTES_PER_ANALYSIS = 512
_BYTES_PER_SENTENCE = 128
_BYTES_PER_FACT = 384
"""What they weigh at most, with their strings and spans (measured: 110 and 200 to 350 bytes)."""


class Analysis:
    """A text, its token ids, and what was computed from it so far.

    `normalised`, `sentences`, `facts`, `words` and `token_ends` are computed at first use and kept.
    Two threads that ask at the same moment may both compute; both get equal values.
    """

    __slots__ = (
        "__weakref__",
        "_bounds",
        "_facts",
        "_grow",
        "_normalised",
        "_notes",
        "_sentences",
        "_tokenizer",
        "_words",
        "ids",
        "size",
        "text",
    )

    text: str
    """The text, as it came in."""
    ids: NDArray[np.int64]
    """Token ids of the budget's tokenizer, shape `(tokens,)`, read-only."""
    size: int
    """Bytes that it weighs, about; grows as parts are computed."""

    def __init__(
        self,
        text: str,
        ids: NDArray[np.int64],
        *,
        tokenizer: Tokenizer | None = None,
        grow: Callable[[Analysis, int], None] | None = None,
    ) -> None:
        """Hold what was tokenised.

        Args:
            text: the text.
            ids: its token ids, read-only.
            tokenizer: what gave the ids; None: every token is taken for equally long.
            grow: called with the bytes that a part adds, each time one was computed.
        """
        self.text = text
        self.ids = ids
        self.size = _BYTES_PER_ANALYSIS + sys.getsizeof(text) + ids.nbytes
        self._tokenizer = tokenizer
        self._grow = grow
        self._bounds: NDArray[np.int32] | None = None
        self._words: WordHashes | None = None
        self._normalised: str | None = None
        self._sentences: tuple[Span, ...] | None = None
        self._facts: tuple[Fact, ...] | None = None
        self._notes: dict[str, Any] | None = None

    @property
    def tokens(self) -> int:
        """How many tokens the text has."""
        return int(self.ids.size)

    @property
    def normalised(self) -> str:
        """The text with what cannot change a fact removed; equal for copies only."""
        if self._normalised is None:
            self._normalised = normalise(self.text)
            self._grown(sys.getsizeof(self._normalised))
        return self._normalised

    @property
    def sentences(self) -> tuple[Span, ...]:
        """Sentences as spans of characters, in order."""
        if self._sentences is None:
            self._sentences = split_sentences(self.text)
            self._grown(_BYTES_PER_SENTENCE * len(self._sentences))
        return self._sentences

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Material facts, ordered by span."""
        if self._facts is None:
            self._facts = extract_facts(self.text)
            self._grown(_BYTES_PER_FACT * len(self._facts))
        return self._facts

    @property
    def words(self) -> WordHashes:
        """A hash and a span for each word, in order."""
        words = self._words
        if words is None:
            words = hash_words([self.text])[0]
            self.give_words(words)
        return words

    @property
    def token_ends(self) -> NDArray[np.int32]:
        """Characters at which each token ends, one that it cuts included; shape `(tokens,)`."""
        return self._token_bounds()[1]

    def tokens_between(self, start: int, end: int) -> int:
        """How many tokens have a part in a span of characters.

        What the span costs in place: a token that reaches over an edge counts as a whole.
        """
        return int(self.tokens_of([(start, end)])[0])

    def tokens_of(self, spans: Sequence[Span] | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """`tokens_between` for many spans at once; shape `(spans,)`."""
        edges = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
        starts, ends = self._token_bounds()
        counts = starts.searchsorted(edges[:, 1]) - ends.searchsorted(edges[:, 0], side="right")
        return np.maximum(counts, 0)  # a span that ends before it starts

    @property
    def knows_token_ends(self) -> bool:
        """Whether `token_ends` has been computed."""
        return self._bounds is not None

    def give_token_bounds(self, bounds: NDArray[np.int32]) -> None:
        """Keep where tokens start and end that somebody else read, unless they miss the text."""
        if self._bounds is None and bounds.size and int(bounds[1, -1]) == len(self.text):
            bounds.flags.writeable = False
            self._bounds = bounds
            self._grown(bounds.nbytes)

    @property
    def known_words(self) -> WordHashes | None:
        """`words` if they have been read, else None."""
        return self._words

    def give_words(self, words: WordHashes) -> None:
        """Keep the words that somebody else read, in a batch."""
        if self._words is None:
            self._words = words
            self._grown(words.nbytes)

    def note(self, name: str, compute: Callable[[Analysis], tuple[T, int]]) -> T:
        """What a stage computes from the text alone, and asks for again; kept like the rest.

        Args:
            name: of what is computed; whoever asks under it gets what the first one computed.
            compute: gives the value and its bytes, about.
        """
        notes: dict[str, Any] = self._notes or {}
        if name not in notes:
            value, size = compute(self)
            self._notes = {**(self._notes or {}), name: value}
            self._grown(size)
            return value
        return notes[name]

    def _token_bounds(self) -> NDArray[np.int32]:
        """Characters where the tokens start and where they end; shape `(2, tokens)`."""
        if self._bounds is None:
            self._bounds = _bounds(self._tokenizer, self.text, self.ids)
            self._grown(self._bounds.nbytes)
        return self._bounds

    def _grown(self, size: int) -> None:
        if self._grow is not None:
            self._grow(self, size)

    def __repr__(self) -> str:
        """The size and the beginning of the text."""
        return f"Analysis(tokens={self.tokens}, text={self.text[:40]!r})"


class Analyzer:
    """Analyses texts with one tokenizer and remembers the ones used last; thread-safe.

    Copies and pickles carry the tokenizer and the limit, not the cache.
    """

    __slots__ = (
        "__weakref__",
        "_bytes",
        "_cache",
        "_left",
        "_lock",
        "max_bytes",
        "recent",
        "tokenizer",
    )

    recent: Recent
    """What stages found for the last few pools, for the stages that come after; by bytes."""

    def __init__(self, tokenizer: Tokenizer, *, max_bytes: int = _MAX_BYTES) -> None:
        """Make an empty cache.

        Args:
            tokenizer: counts. What its `encode` raises, `analyse` and `count` raise.
            max_bytes: what the analyses in the cache may weigh together.
        """
        self.tokenizer = tokenizer
        self.max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self.recent = Recent(_MAX_RECENT)
        # The text itself is the key: an Analysis holds it anyway, its hash is computed once per
        # object, and there are no collisions (1,000 characters: 0.5 µs; with blake2b 3 µs).
        self._cache: OrderedDict[str, Analysis] = OrderedDict()
        # What the cache has let go and somebody still holds: a pool that is larger than the cache
        # is not tokenised again by every stage.
        self._left: WeakValueDictionary[str, Analysis] = WeakValueDictionary()

    def analyse(self, text: str) -> Analysis:
        """The analysis of a text, from the cache where it is there.

        The lock is not held while the tokenizer works: two threads with the same new text may
        both tokenise it, and get the same object afterwards.
        """
        with self._lock:
            known = self._find(text)
        return known or self._remember([self._new(text)])[0]

    def analyse_all(self, texts: Sequence[str]) -> list[Analysis]:
        """The analyses of many texts, in order; each distinct text is tokenised once.

        Who holds the list shares it: as long as they are alive, `analyse` finds these analyses,
        also when they are too many for the cache.
        """
        with self._lock:
            found = {text: self._find(text) for text in texts}
        new = [self._new(text) for text, known in found.items() if known is None]
        found |= {analysis.text: analysis for analysis in self._remember(new)}
        return [analysis for text in texts if (analysis := found[text]) is not None]

    def words_of(self, texts: Sequence[str]) -> list[WordHashes]:
        """The words of many texts, in order, read in one go; nothing is tokenised for it."""
        with self._lock:
            known = [self._find(text) for text in texts]
        words = [analysis and analysis.known_words for analysis in known]
        missing = [place for place, found in enumerate(words) if found is None]
        new = hash_words([texts[place] for place in missing])
        for place, found in zip(missing, new, strict=True):
            analysis = known[place]
            if analysis is not None:
                analysis.give_words(found)
            words[place] = found
        return [found for found in words if found is not None]

    def read_token_ends(self, analyses: Sequence[Analysis]) -> None:
        """Find where the tokens of many texts end in one go, before each is asked."""
        # Texts whose characters are bytes; the others are read one by one.
        new = [one for one in analyses if one.text.isascii() and not one.knows_token_ends]
        ids = np.concatenate([np.zeros(0, dtype=np.int64), *(one.ids for one in new)])
        lengths = known_byte_lengths(self.tokenizer, ids)
        if lengths is None:
            return
        ends = np.cumsum(np.concatenate([[0], lengths]))
        edges = np.cumsum([0, *(one.tokens for one in new)])
        bounds = np.stack([ends[:-1], ends[1:]])
        bounds -= np.repeat(ends[edges[:-1]], np.diff(edges))
        bounds = bounds.astype(np.int32)
        for one, first, last in zip(new, edges.tolist(), edges[1:].tolist(), strict=False):
            one.give_token_bounds(bounds[:, first:last].copy())

    def count(self, text: str) -> int:
        """How many tokens the text has."""
        return self.analyse(text).tokens

    def _new(self, text: str) -> Analysis:
        ids = ids_of(self.tokenizer, text)
        return Analysis(text, ids, tokenizer=self.tokenizer, grow=self._grow)

    def _find(self, text: str) -> Analysis | None:
        """What is known of a text; the lock is held."""
        known = self._cache.get(text)
        if known is not None:
            self._cache.move_to_end(text)
        elif self._left:
            known = self._left.get(text)
        return known

    def _remember(self, analyses: Sequence[Analysis]) -> list[Analysis]:
        """The analyses, or those of the same texts that another thread was faster with."""
        kept: list[Analysis] = []
        with self._lock:
            for analysis in analyses:
                known = self._cache.get(analysis.text)
                if known is None:
                    known = self._cache[analysis.text] = analysis
                    self._bytes += analysis.size
                kept.append(known)
            self._forget()
        return kept

    def _grow(self, analysis: Analysis, size: int) -> None:
        """Count what was computed later, as long as the cache holds the analysis."""
        with self._lock:
            if self._cache.get(analysis.text) is analysis:
                analysis.size += size
                self._bytes += size
                self._forget()

    def _forget(self) -> None:
        """Drop what was used longest ago, until the rest keeps to the limit."""
        while self._bytes > self.max_bytes:
            text, oldest = self._cache.popitem(last=False)
            self._bytes -= oldest.size
            self._left[text] = oldest

    def __copy__(self) -> Analyzer:
        """A new one with the same tokenizer and an empty cache."""
        return Analyzer(self.tokenizer, max_bytes=self.max_bytes)

    def __deepcopy__(self, _memo: dict[int, Any]) -> Analyzer:
        """As `copy`: tokenizers are shared, some of them cannot be copied."""
        return self.__copy__()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the tokenizer and the limit."""
        return (_restore, (self.tokenizer, self.max_bytes))

    def __repr__(self) -> str:
        """The tokenizer and how full the cache is."""
        return (
            f"Analyzer({self.tokenizer!r}, {len(self._cache)} texts, "
            f"{self._bytes:,} of {self.max_bytes:,} bytes)"
        )


@lru_cache(maxsize=1)
def default_analyzer() -> Analyzer:
    """The Analyzer that everything shares which was not given one: o200k_base or the estimate."""
    return shared_analyzer(tokenizer_for())


_shared: WeakValueDictionary[int, Analyzer] = WeakValueDictionary()
_sharing = threading.Lock()


def shared_analyzer(tokenizer: Tokenizer) -> Analyzer:
    """The one Analyzer of this process for a tokenizer, as long as somebody holds it.

    A guard for every tenant would otherwise have a cache of its own, of up to 96 MB. What it knows
    of a text depends on the text and the tokenizer alone.
    """
    with _sharing:
        found = _shared.get(id(tokenizer))  # an analyzer holds its tokenizer, so the id stays its
        if found is None:
            found = _shared[id(tokenizer)] = Analyzer(tokenizer)
        return found


def _restore(tokenizer: Tokenizer, max_bytes: int) -> Analyzer:
    return Analyzer(tokenizer, max_bytes=max_bytes)


def _bounds(tokenizer: Tokenizer | None, text: str, ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """Where tokens start and end, in characters, both with those of which they have a byte."""
    if tokenizer is None:
        size = len(text.encode("utf-8", "surrogatepass"))
        lengths = np.diff(np.arange(ids.size + 1, dtype=np.int64) * size // max(1, ids.size))
    else:
        lengths = byte_lengths(tokenizer, text, ids)
    bounds = np.empty((2, ids.size), dtype=np.int32)
    ends = lengths.cumsum()
    starts = ends - lengths
    if not text.isascii():
        raw = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        # Characters begun before each byte, so that byte offsets become character offsets.
        begun = np.concatenate([[0], np.cumsum((raw & 0xC0) != 0x80)])
        starts, ends = begun[np.minimum(starts + 1, raw.size)] - 1, begun[ends]
    bounds[0], bounds[1] = starts, ends
    bounds.flags.writeable = False
    return bounds
