"""The policy: validated when it is made, the same from code, TOML and the environment."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ctxguard.errors import InputError, MissingDependencyError, PolicyError
from ctxguard.policy import Policy
from ctxguard.routing import Cascade, Price, Route, Router, Routes, SpendLimit
from ctxguard.stages import Compress, Deduplicate, Layout, Select, Template
from ctxguard.testing import WordTokenizer
from ctxguard.types import Budget
from ctxguard.verification import Labelled, Verifier, Verify, groundedness_scorer
from ctxguard.verification.rules import JsonSchema, Pattern


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dedupe": True}, r"Policy\.dedupe: expected Deduplicate"),
        ({"compress": "much"}, r"Policy\.compress: expected Compress"),
        ({"template": "[1]"}, r"Policy\.template: expected Template"),
        ({"select": "all"}, r"Policy\.select"),
        ({"layout": Deduplicate()}, r"Policy\.layout"),
        ({"budget": 0}, r"Policy\.budget.*at least 1"),
        ({"budget": -3}, r"Policy\.budget"),
        ({"budget": "2k"}, r"Policy\.budget"),
        ({"on_error": "ignore"}, r"Policy\.on_error: expected 'pass' or 'raise'"),
        ({"verification": True}, r"Policy\.verification: expected Verify"),
        ({"window": 8000}, r"Policy\.window.*Budget\(window"),
        ({"deadline": 0}, r"Policy\.deadline"),
        ({"deadline": float("nan")}, r"Policy\.deadline"),
        ({"tokenizer": 7}, r"Policy\.tokenizer"),
        ({"tokenizer": " "}, r"Policy\.tokenizer"),
    ],
)
def test_fields_that_cannot_be_used_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Policy(**fields)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 0}, r"Budget\.window"),
        ({"window": 100, "reserve_output": 100}, r"Budget\.reserve_output.*leaves nothing"),
        ({"reserve_output": -1}, r"Budget\.reserve_output"),
        ({"floors": {"question": 10}}, r"floors\['question'\].*pinned"),
        ({"ceilings": {"history": -1}}, r"ceilings\['history'\]"),
        ({"context_tokens": 1.5}, r"Budget\.context_tokens.*whole number"),
    ],
)
def test_budgets_that_cannot_be_used_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Budget(**fields)  # pyright: ignore[reportArgumentType]


def test_an_absurd_budget_is_allowed() -> None:
    assert Budget(window=10**15).prompt_tokens == 10**15 - 1024
    assert Budget(window=1).prompt_tokens == 1
    assert Budget(window=100).reserve == 25


TOML = """
preset = "lean"
on_error = "raise"
layout = false

[budget]
window = 8192
context_tokens = 1500
[budget.floors]
history = 200

[dedupe]
share_boilerplate = false

[compress]
min_relevance = 0.1

[select]
coverage = 1

[verification]
mode = "gate"
on_fail = "abstain"
[verification.verifier]
threshold = 0.6

[template]
chunk = "[{number}] {text}"
"""


def test_toml_holds_everything(tmp_path: Path) -> None:
    path = tmp_path / "ctxguard.toml"
    path.write_text(TOML)
    policy = Policy.from_toml(path)
    assert policy == Policy(
        budget=Budget(window=8192, context_tokens=1500, floors={"history": 200}),
        dedupe=Deduplicate(share_boilerplate=False),
        compress=Compress(min_relevance=0.1),
        select=Select(coverage=1),
        template=Template(chunk="[{number}] {text}"),
        layout=None,
        on_error="raise",
        verification=Verify(mode="gate", on_fail="abstain", verifier=Verifier(threshold=0.6)),
    )


ROUTES = """
[routing]
router = "router.json"
explore = 0.05
state = "state/routing.sqlite3"

[[routing.routes]]
name = "light"
model = "gpt-4o-mini"
top_k = 4

[[routing.routes]]
name = "heavy"
model = "gpt-4o"
effort = "high"
verification = "flag"
price = { input = 2.5, output = 10.0, cache_read = 1.25 }

[routing.cascade]
attempts = 2

[[routing.limits]]
usd = 5
per = "day"

[[routing.tenants.free]]
usd = 0.1
per = "hour"
"""


def test_toml_holds_routes_and_paths_begin_where_the_file_lies(tmp_path: Path) -> None:
    learned = Router(thresholds=(0.2,))
    learned.save(tmp_path / "router.json")
    path = tmp_path / "ctxguard.toml"
    path.write_text(ROUTES)
    assert Policy.from_toml(path).routing == Routes(
        routes=(
            Route(name="light", model="gpt-4o-mini", top_k=4),
            Route(
                name="heavy",
                model="gpt-4o",
                effort="high",
                verification="flag",
                price=Price(input=2.5, output=10.0, cache_read=1.25),
            ),
        ),
        router=learned,
        explore=0.05,
        cascade=Cascade(attempts=2),
        limits=(SpendLimit(usd=5, per="day"),),
        tenants={"free": (SpendLimit(usd=0.1, per="hour"),)},
        state=tmp_path / "state/routing.sqlite3",
    )


@pytest.mark.parametrize("where", ["memory", "redis://localhost:6379/0"])
def test_a_state_that_is_no_file_stays_as_it_is(tmp_path: Path, where: str) -> None:
    Router().save(tmp_path / "router.json")
    path = tmp_path / "ctxguard.toml"
    path.write_text(ROUTES.replace("state/routing.sqlite3", where))
    routing = Policy.from_toml(path).routing
    assert routing is not None
    assert routing.state == where


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("top_k = 4", "top_k = 0", r"Policy\.routing\.routes\.0: Route\.top_k: expected 1"),
        ("top_k = 4", "topk = 4", r"Policy\.routing\.routes\.0\.topk: no such field"),
        ('"high"', '"huge"', r"Policy\.routing\.routes\.1\.effort"),
        ("input = 2.5", "input = -1.0", r"Policy\.routing\.routes\.1\.price: Price\.input"),
        ("cache_read", "cached", r"Policy\.routing\.routes\.1\.price\.cached: no such field"),
        ('"heavy"', '"light"', r"Policy\.routing: Routes\.routes: .*different names"),
        ("attempts = 2", "attempts = 0", r"Policy\.routing\.cascade: Cascade\.attempts"),
        ("attempts = 2", "max = 2", r"Policy\.routing\.cascade\.max: no such field"),
        ("usd = 5", "usd = '5'", r"Policy\.routing\.limits\.0\.usd"),
        ("usd = 5", "usd = 5\nin = 'EUR'", r"Policy\.routing\.limits\.0\.in: no such field"),
        ('"hour"', '"week"', r"Policy\.routing\.tenants\.free\.0\.per"),
        ('"router.json"', '"none.json"', r"Policy\.routing\.router: .*none\.json"),
        ('"router.json"', "3", r"Routes\.router: expected Router\(…\), in a file its path, got 3"),
        ('"state/routing.sqlite3"', "3", r"Routes\.state: expected a file, .* got 3"),
        ("explore = 0.05", "explore = 2.0", r"Routes\.explore: expected a share"),
        ("explore", "explored", r"Policy\.routing\.explored: no such field"),
    ],
)
def test_errors_of_routes_name_the_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    Router().save(tmp_path / "router.json")
    path = tmp_path / "policy.toml"
    path.write_text(ROUTES.replace(old, new, 1))
    with pytest.raises(PolicyError, match=message):
        Policy.from_toml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routing = true", r"Policy\.routing: expected a table with routes"),
        ("[routing]", r"Policy\.routing\.routes"),
        ("colour = 1", r"Policy\.colour: no such field"),
        ("preset = 'huge'", r"Policy\.preset"),
        ("[dedupe]\nthreshold_x = 1", r"Policy\.dedupe\.threshold_x: no such field"),
        ("[budget]\nwindow = 'big'", r"Policy\.budget\.window"),
        ("[verification]\nmode = 'late'", r"Policy\.verification\.mode"),
        ("[verification]\non_fail = 'cry'", r"Policy\.verification\.on_fail"),
        ("[verification]\nattempts = -1", r"Verify\.attempts"),
        ("[verification]\nmax_tokens = 0", r"Verify\.max_tokens"),
        ("[verification]\nseconds = 0", r"Verify\.seconds"),
        ("[verification]\nabstention = ' '", r"Verify\.abstention"),
        ("[verification]\nverifier = 3", r"Verify\.verifier: expected a Verifier"),
        ("[verification.verifier]\nthreshold = 2.0", r"Verifier\.threshold"),
        ("[verification.verifier]\nchecks = []", r"Verify\.verifier\.checks: a file can set"),
        ("[verification.verifier]\nscorer = 'x'", r"Verify\.verifier\.scorer: expected one of"),
        ("[verification.verifier]\ncalibration = 3", r"Verify\.verifier\.calibration: expected"),
        ("[verification.verifier]\ncalibration = 'none.json'", r"calibration: .*none\.json"),
        ("[verification.verifier]\nrules = 3", r"Verify\.verifier\.rules: expected a list"),
        ("[verification.verifier]\nrules = [3]", r"rules\[0\]: expected a table"),
        ("[[verification.verifier.rules]]\nname = 'x'", r"rules\[0\]: expected a pattern or a"),
        ("[[verification.verifier.rules]]\npattern = '('", r"rules\[0\]: pattern"),
        ("[[verification.verifier.rules]]\npattern = 3", r"rules\[0\]\.pattern: expected a str"),
        ("[[verification.verifier.rules]]\npattern = 'a'\nmust = 'x'", r"rules\[0\]: .*must"),
        ("[[verification.verifier.rules]]\npattern = 'a'\nmay = 'x'", r"rules\[0\]\.may: no such"),
        ("[[verification.verifier.rules]]\nschema = 3", r"rules\[0\]: schema: expected a path"),
        ("[[verification.verifier.rules]]\nschema = 'no.json'", r"rules\[0\]: schema: .*no\.json"),
        ("[[verification.verifier.rules]]\nschema = 'policy.toml'", r"schema: .*: not JSON"),
        ("[[verification.verifier.rules]]\nschema = {type = 3}", r"rules\[0\]: JsonSchema"),
        ("[verification]\nmoment = 1", r"Policy\.verification\.moment: no such field"),
        ("[on_error]\nx = 1", r"Policy\.on_error: a table is not expected"),
        ("[budget", "not TOML"),
        ("[budget]\nwindow = 0", "window"),
    ],
)
def test_toml_errors_name_file_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(PolicyError, match=message) as caught:
        Policy.from_toml(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none\.toml"):
        Policy.from_toml(tmp_path / "none.toml")


def test_the_environment_names_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CTXGUARD_POLICY", raising=False)
    assert Policy.from_env() == Policy.balanced() == Policy()
    path = tmp_path / "p.toml"
    path.write_text("budget = 700\ndedupe = false\n")
    monkeypatch.setenv("CTXGUARD_POLICY", str(path))
    assert Policy.from_env() == Policy(budget=700, dedupe=None)


def test_presets_and_stages() -> None:
    assert [stage.name for stage in Policy().stages] == [
        "dedupe",
        "rank",
        "compress",
        "select",
        "layout",
    ]
    assert Policy.off().stages == ()
    assert Policy.lean().limits.context_tokens == 2000
    assert Policy.strict().on_error == "raise"
    assert Policy().layout == Layout(order="rank"), "code behind a retriever may take the first"


def test_fingerprints_tell_policies_apart() -> None:
    policies = [
        Policy(),
        Policy.lean(),
        Policy.strict(),
        Policy.off(),
        Policy(budget=5),
        Policy(tokenizer="cl100k_base"),
        Policy(tokenizer=WordTokenizer()),
    ]
    assert len({policy.fingerprint() for policy in policies}) == len(policies)
    assert Policy().fingerprint() == Policy().fingerprint()
    assert Policy(tokenizer=WordTokenizer()).fingerprint() == policies[-1].fingerprint()


VERIFIER = """
[verification.verifier]
calibration = "{calibration}"
scorer = "groundedness"

[[verification.verifier.rules]]
pattern = "[0-9]{{3}}-[0-9]{{4}}"
must = "lack"
message = "no phone numbers"

[[verification.verifier.rules]]
schema = "{schema}"
"""


def test_a_file_says_what_the_verifier_has(tmp_path: Path) -> None:
    schema: dict[str, Any] = {"type": "object"}
    phone = Pattern(pattern="[0-9]{3}-[0-9]{4}", message="no phone numbers")
    checks = (phone, JsonSchema(schema=schema))
    plain = Verifier(scorer=groundedness_scorer(), checks=checks)
    fee = "The fee is $500."
    labelled = [Labelled(answer=fee, evidence=[fee], grounded=True)] * 2
    labelled += [Labelled(answer="The fee is $600.", evidence=[fee], grounded=False)] * 2
    calibration = plain.calibrate(labelled, target=None)
    calibration.save(tmp_path / "c.json")
    (tmp_path / "s.json").write_text('{"type": "object"}')
    (tmp_path / "array.json").write_text("[]")
    path = tmp_path / "policy.toml"
    path.write_text(VERIFIER.format(calibration="c.json", schema="s.json"))
    read = Policy.from_toml(path)
    assert read.verification == Verify(verifier=replace(plain, calibration=calibration))
    data = tomllib.loads(path.read_text())
    assert Policy.from_mapping(data, folder=tmp_path) == read
    with pytest.raises(PolicyError, match=r"calibration: .*c\.json"):
        Policy.from_mapping(data, folder=tmp_path / "elsewhere")
    path.write_text(VERIFIER.format(calibration="c.json", schema="array.json"))
    with pytest.raises(PolicyError, match=r"rules\[1\]: schema: .*expected a JSON object"):
        Policy.from_toml(path)


def test_what_the_verifier_has_is_in_the_fingerprint() -> None:
    tables: list[dict[str, Any]] = [
        {},
        {"scorer": "groundedness"},
        {"rules": [{"pattern": "a"}]},
        {"rules": [{"pattern": "b"}]},
        {"rules": [{"pattern": "a", "must": "have"}]},
        {"rules": [{"schema": {"type": "object"}}]},
        {"rules": [{"schema": {"type": "array"}}]},
    ]
    read = [Policy.from_mapping({"verification": {"verifier": table}}) for table in tables]
    again = [Policy.from_mapping({"verification": {"verifier": table}}) for table in tables]
    prints = [policy.fingerprint() for policy in read]
    assert len(set(prints)) == len(prints)
    assert prints == [policy.fingerprint() for policy in again]


def test_rules_without_their_extra_print_the_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    path = tmp_path / "policy.toml"
    path.write_text("[[verification.verifier.rules]]\npattern = 'only here'")
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[rules\]"):
        Policy.from_toml(path)
