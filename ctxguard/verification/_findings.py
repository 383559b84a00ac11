"""All checks of a claim against the passages that it is aligned to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ctxguard.text.thesaurus import default_thesaurus
from ctxguard.types import Finding
from ctxguard.verification._align import Case
from ctxguard.verification._figures import check_values
from ctxguard.verification._names import check_names
from ctxguard.verification._negation import check_negation
from ctxguard.verification._opposites import check_opposites
from ctxguard.verification._quotations import check_quotations
from ctxguard.verification._slots import check_slots

__all__ = ["findings_of", "holds_against"]


def findings_of(case: Case) -> Iterator[Finding]:
    """What the evidence does not simply say of a claim, kind by kind."""
    yield from check_values(case)
    yield from check_slots(case)
    quotations = list(check_quotations(case))
    yield from _unless_within(check_names(case), quotations)
    yield from quotations
    yield from check_negation(case)
    yield from check_opposites(case, default_thesaurus())


def _unless_within(names: Iterable[Finding], quotations: Sequence[Finding]) -> Iterator[Finding]:
    """The names without those of a quotation that is found wrong itself: one fault counts once."""
    for name in names:
        first, last = name.span
        if not any(
            one.span[0] <= first and last <= one.span[1] and name.certainty <= one.certainty
            for one in quotations
        ):
            yield name


def holds_against(finding: Finding) -> bool:
    """Whether a finding speaks against its claim, and is not only worth knowing."""
    return finding.label in ("contradicted", "not_found")
