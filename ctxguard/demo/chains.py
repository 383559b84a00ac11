"""What the two frameworks' chains have in common, so that one run can ask either."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ctxguard.demo.corpus import Corpus
from ctxguard.errors import MissingDependencyError
from ctxguard.ledger import Ledger
from ctxguard.policy import Policy

if TYPE_CHECKING:
    import httpx

__all__ = [
    "ALSO_IN",
    "ANSWER_TOKENS",
    "Builder",
    "Chain",
    "Endpoint",
    "Framework",
    "Pair",
    "Passage",
    "Setup",
    "builder_for",
    "require",
]

Framework: TypeAlias = Literal["langchain", "llama-index"]

ALSO_IN = "ctxguard_also_in"
"""Metadata key under which the adapters keep the sources of copies that were left out."""
ANSWER_TOKENS = 64
"""At most, per answer: what is compared is how long the prompt takes to read."""
INSTALL = '  pip install "ctxguard-core[demo]"     (in a clone: make install)'
_NEEDS: dict[Framework, tuple[str, ...]] = {
    "langchain": ("ctxguard_langchain", "httpx", "langchain_openai", "langchain_text_splitters"),
    "llama-index": ("ctxguard_llamaindex", "httpx", "llama_index.llms.openai_like"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of evidence as it was handed to the prompt."""

    text: str
    source: str
    """Name of the distribution whose licence it is from."""
    also_in: tuple[str, ...] = ()
    """Distributions whose copies of it were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The model as a chain sees it."""

    base_url: str
    """Of the OpenAI-compatible endpoint, ends with '/v1'."""
    model: str
    window: int
    """Tokens."""
    client: httpx.Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a framework's chain is built from."""

    corpus: Corpus
    encoder: str
    """'lsa' or 'minilm'."""
    endpoint: Endpoint
    policy: Policy
    top_k: int


class Chain(Protocol):
    """A chain that is asked, and tells what its last answer was based on."""

    def stream(self, question: str) -> Iterator[str]:
        """The answer, piece by piece."""
        ...

    def evidence(self) -> tuple[Passage, ...]:
        """What the last question's prompt was filled with, in that order."""
        ...

    def ledger(self) -> Ledger | None:
        """The last question's ledger; None for a chain that is not guarded."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The same chain twice: as its user wrote it, and guarded."""

    plain: Chain
    guarded: Chain
    chunks: int
    """How many chunks are indexed."""
    distinct: int
    """How many of them differ in their words."""
    encoder: str
    """What made the vectors, for people."""
    code: str
    """The source of the function that makes the plain chain."""


Builder: TypeAlias = Callable[[Setup], Pair]


def require(framework: Framework) -> None:
    """Check that what the demo needs for this framework is installed, before it is imported.

    Raises:
        MissingDependencyError: names what is missing and the install line.
    """
    missing = [name for name in _NEEDS[framework] if not _installed(name)]
    if missing:
        raise MissingDependencyError(
            f"--framework {framework} needs {', '.join(missing)}. Install what the demo uses:\n"
            f"{INSTALL}"
        )


def builder_for(framework: Framework) -> Builder:
    """The function that builds the pair with this framework.

    Raises:
        MissingDependencyError: when packages are missing; names them and the install line.
    """
    require(framework)
    if framework == "langchain":
        from ctxguard.demo.chains_langchain import build
    else:
        from ctxguard.demo.chains_llamaindex import build
    return build


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a parent package of the dotted name is missing
        return False
