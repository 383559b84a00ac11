"""All checks of a claim against the passages that it is aligned to."""

from __future__ import annotations

from collections.abc import Iterator

from ctxguard.text.thesaurus import default_thesaurus
from ctxguard.types import Finding
from ctxguard.verification._align import Case
from ctxguard.verification._figures import check_values
from ctxguard.verification._names import check_names
from ctxguard.verification._negation import check_negation
from ctxguard.verification._opposites import check_opposites
from ctxguard.verification._quotations import check_quotations

__all__ = ["findings_of", "holds_against"]


def findings_of(case: Case) -> Iterator[Finding]:
    """What the evidence does not simply say of a claim, kind by kind."""
    yield from check_values(case)
    yield from check_names(case)
    yield from check_quotations(case)
    yield from check_negation(case)
    yield from check_opposites(case, default_thesaurus())


def holds_against(finding: Finding) -> bool:
    """Whether a finding speaks against its claim, and is not only worth knowing."""
    return finding.label in ("contradicted", "not_found")
