"""Signals: what a question shows of how hard it is, as numbers, without a model.

They are of three groups. *Work* is what more of never makes a question easier: length, sentences,
figures, conditions, negations. *Style* is how it is put. *Choices* are of questions that come with
the answers to choose from. A group that a question does not have is missing (NaN) and counts as
average.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ctxguard.text.analysis import Analysis
from ctxguard.text.encoders import StaticEncoder, static_encoder
from ctxguard.text.sentences import Span

__all__ = [
    "CHOICES",
    "SIGNALS",
    "STYLE",
    "WORK",
    "describe",
    "named_signals",
    "signals_of",
    "signals_row",
]

Floats: TypeAlias = NDArray[np.float64]

_WORK = {
    "words": "words",
    "sentences": "sentences",
    "longest_sentence": "length of the longest sentence",
    "numbers": "numbers, in figures or in words",
    "distinct_numbers": "different numbers",
    "symbols": "mathematical symbols",
    "brackets": "brackets",
    "clauses": "commas, semicolons and colons",
    "conditions": "conditions (if, suppose, would)",
    "negations": "negations (not, except, least)",
    "quantifiers": "quantifiers (each, twice, more than)",
    "connectives": "connectives (and, because, which)",
    "enumerated": "numbered statements",
}
_STYLE = {
    "number_share": "share of numbers",
    "words_per_sentence": "words per sentence",
    "letters_per_word": "letters per word",
    "long_words": "share of long words",
    "connective_share": "share of connectives",
    "distinct_words": "share of words that do not repeat",
    "first_person": "said in the first person",
    "second_person": "said to a reader",
    "asks_which": "asks which",
    "asks_what": "asks what",
    "asks_how": "asks how",
    "asks_who": "asks who",
    "asks_how_many": "asks how many or how much",
    "question_mark": "a question mark",
    "quotes": "quotation marks",
    "emphasis": "a word in capitals (NOT, EXCEPT)",
    "rarity": "rare words",
    "top_rarity": "the rarest words",
}
_CHOICES = {
    "option_words": "length of the options",
    "option_spread": "options of different lengths",
    "option_similarity": "options like each other",
    "option_nearest": "two options that are alike",
    "option_overlap": "options that share words",
    "option_stem": "options like the question",
    "option_range": "options unequally like the question",
    "numeric_options": "options with numbers",
    "option_rarity": "rare words in the options",
    "option_negation": "negations in the options",
    "all_of_them": "all, none or both of the options",
}
WORK, STYLE, CHOICES = tuple(_WORK), tuple(_STYLE), tuple(_CHOICES)
SIGNALS = (*WORK, *STYLE, *CHOICES)
"""Names of the signals, in the order of `signals_of`."""
_SAID = {**_WORK, **_STYLE, **_CHOICES}

_NOTE = "routing signals"
_MAX_CHARACTERS = 16_000
"""Read of a longer question: it is a document by then, and its length alone says so."""
_MAX_OPTIONS = 12
_LONG = 8
"""Letters of a long word."""
_TOP = 5
"""Words whose rarity is that of the rarest ones."""

_OPTION = re.compile(r"^[ \t]*\(?(?:[A-Ha-h]|[1-9]\d?)[.):][ \t]+(.*)$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d+(?:[.,]\d+)*")
_SYMBOL = re.compile(r"[=+*/^<>\u2264\u2265\u221a\u222b\u2211|\\_{}\[\]]|(?<=\d)-(?=\d)")
_CLAUSE = re.compile(r"[,;:]")
_QUOTE = re.compile(r'["\u201c\u201d]')
_EMPHASIS = re.compile(r"\b(?:NOT|EXCEPT|LEAST|NEVER|ALWAYS|ONLY|FALSE|INCORRECT)\b")
_HOW_MANY = re.compile(r"\bhow (?:many|much|long|far|old|often)\b", re.IGNORECASE)
_ENUMERATED = re.compile(
    r"\b(?:I{1,3}|IV|V)\b[.)]|\b[Ss]tatement \d|\b(?:first|second|third)\b|(?:^|\s)\(?\d[.)]\s"
)
_ALL_OF_THEM = re.compile(r"\b(?:all|none|both|neither) of\b", re.IGNORECASE)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _numbered(words: str, start: int, step: int = 1) -> dict[str, str]:
    return {word: str(start + step * place) for place, word in enumerate(words.split())}


_NEGATIONS = _set(
    "not no never none neither nor except without least cannot unless incorrect false untrue"
)
_CONDITIONS = _set(
    "if suppose assume assuming unless provided whether given when would could should might"
)
_QUANTIFIERS = _set(
    "each every per twice half double triple times total more less fewer than remaining left rest "
    "average percent ratio difference sum product altogether most both either only some any many "
    "much"
)
_CONNECTIVES = _set(
    "and then but because since while after before so therefore however although or which that who "
    "where"
)
_FIRST, _SECOND = _set("i my me we our us"), _set("you your")
_FIGURES = {
    **_numbered(
        "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen",
        2,
    ),
    **_numbered("twenty thirty forty fifty sixty seventy eighty ninety hundred", 20, 10),
    "dozen": "12",
    "thousand": "1000",
    "million": "1000000",
}
"""Numbers in words. "One" is not among them: it is a pronoun as often."""


def describe(name: str) -> str:
    """What a signal is, for a person."""
    return _SAID[name]


def signals_of(question: Analysis) -> Floats:
    """The signals of a question, shape `(len(SIGNALS),)`; read once and kept with the analysis."""
    return question.note(_NOTE, _read)


def named_signals(row: Floats) -> dict[str, float]:
    """The signals of a row by name, those left out that are missing; for a log without content."""
    return {
        name: float(f"{value:.9g}")
        for name, value in zip(SIGNALS, row.tolist(), strict=True)
        if not np.isnan(value)
    }


def signals_row(named: Mapping[str, float]) -> Floats:
    """The row of `named_signals`; a name that is not known here is of another release, and left.

    A signal that is not named is missing, and counts as average.
    """
    return np.array([named.get(name, np.nan) for name in SIGNALS], dtype=np.float64)


def _read(question: Analysis) -> tuple[Floats, int]:
    text = question.text[:_MAX_CHARACTERS]
    places = [found.span() for found in _OPTION.finditer(text)]
    end = places[0][0] if len(places) > 1 else len(text)
    stem = text[:end]
    encoder = static_encoder()
    words = [word.lower() for word in _WORD.findall(stem)]
    spans = [(start, min(stop, end)) for start, stop in question.sentences if start < end]
    options = [found[1] for found in _OPTION.finditer(text)][:_MAX_OPTIONS]
    values = [
        *_work(stem, words, spans),
        *_style(stem, words, max(1, len(spans)), encoder),
        *(_choices(text, stem, options, encoder) if len(places) > 1 else [np.nan] * len(CHOICES)),
    ]
    row = np.array(values, dtype=np.float64)
    row.flags.writeable = False
    return row, row.nbytes


def _log(count: float) -> float:
    return float(np.log1p(count))


def _count(words: Sequence[str], wanted: frozenset[str]) -> int:
    return sum(word in wanted for word in words)


def _share(words: Sequence[str], wanted: frozenset[str]) -> float:
    return _count(words, wanted) / max(1, len(words))


def _work(stem: str, words: Sequence[str], spans: Sequence[Span]) -> list[float]:
    figures = (_FIGURES.get(word, word) for word in words)
    numbers = [figure for figure in figures if figure[0].isdigit()]
    return [
        _log(len(words)),
        _log(len(spans)),
        _log(max((end - start for start, end in spans), default=0)),
        _log(len(numbers)),
        _log(len(set(numbers))),
        _log(len(_SYMBOL.findall(stem))),
        _log(stem.count("(")),
        _log(len(_CLAUSE.findall(stem))),
        _log(_count(words, _CONDITIONS)),
        _log(_count(words, _NEGATIONS)),
        _log(_count(words, _QUANTIFIERS)),
        _log(_count(words, _CONNECTIVES)),
        _log(len(_ENUMERATED.findall(stem))),
    ]


def _style(stem: str, words: Sequence[str], sentences: int, encoder: StaticEncoder) -> list[float]:
    letters = [word for word in words if not word[0].isdigit()]
    known = set(words)
    weights = np.sort(encoder.word_weights(letters)) if letters else np.zeros(1)
    return [
        (len(words) - len(letters)) / max(1, len(words)),
        len(words) / sentences,
        sum(map(len, letters)) / max(1, len(letters)),
        sum(len(word) >= _LONG for word in letters) / max(1, len(letters)),
        _share(words, _CONNECTIVES),
        len(known) / max(1, len(words)),
        float(not known.isdisjoint(_FIRST)),
        float(not known.isdisjoint(_SECOND)),
        *(float(asked in known) for asked in ("which", "what", "how", "who")),
        float(_HOW_MANY.search(stem) is not None),
        float("?" in stem),
        _log(len(_QUOTE.findall(stem))),
        float(_EMPHASIS.search(stem) is not None),
        float(weights.mean()),
        float(weights[-_TOP:].mean()),
    ]


def _choices(text: str, stem: str, options: Sequence[str], encoder: StaticEncoder) -> list[float]:
    said = [[word.lower() for word in _WORD.findall(option)] for option in options]
    sizes = [len(words) for words in said]
    mean = sum(sizes) / len(sizes)
    vectors = encoder.encode([*options, stem])
    alike = vectors[:-1] @ vectors[:-1].T
    pairs = alike[np.triu_indices(len(options), 1)]
    to_stem = vectors[:-1] @ vectors[-1]
    letters = [word for words in said for word in words if not word[0].isdigit()]
    return [
        _log(mean),
        float(np.std(sizes)) / (mean + 1),
        float(pairs.mean()),
        float(pairs.max()),
        _overlap(said),
        float(to_stem.mean()),
        float(to_stem.max() - to_stem.min()),
        sum(any(word[0].isdigit() for word in words) for words in said) / len(said),
        float(encoder.word_weights(letters).mean()) if letters else 0.0,
        sum(not _NEGATIONS.isdisjoint(words) for words in said) / len(said),
        float(_ALL_OF_THEM.search(text) is not None),
    ]


def _overlap(said: Sequence[Sequence[str]]) -> float:
    """Mean share of words that two options have in common (Jaccard)."""
    sets = [set(words) for words in said]
    shares = [
        len(one & other) / max(1, len(one | other))
        for place, one in enumerate(sets)
        for other in sets[:place]
    ]
    return sum(shares) / len(shares)
