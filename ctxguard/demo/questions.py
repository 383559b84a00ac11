"""The questions: what a person asks who has to know what the licences of a product say."""

from __future__ import annotations

from ctxguard.demo.corpus import Corpus
from ctxguard.demo.measures import facts, words

__all__ = ["copyright_question", "named_holders", "questions"]

GENERAL = (
    "When does a patent licence that a contributor granted end?",
    "Who is liable for damages that arise from the use of the software?",
    "What must redistributions of source code retain?",
    "Under which terms are contributions submitted to the project licensed?",
    "May the names of contributors be used to endorse or promote products?",
    "Which version of the Apache License applies?",
    "Which warranties are disclaimed?",
)


def questions(corpus: Corpus) -> tuple[str, ...]:
    """Eight questions; the fourth asks for the holder of a distribution that is installed here."""
    holders = named_holders(corpus)
    asked: list[str] = list(GENERAL)
    if holders:
        asked.insert(3, copyright_question(holders[0]))
    return tuple(asked)


def copyright_question(distribution: str) -> str:
    """Asks who holds the copyright of the distribution."""
    return f"Who holds the copyright of {distribution}, and since which year?"


def named_holders(corpus: Corpus) -> tuple[str, ...]:
    """Distributions whose own copyright notices name them, so that their text alone can answer.

    First those with the most different notices: the ones where a copy that is left out could take
    a year with it.
    """
    notices: dict[str, set[str]] = {}
    for licence in corpus.licences:
        name = words(licence.distribution)
        for kind, value in facts([licence.text]):
            if kind == "notice" and f" {name} " in f" {value} ":
                notices.setdefault(licence.distribution, set()).add(value)
    return tuple(sorted(notices, key=lambda name: (-len(notices[name]), name.lower())))
