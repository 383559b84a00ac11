"""HTML that a converter left in a text: tags that carry nothing, entities for characters.

A table's cells, superscripts, deletions and links are no such tags: `10<sup>2</sup>` is not 102.
"""

from __future__ import annotations

import html
import re

import numpy as np

from ctxguard.text.words import Words, words_of

__all__ = ["without_markup"]

_INLINE = "b|i|em|strong|u|span|font|small|mark|cite|q|tt"
_BLOCK = "p|br|div|ul|ol|li|h[1-6]|blockquote|section|article|header|footer|main|body|html|center"
_ATTRIBUTES = r"""(?:\s+(?:class|style|id|align|dir|lang|size|face|color|data-[\w-]{1,40})
    \s*=\s*(?:"[^"<>]{0,300}"|'[^'<>]{0,300}'|[^\s"'<>]{1,100}))*"""
_MARKUP = re.compile(
    rf"""
    </? (?: (?P<inline>{_INLINE}) | (?P<block>{_BLOCK}) ) {_ATTRIBUTES} \s* /? >
  | (?P<entity> &(?: amp|nbsp|quot|apos|[lr]squo|[lr]dquo|[mn]dash|lt|gt|sect|hellip|bull|middot
    | copy|reg|trade|euro|pound | \#\d{{1,6}} | \#x[0-9a-f]{{1,5}} ); )
    """,
    re.VERBOSE | re.IGNORECASE,
)


def without_markup(words: Words) -> Words:
    """Words of the text as a browser would show it, with spans of the text as it is.

    The same object where there is no markup. Linear in the length of the text.
    """
    text = words.text
    if "<" not in text and "&" not in text:
        return words
    pieces: list[str] = []
    origins: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    place = 0
    for match in _MARKUP.finditer(text):
        pieces.append(text[place : match.start()])
        origins.append(np.arange(place, match.start()))
        shown = _shown(match)
        pieces.append(shown)
        origins.append(np.full(len(shown), match.start()))
        place = match.end()
    if not pieces:
        return words
    pieces.append(text[place:])
    origins.append(np.arange(place, len(text)))
    origin = np.concatenate(origins)
    found = words_of("".join(pieces))
    spans = [(int(origin[start]), int(origin[end - 1]) + 1) for start, end in found.spans]
    return Words(text=text, keys=found.keys, spans=spans)


def _shown(match: re.Match[str]) -> str:
    if match["entity"]:
        return html.unescape(match.group())
    return "\n" if match["block"] else ""
