"""Rules of form: regular expressions and JSON Schemas that an answer has to keep.

Both are checks for `Verifier(checks=[…])`. What an answer says is not trusted, so nothing here
takes longer than in proportion to it: expressions are run by RE2, which has no backtracking and
refuses what would need it (look-around, back references).
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, NoReturn, cast

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.types import Claim, Label, Span, Verdict
from ctxguard.verification.evidence import Evidence
from ctxguard.verification.session import Answer

__all__ = ["JsonSchema", "Pattern"]

_MOST = 20
"""Places that are reported of one rule."""
_SHOWN = 200
"""Characters of a message."""
_FENCE = re.compile(r"\s*```[a-zA-Z]*\n(.*?)\n?```\s*", re.DOTALL)
_NAMED = frozenset(["$defs", "definitions", "dependentSchemas", "properties"])
"""Keywords that hold schemas by names of the caller's own."""
_DATA = frozenset(["const", "default", "enum", "examples"])
"""Keywords that hold values, which only look like schemas."""
_REFUSED = {
    "patternProperties": "properties, or propertyNames with a pattern",
    "unevaluatedItems": "items",
    "unevaluatedProperties": "additionalProperties",
}
"""Keywords that an answer could stall jsonschema with (expressions that are not run by RE2, time
that grows with the square), and what to use."""

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A check that a regular expression matches somewhere in an answer, or nowhere."""

    pattern: str
    """In the syntax of RE2: that of Python without look-around and back references."""
    must: Literal["have", "lack"] = "lack"
    """"have": the answer must have a match; "lack": it must have none."""
    message: str = ""
    """Why, for people; blank: a sentence that quotes the expression."""
    name: str = "pattern"

    def __post_init__(self) -> None:
        """Compile the expression."""
        if self.must not in ("have", "lack"):
            raise InputError(f"Pattern.must: expected 'have' or 'lack', got {self.must!r}")
        _compiled(self.pattern)

    def __call__(self, answer: Answer, _evidence: Evidence, /) -> Iterator[Verdict]:
        """A verdict for each place that breaks the rule, the first twenty; none if it is kept."""
        text = _printable(answer.text)
        found = islice(_compiled(self.pattern).finditer(text), _MOST)
        if self.must == "lack":
            for match in found:
                reason = self.message or f"the answer must have no match of {self.pattern!r}"
                yield _broken(answer, match.span(), "pattern-forbidden", reason, "contradicted")
        elif next(found, None) is None:
            reason = self.message or f"the answer must have a match of {self.pattern!r}"
            yield _broken(answer, (0, len(text)), "pattern-missing", reason, "not_found")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchema:
    """A check that an answer is JSON, alone or in one code fence, and fits a schema.

    The dialect is the one that `$schema` names, else 2020-12. `$ref` stays inside the schema:
    nothing is fetched. `pattern` is run by RE2; `patternProperties`, `unevaluatedItems` and
    `unevaluatedProperties` are refused.
    """

    schema: Table
    name: str = "json-schema"

    def __post_init__(self) -> None:
        """Check the schema."""
        _refuse(self.schema, "schema")
        _validator(self.schema)

    def __call__(self, answer: Answer, _evidence: Evidence, /) -> Iterator[Verdict]:
        """A verdict for each thing that does not fit, the first twenty; none if all does."""
        fenced = _FENCE.fullmatch(answer.text)
        span = fenced.span(1) if fenced else (0, len(answer.text))
        try:
            value: object = json.loads(answer.text[slice(*span)], parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            reason = f"the answer is not JSON: {error}"
            yield _broken(answer, span, "not-json", reason, "contradicted")
            return
        for error in islice(_validator(self.schema).iter_errors(value), _MOST):
            where = str(error.json_path)
            reason = f"{where}: {error.message}"
            yield _broken(answer, span, "schema-mismatch", reason, "contradicted")


def _broken(answer: Answer, span: Span, code: str, reason: str, label: Label) -> Verdict:
    short = reason if len(reason) <= _SHOWN else f"{reason[: _SHOWN - 1]}…"
    claim = Claim(text=answer.text[slice(*span)], span=span)
    return Verdict(claim=claim, label=label, score=0.0, code=code, reason=short)


# -- expressions ----------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:  # noqa: ANN401 -- of a package without types
    engine = _package("re2")
    options = engine.Options()
    options.log_errors = False
    try:
        return engine.compile(_printable(pattern), options)
    except engine.error as error:
        said = error.args[0] if error.args else error
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise InputError(f"pattern {pattern!r:.80}: {reason}") from error


def _printable(text: str) -> str:
    """The text with a question mark for each lone surrogate: RE2 reads UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _package(name: str) -> Any:  # noqa: ANN401 -- as above
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f'rules of verification need {name}:\n  pip install "ctxguard-core[rules]"'
        ) from error


# -- schemas --------------------------------------------------------------------------------------


def _validator(schema: Table) -> Any:  # noqa: ANN401 -- as above
    """A validator that fetches nothing and whose time is in proportion to what it is given."""
    package = _package("jsonschema")
    registry = _package("referencing").Registry()
    found = package.validators.validator_for(schema, default=package.Draft202012Validator)
    try:
        found.check_schema(schema)
    except package.SchemaError as error:
        raise InputError(f"JsonSchema.schema: {error.json_path}: {error.message:.200}") from error
    kind = package.validators.extend(
        found, {"pattern": _match(package), "uniqueItems": _unique(package)}
    )
    return kind(schema, registry=registry)


Keyword = Callable[[Any, Any, Any, Table], Iterator[Exception]]


def _match(package: Any) -> Keyword:  # noqa: ANN401 -- as above
    def pattern(checker: Any, wanted: str, value: Any, _: Table) -> Iterator[Exception]:  # noqa: ANN401 -- as above
        if checker.is_type(value, "string") and not _compiled(wanted).search(_printable(value)):
            yield package.ValidationError(f"{value!r:.80} does not match {wanted!r}")

    return pattern


def _unique(package: Any) -> Keyword:  # noqa: ANN401 -- as above
    def unique(checker: Any, wanted: bool, value: Any, _: Table) -> Iterator[Exception]:  # noqa: ANN401, FBT001 -- as above
        if wanted and checker.is_type(value, "array"):
            items = cast("list[object]", value)
            if len({json.dumps(_plain(one), sort_keys=True) for one in items}) < len(items):
                yield package.ValidationError("has equal items")

    return unique


def _plain(value: object) -> object:
    """The value with whole floats as integers: to JSON Schema, 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(one) for one in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in cast("dict[str, object]", value).items()}
    return value


def _refuse(schema: object, where: str, *, named: bool = False) -> None:
    """Reject keywords whose time has no bound, and expressions that RE2 refuses."""
    if isinstance(schema, list):
        for place, one in enumerate(cast("list[object]", schema)):
            _refuse(one, f"{where}[{place}]")
    if not isinstance(schema, Mapping):
        return
    for key, one in cast("Mapping[str, object]", schema).items():
        if not named and key in _REFUSED:
            raise InputError(
                f"JsonSchema.{where}.{key}: not supported, an answer could stall it; use "
                f"{_REFUSED[key]}"
            )
        if not named and key == "pattern" and isinstance(one, str):
            _compiled(one)
        if named or key not in _DATA:
            _refuse(one, f"{where}.{key}", named=not named and key in _NAMED)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
