"""Whether a claim is in another language than the evidence, by script and function words."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["language_of"]

_FUNCTION_WORDS = {
    "en": "the of and to in is that for it was with as on are be this by from at which or an not",
    "de": "der die das und ist nicht ein eine zu den mit von auf für im dem sich des auch werden",
    "fr": "le la les des et est une un dans pour que qui sur pas par du au avec ce sont",
    "es": "el la los las de y es una un en que para por con del no se su al como",
    "it": "il la le di e che un una per non con del della è sono nel alla si da",
    "pt": "o a os as de e que um uma para com não do da em no na é se por",
    "nl": "de het een en van is dat niet op te voor met zijn in aan er ook door",
    "pl": "i w na z do nie jest się że to o jak po od za przez",
    "sv": "och att det är som en på för av med inte den till ett har",
}
_WORDS = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}
_LEAST = 2
"""Function words that a language must be ahead of the others, and have, to be told."""
_READ = 400
"""Words of a text in which its language shows."""


def language_of(keys: Iterable[str]) -> str:
    """The language of a text, or its script where that says enough; blank if it cannot be told.

    Args:
        keys: its words, case folded.
    """
    words = [key for key in keys if key.isalpha()][:_READ]
    scripts = Counter(_script(key[0]) for key in words)
    if not scripts:
        return ""
    script, count = scripts.most_common(1)[0]
    if script != "LATIN":
        return script if 2 * count > len(words) else ""
    words = [key for key in words if len(key) > 1]  # "A.F.C." is no Portuguese
    counts = sorted(
        ((sum(word in known for word in words), language) for language, known in _WORDS.items()),
        reverse=True,
    )
    (most, language), (second, _) = counts[0], counts[1]
    return language if most >= _LEAST + second else ""


@lru_cache(maxsize=1 << 12)
def _script(character: str) -> str:
    name = unicodedata.name(character, "")
    script = name.partition(" ")[0]
    return "HAN" if script in ("CJK", "HIRAGANA", "KATAKANA") else script
