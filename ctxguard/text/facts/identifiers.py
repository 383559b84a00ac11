"""What is compared letter by letter: addresses, codes, versions, references to a numbered part."""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re

from ctxguard.text.facts.model import Found
from ctxguard.text.facts.vocabulary import REFERENCE_HEADS

__all__ = [
    "read_address",
    "read_code",
    "read_digit_code",
    "read_glued",
    "read_isbn",
    "read_label",
    "read_reference",
    "read_version",
]

# Lengths are bounded: at every word of "a.a.a.a…" the rest of the run would be read again.
_ADDRESS = re.compile(
    r"(?:https?|ftp|file|s3|git|ssh)://[^\s<>\"'`{}|\\^]{1,2000}"
    r"|www\.[^\s<>\"'`{}|\\^]{1,2000}"
    r"|[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
    r"|(?:doi|urn|arxiv|mailto|isbn):[^\s<>\"'`]{1,200}",
    re.IGNORECASE,
)
_TRAILING = ".,;:!?)]'\"”’»"
_DOTTED = re.compile(r"\w{1,64}(?:\.\w{1,64}){1,16}(?!\w)(?:\(\))?")
_JOINED = re.compile(r"\w{1,64}(?:[-/]\w{1,64}){1,16}")
_PATH = re.compile(r"\w{1,64}(?:[/\\][\w.-]{1,64}){2,32}")


def read_address(text: str, start: int) -> Found | None:
    """The URL, e-mail address or the like that begins at `start`."""
    match = _ADDRESS.match(text, start)
    if match is None:
        return None
    value = match.group().rstrip(_TRAILING)
    if value.count("(") > value.count(")") and text.startswith(")", start + len(value)):
        value += ")"
    return Found("identifier", value, start, start + len(value))


def read_code(text: str, start: int) -> Found | None:
    """The code that begins with the word at `start`: "COVID-19", "config.yaml", "src/a/b".

    Joined words are a code when one of them has a digit or an underscore, when dots join them, or
    when they are a path of three parts.
    """
    if dotted := _DOTTED.match(text, start):
        value = dotted.group()
        if any(len(part) > 1 for part in value.split(".")):  # not "e.g" or "U.S"
            return Found("identifier", value, start, dotted.end())
        return None
    if joined := _JOINED.match(text, start):
        value = joined.group()
        if any(char.isdigit() or char == "_" for char in value):
            return Found("identifier", value, start, joined.end())
    if path := _PATH.match(text, start):
        return Found("identifier", path.group(), start, path.end())
    return None


_DIGIT_CODE = re.compile(r"\w+(?:[-.:]\w*\d\w*)*")
_DIGIT_GROUPS = re.compile(
    r"(?!\d{1,3}(?:\.\d{3})+(?:,\d|(?![\w.])))\d+(?:\.\d+){2,}(?:[-+]?\w+)?"
    r"|\d+(?:-\d+){2,}(?!\w)"
)


def read_digit_code(text: str, start: int) -> Found | None:
    """The code of digits that begins at `start`: "1.2.3", "978-3-16-148410-0", "10.0.0.1".

    Groups of three digits, as in "1.234.567", are left to the numbers.
    """
    match = _DIGIT_GROUPS.match(text, start)
    return Found("identifier", match.group(), start, match.end()) if match else None


def read_glued(text: str, start: int) -> Found:
    """Digits with letters at them that are no unit: "3f2a-11", "4WD", "10b"; always a code."""
    match = _DIGIT_CODE.match(text, start)
    end = match.end() if match else start + 1
    return Found("identifier", text[start:end], start, end)


_ISBN = re.compile(r"(?:-1[03])?:?\s?((?:97[89][- ]?)?\d[\d -]{7,12}[\dXx])(?!\w)")


def read_isbn(text: str, start: int, end: int) -> Found | None:
    """The number after the word ISBN from `start` to `end`, without its hyphens."""
    match = _ISBN.match(text, end)
    if match is None:
        return None
    value = "ISBN " + re.sub("[ -]", "", match[1]).upper()
    return Found("identifier", value, start, match.end())


_VERSION = re.compile(
    r"(?:(?:versions?|ver|release|revision|rev)\b\.?\s{0,2}v?|v\.?\s?)"
    r"(?P<number>\d+(?:\.\d+)*(?:[-.+]?(?:alpha|beta|rc|dev|post|pre|a|b)[-.]?\d*(?!\w)|[a-z](?!\w))?)(?!\w)",
    re.IGNORECASE,
)


def read_version(text: str, start: int) -> Found | None:
    """The version that begins at `start`: "v1.2.3", "Version 2.0"; 2.0 is not 2."""
    match = _VERSION.match(text, start)
    return Found("version", match["number"].lower(), start, match.end()) if match else None


_LABEL = re.compile(
    r"(?P<dot>\.)?\s{0,2}(?:[Nn]o\.?\s?|#)?"
    r"(?P<label>\d+(?:\.\d+)*(?:[A-Za-z](?!\w))?(?![\w%])(?:\s?\([0-9A-Za-z]{1,4}\))*(?:-[A-Z0-9]{1,3}(?!\w))?"
    r"|[IVXLCDM]{1,7}(?!\w)(?:\([0-9A-Za-z]{1,4}\))*"
    r"|[A-Z](?:[-.]?\d+)?(?![\w'’.])"
    r"|(?:\([0-9A-Za-z]{1,4}\))+)"
)
_ABBREVIATED = frozenset({"no", "nos", "p", "pp", "art", "ch", "cl", "abs", "para", "reg", "eq"})
"""Heads that are other words too: without a full stop or a capital they refer to nothing."""

_ACROSS_LINES = frozenset({"section", "sections", "article", "clause", "paragraph", "schedule"})


def read_reference(text: str, start: int, end: int) -> Found | None:
    """The reference whose head is the word from `start` to `end`: "Section 4.2(b)", "Article V"."""
    word = text[start:end]
    lower = word.lower()
    label = read_label(text, end)
    if label is None:
        return None
    has_dot = text.startswith(".", end)
    if lower in _ABBREVIATED and not (has_dot or (word[0].isupper() and len(word) > 1)):
        return None
    if word[0].islower() and "\n" in text[end : label[1]] and lower not in _ACROSS_LINES:
        return None  # "three items⏎3. …": the next line of a list
    return Found("reference", f"{REFERENCE_HEADS[lower]} {label[0]}", start, label[1])


def read_label(text: str, end: int) -> tuple[str, int] | None:
    """The label after a head that ends at `end`, and where it ends: "4.2(b)", "V", "A-1"."""
    match = _LABEL.match(text, end)
    return (re.sub(r"\s", "", match["label"]), match.end()) if match else None
