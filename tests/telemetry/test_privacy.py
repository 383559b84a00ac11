"""Without content no text is in any byte of the file; of a route only numbers are."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import pytest

from ctxguard.ledger import Ledger, Step, route_numbers
from ctxguard.routing import Route, Router
from ctxguard.telemetry import LedgerStore, StoreWarning, record_to
from ctxguard.types import Chunk, Decision, Quote, Segment
from ctxguard.verification import Verifier
from tests.telemetry.made import GUARD, all_bytes

WORD = "xyzzy-4711"


def _call_that_fails() -> None:
    with GUARD.run(f"{WORD}?", "chain"):
        GUARD.prepare(f"{WORD}?", [f"It is {WORD}.", f"It is {WORD}.", "Another."])
        raise ValueError(f"about {WORD}")


def planted() -> Ledger:
    """A ledger with the secret wherever a text can be."""
    chunk = Chunk(id="c1", text=f"The {WORD} is 30.", source=WORD, metadata={"who": WORD, WORD: 1})
    quote = Quote(chunk_id="c1", span=(4, 14), text=WORD)
    routing = Router().decide(f"What is {WORD}?", [Route(name="light"), Route(name="heavy")])
    details = {**routing.decision().details, "note": WORD, "moved": {f"Said {WORD}": 0.1}}
    details |= {"interval": [WORD, 0.5], "flips": [WORD], "light_fails": WORD}
    return Ledger(
        run_id="r1",
        question=f"What is {WORD}?",
        error=f"ValueError: {WORD}",
        decisions=(
            replace(routing.decision(), details=details, reason=WORD),
            Decision(
                stage="route",
                action="route",
                subject="c1",
                code="heavier",
                reason=WORD,
                details={"route": WORD, "costs": [WORD]},
            ),
            Decision(
                stage="dedupe",
                action="drop",
                subject="c1",
                code="exact-duplicate",
                reason=WORD,
                evidence=(quote,),
                details={"signals": {"words": WORD}, "route": WORD},
            ),
        ),
        steps=(
            Step(
                kind="model",
                name="Model",
                tokens_before=1,
                tokens_after=1,
                segments=(Segment(kind="evidence", label=WORD, tokens=1, text=WORD),),
            ),
        ),
        chunks=(chunk,),
        verifications=(Verifier()(f"The {WORD} is 31.", [chunk], f"What is {WORD}?"),),
        children=(Ledger(run_id="r2", question=WORD, chunks=(chunk,)),),
    )


@pytest.mark.parametrize("content", [False, True])
def test_a_secret_is_in_the_file_only_with_content(
    make: Callable[..., LedgerStore], content: bool
) -> None:
    store = make(content=content)
    store.append(planted())
    said = nullcontext() if content else pytest.warns(StoreWarning, match="a comment is kept with")
    with said:
        store.feedback("r1", ok=False, comment=f"not {WORD}")
    with record_to(store), pytest.raises(ValueError, match=WORD):
        _call_that_fails()
    assert store.written == 3
    assert (WORD.encode() in all_bytes(store.path)) is content
    store.close()
    assert (WORD.encode() in store.path.read_bytes()) is content


def test_an_export_has_no_more_than_the_store(store: LedgerStore) -> None:
    store.append(planted())
    out = store.path.with_name("out.jsonl")
    assert store.export(out) == 1
    assert WORD not in out.read_text()


def test_the_numbers_of_a_route_survive() -> None:
    routes = [Route(name="light model"), Route(name="heavy")]
    details = Router().decide("What is the fee, if it is 3 % of 200?", routes).decision().details
    assert details["signals"]
    assert json.dumps(route_numbers(details), sort_keys=True) == json.dumps(
        {key: value for key, value in details.items() if value not in ({}, [])}, sort_keys=True
    ), "all that a router writes"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("light_fails", "0.5"),
        ("light_fails", True),
        ("interval", "0.5"),
        ("signals", {"Capital": 1.0}),
        ("signals", {"words": "1.0"}),
        ("signals", {"words": True}),
        ("signals", {3: 1.0}),
        ("costs", {"x" * 65: 1.0}),
        ("costs", "light"),
        ("route", "light"),
        ("flips", ["words"]),
        ("anything", 1.0),
    ],
)
def test_what_is_no_number_of_a_route_does_not(key: str, value: object) -> None:
    assert route_numbers({key: value}) == {}
