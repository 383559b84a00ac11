"""Template: what the model sees around the text of a chunk."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from ctxguard.errors import PolicyError
from ctxguard.text.template import Template

CITED = Template(
    chunk="[{number}] {source} {{{id}}} {title}\n{text}{conflict}",
    conflict=" (but see {rivals} against {number})",
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chunk": "{txt}"}, r"Template\.chunk: no field \{txt\}; there are number, id"),
        ({"chunk": "{number}"}, r"Template\.chunk: the field \{text\} is missing"),
        ({"chunk": "{text"}, r"Template\.chunk: expected '}' before end of string"),
        ({"chunk": "{text!r}"}, r"Template\.chunk: expected a plain field"),
        ({"chunk": "{text:>9}"}, r"Template\.chunk: expected a plain field"),
        ({"chunk": "{text.x}"}, r"Template\.chunk: expected a plain field"),
        ({"chunk": "{0}{text}"}, r"Template\.chunk: expected a plain field"),
        ({"chunk": "{}{text}"}, r"Template\.chunk: expected a plain field"),
        ({"chunk": 1}, r"Template\.chunk: expected a str"),
        ({"conflict": "{text}"}, r"Template\.conflict: no field \{text\}"),
        ({"separator": None}, r"Template\.separator: expected a str"),
    ],
)
def test_what_cannot_be_used_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Template(**fields)


def test_by_default_a_chunk_is_its_text() -> None:
    assert Template().write(text="{text}", number=1, id="a") == "{text}"


def test_fields_are_filled_in() -> None:
    written = CITED.write(
        text="T", number=2, id="a", source="s.pdf", title="Fees", rivals=("1", "3")
    )
    assert written == "[2] s.pdf {a} Fees\nT (but see 1, 3 against 2)"


def test_a_chunk_without_rivals_has_no_note_and_without_a_source_its_id() -> None:
    assert CITED.write(text="T", number=1, id="a") == "[1] a {a} \nT"


def test_it_knows_which_fields_it_shows() -> None:
    assert CITED.shows("title")
    assert not Template().shows("title")


@given(text=st.text(alphabet="{}ab!:[]0", max_size=30))
def test_braces_in_a_text_stay_as_they_are(text: str) -> None:
    written = CITED.write(text=text, number=1, id=text, source=text, title=text, rivals=(text,))
    assert f"\n{text} (but" in written
