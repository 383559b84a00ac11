"""Normal forms: equal for copies, and never for two texts that differ in a fact."""

# ruff: noqa: RUF001 -- typographic and foreign characters are what these tests are about

from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st

from ctxguard.text.normalise import normalise

COPIES = [
    ("The  notice\n\tperiod\u00a0is \r\n30 days. ", "The notice period is 30 days."),
    ("“Supplier’s” ‘goods’ «x»", "\"Supplier's\" 'goods' \"x\""),
    ("2012–2014 — a non‑exclusive −5", "2012-2014 - a non-exclusive -5"),
    ("and so on…", "and so on..."),
    ("ＡＢＣ　１２％！", "ABC 12%!"),
    ("in\u00adfor\u200bma\u2060tion\ufeff", "information"),
    ("cafe\u0301", "café"),
    ("e\u200b\u0301", "é"),
    ("ﬁnal eﬀect ﬂow oﬃce", "final effect flow office"),
    ("© 2012 Acme", "(c) 2012 Acme"),
    ("(C) 2012 Acme, Copyright (C) Acme", "(c) 2012 Acme, Copyright © Acme"),
    ("THE SUPPLIER SHALL NOT PAY", "The Supplier shall not PAY"),
    ("Supplier Shall Deliver", "supplier shall deliver"),
    ("# Notice Period\n\n- one month\n* two weeks\n+ three\n• 5 days",
     "Notice Period one month two weeks three 5 days"),
    ("- - nested", "nested"),
    ("**Thirty** and ***30 days*** are **not 60**.", "Thirty and 30 days are not 60."),
    ("(**bold**), \"**b**\"", "(bold), \"b\""),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), COPIES)
def test_copies_are_equal(left: str, right: str) -> None:
    assert normalise(left) == normalise(right)


DIFFERENT = [
    ("10²", "102"),
    ("H₂O", "H2O"),
    ("5 mW", "5 MW"),
    ("5 mg", "5 Mg"),
    ("5 mmol", "5 Mmol"),
    ("Resistance (mOhm)", "Resistance (MOhm)"),
    ("Concentration (mmol)", "Concentration (Mmol)"),
    ("told us", "told US"),
    ("it may", "it May"),
    ("foo.Bar()", "foo.bar()"),
    ("user Foo_Bar", "user foo_bar"),
    ("see /Data/x", "see /data/x"),
    ("-5 °C", "5 °C"),
    ("- 5 °C", "5 °C"),
    ("+ 5", "5"),
    ("> 5 mg", "5 mg"),
    ("# 5", "5"),
    ("a\n-5 b", "a\n5 b"),
    ("p < 0.05**", "p < 0.05"),
    ("2**3", "23"),
    ("f(**kwargs)", "f(kwargs)"),
    ("int *p", "int p"),
    ("2\u20623", "23"),
    ("re-\nsign", "resign"),
    ("1 000", "1000"),
    ("1,000", "1.000"),
    ("5'", '5"'),
    ("Maße", "Masse"),
    ("İstanbul", "istanbul"),
    ("a\t\t5\tb", "a\t5\t\tb"),
    ("5 - 3", "5 3"),
    ("section 4(c)", "section 4(d)"),
    ("½", "12"),
    ("①", "1"),
    ("No 5", "no 5"),
]


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_facts_stay_apart(left: str, right: str) -> None:
    assert normalise(left) != normalise(right)


PIECES = st.lists(
    st.sampled_from(
        ["**", "***", "*", "-", "- ", "+ ", "• ", "# ", "\n", " ", "\t", "\t\t", "\u200b", "\u00ad",
         "\u0301", "e", "Shall", "SHALL", "mW", "the", "5", "(C)", "©", " 2012", "Copyright ", "…",
         "“", "’", "—", "ﬁ", "Ｆ", "；", "\u037e", "\u1fef", "\u212b", "İ", "ẞ", "Σ", ".", "(", ")",
         "`", "␉", "\x1c", "\ud800"]
    ),
    max_size=25,
).map("".join)  # fmt: skip


@given(st.one_of(st.text(), PIECES))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.strip()
    assert "\n" not in once
    assert "  " not in once


def test_every_character_is_stable() -> None:
    for start in range(0, 0x10000, 64):
        text = " ".join(f"Ab{chr(code)}cde {chr(code)}" for code in range(start, start + 64))
        once = normalise(text)
        assert normalise(once) == once


@pytest.mark.parametrize(
    "unit", [" ", "- ", "-\n", "**", "**a** ", "**a ", "a", "Abcd ", "\t", "a\t", "# ", "• ", "@",
             "-" + " " * 500 + "\n", "\n", "(C)", "\u0301"]
)  # fmt: skip
def test_adversarial_texts_take_linear_time(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    started = time.process_time()
    normalise(text)
    assert time.process_time() - started < 2
