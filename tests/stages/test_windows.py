"""Overlapping windows, repeated text, shared boilerplate: what is trimmed and what never is."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given, strategies as st

from ctxguard.stages import Deduplicate
from ctxguard.stages._view import Shared, TextView
from ctxguard.text.analysis import default_analyzer
from ctxguard.types import Chunk, Context
from tests.stages.helpers import by_action, chunks_of, context_of, ids, removed_by
from tests.stages.pairs import AROUND, COPY

TEXT = (
    "The tenant shall give notice of at least 30 days before the end of the month. "
    "The landlord may keep a deposit of $1,500 until all of the keys have been returned. "
    "Acme Corp. owes Beta GmbH the full purchase price of the machine on 1 March 2021. "
    "The warranty lasts 24 months from delivery, and 12 months for used goods. "
    "No waiver is effective unless it is made in writing and signed by both parties. "
    "The maximum load of the crane is 5 t at a radius of 12.5 m and 3 t beyond it."
)
"""Sentences of 15 to 20 tokens."""


def windows(text: str, size: int, overlap: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text) - overlap, size - overlap)]


@pytest.mark.parametrize("source", ["doc.pdf", ""])
@pytest.mark.parametrize("order", [1, -1])
def test_the_overlap_of_two_windows_is_taken_out_of_the_worse_ranked(
    source: str, order: int
) -> None:
    pair = [TEXT[:300], TEXT[140:]][::order]
    result = Deduplicate()(context_of(*pair, source=source))
    [trim] = result.decisions
    assert (trim.action, trim.code, trim.subject, trim.twin) == ("trim", "overlap", "1", "0")
    better, worse = result.context.chunks
    assert better.text == pair[0]
    [(start, end)] = removed_by(trim)
    removed = pair[1][start:end]
    assert removed.strip() in better.text
    assert pair[1][:start] + pair[1][end:] == worse.text
    count = result.context.analyzer.count
    assert (trim.tokens_before, trim.tokens_after) == (count(pair[1]), count(worse.text))


def test_what_remains_starts_with_a_whole_sentence() -> None:
    result = Deduplicate()(context_of(TEXT[:300], TEXT[140:], source="doc.pdf"))
    rest = result.context.chunks[1].text
    assert rest.startswith("The warranty lasts 24 months")


def test_what_remains_ends_with_a_whole_sentence() -> None:
    result = Deduplicate()(context_of(TEXT[140:], TEXT[:300], source="doc.pdf"))
    rest = result.context.chunks[1].text
    assert rest.endswith("until all of the keys have been returned.")


def test_inside_a_sentence_the_words_at_the_seam_stay() -> None:
    words = [f"item{n} of 1,{n:03} euros" for n in range(60)]
    left, right = " ".join(words[:35])[:-3], " ".join(words[20:])
    result = Deduplicate()(context_of(left, right, source="doc.pdf"))
    rest = result.context.chunks[1].text
    assert rest == " ".join(words[33:])


def test_a_number_at_the_edge_of_a_window_stays_whole() -> None:
    edge = TEXT.index("$1,500") + 3
    left, right = TEXT[:edge], TEXT[edge - 80 :]
    for pair in ((left, right), (right, left)):
        result = Deduplicate(min_overlap=5)(context_of(*pair, source="doc.pdf"))
        assert any("$1,500 until" in chunk.text for chunk in result.context.chunks)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("It is so. 30 {}", "0 {} The rest is as before."),
        ("It is so. 1,500 {}", "500 {} The rest is as before."),
        ("{} is 1,500 euros. The rest is as before.", "It is so. {} is 1"),
        ("{} is 1.5 euros. The rest is as before.", "It is so. {} is 1"),
    ],
)
def test_a_piece_of_a_number_is_no_overlap(better: str, worse: str) -> None:
    middle = "to them all in the course of the same year in which it was said"
    for glue in (middle, f"{middle}. And so on it goes for some time, as it seems to us"):
        pair = better.format(glue), worse.format(glue)
        result = Deduplicate(min_overlap=1)(context_of(*pair, source="doc.pdf"))
        new = set(pair[1].split()) - set(pair[0].split())
        assert new <= set(result.context.chunks[-1].text.split())
        assert ids(result) == ["0", "1"]


@pytest.mark.parametrize("size", [150, 200, 300])
@pytest.mark.parametrize("order", [1, -1])
def test_all_windows_of_a_text_still_say_all_of_it(size: int, order: int) -> None:
    pieces = windows(TEXT, size, size // 3)
    result = Deduplicate(min_overlap=4)(context_of(*pieces[::order], source="doc.pdf"))
    left = [chunk.text for chunk in result.context.chunks]
    assert sum(map(len, left)) < sum(map(len, pieces))
    for sentence in TEXT.split(". "):
        whole = [piece for piece in pieces if sentence in piece]
        assert not whole or any(sentence in text for text in left)
        for phrase in ("30 days", "$1,500", "1 March 2021", "24 months", "12.5 m"):
            assert phrase not in sentence or any(phrase in text for text in left)


def test_windows_of_other_sources_stay_as_they_are() -> None:
    result = Deduplicate()(context_of(TEXT[:300], TEXT[140:]))
    assert [chunk.text for chunk in result.context.chunks] == [TEXT[:300], TEXT[140:]]


def test_a_small_overlap_is_not_worth_a_cut() -> None:
    context = context_of(TEXT[:300], TEXT[140:], source="doc.pdf")
    assert not Deduplicate(min_overlap=500)(context).decisions


def test_the_rendered_form_is_cut_alike() -> None:
    first, second = chunks_of([TEXT[:300], TEXT[140:]], source="doc.pdf")
    second = replace(second, rendered=f"title: lease\n\n{second.text}\n")
    result = Deduplicate()(Context(chunks=(first, second)))
    rest = result.context.chunks[1]
    assert rest.text != second.text
    assert rest.rendered == f"title: lease\n\n{rest.text}\n"


def test_a_rendered_form_that_does_not_hold_the_text_is_left_alone() -> None:
    first, second = chunks_of([TEXT[:300], TEXT[140:]], source="doc.pdf")
    second = replace(second, rendered="summary")
    result = Deduplicate()(Context(chunks=(first, second)))
    assert result.context.chunks == (first, second)


# -- the better-ranked is a part of the worse-ranked ---------------------------------------------


def test_what_a_longer_chunk_adds_stays() -> None:
    first, second = TEXT[: TEXT.index("Acme")].strip(), TEXT
    result = Deduplicate()(context_of(first, second))
    [trim] = result.decisions
    assert (trim.action, trim.code, trim.subject) == ("trim", "repeated-text", "1")
    assert result.context.chunks[0].text == first
    assert result.context.chunks[1].text == TEXT[TEXT.index("Acme") :]


def test_a_longer_chunk_is_trimmed_at_its_end_too() -> None:
    middle = TEXT.index("Acme")
    result = Deduplicate()(context_of(TEXT[middle:], TEXT))
    assert result.context.chunks[1].text == TEXT[:middle].rstrip()


@pytest.mark.parametrize("head", ["The seller does not promise that:", "Excluded:", "1.", "if"])
def test_a_text_is_never_cut_off_what_introduces_it(head: str) -> None:
    result = Deduplicate()(context_of(COPY, f"{head}\n\n{COPY}"))
    assert all(chunk.text.endswith(COPY[-60:]) for chunk in result.context.chunks)


def test_a_heading_stays_when_its_text_is_trimmed() -> None:
    result = Deduplicate()(context_of(COPY, f"Gold plan\n\n{COPY}"))
    assert [chunk.text for chunk in result.context.chunks] == [COPY, "Gold plan"]


def test_a_text_without_its_heading_goes() -> None:
    result = Deduplicate()(context_of(f"Supply agreement\n\n{COPY}", COPY))
    assert ids(result) == ["0"]


def test_a_repetition_in_the_middle_stays() -> None:
    result = Deduplicate()(context_of(AROUND[0], f"{TEXT[:78]} {AROUND[0]} {TEXT[79:]}"))
    assert ids(result) == ["0", "1"]
    assert not by_action(result, "drop", "trim")


# -- share_boilerplate ---------------------------------------------------------------------------


def versions() -> tuple[str, str]:
    return TEXT, TEXT.replace("24 months", "36 months")


def test_shared_text_is_trimmed_only_when_asked() -> None:
    assert not by_action(Deduplicate()(context_of(*versions())), "trim")


def test_of_two_versions_the_worse_ranked_keeps_what_differs() -> None:
    result = Deduplicate(share_boilerplate=True)(context_of(*versions()))
    trim, flag = result.decisions
    assert (trim.code, trim.subject, trim.twin) == ("shared-text", "1", "0")
    assert (flag.code, flag.details["differs"]) == ("conflict", [["36 months", "24 months"]])
    better, worse = result.context.chunks
    assert better.text == TEXT
    assert worse.text == (
        "[Otherwise the same as the text of s0.pdf that starts “The tenant shall give notice of”:]"
        "\nThe warranty lasts 36 months from delivery, and 12 months for used goods."
    )


def test_a_third_version_refers_to_the_whole_text_and_not_to_a_trimmed_one() -> None:
    text, other = versions()
    result = Deduplicate(share_boilerplate=True)(
        context_of(text, other, text.replace("24 months", "12 months"), other.replace("$1", "$2"))
    )
    assert {trim.twin for trim in by_action(result, "trim")} == {"0"}
    assert {flag.twin for flag in by_action(result, "flag")} == {"0"}


def test_pieces_that_differ_are_joined_visibly() -> None:
    text, other = versions()
    result = Deduplicate(share_boilerplate=True)(context_of(text, other.replace("$1,500", "$900")))
    assert "[…]" in result.context.chunks[1].text
    assert "$900 until all" in result.context.chunks[1].text
    for quote in by_action(result, "flag")[0].evidence:
        assert quote.text in ("$900", "$1,500", "36 months", "24 months")


def test_a_chunk_may_be_trimmed_at_both_ends() -> None:
    pieces = [TEXT[:260], TEXT[300:], TEXT[80:420]]
    result = Deduplicate(min_overlap=4)(context_of(*pieces, source="doc.pdf"))
    trims = by_action(result, "trim")
    assert [trim.twin for trim in trims] == ["0", "1"]
    (_, start), (end, _) = (removed_by(trim)[0] for trim in trims)
    rest = result.context.chunks[2].text
    assert pieces[2][start:end] == rest


def test_a_trimmed_chunk_that_says_nothing_new_is_dropped_once() -> None:
    middle = TEXT.index("Acme")
    pieces = [TEXT[:middle].strip(), TEXT[middle:], TEXT]
    result = Deduplicate()(
        Context(
            chunks=tuple(
                Chunk(id=str(n), text=text, source=f"s{n}") for n, text in enumerate(pieces)
            )
        )
    )
    assert ids(result) == ["0", "1"]
    [drop] = result.decisions
    assert drop.action == "drop"
    assert drop.tokens_before == result.context.analyzer.count(TEXT)
    assert "the rest of it stands in" in drop.reason
    assert drop.details["also"]


def test_a_copy_of_a_chunk_that_two_others_replace_names_both() -> None:
    middle = TEXT.index("Acme")
    result = Deduplicate()(context_of(TEXT[:middle].strip(), TEXT[middle:], TEXT, TEXT))
    assert ids(result) == ["0", "1"]
    for drop in result.decisions:
        holders = {drop.twin, *cast("list[str]", drop.details["also"])}
        assert holders == {"0", "1"}
    assert result.decisions[1].reason.startswith("the same text as s2.pdf (2), which stands in ")


@given(st.text(alphabet="ab .-\t\n\r\u00a0\u2003\u00e9", max_size=40))
def test_runs_of_words_end_where_the_text_has_them(text: str) -> None:
    view = TextView(text, Shared(default_analyzer(), 5))
    ends, ends_in_text = (edges.tolist() for edges in view.spaced_words)
    words = text.split()
    assert ends == [len(" ".join(words[: count + 1])) for count in range(len(words))]
    assert [text[:end].split() for end in ends_in_text] == [
        words[: count + 1] for count in range(len(words))
    ]


@given(st.text(alphabet="ab c\t\n\u00a0", max_size=30))
def test_text_without_space_is_equal_only_where_texts_may_be_the_same(text: str) -> None:
    shared = Shared(default_analyzer(), 5)
    view, spaced = TextView(text, shared), TextView(" ".join(text.split()), shared)
    if "\t" not in text:
        assert view.solid == spaced.solid
        assert view.solid.decode() == "".join(text.split())
