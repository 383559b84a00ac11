"""What a reply of a model cost in tokens, and how sure the model was of it.

Providers say both in their own replies, which LlamaIndex hands on as `raw`; each in its own words.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from ctxguard.attempts import Attempt, current_attempt
from ctxguard.routing import Load

__all__ = ["Meter", "field_of", "load_of", "meter", "metering", "probabilities_of"]

T = TypeVar("T")
_INPUT = ("prompt_tokens", "input_tokens", "prompt_token_count", "prompt_eval_count", "inputTokens")
_OUTPUT = ("completion_tokens", "output_tokens", "eval_count", "outputTokens")
_OUTPUT_PARTS = ("candidates_token_count", "thoughts_token_count")
"""What Gemini counts on its own."""
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_READ, _WRITTEN = (
    ("cache_read_input_tokens", "cacheReadInputTokens"),
    ("cache_creation_input_tokens", "cacheWriteInputTokens"),
)
"""Of those who count what is cached beside the rest of the prompt."""

_CHARACTERS = 4
"""Of a token, where nobody has counted."""

_metered: ContextVar[bool] = ContextVar("ctxguard_llamaindex_metered", default=False)


def field_of(value: object, name: str) -> Any:  # noqa: ANN401 -- of any provider
    """A field of something that is a mapping or an object; None: it has none."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).get(name)
    return getattr(value, name, None)


# -- tokens ----------------------------------------------------------------------------------------


def load_of(reply: object) -> Load | None:
    """The tokens of a reply, or of a part of a stream; None: its provider does not say."""
    raw = field_of(reply, "raw")
    usages = (
        field_of(raw, "usage"),
        field_of(raw, "usage_metadata"),
        raw,
        field_of(reply, "additional_kwargs"),
    )
    return next((load for usage in usages if (load := _load(usage)) is not None), None)


def _load(usage: object) -> Load | None:
    prompt, answer = _first(usage, _INPUT), _first(usage, _OUTPUT)
    parts = [count for name in _OUTPUT_PARTS if (count := _count(usage, name)) is not None]
    if answer is None and parts:
        answer = sum(parts)
    if prompt is None and answer is None:
        return None
    cached = [_count(field_of(usage, name), "cached_tokens") for name in _DETAILS]
    cached.append(_count(usage, "cached_content_token_count"))
    within = next((count for count in cached if count is not None), 0)
    read, written = _first(usage, _READ) or 0, _first(usage, _WRITTEN) or 0
    whole = (prompt or 0) + read + written
    return Load(
        input=whole,
        output=answer or 0,
        cache_read=min(whole - written, read + within),
        cache_write=written,
    )


def _first(usage: object, names: Iterable[str]) -> int | None:
    return next((count for name in names if (count := _count(usage, name)) is not None), None)


def _count(usage: object, name: str) -> int | None:
    found = field_of(usage, name)
    return found if isinstance(found, int) and found >= 0 else None


def _most(one: Load | None, other: Load | None) -> Load | None:
    """What two parts of a stream say together: some say the prompt first, the answer last."""
    if one is None or other is None:
        return one or other
    return Load(
        input=max(one.input, other.input),
        output=max(one.output, other.output),
        cache_read=max(one.cache_read, other.cache_read),
        cache_write=max(one.cache_write, other.cache_write),
    )


# -- probabilities ---------------------------------------------------------------------------------


def probabilities_of(reply: object) -> list[float]:
    """The natural logarithms of the probabilities of a reply's tokens, as far as it tells them."""
    found = field_of(_first_of(field_of(field_of(reply, "raw"), "choices")), "logprobs")
    tokens = field_of(found, "content")
    if isinstance(tokens, list):
        return _numbers(field_of(token, "logprob") for token in cast("list[object]", tokens))
    numbers = field_of(found, "token_logprobs")
    if isinstance(numbers, list):
        return _numbers(cast("list[object]", numbers))
    return _numbers(map(_of_token, field_of(reply, "logprobs") or ()))


def _of_token(likely: object) -> object:
    """Of the likeliest words at one place; the first is the one that was written."""
    return field_of(_first_of(likely), "logprob")


def _first_of(values: object) -> object:
    found = cast("list[object]", values) if isinstance(values, list) else []
    return found[0] if found else None


def _numbers(values: Iterable[object]) -> list[float]:
    return [float(value) for value in values if isinstance(value, int | float)]


# -- of the attempt around -------------------------------------------------------------------------


def meter(*, anew: bool = False) -> Meter | None:
    """What reads the usage of a call of a model; None: nobody counts it, or it is counted already.

    Args:
        anew: whether what is called only hands on what a model inside of it replies.
    """
    attempt = current_attempt()
    return None if attempt is None or anew or _metered.get() else Meter(attempt)


@contextmanager
def metering(counts: Meter | None) -> Generator[None]:
    """What models reply in this block is counted by the meter, and by no other one."""
    token = _metered.set(_metered.get() or counts is not None)
    try:
        yield
    finally:
        _metered.reset(token)


class Meter:
    """Tells an attempt what a reply used."""

    def __init__(self, attempt: Attempt) -> None:
        """Start before the reply."""
        self._attempt = attempt
        self._load: Load | None = None
        self._logs: list[float] = []
        self._asked = self._said = self._told = 0  # characters

    def asked(self, characters: int) -> None:
        """Take the length of the prompt, for a provider that does not say what it counted."""
        self._asked = characters

    def whole(self, reply: T) -> T:
        """The reply, once it is counted."""
        self._take(reply)
        self._tell()
        return reply

    def stream(self, parts: Iterator[T]) -> Generator[T, None, None]:
        """The parts; they are counted as far as they came."""
        try:
            for part in parts:
                self._take(part)
                yield part
        finally:
            getattr(parts, "close", _nothing)()
            self._tell()

    async def astream(self, parts: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """As `stream`."""
        try:
            async for part in parts:
                self._take(part)
                yield part
        finally:
            await parts.aclose()
            self._tell()

    def _take(self, part: object) -> None:
        self._load = _most(self._load, load_of(part))
        self._said = max(self._said, len(_text_of(part)))
        self._told += len(str(field_of(part, "delta") or ""))
        self._logs += probabilities_of(part)

    def _tell(self) -> None:
        if self._load is not None:
            self._attempt.used(self._load)
        elif self._attempt.request.adds_up:  # else the attempt knows as much by itself
            answer = max(self._said, self._told)
            load = Load(input=-(-self._asked // _CHARACTERS), output=-(-answer // _CHARACTERS))
            self._attempt.used(load, measured=False)
        self._attempt.told(self._logs)


def _text_of(reply: object) -> str:
    """What a reply, or a stream so far, says."""
    said = field_of(reply, "text") or field_of(field_of(reply, "message"), "content")
    return said if isinstance(said, str) else ""


def _nothing() -> None:
    """Nothing has to be closed."""
