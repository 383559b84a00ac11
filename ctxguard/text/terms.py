"""Terms: what the words of a question and of its chunks are compared by."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["FUNCTION_WORDS", "read_word", "term_of"]


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


FUNCTION_WORDS = _words(
    "a about above after again against all also although am among an and another any are as",
    "at be became because been before being below between both but by can cannot could did",
    "do does doing don down during each either else ever every few for from further get",
    "gets give given gives had has have having he her here hers herself him himself his how",
    "however i if in into is it its itself just know known let like ll made make makes many",
    "may me might mine more most much must my myself name named neither no nor not now of",
    "off on once one only onto or other others ought our ours ourselves out over own per",
    "please same shall she should so some such t tell than that the their theirs them",
    "themselves then there thereby therein these they this those though through thus to",
    "together too under until up upon us use used uses using ve very via was we were what",
    "whatever when where whether which while who whoever whom whose why will with within",
    "without would yes yet you your yours yourself",
)
"""English words that say how a sentence is built or a question asked, not what it is about. They
count for nothing, so that a question's terms are known even in a pool of two chunks, where how
often a word occurs says little."""

_DERIVED = (
    *("isation", "ization", "ational", "fulness", "ousness", "iveness", "ibility", "ability"),
    *("ement", "ation", "ition", "ator", "itor", "ment", "ness", "able", "ible", "ance", "ence"),
    *("ancy", "ency", "ally", "ate", "ize", "ise", "ion", "ive", "iv", "ity", "ism", "ist", "ful"),
    *("ous", "ant", "ent", "al", "at", "er", "or", "ee", "ly", "ic"),
)
"""Endings that make one word of another, the longest first; five letters must be left."""
_VOWEL = re.compile(r"[aeiouy]")
_MAX_WORD = 40
"""Letters beyond which nothing is reduced: such a word is an identifier or noise."""


def read_word(form: str) -> tuple[str, str]:
    """A word in lower case without what says nothing in it, and its term.

    The same for all spellings that have one hash in `ctxguard.text.lexicon`.
    """
    word = unicodedata.normalize("NFKC", form).casefold()
    if not word.isalnum():  # what says nothing in a word: a soft hyphen, a zero-width space
        word = "".join(filter(str.isalnum, word))
    return word, term_of(word)


def term_of(word: str) -> str:
    """The term that a written word is a form of: `terminate`, `Termination` give `termin`.

    Function words give the empty string. Light suffix stripping in the manner of Porter (1980):
    inflection first, then derivation as long as five letters stay. It only ever decides how much
    a sentence counts, so that a pair of words brought together wrongly costs a little order.
    """
    word = word.casefold()
    if word in FUNCTION_WORDS:
        return ""
    if len(word) < 4 or len(word) > _MAX_WORD or not (word.isascii() and word.isalpha()):
        return word
    stem = _without_inflection(word)
    for _ in range(2):
        stem = _without_derivation(stem)
    return _spelled_alike(stem)


def _without_inflection(word: str) -> str:
    """A word without plural, past and progressive endings."""
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word[-1] == "s" and word[-2] not in "sui":
        word = word[:-1]
    for ending in ("ing", "ed"):
        stem = word[: -len(ending)]
        if word.endswith(ending) and len(stem) > 2 and _VOWEL.search(stem):
            doubled = stem[-1] == stem[-2] and stem[-1] not in "lsz"
            return stem[:-1] if doubled else stem
    return word


def _without_derivation(stem: str) -> str:
    if stem.endswith("bility") and len(stem) < 11:
        stem = stem[:-6] + "ble"
    for ending in _DERIVED:
        if stem.endswith(ending) and len(stem) - len(ending) > 4:
            return stem[: -len(ending)]
    return stem


def _spelled_alike(stem: str) -> str:
    """British and American spelling, and a final e or y that an ending would have replaced."""
    if len(stem) > 3 and stem[-1] in "eyi":
        stem = stem[:-1]
    if stem.endswith("our") and len(stem) > 4:
        return stem[:-3] + "or"
    return stem[:-2] + "ns" if stem.endswith("nc") and len(stem) > 4 else stem
