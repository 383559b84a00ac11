"""Values: the same in another writing, rivals, and names with parts."""

from __future__ import annotations

import pytest

from ctxguard.verification import Verifier


def code(claim: str, evidence: str) -> str:
    """The code of the verdict on one claim."""
    (verdict,) = Verifier()(claim, [evidence]).claims
    return verdict.code


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("It was signed on 8 May 2014.", "It was signed on 08.05.2014."),
        ("It was signed on 5 August 2014.", "It was signed on 08.05.2014."),
        ("It was signed on 8 May 2014.", "It was signed on 08/05/14."),
        ("It was signed on May 8.", "It was signed on May 8, 2014."),
        ("It was signed in 2013.", "It was signed between 2013 and 2015."),
        ("It was signed on 31 December 1996.", "It was signed on 31 December,<br>1996."),
        ("It opens at 2:30.", "It opens at 14:30."),
        ("It opens at 2:30 p.m.", "It opens at 2:30."),
        ("It weighs 1.500 kg.", "It weighs 1,500 kg."),
        ("It is renewed for one year.", "It is renewed for annual terms."),
        ("It lasts one year.", "It is renewed for one further year."),
        ("It costs $10.", "It costs $10 per visit."),
        ("It takes 30 minutes.", "It takes half an hour, 30 minutes at most."),
        ("Half of it is sold.", "50% of it is sold."),
        ("It costs about $1.5 million.", "It costs $1,487,222."),
        ("It is 30 days.", "It is 30."),
        ("Founded in 1627.", "He (c. 1627 - 31 December 1700) founded it."),
        ("Clause 7 applies to C-3PO.", "As clause 7 says, it applies to C-3PO."),
    ],
)
def test_the_same_value_in_another_writing(claim: str, evidence: str) -> None:
    assert code(claim, evidence) in ("supported", "stated")


@pytest.mark.parametrize(
    ("claim", "evidence", "expected"),
    [
        ("It was signed on 9 May 2014.", "It was signed on 08.05.2014.", "date-differs"),
        ("It was signed on 8 May 2015.", "It was signed on 08/05/14.", "date-differs"),
        ("It opens at 3:30.", "It opens at 14:30.", "time-differs"),
        ("It costs €10.", "It costs $10.", "amount-differs"),
        ("It is renewed for 1 month.", "It is renewed for six months.", "duration-differs"),
        ("It weighs 5 kg.", "It is 5 m long.", "quantity-not-found"),
        ("Clause 8 applies.", "Clause 7 applies.", "reference-differs"),
        ("Use version 1.3.", "Use version 1.2.", "version-differs"),
        ("It came third.", "It came second.", "ordinal-differs"),
        ("It has 7 rooms.", "It has rooms.", "number-not-found"),
        ("The rate is 5% a year.", "The rate is 4% a year.", "percentage-differs"),
    ],
)
def test_another_value(claim: str, evidence: str, expected: str) -> None:
    assert code(claim, evidence) == expected


def test_a_value_that_stands_elsewhere_is_doubted_and_not_condemned() -> None:
    evidence = "The monthly fee of the lease is $500. Tenants of ships pay a deposit of $900."
    (verdict,) = Verifier()("The monthly fee of the lease is $900.", [evidence]).claims
    assert [finding.code for finding in verdict.findings] == ["amount-differs"]
    assert 0.5 < verdict.score < 0.7


@pytest.mark.parametrize(
    ("claim", "evidence", "expected"),
    [
        ("It was led by Smith.", "It was led by Anna Smith.", "supported"),
        ("It was led by Anna Smith.", "Smith led it.", "supported"),
        ("It was led by Anna Smith.", "It was led by Jane Smith.", "name-differs"),
        ("It was led by Anna Smith.", "It was led by Anna Stone.", "name-differs"),
        ("The WHO led it.", "The World Health Organization led it.", "supported"),
        ("It was sold to Acme GmbH.", "It was sold to Acme.", "form-not-found"),
        ("It was sold to Acme L.L.C.", "It was sold to ACME, LLC.", "supported"),
        ("It was Jingzong's tomb.", "Jingzong\u2019s tomb it was.", "supported"),
        ("Smith and Anna led it.", "Anna and Smith led it.", "supported"),
        ("Rome in Italy hosted it.", "It was hosted in Rome, the capital of Italy.", "supported"),
    ],
)
def test_names(claim: str, evidence: str, expected: str) -> None:
    assert code(claim, evidence) == expected
