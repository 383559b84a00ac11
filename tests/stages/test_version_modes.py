"""What Deduplicate does with versions that conflict: keep, keep the latest, or label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.stages import Deduplicate
from ctxguard.types import Chunk, Context, StageResult
from tests.stages.helpers import by_action, check_laws, context_of, ids
from tests.stages.pairs import AROUND
from tests.stages.pools import pools


def text_of(days: int) -> str:
    return f"{AROUND[0]} Each party may end it on {days} days' notice. {AROUND[1]}"


def dated(*values: object, key: str = "date") -> Context:
    """Versions of one text, 30 days in the first, 31 in the next, with metadata."""
    return Context(
        chunks=tuple(
            Chunk(
                id=str(place),
                text=text_of(30 + place),
                source=f"s{place}.pdf",
                metadata={} if value is None else {key: value},  # pyright: ignore[reportArgumentType] -- frameworks hand in anything
            )
            for place, value in enumerate(values)
        )
    )


def latest(context: Context, **fields: Any) -> StageResult:
    return check_laws(Deduplicate(versions="latest", **fields), context)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2019-12-31", "2020-01-01"),
        ("31 December 2019", "January 1, 2020"),
        ("2019-12-31T23:00:00Z", "2020-01-01T00:00:00+00:00"),
        ("2020-01-01T09:00:00+02:00", "2020-01-01T08:00:00Z"),
        ("2019", "2020"),
        (19, 20),
        (1.5, 2),
        ("1.9", "1.10"),
        ("v1.9.2", "Version 2"),
        ("effective May 2014", "as of June 2014"),
    ],
)
def test_the_newest_stays_wherever_it_ranks(older: object, newer: object) -> None:
    for values, kept in (((older, newer), "1"), ((newer, older), "0")):
        result = latest(dated(*values))
        assert ids(result) == [kept]
        [drop] = result.decisions
        assert (drop.code, drop.twin) == ("superseded", kept)
        assert str(older) in drop.reason
        assert str(newer) in drop.reason


def test_the_reason_names_both_dates_and_the_facts() -> None:
    [drop] = latest(dated("2021-03-01", "2019-01-01")).decisions
    assert drop.reason == (
        "s0.pdf (0) is the newer version (date 2021-03-01 after 2019-01-01): "
        '"31 days" here, "30 days" in s0.pdf (0)'
    )
    assert drop.details == {
        "key": "date",
        "newer": "2021-03-01",
        "older": "2019-01-01",
        "differs": [["31 days", "30 days"]],
    }


def test_the_facts_of_an_older_version_that_ranked_better_stand_first() -> None:
    [drop] = latest(dated("2019-01-01", "2021-03-01")).decisions
    assert drop.subject == "0"
    assert '"30 days" here, "31 days" in s1.pdf (1)' in drop.reason


def test_where_else_the_newest_stands_is_noted_after_older_ones_went() -> None:
    old, new = dated("2019-01-01", "2021-03-01").chunks
    copy = replace(new, id="copy", source="copy.pdf", text=new.text.replace(" ", "\n"))
    restyled = replace(new, id="restyled", source="restyled.pdf", text=new.text.upper())
    result = latest(Context(chunks=(old, new, copy, restyled)))
    [kept] = result.context.chunks
    assert kept.id == new.id
    assert kept.also_in == ("copy.pdf", "restyled.pdf")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, None),
        (None, "2020-01-01"),
        ("2020-01-01", "2020-01-01"),
        ("2020", "2020-05-01"),
        ("2020-05-01", "2020-05-01T10:00:00"),
        ("05/08/2014", "06/08/2014"),
        ("draft", "final"),
        (True, False),
        (float("nan"), 2.0),
        (["2020"], {"a": 1}),
        ("2020-13-45T10:00", "2021-01-01"),
        ("0001-01-01T00:00+14:00", "2021-01-01"),
        ("version 2", "2020-01-01"),
        ("2.0", "2"),
    ],
)
def test_without_comparable_values_both_stay(one: object, other: object) -> None:
    result = latest(dated(one, other))
    assert ids(result) == ["0", "1"]
    [flag] = result.decisions
    assert flag.code == "conflict"
    assert flag.reason.endswith("both stay; no date or version of theirs says which is newer")


def test_the_key_may_be_named() -> None:
    context = dated("2019-01-01", "2020-01-01", key="Signed-On")
    assert ids(latest(context)) == ["0", "1"]
    assert ids(latest(context, version_key="signed on")) == ["1"]


def test_of_many_versions_the_newest_stays_and_copies_name_it() -> None:
    chunks = list(dated(2, 4, 3, 1, 5, 0).chunks)
    chunks.append(Chunk(id="copy", text=chunks[1].text.replace(" ", "  "), metadata={"date": 4}))
    result = latest(Context(chunks=tuple(chunks)))
    assert ids(result) == ["4"]
    assert {decision.twin for decision in result.decisions} == {"4"}
    drops = {drop.subject: drop for drop in by_action(result, "drop")}
    assert drops["copy"].code == "near-duplicate" or drops["copy"].code == "exact-duplicate"
    assert drops["copy"].reason.endswith("of which a newer version is s4.pdf (4)")


def test_an_older_text_that_says_much_more_stays() -> None:
    longer = f"{text_of(30)} {' '.join(f'Item {n} is for sale at {n} euros.' for n in range(60))}"
    chunks = (
        Chunk(id="0", text=longer, metadata={"date": "2019-01-01"}),
        Chunk(id="1", text=text_of(31), metadata={"date": "2020-01-01"}),
    )
    assert ids(latest(Context(chunks=chunks))) == ["0", "1"]


def test_other_words_supersede_nothing() -> None:
    chunks = tuple(
        Chunk(id=str(n), text=text_of(30).replace("may", word), metadata={"version": n})
        for n, word in enumerate(("gladly", "surely"))
    )
    assert ids(latest(Context(chunks=chunks))) == ["0", "1"]


# -- label ----------------------------------------------------------------------------------------


def test_both_versions_get_a_line_that_the_model_reads() -> None:
    context = context_of(text_of(30), text_of(60))
    result = check_laws(Deduplicate(versions="label"), context)
    notes = [chunk.text.partition("\n")[0] for chunk in result.context.chunks]
    start = "\u201cThis agreement is made between the\u201d"
    assert notes == [
        f"[Version of {start} (s1.pdf): differs in 30 days / 60 days]",
        f"[Version of {start} (s0.pdf): differs in 60 days / 30 days]",
    ]
    for chunk, own in zip(result.context.chunks, context.chunks, strict=True):
        assert chunk.text.endswith("\n" + own.text)
    assert [d.code for d in result.decisions] == ["labelled", "conflict", "labelled"]
    for decision in by_action(result, "rewrite"):
        assert (decision.tokens_before or 0) < (decision.tokens_after or 0)


def test_a_label_also_stands_in_what_the_framework_renders() -> None:
    chunks = (
        Chunk(id="0", text=text_of(30), rendered=f"title: x\n{text_of(30)}"),
        Chunk(id="1", text=text_of(60), rendered="something else"),
    )
    result = Deduplicate(versions="label")(Context(chunks=chunks))
    first, second = result.context.chunks
    assert first.rendered == f"title: x\n{first.text}"
    assert second == chunks[1].__class__(
        id="1", text=text_of(60), rendered="something else", conflicts=("0",)
    )


# -- ties -----------------------------------------------------------------------------------------


def test_both_sides_name_the_chunk_that_they_conflict_with() -> None:
    result = Deduplicate()(context_of(text_of(30), text_of(60), text_of(30)))
    assert [chunk.conflicts for chunk in result.context.chunks] == [("1",), ("0",)]
    again = Deduplicate()(result.context)
    assert again.context == result.context


def test_other_words_are_no_conflict() -> None:
    result = Deduplicate()(context_of(text_of(30), text_of(30).replace("named", "listed")))
    assert [chunk.conflicts for chunk in result.context.chunks] == [(), ()]


def test_ids_that_are_gone_are_forgotten() -> None:
    chunk = Chunk(id="0", text=text_of(30), conflicts=("gone", "0"), leans_on=("gone", "0"))
    [kept] = Deduplicate()(Context(chunks=(chunk,))).context.chunks
    assert (kept.conflicts, kept.leans_on) == ((), ())


def test_a_trimmed_chunk_names_what_holds_the_rest() -> None:
    result = Deduplicate()(context_of(AROUND[0], f"{AROUND[0]} {AROUND[1]}"))
    assert [chunk.leans_on for chunk in result.context.chunks] == [(), ("0",)]
    assert Deduplicate()(result.context).context == result.context


def test_an_older_version_on_which_another_leans_stays() -> None:
    chunks = (
        Chunk(id="0", text=text_of(30), metadata={"date": 1}),
        Chunk(id="1", text=text_of(31), metadata={"date": 2}),
        Chunk(id="2", text="What is left.", leans_on=("0",)),
    )
    assert ids(latest(Context(chunks=chunks))) == ["0", "1", "2"]


@settings(max_examples=150)
@given(
    chunks=pools(),
    mode=st.sampled_from(["keep", "latest", "label"]),
    share=st.booleans(),
    overlap=st.sampled_from([1, 20]),
)
def test_laws(chunks: tuple[Chunk, ...], mode: Any, share: bool, overlap: int) -> None:
    stage = Deduplicate(
        versions=mode, version_key="start_index", share_boilerplate=share, min_overlap=overlap
    )
    result = check_laws(stage, Context(chunks=chunks))
    again = stage(result.context).context.chunks
    kept = {chunk.id: chunk for chunk in result.context.chunks}
    assert [c.leans_on for c in again] == [c.leans_on for c in kept.values()]
    assert [c.conflicts for c in again] == [c.conflicts for c in kept.values()]
    for chunk in kept.values():
        assert chunk.id not in chunk.conflicts + chunk.leans_on
        assert all(chunk.id in kept[other].conflicts for other in chunk.conflicts)
        assert all(other in kept for other in chunk.leans_on)
