"""What a policy says of verification: when it happens, and what happens to an answer that fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast, get_args

from pydantic import PlainValidator, ValidationInfo

from ctxguard.errors import InputError
from ctxguard.verification._table import verifier_of
from ctxguard.verification.verifier import Verifier

__all__ = ["Mode", "OnFail", "Try", "Verify"]

Mode: TypeAlias = Literal["after", "gate", "annotate"]
"""When: once the answer is there; sentence by sentence, before it is shown; or after each."""
Try: TypeAlias = Literal["draft", "self-check", "retrieve", "escalate"]
"""A way to a better answer."""
OnFail: TypeAlias = Literal["flag", "repair", "escalate", "abstain", "raise"]
"""What happens to an answer that the evidence does not hold."""


def _verifier(value: object, info: ValidationInfo) -> object:
    """A table of a policy file as a Verifier; what a file cannot hold stays as it is."""
    if not isinstance(value, Mapping):
        return value
    known = cast("Mapping[str, str | Path]", info.context or {})
    folder = Path(known.get("folder", ""))  # of the policy file, where it is known
    return verifier_of(cast("Mapping[str, Any]", value), folder)


def _heavy(value: object) -> object:
    """A file cannot hold a model."""
    raise InputError(f"Verify.heavy: a file cannot hold a model, got {value!r}; set it in code")


if TYPE_CHECKING:
    _Verifier: TypeAlias = Verifier
    _Heavy: TypeAlias = object
else:  # pydantic has no schema for what a Verifier may hold: a scorer, callables
    _Verifier = Annotated[Any, PlainValidator(_verifier)]
    _Heavy = Annotated[Any, PlainValidator(_heavy)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Hold every answer against the evidence of its run."""

    mode: Mode = "after"
    """'gate': a sentence is released once it passed; 'annotate': text flows, corrections follow."""
    on_fail: OnFail = "flag"
    """'flag': say so, change nothing; 'repair': ask the model to correct the claims that failed,
    then retrieve for them and ask again; 'escalate': then ask the heavier model for the part that
    failed; 'abstain': then keep what is supported and say that the rest is not known; 'raise':
    then raise `UngroundedAnswerError`. The last three begin as 'repair' and 'escalate' do."""
    tries: tuple[Try, ...] | None = None
    """What is tried, one after the other, while something fails; None: as `on_fail` says."""
    hand_over: bool = False
    """Whether the heavier model is shown what was rejected, and why, beside what was accepted: it
    may be led by it. A cascade does."""
    attempts: int = 3
    """Answers that a repair asks for at most; 0: none, abstain or raise at once."""
    max_tokens: int | None = 8_000
    """Tokens that a repair may cost, prompts and answers together; None: no limit."""
    seconds: float | None = 30.0
    """After this long, nothing more is asked; None: no limit."""
    verifier: _Verifier = field(default_factory=Verifier)
    """What judges."""
    heavy: _Heavy = None
    """What 'escalate' asks: a model of the framework that is guarded, or a function from an `Ask`
    to a `Reply`, a string or None; None: nobody. A `Guard` of your own is driven by your calls."""
    abstention: str = "I could not find a full answer in the sources."
    """What an answer ends with when it abstains."""

    def __post_init__(self) -> None:
        """Check every field; the message names it."""
        for name, value, known in (
            ("mode", self.mode, get_args(Mode)),
            ("on_fail", self.on_fail, get_args(OnFail)),
        ):
            if value not in known:
                choices = ", ".join(map(repr, known))
                raise InputError(f"Verify.{name}: expected one of {choices}, got {value!r}")
        wrong = [one for one in self.tries or () if one not in _TRIES]
        if wrong:
            choices = ", ".join(map(repr, _TRIES))
            raise InputError(f"Verify.tries: expected some of {choices}, got {wrong[0]!r}")
        if not _is_whole(self.attempts, 0):
            raise InputError(f"Verify.attempts: expected 0 or more, got {self.attempts!r}")
        if self.max_tokens is not None and not _is_whole(self.max_tokens, 1):
            raise InputError(
                f"Verify.max_tokens: expected a whole number of tokens or None, "
                f"got {self.max_tokens!r}"
            )
        if self.seconds is not None and not (
            _is_number(self.seconds) and self.seconds > 0  # which no NaN is
        ):
            raise InputError(
                f"Verify.seconds: expected seconds above 0 or None, got {self.seconds!r}"
            )
        if not isinstance(self.verifier, Verifier):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"Verify.verifier: expected a Verifier, got {self.verifier!r}")
        if not isinstance(self.abstention, str) or not self.abstention.strip():  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise InputError(f"Verify.abstention: expected words, got {self.abstention!r}")


_TRIES = get_args(Try)[1:]
"""A draft is where an answer comes from."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
