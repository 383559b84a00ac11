from __future__ import annotations

import numpy as np
import pytest

from ctxguard.routing.features import CHOICES, SIGNALS, WORK, describe, signals_of
from ctxguard.text.analysis import default_analyzer

CHOICE = "Which of these is NOT a mammal?\nA. a cat\nB. a dog\nC. a trout\nD. none of the above"


def read(text: str) -> dict[str, float]:
    row = signals_of(default_analyzer().analyse(text))
    return dict(zip(SIGNALS, row.tolist(), strict=True))


def test_an_open_question_has_no_choices() -> None:
    found = read("What is the fee of 30 days?")
    assert all(np.isnan(found[name]) for name in CHOICES)
    assert not any(np.isnan(found[name]) for name in SIGNALS if name not in CHOICES)
    assert found["numbers"] == pytest.approx(np.log(2))


def test_a_number_is_one_in_figures_and_in_words() -> None:
    figures = read("He sold 12 of 40 pens, and 12 more for 20 euros.")
    words = read("He sold twelve of forty pens, and a dozen more for twenty euros.")
    for name in ("numbers", "distinct_numbers"):
        assert words[name] == figures[name]
    assert figures["numbers"] == pytest.approx(np.log1p(4))
    assert figures["distinct_numbers"] == pytest.approx(np.log1p(3))


def test_the_options_are_not_read_as_the_question() -> None:
    found = read(CHOICE)
    assert found["words"] == pytest.approx(np.log1p(7))
    assert found["emphasis"] == 1
    assert found["negations"] == pytest.approx(np.log(2))
    assert found["all_of_them"] == 1
    assert found["option_negation"] == 0.25
    assert found["numeric_options"] == 0


def test_more_work_shows() -> None:
    plain = read("What does it cost?")
    more = read(
        "If each of 3 shops sells 12 pens, and not one of the 7 others does, what does it cost? "
        "Suppose the price is 4 (without tax): 1) per pen; 2) per box = 12 pens."
    )
    assert all(more[name] >= plain[name] for name in WORK)
    assert sum(more[name] > plain[name] for name in WORK) >= len(WORK) - 1


@pytest.mark.parametrize(
    "text",
    ["", " ", "?", "\ud800", "A.\nB.", "A. \nB. ", "1.\n" * 40, "é" * 9, "你好吗", "9" * 9999,
     "A. yes\n" * 2000, "word " * 20_000],
)  # fmt: skip
def test_any_text_has_finite_signals(text: str) -> None:
    found = read(text)
    assert all(np.isfinite(value) or name in CHOICES for name, value in found.items())


def test_signals_are_read_once() -> None:
    analysis = default_analyzer().analyse("What is read once?")
    assert signals_of(analysis) is signals_of(analysis)
    with pytest.raises(ValueError, match="read-only"):
        signals_of(analysis)[0] = 1


def test_every_signal_is_named_for_a_person() -> None:
    assert len({describe(name) for name in SIGNALS}) == len(SIGNALS)
