"""Rules of form: expressions and schemas, under attack too."""

from __future__ import annotations

import importlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.verification import Verifier
from ctxguard.verification.rules import JsonSchema, Pattern, _compiled

EVIDENCE = ["The fee is $500 per month."]
SCHEMA = {
    "type": "object",
    "properties": {
        "fee": {"type": "number", "minimum": 0},
        "code": {"type": "string", "pattern": "^[A-Z]+-[0-9]+$"},
        "tags": {"type": "array", "uniqueItems": True},
    },
    "required": ["fee"],
}


def broken(rule: Pattern | JsonSchema, answer: str) -> list[tuple[str, str, str]]:
    """Code, text and reason of what a rule finds."""
    found = Verifier(checks=[rule])(answer, EVIDENCE)
    return [
        (one.code, one.claim.text, one.reason)
        for one in found.claims
        if one.code.startswith(("pattern", "schema", "not-json", "check-failed"))
    ]


# -- expressions ----------------------------------------------------------------------------------


def test_what_an_answer_must_not_have_is_shown_where_it_stands() -> None:
    rule = Pattern(pattern=r"\b\d{3}-\d{4}\b", message="no phone numbers")
    answer = "Die Gebühr 😀: call 555-1234 or 555-9876."
    found = Verifier(checks=[rule])(answer, EVIDENCE)
    assert [one.claim.text for one in found.failed if one.code == "pattern-forbidden"] == [
        "555-1234", "555-9876",
    ]  # fmt: skip
    for one in found.failed:
        assert answer[slice(*one.claim.span)] == one.claim.text
    assert found.grounded is False
    assert found.score == 0.0
    assert broken(rule, "The fee is $500 per month.") == []


def test_what_an_answer_must_have() -> None:
    rule = Pattern(pattern=r"\[\d+\]", must="have")
    ((code, text, reason),) = broken(rule, "The fee is $500 per month.")
    assert (code, text) == ("pattern-missing", "The fee is $500 per month.")
    assert r"must have a match of '\\[\\d+\\]'" in reason
    assert broken(rule, "The fee is $500 per month [1].") == []


def test_a_rule_that_is_kept_supports_nothing() -> None:
    verification = Verifier(checks=[Pattern(pattern="x{9}")])("Die Katze schläft heute.", EVIDENCE)
    assert verification.grounded is Verifier()("Die Katze schläft heute.", EVIDENCE).grounded


def test_at_most_twenty_places_are_shown() -> None:
    assert len(broken(Pattern(pattern="a"), "a " * 1_000)) == 20


@pytest.mark.parametrize("pattern", ["(?=a)", r"(a)\1", "(", "a{2000}{2000}", "\ud800("])
def test_what_the_engine_refuses_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(InputError, match="pattern "):
        Pattern(pattern=pattern)
    with pytest.raises(InputError, match="pattern "):
        JsonSchema(schema={"type": "string", "pattern": pattern})


def test_a_mode_that_is_none() -> None:
    with pytest.raises(InputError, match=r"Pattern\.must"):
        Pattern(pattern="a", must="maybe")  # pyright: ignore[reportArgumentType] -- the test


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 100_000 + "b"),
        ("(a|aa)+$", "a" * 100_000 + "b"),
        ("(.*a){12}$", "a" * 100_000 + "b"),
        (r"^(\w+\s?)*$", "word " * 20_000 + "!"),
        ("é+", "é " * 50_000),
        ("x*", "\ud800" * 100_000),
    ],
)
def test_an_attack_takes_no_longer_than_a_text(pattern: str, text: str) -> None:
    compiled = Pattern(pattern=pattern)
    start = time.process_time()
    for rule in (compiled, JsonSchema(schema={"pattern": pattern})):
        list(rule(_answer(json.dumps(text) if rule is not compiled else text), _evidence()))
    assert time.process_time() - start < 2


def _answer(text: str) -> Any:
    from ctxguard.verification import Answer

    return Answer(text=text)


def _evidence() -> Any:
    from ctxguard.verification import Evidence

    return Evidence(())


@given(
    pattern=st.text("ab(|)*+?[]^$.{2}", max_size=24),
    text=st.text("ab\n", max_size=30),
)
@settings(max_examples=150, deadline=None)
def test_fuzzed_expressions_are_refused_or_linear(pattern: str, text: str) -> None:
    try:
        rule = Pattern(pattern=pattern)
    except InputError:
        return
    start = time.process_time()
    list(rule(_answer((text * 20_000)[:20_000]), _evidence()))
    assert time.process_time() - start < 1


# -- schemas --------------------------------------------------------------------------------------


def test_an_answer_that_fits() -> None:
    rule = JsonSchema(schema=SCHEMA)
    fits = '{"fee": 500, "code": "AB-12", "tags": [1, "1", true, [1]]}'
    assert broken(rule, fits) == []
    assert broken(rule, f"```json\n{fits}\n```") == []


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ("The fee is 500.", "not-json", "Expecting value"),
        ("", "not-json", "Expecting value"),
        ('{"fee": NaN}', "not-json", "NaN is no JSON"),
        ("[" * 100_000, "not-json", "recursion"),
        ('{"fee": ' + "9" * 5_000 + "}", "not-json", "digits"),
        ('{"fee": -1}', "schema-mismatch", "$.fee: -1 is less than the minimum"),
        ("{}", "schema-mismatch", "'fee' is a required property"),
        ('{"fee": 1, "code": "ab"}', "schema-mismatch", "$.code: 'ab' does not match"),
        (
            '{"fee": 1, "tags": [{"a": 1}, {"a": 1.0}]}',
            "schema-mismatch",
            "$.tags: has equal items",
        ),
    ],
)
def test_an_answer_that_does_not_fit(answer: str, code: str, said: str) -> None:
    ((found, _, reason),) = broken(JsonSchema(schema=SCHEMA), answer)
    assert found == code
    assert said in reason
    assert len(reason) <= 200


def test_long_lists_of_mixed_items_take_no_longer_than_others() -> None:
    items = json.dumps([{"a": n} if n % 2 else n for n in range(20_000)])
    start = time.process_time()
    assert list(JsonSchema(schema={"uniqueItems": True})(_answer(items), _evidence())) == []
    assert time.process_time() - start < 2


def test_schemas_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match=r"JsonSchema\.schema: \$\.type"):
        JsonSchema(schema={"type": "number of birds"})
    with pytest.raises(InputError, match=r"schema\.unevaluatedItems: .* use items"):
        JsonSchema(schema={"unevaluatedItems": False})
    with pytest.raises(InputError, match=r"schema\.allOf\[0\]\.patternProperties: not supported"):
        JsonSchema(schema={"allOf": [{"patternProperties": {"a": {}}}]})


def test_names_and_values_that_look_like_keywords_are_none() -> None:
    schema = {
        "properties": {"patternProperties": {"type": "string"}, "pattern": {"const": "("}},
        "const": {"patternProperties": {}, "pattern": "("},
    }
    answer = '{"patternProperties": {}, "pattern": "("}'
    found = [reason for _, _, reason in broken(JsonSchema(schema=schema), answer)]
    assert found == ["$.patternProperties: {} is not of type 'string'"]


def test_nothing_is_fetched() -> None:
    rule = JsonSchema(schema={"$ref": "http://127.0.0.1:9/schema.json"})
    ((code, _, reason),) = broken(rule, "{}")
    assert code == "check-failed"
    assert "Unresolvable" in reason


@pytest.mark.parametrize("missing", ["re2", "jsonschema"])
def test_missing_packages_print_the_install_line(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def import_module(name: str, package: str | None = None) -> Any:
        if name == missing:
            raise ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)
    _compiled.cache_clear()
    with pytest.raises(MissingDependencyError, match=r'pip install "ctxguard-core\[rules\]"'):
        JsonSchema(schema={"pattern": "a"})
