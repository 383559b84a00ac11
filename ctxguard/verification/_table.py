"""A Verifier from a table of a policy file: what a file can say of one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from ctxguard.errors import InputError
from ctxguard.verification.calibration import Calibration
from ctxguard.verification.groundedness import groundedness_scorer
from ctxguard.verification.rules import JsonSchema, Pattern
from ctxguard.verification.scorer import Scorer
from ctxguard.verification.session import Check
from ctxguard.verification.verifier import Verifier

__all__ = ["verifier_of"]

_FIELDS = ("threshold", "labels", "calibration", "scorer", "rules")
_SCORERS: Mapping[str, Callable[[], Scorer]] = {"groundedness": groundedness_scorer}
_PATTERN = frozenset(["pattern", "must", "message", "name"])
_SCHEMA = frozenset(["schema", "name"])


def verifier_of(table: Mapping[str, Any], folder: Path) -> Verifier:
    """The verifier that a table of a policy file describes.

    Args:
        table: `threshold`, `labels`, `calibration` (a file), `scorer` (a name), `rules` (tables).
        folder: where the table's paths begin.

    Raises:
        InputError: naming the field.
        MissingDependencyError: it has rules, and what they need is not installed.
    """
    for name in table:
        if name not in _FIELDS:
            known = ", ".join(_FIELDS[:-1])
            raise InputError(f"Verify.verifier.{name}: a file can set {known} and {_FIELDS[-1]}")
    fields: dict[str, Any] = dict(table)
    if "calibration" in fields:
        fields["calibration"] = _calibration(fields["calibration"], folder)
    if "scorer" in fields:
        fields["scorer"] = _scorer(fields["scorer"])
    rules = fields.pop("rules", [])
    if not isinstance(rules, list):
        raise InputError(f"Verify.verifier.rules: expected a list of tables, got {rules!r:.80}")
    given = enumerate(cast("list[object]", rules))
    return Verifier(checks=tuple(_rule(rule, number, folder) for number, rule in given), **fields)


def _calibration(value: object, folder: Path) -> Calibration:
    if not isinstance(value, str) or not value:
        raise InputError(f"Verify.verifier.calibration: expected a path, got {value!r:.80}")
    try:
        return Calibration.load(folder / value)
    except InputError as error:
        raise InputError(f"Verify.verifier.calibration: {error}") from error


def _scorer(value: object) -> Scorer:
    if not isinstance(value, str) or value not in _SCORERS:
        known = ", ".join(map(repr, _SCORERS))
        raise InputError(f"Verify.verifier.scorer: expected one of {known}, got {value!r:.80}")
    return _SCORERS[value]()


def _rule(value: object, number: int, folder: Path) -> Check:
    """A rule of form by what its table has: a pattern, or a schema."""
    where = f"Verify.verifier.rules[{number}]"
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: expected a table, got {value!r:.80}")
    table = dict(cast("Mapping[str, Any]", value))
    known = _PATTERN if "pattern" in table else _SCHEMA
    if not {"pattern", "schema"} & set(table):
        raise InputError(f"{where}: expected a pattern or a schema")
    for name, one in table.items():
        if name not in known:
            raise InputError(f"{where}.{name}: no such field; there are {', '.join(sorted(known))}")
        if name != "schema" and not isinstance(one, str):
            raise InputError(f"{where}.{name}: expected a string, got {one!r:.80}")
    try:
        if "pattern" in table:
            return Pattern(**table)
        schema = _schema(table.pop("schema"), folder)
        return JsonSchema(schema=schema, **table)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _schema(value: object, folder: Path) -> Mapping[str, Any]:
    """A JSON Schema that is a table, or in a file."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    if not isinstance(value, str):
        raise InputError(f"schema: expected a path or a table, got {value!r:.80}")
    try:
        found: object = json.loads((folder / value).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"schema: {folder / value}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"schema: {folder / value}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"schema: {folder / value}: expected a JSON object")
    return cast("dict[str, Any]", found)
