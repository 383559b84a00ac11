"""Facts of several words, of parts of words, and of scripts without words between spaces."""

from __future__ import annotations

import re

from ctxguard.text.facts.model import FactKind, Found
from ctxguard.text.facts.vocabulary import MODALS

__all__ = [
    "BOUND_HEADS",
    "find_other_scripts",
    "is_negative_word",
    "read_bound",
    "read_modal",
]

# -- bounds ---------------------------------------------------------------------------------------

_NUMBER_AHEAD = (
    r"(?=\s+(?:the\s+)?(?:[\d$€£¥]|usd|eur|gbp|us\$|one|two|three|four|five|six|seven|eight|nine|"
    r"ten|twelve|twenty|thirty|forty|fifty|sixty|ninety|half|a\s+(?:hundred|thousand|million)))"
)
_DATE_AHEAD = (
    r"(?=\s+(?:the\s+)?(?:\d|noon|midnight|end\b|close\b|jan|feb|mar|apr|may\b|june?\b|july?\b|"
    r"aug|sep|oct|nov|dec))"
)
_PHRASES = {
    "ge": (
        r"at\s+least|(?:no|not)\s+(?:be\s+)?(?:less|fewer|lower)\s+than|minimum\s+of"
        rf"|min\.?{_NUMBER_AHEAD}|greater\s+than\s+or\s+equal\s+to"
    ),
    "le": (
        r"at\s+(?:the\s+)?most|(?:no|not)\s+(?:be\s+)?(?:more|greater|higher)\s+than"
        rf"|not\s+(?:to\s+)?exceed(?:ing)?|up\s+to{_NUMBER_AHEAD}|maximum\s+of"
        rf"|max\.?{_NUMBER_AHEAD}|less\s+than\s+or\s+equal\s+to"
    ),
    "gt": (
        r"(?:more|greater|higher)\s+than|in\s+excess\s+of|exceed(?:s|ing)?\b"
        rf"|(?:over|above){_NUMBER_AHEAD}"
    ),
    "lt": rf"(?:less|fewer|lower)\s+than|(?:under|below){_NUMBER_AHEAD}",
    "until": (rf"(?:no|not)\s+later\s+than|on\s+or\s+before|(?:until|till)\b|by{_DATE_AHEAD}"),
    "since": r"(?:no|not)\s+(?:earlier|sooner)\s+than|on\s+or\s+after",
    "before": r"prior\s+to|before\b",
    "after": r"subsequent\s+to|after\b",
    "more": r"or\s+(?:more|above|over|greater|higher|later)\b",
    "less": r"or\s+(?:less|fewer|below|under|lower|earlier)\b",
}
_BOUND = re.compile(
    "|".join(f"(?P<{name}>{pattern})" for name, pattern in _PHRASES.items()), re.IGNORECASE
)
_BOUND_VALUES = {
    "ge": ">=", "le": "<=", "gt": ">", "lt": "<", "until": "until", "since": "from",
    "before": "before", "after": "after", "more": ">=", "less": "<=",
}  # fmt: skip
_HEADS = (
    "at no not minimum min maximum max greater less more fewer lower higher up in exceed exceeds "
    "exceeding over above under below on until till by prior before subsequent after or"
)
BOUND_HEADS = frozenset(_HEADS.split())
"""Words that a bound may begin with."""


def read_bound(text: str, start: int) -> Found | None:
    """The bound that a phrase at `start` sets: "no more than" and "up to" are "<="."""
    match = _BOUND.match(text, start)
    if match is None or match.lastgroup is None:
        return None
    return Found("bound", _BOUND_VALUES[match.lastgroup], start, match.end())


# -- modal verbs ----------------------------------------------------------------------------------

_NOT = re.compile(
    r"\*{0,3}\s+\*{0,3}not\b(?!\s+(?:(?:to\s+)?exceed|(?:be\s+)?(?:less|more|fewer|greater|later)\s))",
    re.IGNORECASE,
)


def read_modal(text: str, start: int, end: int) -> Found:
    """The modal verb from `start` to `end`, with the "not" that follows it."""
    value = MODALS[text[start:end].lower()]
    negation = _NOT.match(text, end)
    if negation is None:
        return Found("modality", value, start, end)
    return Found("modality", f"{value} not", start, negation.end())


# -- negation inside words ------------------------------------------------------------------------

_IN = (
    "valid|adequate|accurate|correct|complete|consistent|effective|eligible|applicable|sufficient|"
    "ability|active|admissible|appropriate|capable|competent|convenient|definite|dependent|direct|"
    "divisible|efficient|equitable|expensive|finite|formal|frequent|secure|solven|tangible|"
    "tolerant|visible|voluntary"
)
_IM = (
    "possible|proper|perfect|material|permissible|practicable|mature|mobile|partial|patient|"
    "plausible|prudent|pure"
)
_IR = "regular|relevant|responsible|reversible|revocable|replaceable|reparable|rational|respective"
_DIS = (
    "allow|agree|approv|connect|continu|honest|honou?r|inclin|like|loyal|obey|qualif|regard|satisf|"
    "similar|trust|abl|advantag|appear|card|charg|claim|clos|content|courag|credit|engag|entangl|"
    "integrat|order|organi|own|place|pos|prov|proportion|service|solv|unit"
)
_MIS = "represent|conduct|us|lead|manag|match|trust|understand|appropriat|classif|stat"
_NOT_NEGATIVE = "der|it|i[qvfoc]|ion|til|to$|less$|cle|ct|dul|anim|ix"
"""What follows "un" in words without a negation: under, unit, unique, until, uncle, unanimous."""
_NEGATIVE_WORD = re.compile(
    rf"non[a-z]{{5,}}|un(?!{_NOT_NEGATIVE})[a-z]{{3,}}|in(?:{_IN})\w*|im(?:{_IM})\w*"
    rf"|il(?:legal|licit|legible|logical|literate)\w*|ir(?:{_IR})\w*|dis(?:{_DIS})\w*"
    rf"|mis(?:{_MIS})\w*|[a-z]{{3,}}less(?:ly|ness)?"
)
_PREFIXES = ("un", "no", "in", "im", "il", "ir", "di", "mi")


def is_negative_word(word: str) -> bool:
    """Whether a lower-case word carries its negation inside it: "unable", "invalid", "useless"."""
    if not word.startswith(_PREFIXES) and "less" not in word:
        return False
    return _NEGATIVE_WORD.fullmatch(word) is not None


# -- scripts without words ------------------------------------------------------------------------

_OTHER_SCRIPTS: tuple[tuple[FactKind, str], ...] = (
    ("negation", "不|没|沒|無|无|非|未|勿|否|禁|ない|なかった|ません|않|없|아니|못|नहीं|बिना|मत"),
    ("number", "[〇零一二两兩三四五六七八九十百千万萬亿億壹贰貳叁參肆伍陆陸柒捌玖拾佰仟]+"),
    ("modality", "必须|必須|应当|應當|应|應|可以|得|하여야|चाहिए|सकता|सकते"),
)
_OTHER_SCRIPT = re.compile("|".join(f"({pattern})" for _, pattern in _OTHER_SCRIPTS))


def find_other_scripts(text: str) -> list[Found]:
    r"""Literal facts of Chinese, Japanese, Korean and Hindi, wherever they stand in the text.

    Chinese and Japanese put no spaces between words, and to Python's `\w` the vowel signs of Hindi
    are no letters, so these are not found as words.
    """
    return [
        Found(_OTHER_SCRIPTS[(match.lastindex or 1) - 1][0], match.group(), *match.span())
        for match in _OTHER_SCRIPT.finditer(text)
    ]
