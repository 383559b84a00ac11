"""The window: counted, fitted, never orphaning a result, never cutting an instruction."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.errors import BudgetExceededError
from ctxguard.testing import WordTokenizer
from ctxguard.text.analysis import Analyzer
from ctxguard.types import Budget, Chunk, Message
from ctxguard.window import Cut, Fitted, apply_cuts, count_messages, fit_messages

WORDS = Analyzer(WordTokenizer())


def words(number: int, word: str = "word") -> str:
    return " ".join(f"{word}{index}" for index in range(number))


def fit(
    messages: list[Message],
    window: int | None,
    *,
    evidence: tuple[Chunk, ...] = (),
    tools: str = "",
    reserve: int = 0,
    **limits: object,
) -> Fitted:
    budget = Budget(window=window, reserve_output=reserve, **limits)  # pyright: ignore[reportArgumentType]
    return fit_messages(messages, evidence=evidence, tools=tools, budget=budget, analyzer=WORDS)


def system(number: int) -> Message:
    return Message(role="system", text=words(number, "rule"))


def user(number: int, word: str = "ask") -> Message:
    return Message(role="user", text=words(number, word))


def assistant(number: int, *calls: str) -> Message:
    return Message(role="assistant", text=words(number, "say"), tool_calls=calls)


def tool(number: int, call: str) -> Message:
    return Message(role="tool", text=words(number, "row"), tool_call_id=call)


def chunk(name: str, number: int = 30) -> Chunk:
    return Chunk(id=name, text=words(number, name), source=f"{name}.md")


def test_what_fits_is_handed_on_untouched() -> None:
    messages = [system(5), user(5), assistant(5), user(5)]
    fitted = fit(messages, 1000)
    assert fitted.messages == tuple(messages)
    assert all(new is old for new, old in zip(fitted.messages, messages, strict=True))
    assert not fitted.changed
    assert not fitted.decisions


def test_an_unknown_window_limits_nothing() -> None:
    fitted = fit([user(5000)], None)
    assert not fitted.changed
    assert [segment.kind for segment in fitted.segments] == ["question", "question"]


def test_tokens_before_is_the_whole_prompt_with_its_template() -> None:
    messages = [system(5), user(7)]
    fitted = fit(messages, 1000, tools="one two three")
    assert fitted.tokens_before == count_messages(messages, "one two three", WORDS)
    assert fitted.tokens_before == 5 + 5 + 7 + 5 + 3 + 3


def test_segments_add_up_to_the_prompt_and_the_reserve() -> None:
    found = chunk("alpha")
    messages = [
        system(4),
        user(3),
        assistant(3),
        Message(role="user", text=f"Context:\n{found.text}\n\nQuestion: {words(6)}"),
    ]
    fitted = fit(messages, 500, evidence=(found,), tools="t1 t2", reserve=50)
    assert sum(s.tokens for s in fitted.segments if s.kind != "reserve") == fitted.tokens_after
    by_kind = {s.kind: s for s in fitted.segments}
    assert by_kind["reserve"].tokens == 50
    assert by_kind["evidence"].subject == "alpha"
    assert by_kind["evidence"].label == "alpha.md"
    assert found.text not in by_kind["question"].text


def test_oldest_exchanges_leave_first_and_whole() -> None:
    messages = [system(5), user(20), assistant(20), user(20), assistant(20), user(5)]
    fitted = fit(messages, 85)
    assert fitted.positions == (0, 3, 4, 5)
    assert {d.subject for d in fitted.decisions} == {"message-2", "message-3"}
    assert all(d.code == "over-window" and "85" in d.reason for d in fitted.decisions)
    assert fitted.decisions[0].details["text"] == messages[1].text  # nothing lost


def test_weak_evidence_leaves_before_the_newest_exchange() -> None:
    best, worst = chunk("best"), chunk("worst")
    prompt = Message(role="user", text=f"{best.text}\n\n{worst.text}\n\nQ {words(5)}")
    fitted = fit([user(10), assistant(10), prompt], 90, evidence=(best, worst))
    assert [d.subject for d in fitted.decisions] == ["worst"]
    assert best.text in fitted.messages[-1].text
    assert worst.text not in fitted.messages[-1].text
    assert fitted.messages[-1].text == f"{best.text}\n\nQ {words(5)}"
    assert fitted.tokens_after <= 90


def test_evidence_in_instructions_can_leave_but_the_instruction_stays() -> None:
    found = chunk("alpha")
    rule = f"Answer from the context only.\n\n{found.text}\n\nNever guess."
    messages = [Message(role="system", text=rule), user(5)]
    fitted = fit(messages, 40, evidence=(found,))
    assert fitted.messages[0].text == "Answer from the context only.\n\nNever guess."


def test_short_chunks_are_never_cut_out_of_a_prompt() -> None:
    tiny = Chunk(id="tiny", text="Never guess.")
    messages = [Message(role="system", text="Never guess. " + words(50)), user(5)]
    with pytest.raises(BudgetExceededError):
        fit(messages, 30, evidence=(tiny,))


@pytest.mark.parametrize("window", [70, 80, 100, 120, 140, 160, 200])
def test_a_tool_result_is_never_an_orphan(window: int) -> None:
    messages = [
        system(5),
        user(5),
        assistant(3, "a", "b"),
        tool(30, "a"),
        tool(30, "b"),
        assistant(5),
        user(5),
        assistant(3, "c"),
        tool(40, "c"),
    ]
    fitted = fit(messages, window)
    calls = {call for m in fitted.messages for call in m.tool_calls}
    results = {m.tool_call_id for m in fitted.messages if m.role == "tool"}
    assert calls == results
    assert fitted.tokens_after <= window
    assert fitted.messages[0] == messages[0]
    assert messages[6] in fitted.messages


def test_a_long_tool_result_is_shortened_in_its_middle() -> None:
    rows = "\n".join(f"row {index} has value {index * 7}" for index in range(400))
    result = Message(role="tool", text=rows, tool_call_id="a")
    fitted = fit([user(5), assistant(1, "a"), result], 300)
    text = fitted.messages[-1].text
    assert text.startswith("row 0 has value 0\n")
    assert text.endswith("row 399 has value 2793")
    assert "left out by ctxguard" in text
    assert fitted.tokens_after <= 300
    (decision,) = fitted.decisions
    assert decision.action == "trim"
    ((cut,),) = fitted.cuts.values()
    assert decision.details["removed"] == [[cut.start, cut.end]]
    assert decision.details["text"] == rows[cut.start : cut.end]
    assert apply_cuts(rows, fitted.cuts[2]) == text


def test_pinned_parts_that_do_not_fit_say_who_uses_what() -> None:
    with pytest.raises(BudgetExceededError) as caught:
        fit([system(100), user(10)], 50, tools="a b c")
    assert caught.value.limit == 50
    assert caught.value.usage["instructions"] == 105
    assert "instructions" in str(caught.value)
    assert "tools" in str(caught.value)
    assert "105" in str(caught.value)


def test_pinned_history_stays() -> None:
    pinned = Message(role="user", text=words(20, "pin"), pinned=True)
    fitted = fit([pinned, assistant(20), user(20), assistant(20), user(5)], 90)
    assert pinned in fitted.messages
    assert fitted.tokens_after <= 90


def test_floors_turn_the_order_until_the_last_resort() -> None:
    found = (chunk("one"), chunk("two"))
    prompt = Message(role="user", text=f"{found[0].text}\n\n{found[1].text}\n\nQ")
    messages = [user(10), assistant(10), user(10), assistant(10), prompt]
    fitted = fit(messages, 100, evidence=found, floors={"history": 60})
    assert {d.subject for d in fitted.decisions} == {"two"}
    tight = fit(messages, 60, evidence=found, floors={"history": 60})
    assert any("floor" in d.reason for d in tight.decisions)
    assert tight.tokens_after <= 60


def test_ceilings_hold_even_when_there_is_room() -> None:
    found = (chunk("one"), chunk("two"))
    prompt = Message(role="user", text=f"{found[0].text}\n\n{found[1].text}\n\nQ")
    fitted = fit([user(10), assistant(10), prompt], None, evidence=found, ceilings={"evidence": 30})
    assert [d.subject for d in fitted.decisions] == ["two"]
    fitted = fit([user(10), assistant(10), prompt], None, evidence=found, ceilings={"history": 5})
    assert fitted.positions == (2,)


def test_an_emptied_message_holds_a_note() -> None:
    found = chunk("alpha", 80)
    messages = [
        user(5),
        assistant(1, "a"),
        Message(role="tool", text=found.text, tool_call_id="a"),
        assistant(1, "b"),
        Message(role="tool", text=words(30), tool_call_id="b"),
    ]
    fitted = fit(messages, 100, evidence=(found, chunk("other")))
    assert all(message.text for message in fitted.messages)
    assert fitted.tokens_after <= 100


def test_a_thousand_messages_are_fitted_without_recounting_them() -> None:
    counted = 0

    class Counting(WordTokenizer):
        def encode(self, text: str) -> list[int]:
            nonlocal counted
            counted += 1
            return WordTokenizer.encode(self, text)

    messages = [user(10, f"w{i}_") if i % 2 == 0 else assistant(i) for i in range(1001)]
    fitted = fit_messages(
        messages,
        budget=Budget(window=3000, reserve_output=0),
        analyzer=Analyzer(Counting()),
    )
    assert fitted.tokens_after <= 3000
    assert counted <= 1001


def fit_or_none(messages: list[Message], window: int, evidence: tuple[Chunk, ...]) -> Fitted | None:
    """The fitted messages; None when the pinned parts alone are over the limit."""
    try:
        return fit(messages, window, evidence=evidence)
    except BudgetExceededError as caught:
        error = caught
    assert sum(error.usage.values()) > window
    return None


ROLES = st.lists(
    st.tuples(st.sampled_from(["user", "assistant", "call"]), st.integers(0, 40)), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(turns=ROLES, window=st.integers(20, 400), found=st.integers(0, 4))
def test_never_over_budget_never_orphaned(
    turns: list[tuple[str, int]], window: int, found: int
) -> None:
    evidence = tuple(chunk(f"chunk{index}") for index in range(found))
    messages = [system(3)]
    for number, (role, size) in enumerate(turns):
        if role == "call":
            messages += [assistant(1, f"c{number}"), tool(size, f"c{number}")]
        else:
            messages.append(user(size) if role == "user" else assistant(size))
    context = "\n\n".join(item.text for item in evidence)
    messages.append(Message(role="user", text=f"{context}\n\nwhy?"))
    fitted = fit_or_none(messages, window, evidence)
    if fitted is None:
        return
    assert count_messages(fitted.messages, "", WORDS) == fitted.tokens_after <= window
    assert sum(s.tokens for s in fitted.segments if s.kind != "reserve") == fitted.tokens_after
    assert fitted.messages[0] == messages[0]
    assert fitted.messages[-1].text.endswith("why?")
    calls = {call for m in fitted.messages for call in m.tool_calls}
    assert calls == {m.tool_call_id for m in fitted.messages if m.role == "tool"}
    again = fit(list(fitted.messages), window, evidence=evidence)
    assert not again.changed


@given(
    text=st.text(max_size=60),
    cut=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    at=st.integers(0, 60),
)
def test_cuts_apply_to_blocks_as_to_the_whole(text: str, cut: tuple[int, int], at: int) -> None:
    start, end = sorted(min(bound, len(text)) for bound in cut)
    at = min(at, len(text))
    cuts = (Cut(start, end, ""),)
    blocks = apply_cuts(text[:at], cuts) + apply_cuts(text[at:], cuts, offset=at)
    assert blocks == apply_cuts(text, cuts) == text[:start] + text[end:]
