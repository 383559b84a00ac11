"""Values in each other's place; sentences that are copied, strung together and reformatted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from ctxguard.verification import Verifier

DATES = "The lease begins on May 5, 2014 and ends on June 3, 2016."
SHARES = "The company pays 10 % of revenue and 5 % of profit to its owner."


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("The lease begins on June 3, 2016 and ends on May 5, 2014.", DATES),
        ("It ends on 5 May 2014 when it begins on 3 June 2016.", DATES),
        ("The company pays 5 % of revenue and 10 % of profit.", SHARES),
    ],
)
def test_values_in_each_others_place_are_found(claim: str, evidence: str) -> None:
    verification = Verifier()(claim, [evidence])
    assert [verdict.code for verdict in verification.claims] == ["values-swapped"]
    (finding,) = [one for one in verification.findings if one.code == "values-swapped"]
    assert finding.evidence[0].text == evidence
    assert finding.text == claim[slice(*finding.span)]


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("The lease ends on June 3, 2016 and begins on May 5, 2014.", DATES),
        ("It began on 2014-05-05, and the end is on 2016-06-03.", DATES),
        ("Of profit it pays 5 % and of revenue 10 %.", SHARES),
        ("It pays 5 % of profit and 10 % of revenue.", SHARES),
        ("Both fees are $5 and $5.", "The first fee is $5, the second fee is $5."),
        ("The fees are $5 and 3 days.", "After 3 days the fees are $5."),
    ],
)
def test_values_in_another_order_are_not(claim: str, evidence: str) -> None:
    codes = [finding.code for finding in Verifier()(claim, [evidence]).findings]
    assert "values-swapped" not in codes


# -- copies ----------------------------------------------------------------------------------------

SUBJECTS = ("The Supplier", "Acme Foods, Inc.", "Neither party", "Dr. O'Neill", "No tenant")
VERBS = ("shall pay", "may not disclose", "is entitled to", "has never sold", "must return")
OBJECTS = (
    "the non-refundable deposit of $1,500",
    "any Confidential Information",
    "goods worth EUR 2.5 million (net of 19% VAT)",
    '"all of the records"',
    "{number} to B & C Ltd.",
)
TAILS = (
    "",
    " within thirty (30) days of May 8, 2014",
    " unless consent is given under Section 4.2(b)",
    ", except that it may do so without notice after two years",
    "; provided, however, that the fee is not due before 2:30 p.m.",
    " from January 5, 2020 to March 7, 2021",
)
SENTENCES = st.builds(
    "{0} {1} {2}{3}.".format,
    st.sampled_from(SUBJECTS),
    st.sampled_from(VERBS),
    st.sampled_from(OBJECTS).map(lambda text: text.format(number="12 units")),
    st.sampled_from(TAILS),
)
WRITINGS = (("thirty (30) days", "30 days"), ("$1,500", "USD 1500"), ("May 8, 2014", "8 May 2014"))


@settings(max_examples=60)
@given(
    evidence=st.lists(SENTENCES, min_size=1, max_size=6, unique=True),
    form=st.sampled_from(["{0}", "- {0}\n", "{0} [{1}]", "* {0} [{1}]\n", "> {0}\n"]),
    rewritten=st.sets(st.sampled_from(WRITINGS)),
    data=st.data(),
)
def test_sentences_strung_together_are_supported(
    evidence: list[str], form: str, rewritten: set[tuple[str, str]], data: st.DataObject
) -> None:
    numbers = data.draw(st.permutations(range(len(evidence))))
    said = " ".join(form.format(evidence[number], number + 1) for number in numbers)
    for one, other in rewritten:
        said = said.replace(one, other)
    verification = Verifier()(said, evidence)
    assert [(one.claim.text, one.reason) for one in verification.failed] == []
    supported = [one.claim.text for one in verification.claims if one.label == "supported"]
    assert len(supported) >= len(evidence)


@pytest.mark.parametrize("row", ["| Bolt M4 | $5 | 12 mm |", "| Nut | $7.25 | not in stock |"])
def test_a_row_of_a_table_is_supported(row: str) -> None:
    table = f"| Item | Price | Note |\n| --- | --- | --- |\n{row}\n| Pin | $9 | 3 days |\n"
    assert [verdict.label for verdict in Verifier()(row, [table]).claims] == ["supported"]
