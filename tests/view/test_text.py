# ruff: noqa: RUF001 -- the views write a minus sign, the tests read it
from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st
from inline_snapshot import snapshot
from rich.cells import cell_len
from rich.console import Console

from ctxguard.ledger import Ledger, Step
from ctxguard.types import Budget, Chunk, Decision, Quote, Segment, SegmentKind
from ctxguard.view import one_line, to_text
from tests.view import samples

WIDTHS = (40, 55, 60, 80, 111, 112, 120, 200)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def words(text: str) -> str:
    """The text with its line breaks undone."""
    return " ".join(text.split())


def drop_of(subject: str) -> Decision:
    return Decision(stage="s", action="drop", subject=subject, code="k", reason="no room")


# -- one line -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("retrieval", "8 chunks → 3 kept, 1,560 → 610 tokens (−61 %), 1 conflict"),
        (
            "model_call",
            "8 chunks → 3 kept, 1,560 → 610 tokens (−61 %), prompt 3,124 of 8,192 tokens (38 %), "
            "2 messages left out, 1 conflict",
        ),
        ("model_only", "prompt 120 estimated tokens"),
        (
            "failed",
            "3 chunks all kept, 610 estimated tokens, 2 errors, "
            "ended with RateLimitError: 429 Too Many Requests",
        ),
        ("empty", "empty: no retrieval, no model call"),
        ("crowd", "500 chunks → 200 kept, 75,000 → 24,000 tokens (−68 %)"),
        (
            "agent",
            "8 chunks → 3 kept, 1,560 → 610 tokens (−61 %), prompt 3,124 of 2,400 tokens (130 %), "
            "1 conflict, 2 nested runs",
        ),
    ],
)
def test_one_line_says_what_came_in_and_what_stayed(name: str, line: str) -> None:
    assert one_line(samples.ALL[name]()) == f"<Ledger {line}>"


def test_a_retrieval_that_found_nothing_says_so() -> None:
    step = Step(kind="retrieval", name="r", tokens_before=0, tokens_after=0)
    ledger = Ledger(run_id="r", steps=(step,))
    assert one_line(ledger) == "<Ledger nothing retrieved>"
    assert "nothing retrieved" in to_text(ledger, width=80)


def test_repr_and_str_are_the_views() -> None:
    ledger = samples.retrieval()
    assert repr(ledger) == one_line(ledger)
    assert str(ledger) == to_text(ledger)


# -- the terminal ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", samples.ALL)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    for line in to_text(samples.ALL[name](), width=width).split("\n"):
        assert cell_len(line) <= width
        assert line == line.rstrip()


@pytest.mark.parametrize("name", samples.ALL)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_nothing_can_steer_the_terminal(name: str, width: int) -> None:
    text = to_text(samples.ALL[name](), width=width)
    text.encode()  # no lone surrogate is left
    odd = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert odd <= {"\n", "\u200d"}  # the joiner of the family emoji
    assert "\n" not in one_line(samples.ALL[name]())


def test_what_is_hidden_in_a_document_is_written_out() -> None:
    text = to_text(samples.hostile(), width=200)
    for escape in (r"\x1b[31m", r"\u202e", r"\u200b", r"\ufeff", r"\ud800", r"\U000e0041", r"\x0d"):
        assert escape in text
    assert "👩‍👩‍👧" in text  # but a joiner between emoji stays


def test_rich_markup_and_emoji_codes_are_text() -> None:
    text = words(to_text(samples.hostile(), width=200))
    assert "[bold red]markup[/] [link=https://evil.example]here[/link] :smiley:" in text


@given(st.text(st.characters(), max_size=60))
def test_any_text_can_be_shown(text: str) -> None:
    decision = Decision(stage=text, action="drop", subject=text, code=text, reason=text, twin=text)
    ledger = Ledger(
        run_id="r", question=text, name=text, model=text, decisions=(decision,), error=text
    )
    for width in (40, 120):
        shown = to_text(ledger, width=width)
        shown.encode()
        assert all(cell_len(line) <= width for line in shown.split("\n"))
    one_line(ledger).encode()


def test_wide_characters_keep_the_borders_in_line() -> None:
    lines = to_text(samples.hostile(), width=100).split("\n")
    boxed = [line for line in lines if line[:1] in "╭│├╰" and line]
    assert len(boxed) > 5
    assert {cell_len(line) for line in boxed} == {100}


# -- colour and width -----------------------------------------------------------------------------


def test_colour_adds_escapes_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    ledger = samples.model_call()
    coloured = to_text(ledger, width=80, color=True)
    assert ANSI.search(coloured)
    plain = [line.rstrip() for line in ANSI.sub("", coloured).split("\n")]
    assert plain == to_text(ledger, width=80).split("\n")


def test_no_color_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    ledger = samples.model_call()
    assert to_text(ledger, width=80, color=True) == to_text(ledger, width=80)


def test_plain_text_is_plain_whatever_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = to_text(samples.retrieval(), width=80)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert to_text(samples.retrieval(), width=80) == before
    assert "\x1b" not in before


def test_the_width_comes_from_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "53")
    assert to_text(samples.retrieval()) == to_text(samples.retrieval(), width=53)


def test_rich_prints_a_ledger() -> None:
    console = Console(width=70, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(samples.retrieval())
    printed = "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))
    assert printed == to_text(samples.retrieval(), width=70)


# -- the bar --------------------------------------------------------------------------------------

KINDS: tuple[SegmentKind, ...] = (
    "instructions", "tools", "history", "evidence", "question", "reserve",
)  # fmt: skip


def bar_of(text: str) -> str:
    return next(line for line in text.split("\n") if re.fullmatch(r"[ITHEQR·░]{24,}", line))


@given(st.lists(st.integers(1, 100_000), min_size=6, max_size=6), st.integers(40, 200))
def test_the_bar_fills_the_width_and_shows_every_kind(tokens: list[int], width: int) -> None:
    segments = tuple(
        Segment(kind=kind, label=kind, tokens=count)
        for kind, count in zip(KINDS, tokens, strict=True)
    )
    window = sum(tokens) + 1
    ledger = Ledger(run_id="r", segments=segments, budget=Budget(window=window))
    drawn = bar_of(to_text(ledger, width=width))
    assert len(drawn) == width
    assert re.fullmatch("I+T+H+E+Q+R+·+", drawn)
    assert abs(drawn.count("H") - tokens[2] * width / window) <= 7


def test_the_legend_adds_up_to_the_window() -> None:
    text = to_text(samples.model_call(), width=40)
    legend = re.findall(r"^[ITHEQR·] [\w ]+? +([\d,]+) +[<\d]+ %$", text, re.MULTILINE)
    assert sum(int(count.replace(",", "")) for count in legend) == 8192
    assert "100 % is the context window, 8,192" in words(text)


def test_without_a_window_shares_are_of_the_prompt() -> None:
    text = to_text(samples.model_only(), width=80)
    assert "100 % is the prompt, 120 tokens; the model's window is not known" in text
    assert "I Instructions 96 80 %" in text


def test_a_retrieval_shows_what_it_left_out() -> None:
    text = to_text(samples.retrieval(), width=80)
    assert "E Evidence 610 39 %    ░ Left out 950 61 %" in text


def test_a_prompt_over_the_window_is_no_full_bar_but_a_warning() -> None:
    text = to_text(samples.agent(), width=80)
    assert "1,748 tokens more than the window holds, reserve included" in text
    assert "100 % is the prompt with the answer's reserve, 4,148 tokens" in text


def test_small_shares_are_not_rounded_to_nothing() -> None:
    assert re.search(r"Q Question +34 <1 %", to_text(samples.model_call(), width=80))


def test_almost_everything_is_not_rounded_to_everything() -> None:
    segments = (
        Segment(kind="history", label="h", tokens=99_999),
        Segment(kind="question", label="q", tokens=1),
    )
    text = to_text(Ledger(run_id="r", segments=segments), width=80)
    assert "H History 99,999 >99 %" in text


# -- what is said ---------------------------------------------------------------------------------


def test_estimates_are_called_estimates() -> None:
    text = to_text(samples.model_only(), width=80)
    assert "token counts are conservative estimates" in text
    assert "120 estimated tokens" in text


def test_a_saving_stands_next_to_what_was_kept() -> None:
    for line in to_text(samples.model_call(), width=120).split("\n"):
        if "−" in line:
            assert re.search(r"[\d,]+ (→|of) [\d,]+ tokens", line)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_facts_of_a_conflict_are_whole(width: int) -> None:
    left = "60 days from the end of the month"
    right = "30 days from the end of the month"
    flagged = replace(
        samples.conflict(), evidence=(samples.quote("c1", left), samples.quote("c2", right))
    )
    ledger = replace(samples.retrieval(), decisions=(flagged, *samples.decisions()[1:]))
    text = to_text(ledger, width=width)
    if width < 56:
        assert left in words(text).replace("┃ ", "")
        assert right in words(text).replace("┃ ", "")
        return
    columns = [line.split("│")[1:3] for line in text.split("\n") if line.startswith("│")]
    assert words(" ".join(column[0] for column in columns)).count(left) == 2
    assert words(" ".join(column[1] for column in columns)).count(right) == 2


def test_the_two_versions_stand_side_by_side_with_their_sentences() -> None:
    lines = to_text(samples.retrieval(), width=120).split("\n")
    assert any("60 days" in line and "30 days" in line for line in lines)
    sentence = "The notice period is {} days from the end of the month."
    assert any(sentence.format(60) in line and sentence.format(30) in line for line in lines)


def test_a_version_that_was_dropped_later_is_not_called_kept() -> None:
    gone = Decision(
        stage="select", action="drop", subject="c2", code="over-budget", reason="no room"
    )
    ledger = replace(
        samples.retrieval(), decisions=(samples.conflict(), gone), segments=(), steps=()
    )
    text = to_text(ledger, width=80)
    assert "both versions kept" not in text
    assert "dropped later: no room" in text


def conflict_in(text: str, *facts: str) -> str:
    """A conflict's left side at 200 columns: each fact, and the sentences they stand in."""
    quotes = tuple(
        Quote(chunk_id="c1", span=(text.index(f), text.index(f) + len(f)), text=f) for f in facts
    )
    ledger = Ledger(
        run_id="r",
        chunks=(Chunk(id="c1", text=text), Chunk(id="c2", text=text)),
        decisions=(replace(samples.conflict(), evidence=quotes),),
    )
    lines = [line.split("│")[1] for line in to_text(ledger, width=200).split("\n") if "│" in line]
    return words(" ".join(lines[1:]))


def test_two_facts_of_one_sentence_share_it() -> None:
    text = "First. It costs 10 EUR for 3 days. Last."
    assert conflict_in(text, "10 EUR", "3 days") == "10 EUR 3 days It costs 10 EUR for 3 days."


def test_facts_of_two_sentences_are_shown_in_both() -> None:
    text = f"It costs 10 EUR. {'Nothing of note. ' * 9}It takes 3 days! The end."
    shown = conflict_in(text, "10 EUR", "3 days")
    assert shown == "10 EUR 3 days It costs 10 EUR. It takes 3 days!"


def test_facts_that_overlap_are_marked_once() -> None:
    assert conflict_in("It costs 10 EUR.", "10 EUR", "10") == "10 EUR 10 It costs 10 EUR."


def test_a_long_sentence_is_cut_at_words_around_the_fact() -> None:
    text = f"{'before ' * 40}10 EUR{' after' * 40}"
    shown = conflict_in(text, "10 EUR")
    assert re.fullmatch(r"10 EUR … (before ){11,13}10 EUR( after){13,15} …", shown)


def test_without_quotes_the_texts_are_shown() -> None:
    assert conflict_in("It costs 10 EUR. More.") == "says nothing of it It costs 10 EUR."


def test_a_fact_that_only_one_version_states() -> None:
    flagged = replace(samples.conflict(), evidence=(samples.quote("c1", "60 days"),))
    ledger = replace(samples.retrieval(), decisions=(flagged,))
    assert "says nothing of it" in to_text(ledger, width=80)


def test_a_quote_that_is_not_in_the_text_is_still_shown() -> None:
    wrong = Quote(chunk_id="c1", span=(0, 5), text="ninety days")
    ledger = replace(
        samples.retrieval(), decisions=(replace(samples.conflict(), evidence=(wrong,)),)
    )
    assert "ninety days" in to_text(ledger, width=80)


@pytest.mark.parametrize("width", [60, 120])
def test_every_drop_names_its_twin(width: int) -> None:
    text = words(to_text(samples.retrieval(), width=width))
    assert text.count("↳ twin contracts/support-2024.pdf #c1") == 2
    assert "score 0.87, threshold 0.80" in text


def test_errors_come_first() -> None:
    text = to_text(samples.failed(), width=80)
    first = text.index("✗ error")
    assert first < text.index("Evidence")
    assert "the run ended with RateLimitError: 429" in text
    assert "dedupe failed and handed its input on unchanged: KeyError: 'ids'" in text


def test_what_could_not_be_counted_is_not_called_0_tokens() -> None:
    failures = samples.failed().errors
    steps = (
        Step(kind="retrieval", name="r", tokens_before=0, tokens_after=0, decisions=(0, 2)),
        Step(kind="model", name="m", tokens_before=0, tokens_after=0),
    )
    ledger = Ledger(
        run_id="r",
        budget=Budget(window=4096),
        decisions=failures,
        steps=steps,
        chunks=samples.chunks(),
    )
    assert one_line(ledger) == "<Ledger 8 chunks all kept, prompt not counted, 2 errors>"
    text = to_text(ledger, width=80)
    assert "Evidence  not counted · 8 chunks, all kept" in text
    assert "Prompt    not counted" in text
    assert "0 tokens" not in text


def test_the_same_error_is_shown_once() -> None:
    failure = samples.failed().errors[0]
    text = to_text(Ledger(run_id="r", decisions=(failure,) * 3), width=100)
    assert text.count("✗ error") == 1
    assert "(3 times)" in text


def test_many_decisions_are_added_up() -> None:
    text = to_text(samples.crowd(), width=80)
    assert text.count("dropped  ") == 20
    assert "and 280 more dropped, 42,000 → 0 tokens: ledger.decisions" in text
    assert "and 90 more trimmed, 13,500 → 8,100 tokens: ledger.decisions" in text
    assert re.search(r"and 192 more kept, [\d,]+ tokens: ledger.chunks", text)


def test_what_every_model_call_decides_again_is_one_row() -> None:
    ledger = samples.model_call()
    again = ledger.decisions[-2:]
    last = replace(ledger.steps[-1], decisions=(12, 14))
    ledger = replace(ledger, decisions=ledger.decisions + again, steps=(*ledger.steps, last))
    text = to_text(ledger, width=120)
    assert text.count("message-1 (user)") == 1
    assert text.count("(2 times)") == 2
    assert "2 messages left out" in text


def test_a_chunk_that_the_window_left_out_is_not_listed_as_kept() -> None:
    ledger = samples.model_call()
    gone = Decision(
        stage="window", action="drop", subject="c3", code="over-window", reason="no room left"
    )
    steps = (*ledger.steps[:-1], replace(ledger.steps[-1], decisions=(10, 13)))
    ledger = replace(ledger, decisions=(*ledger.decisions, gone), steps=steps)
    text = to_text(ledger, width=120)
    assert "kept      wiki/offboarding.md" not in text
    assert "2 messages and 1 chunk left out" in text


def test_a_chunk_without_a_source_is_named_by_its_first_words() -> None:
    assert "“The cafeteria is open from 1…” #c7" in to_text(samples.retrieval(), width=80)


@pytest.mark.parametrize(
    ("chunk", "label"),
    [
        (Chunk(id="a.md#2", source="a.md", text="t"), "a.md#2"),
        (Chunk(id="c", source="a.md", text="t"), "a.md #c"),
        (Chunk(id="c", text=""), "#c"),
        (Chunk(id="c", text="a\nb"), "“a b” #c"),
    ],
)
def test_labels(chunk: Chunk, label: str) -> None:
    ledger = Ledger(run_id="r", chunks=(chunk,), decisions=(drop_of(chunk.id),))
    assert f"dropped   {label}  " in to_text(ledger, width=120)


def test_long_ids_are_shortened_as_far_as_they_stay_apart() -> None:
    ids = ("7f3a9c10-5d2c-4f7e-9b1a-000000000001", "7f3a9c10-5d2c-4f7e-9b1a-000000000002")
    chunks = tuple(Chunk(id=one, source="a.md", text="t") for one in ids)
    ledger = Ledger(run_id="r", chunks=chunks, decisions=tuple(drop_of(one) for one in ids))
    text = to_text(ledger, width=200)
    assert all(f"a.md #{one}" in text for one in ids)


def test_long_labels_keep_their_ends() -> None:
    source = "s3://bucket/" + "very/long/path/" * 20 + "the-file.md"
    chunk = Chunk(id="c1", source=source, text="t")
    ledger = Ledger(run_id="r", chunks=(chunk,), decisions=(drop_of("c1"),))
    for width in WIDTHS:
        assert "file.md #c1" in to_text(ledger, width=width)


def test_long_lists_of_steps_and_nested_runs_are_counted() -> None:
    step = samples.retrieval().steps[0]
    ledger = Ledger(run_id="r", steps=(step,) * 15, children=(samples.empty(),) * 12)
    text = to_text(ledger, width=80)
    assert "and 3 more: ledger.steps" in text
    assert "and 2 more: ledger.children" in text


def test_steps_and_nested_runs_are_listed() -> None:
    text = to_text(samples.agent(), width=80)
    assert re.search(r"retrieval +prepare +1,560 → 610", text)
    assert "children[0]  prepare: 8 chunks → 3 kept, 1,560 → 610 tokens (−61 %)" in text


def test_an_empty_ledger_says_so() -> None:
    assert to_text(samples.empty(), width=80) == snapshot(
        """\
ctxguard
Nothing was recorded: no retrieval, no model call.\
"""
    )


def test_a_retrieval_as_it_is_printed() -> None:
    assert to_text(samples.retrieval(), width=80) == snapshot("""\
ctxguard · prepare · tokens counted with o200k_base
“What is the notice period for ending the support contract?”

Evidence  1,560 → 610 tokens · −61 % · 8 chunks → 3 kept
          76 % of a budget of 800

EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
E Evidence 610 39 %    ░ Left out 950 61 %
100 % is what was retrieved, 1,560 tokens

! conflict  both versions kept
support-2024 and support-2021 share 96 % of their wording but differ in a number
╭───────────────────────────────────────┬──────────────────────────────────────╮
│ contracts/support-2024.pdf #c1        │ contracts/support-2021.pdf #c2       │
├───────────────────────────────────────┼──────────────────────────────────────┤
│ 60 days                               │ 30 days                              │
│ The notice period is 60 days from the │ The notice period is 30 days from    │
│ end of the month.                     │ the end of the month.                │
╰───────────────────────────────────────┴──────────────────────────────────────╯

dropped  mail/2024-03-05-signed-copy.eml #c4                             214 → 0
         same text as contracts/support-2024.pdf but for white space
         ↳ twin contracts/support-2024.pdf #c1 · score 1.00
dropped  https://intranet.example.…acts/2024/notice-and-termination #c5  188 → 0
         says nothing that contracts/support-2024.pdf does not say, with the
         same facts
         ↳ twin contracts/support-2024.pdf #c1 · score 0.87, threshold 0.80
dropped  contracts/hosting-2023.pdf #c8                                  212 → 0
         ranked 6; the budget of 800 tokens was used up by rank 3
dropped  wiki/onboarding.md #c6                                          176 → 0
         ranked 7; the budget of 800 tokens was used up by rank 3
dropped  “The cafeteria is open from 1…” #c7                             160 → 0
         ranked 8; the budget of 800 tokens was used up by rank 3
moved    contracts/support-2024.pdf #c1
         moved from place 1 to place 3: the best evidence stands next to the
         question
kept     contracts/support-2024.pdf #c1                                      214
kept     contracts/support-2021.pdf #c2                                      212
kept     wiki/offboarding.md #c3                                             184

time  dedupe 4.1 ms · select 0.6 ms · layout <0.1 ms\
""")


def test_many_conflicts_are_counted_and_not_all_spread_out() -> None:
    found = [replace(samples.conflict(), reason=f"reason {number}") for number in range(8)]
    many = replace(samples.retrieval(), decisions=tuple(found))
    shown = to_text(many, width=100)
    assert shown.count("! conflict") == 5
    assert "and 3 more conflicts: ledger.conflicts" in shown
