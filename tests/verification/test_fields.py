"""Structured output: what each field says, where it stands, and JSON that nobody should read."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import math
import time
import uuid
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel, RootModel

from ctxguard import Guard, InputError, Ledger
from ctxguard.types import Verdict
from ctxguard.verification import Evidence, Verifier, groundedness_scorer
from ctxguard.verification.fields import read_fields
from ctxguard.verification.rules import JsonSchema

EVIDENCE = [
    "The notice period is thirty (30) days. The fee is $500 per month, invoiced by Acme Inc. in "
    "Munich. Interest is 3.5 % per year. Revenue was $1.5 million in 2023.",
    "| Item | Price |\n|---|---|\n| Paper | $20 |\n| Ink | $35 |",
    "Either party may terminate by written notice to the other party. The agreement is effective "
    "as of May 8, 2014.",
]


def judged(value: object, schema: object = None) -> dict[str, Verdict]:
    """The verdicts by pointer; the last one of each."""
    found = Verifier().verify_fields(value, EVIDENCE, schema=schema)
    return {verdict.claim.pointer: verdict for verdict in found.claims}


def one(value: object, key: str = "x", schema: object = None) -> Verdict:
    (verdict,) = Verifier().verify_fields({key: value}, EVIDENCE, schema=schema).claims
    return verdict


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("noticePeriod", "30 days", "notice period: 30 days"),
        ("notice_days", 30, "notice days: 30"),
        ("fee-usd", 500, "fee usd: 500"),
        ("interest_rate", 0.035, "interest rate: 3.5 %"),
        ("revenue", 1.5e6, "revenue: 1500000.0"),
        ("effective", "2014-05-08", "effective: 2014-05-08"),
        ("party", "Acme Inc.", "party: Acme Inc."),
        ("HTTPCity", "Munich", "HTTP city: Munich"),
        ("termination", "written notice by either party", None),
    ],
)
def test_what_the_evidence_says_is_supported(key: str, value: Any, text: str | None) -> None:
    verdict = one(value, key)
    assert verdict.label == "supported", verdict
    assert verdict.claim.pointer == f"/{key}"
    assert text is None or verdict.claim.text == text


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("notice_days", 60, "number-not-found"),
        ("notice_period", "60 days", "duration-differs"),
        ("interest_rate", 0.045, "number-not-found"),
        ("revenue", 1_600_000, "number-not-found"),
        ("effective", "2014-05-09", "date-differs"),
        ("party", "Beta LLC", "name-not-found"),
        ("city", "Berlin", "name-not-found"),
        ("color", "dark blue", "not-stated"),
        ("clause", "\u201cEither party may terminate by fax\u201d", "quotation-not-found"),
    ],
)
def test_what_it_does_not_say_fails(key: str, value: Any, code: str) -> None:
    verdict = one(value, key)
    assert (verdict.failed, verdict.code) == (True, code), verdict


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (True, "boolean"),
        ("yes", "label"),
        ("High", "label"),
        ("ACTIVE", "label"),
        ("NOT_STARTED", "label"),
        ("in-progress", "label"),
        ("USD", "label"),
        (str(uuid.UUID(int=7)), "label"),
        (math.nan, "not-a-number"),
        (None, "empty"),
        ("", "empty"),
        ("  ", "empty"),
        ("n/a", "refusal"),
        ("Unknown", "refusal"),
        ("Not specified.", "refusal"),
        ("not explicitly mentioned", "refusal"),
        ("-", "refusal"),
        ("The document does not say.", "refusal"),
        ("Which one?", "question"),
    ],
)
def test_what_claims_nothing_is_not_judged_and_says_why(value: Any, code: str) -> None:
    verdict = one(value)
    assert (verdict.label, verdict.code) == ("not_judged", code)
    assert verdict.reason


def test_abstentions_are_grounded_and_choices_are_open() -> None:
    assert Verifier().verify_fields({"fee": None, "party": "n/a"}, EVIDENCE).grounded is True
    assert Verifier().verify_fields({"approved": True}, EVIDENCE).grounded is None
    assert Verifier().verify_fields({}, EVIDENCE).grounded is True


def test_spans_are_of_the_text_as_the_model_wrote_it() -> None:
    text = """```json
{ "summary" : "The fee is \\"$500\\" per month.\\nNotice is 20\\u0020days. \\ud83d\\ude00",
  "items": [{"name": "Ink", "price": 2.5e1}] }
```"""
    found = Verifier().verify_fields(text, EVIDENCE)
    assert found.answer == text
    said = [(text[slice(*v.claim.span)], v.claim.pointer, v.label) for v in found.claims]
    assert said[0] == ('The fee is \\"$500\\" per month.', "/summary", "supported")
    assert said[1] == ("Notice is 20\\u0020days.", "/summary", "contradicted")
    assert said[-2:] == [
        ("Ink", "/items/0/name", "supported"),
        ("2.5e1", "/items/0/price", "not_found"),
    ]
    for finding in found.findings:
        assert text[slice(*finding.span)] == finding.text
    assert [finding.text for finding in found.findings] == ["20\\u0020days", "2.5e1"]


def test_a_field_of_a_list_is_read_with_what_its_item_is_called() -> None:
    fields = judged({"order items": [{"name": "Paper", "price": 20}, {"name": "Ink", "price": 25}]})
    assert fields["/order items/0/price"].claim.text == "order items Paper price: 20"
    assert fields["/order items/0/price"].label == "supported"
    assert fields["/order items/1/price"].failed


def test_names_of_fields_are_not_judged() -> None:
    fields = judged({"Beta LLC 2031": {"not_the_fee": "$500 per month"}})
    assert fields["/Beta LLC 2031/not_the_fee"].label == "supported"


def test_pointers_are_escaped() -> None:
    assert set(judged('{"a/b": {"~": [30]}}')) == {"/a~1b/~0/0"}
    assert set(judged("30")) == {""}


class Level(Enum):
    LOW = "low level"
    HIGH = "high level"


class Term(BaseModel):
    kind: Literal["fixed term", "open"]
    level: Level = Level.HIGH
    days: int = 30
    other: Term | None = None
    by: dict[str, Level] = {}


@dataclasses.dataclass
class Contract:
    terms: list[Term]
    signed: dt.date
    fee: Decimal
    number: uuid.UUID
    file: Path = Path("x")


def test_models_and_dataclasses_say_themselves_what_is_fixed() -> None:
    term = Term(kind="fixed term", other=Term(kind="open"), by={"law": Level.LOW})
    contract = Contract([term], dt.date(2014, 5, 8), Decimal("500.00"), uuid.UUID(int=1))
    found = judged(contract)
    labels = {pointer for pointer, verdict in found.items() if verdict.code == "label"}
    assert labels == {
        "/terms/0/kind", "/terms/0/level", "/terms/0/other/kind", "/terms/0/other/level",
        "/terms/0/by/law", "/number", "/file",
    }  # fmt: skip
    supported = {pointer for pointer, verdict in found.items() if verdict.label == "supported"}
    assert supported == {"/terms/0/days", "/terms/0/other/days", "/signed", "/fee"}


def test_a_schema_says_what_is_fixed() -> None:
    schema = {
        "properties": {
            "size": {"anyOf": [{"enum": ["extra large"]}, {"type": "null"}]},
            "pair": {"prefixItems": [{"$ref": "#/$defs/odd~1one"}], "items": {"const": "so so"}},
            "n": {"enum": [7]},
            "loop": {"$ref": "#/properties/loop"},
        },
        "$defs": {"odd/one": {"allOf": [{"format": "uuid"}]}},
    }
    value = {"size": "extra large", "pair": ["x y", "so so"], "n": 7, "loop": "dark blue"}
    assert {k: v.code for k, v in judged(value, schema).items()} == {
        "/size": "label", "/pair/0": "label", "/pair/1": "label", "/n": "label",
        "/loop": "not-stated",
    }  # fmt: skip
    assert judged(json.dumps({"kind": "fixed term"}), Term)["/kind"].code == "label"
    assert judged({"size": "extra large"}, {"$ref": "#/nowhere/else"})["/size"].failed


def test_a_class_without_a_schema_fixes_nothing() -> None:
    class Odd:
        pass

    assert judged({"days": 30}, Odd)["/days"].label == "supported"
    with pytest.raises(InputError, match="schema: expected a class or a JSON Schema"):
        judged({"days": 30}, "Term")


def test_values_of_many_kinds_are_data() -> None:
    value = {
        "root": RootModel[list[int]]([30]), "set": {500}, "tuple": (30, [30]), 7: "30 days",
        "time": dt.time(7, 30), "null": None,
    }  # fmt: skip
    assert json.loads(read_fields(value, Evidence([])).text) == {
        "root": [30], "set": [500], "tuple": [30, [30]], "7": "30 days", "time": "07:30:00",
        "null": None,
    }  # fmt: skip


def test_what_is_no_data_is_named() -> None:
    around: list[Any] = []
    around.append(around)
    for value, message in [
        ({"a": [b"x"]}, r"value/a/0: expected data, got bytes"),
        ({(1, 2): 3}, r"a key is tuple"),
        (object(), r"value: expected data, got object"),
        (around, r"nested deeper than 100"),
    ]:
        with pytest.raises(InputError, match=message):
            judged(value)


# -- JSON that nobody should read -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "incomplete"),
        ("The fee is $500.", "not-json"),
        ('{"fee": 500} and more', "not-json"),
        ("[30, ]", "not-json"),
        ("[30 30]", "not-json"),
        ("{30: 30}", "not-json"),
        ('{"fee" 500}', "not-json"),
        ('{"fee": 030}', "not-json"),
        ('{"fee": "\\x"}', "not-json"),
        ("[1]]", "not-json"),
        ("[" * 10_000, "too-deep"),
        ('{"a":' * 10_000, "too-deep"),
        (f'{{"{"k" * 2_000}": 1}}', "too-deep"),
        ('{"fee": 500, "days": 3', "incomplete"),
        ('{"fee": 500, "days": "3', "incomplete"),
        ('{"fee": 500, "day', "incomplete"),
        ('{"fee": 500, "days"', "incomplete"),
        ('{"fee": 500,', "incomplete"),
        (json.dumps([30] * 2_001), "too-many"),
    ],
)
def test_what_cannot_be_read_is_a_verdict_that_says_so(text: str, code: str) -> None:
    found = Verifier().verify_fields(text, EVIDENCE)
    assert (found.claims[-1].label, found.claims[-1].code) == ("not_judged", code)
    assert all(verdict.label == "supported" for verdict in found.claims[:-1])
    assert found.claims[-1].claim.text == text[slice(*found.claims[-1].claim.span)]


def test_what_came_of_a_stream_is_judged_and_where_it_ended_is_named() -> None:
    found = judged('{"terms": [{"fee": 600, "days": 3')
    assert found["/terms/0/fee"].failed
    assert found["/terms/0/days"].code == "incomplete"


def test_keys_that_come_twice_are_both_judged() -> None:
    found = Verifier().verify_fields('{"fee": 500, "fee": 600}', EVIDENCE)
    assert [verdict.label for verdict in found.claims] == ["supported", "not_found"]


def test_odd_numbers() -> None:
    big = Verifier().verify_fields(f"[1e999, Infinity, -NaN, {'9' * 5_000}]", EVIDENCE)
    assert [v.code for v in big.claims[:2]] == ["not-a-number", "not-a-number"]
    assert big.claims[2].code == "not-json"
    (long,) = Verifier().verify_fields(f"[{'9' * 5_000}]", EVIDENCE).claims
    assert long.code == "not-a-number"
    assert one(1e-7).failed


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        '{"a":' * 200_000,
        f"[{'1,' * 500_000}1]",
        '"' + "\\" * 1_000_001,
        '"' + "\\u" * 500_000,
        '{"' + "k" * 1_000_000,
        f'{{"{"k" * 900}": [{"1," * 500_000}1]}}',
    ],
    ids=["arrays", "objects", "items", "escapes", "half-escapes", "key", "long-path"],
)
def test_a_megabyte_takes_no_more_than_seconds(text: str) -> None:
    began = time.process_time()
    assert Verifier().verify_fields(text, EVIDENCE).claims[-1].label == "not_judged"
    assert time.process_time() - began < 5


@given(st.text(alphabet='[]{}",:\\u0a1e-. tn', max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_as_json_would_be(text: str) -> None:
    fields = read_fields(text, Evidence([])).fields
    stops = [field for field in fields if field.code in ("not-json", "incomplete", "too-deep")]
    try:
        json.loads(text, strict=False)
    except ValueError:
        assert len(stops) == 1
    else:
        assert not stops


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(JSON, st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_value_is_read_and_every_span_is_of_its_value(value: Any, is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    found = Verifier().verify_fields(text, EVIDENCE)
    for verdict in found.claims:
        start, end = verdict.claim.span
        assert 0 <= start <= end <= len(text)
        assert verdict.code not in ("not-json", "incomplete")
    for finding in found.findings:
        assert text[slice(*finding.span)] == finding.text


# -- beside everything else -----------------------------------------------------------------------


def test_checks_of_ones_own_read_the_json() -> None:
    verifier = Verifier(checks=[JsonSchema(schema={"required": ["days"]})])
    *_, broken = verifier.verify_fields({"fee": 500}, EVIDENCE).claims
    assert broken.code == "schema-mismatch"


def test_a_scorer_is_asked_of_words_and_not_of_figures() -> None:
    verifier = Verifier(scorer=groundedness_scorer())
    value = {"days": 30, "notice_period": "30 days", "color": "dark blue"}
    found = verifier.verify_fields(value, EVIDENCE)
    assert [verdict.label for verdict in found.claims] == ["supported", "supported", "not_found"]
    assert asyncio.run(verifier.averify_fields(value, EVIDENCE)) == found


def test_a_guard_notes_the_fields_that_failed() -> None:
    guard = Guard()
    with guard.run("What is the fee?") as run:
        guard.prepare("What is the fee?", EVIDENCE)
        found = guard.verify_fields('{"terms": {"fee": 600}}')
        assert asyncio.run(guard.averify_fields({"terms": {"fee": 600}})).failed
    flag, _ = (one for one in run.ledger().of("flag") if one.stage == "verify")
    assert flag.details["pointer"] == "/terms/fee"
    assert flag.reason.startswith("'terms fee: 600': the evidence has no number '600'")
    ledger = Ledger.from_json(run.ledger().to_json())
    assert ledger.verifications[0] == found
    assert "terms" not in run.ledger().to_json(content=False)
