"""What a sentence of an answer is: a claim, or a question, a hedge, a refusal, small talk."""

from __future__ import annotations

import re

from ctxguard.types import ClaimKind

__all__ = ["kind_of"]

_END = re.compile(r"[?\uff1f\u061f][\"'\u201d\u2019\u00bb)\]*_\s]*\Z")
_SOURCES = (
    r"(?:context|documents?|evidence|passages?|sources?|texts?|excerpts?|materials?|"
    r"information|data|search results?|question)"
)
_REFUSAL = re.compile(
    rf"""\b(?:
      i(?:\ am|'m)\ (?:not\ (?:sure|able|aware|certain)|unable|sorry|afraid)
    | i\ (?:do\ not|don't|cannot|can't|can\ not|could\ not|couldn't|was\ unable\ to)\b
    | we\ (?:cannot|can't|can\ not)\ (?:tell|say|know|determine)
    | (?:it|this)\ (?:is\ not|isn't|cannot\ be|can't\ be)\ (?:clear|known|possible|determined)\b
      (?=.{{0,60}}\b(?:from|whether|to\ (?:say|tell|determine)|in)\b)
    | {_SOURCES}\ (?:\w+\ )?(?:do|does|did)(?:\ not|n't)\ (?:\w+\ )?
      (?:contain|mention|say|state|specify|provide|include|address|indicate|give|answer|cover)
    | not\ (?:explicitly\ |directly\ )?(?:mentioned|specified|stated|provided|given|covered|
      addressed|available|included|found)\ (?:in|by)\ (?:the|this|these|any|your)[ ]
      (?:\w+\ )?{_SOURCES}
    | (?:there\ is\ |contains?\ |have\ |has\ )?no\ (?:information|mention|answer|details?)[ ]
      (?:\w+\ )?(?:about|on|of|in|regarding|to)\b
    | (?:not\ enough|insufficient)\ (?:information|context|evidence|data)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_HEDGE = re.compile(
    r"""\A\W*(?:(?:but|and|so|then|however),?\ )?(?:
      i\ (?:think|believe|guess|assume|suppose|suspect|would\ (?:guess|assume|say))\b
    | (?:perhaps|maybe|possibly|presumably|probably|conceivably)\b
    | it\ (?:seems|appears|may\ be|might\ be|could\ be|is\ (?:possible|likely|plausible))\b
    | (?:my|a)\ (?:best\ )?guess\b
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_CHAT = re.compile(
    r"""\A\W*(?:
      (?:sure|certainly|of\ course|absolutely|great|okay|ok|hello|hi|hey|welcome|sorry|
         good\ (?:question|morning|afternoon|evening)|great\ question|thanks|thank\ you|cheers)\b
         (?:\W+\w+){0,3}\W*\Z
    | you(?:'re|\ are)\ welcome\b
    | (?:i\ )?hope\ (?:this|that|it)\ (?:helps|clarifies|answers)\b
    | (?:please\ )?(?:let\ me\ know|feel\ free\ to)\b
    | (?:happy|glad)\ to\ help\b
    | if\ you\ (?:have|need)\ (?:any\ )?(?:further|more|other|additional)\b
    | (?:here|below)\ (?:is|are|'s)\ [^.]{0,80}:\W*\Z
    | here's\ [^.]{0,80}:\W*\Z
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_START = 400
"""Characters in which a sentence shows what it is; a longer one claims something."""


def kind_of(sentence: str) -> ClaimKind:
    """What a sentence of running text is, by how it begins and ends (English, "?" in any language).

    In doubt it is a statement: a statement that is taken for small talk is not checked.
    """
    if _END.search(sentence[-40:]):
        return "question"
    start = " ".join(sentence[:_START].replace("\u2019", "'").split())
    if len(sentence) > _START or not start.isprintable():
        return "statement"
    if _CHAT.match(start):
        return "chat"
    if _REFUSAL.search(start):
        return "refusal"
    return "hedge" if _HEDGE.match(start) else "statement"
