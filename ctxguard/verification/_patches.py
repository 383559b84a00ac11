"""What is kept of an answer of which something failed, and how the rest is joined to it."""

from __future__ import annotations

from ctxguard.text.sentences import split_sentences
from ctxguard.types import Verification

__all__ = ["abstained", "accepted_of", "joined"]


def accepted_of(verification: Verification, keep: int) -> int:
    """Characters of an answer up to its first sentence that failed, at least those to keep."""
    answer = verification.answer
    place = min(verdict.claim.span[0] for verdict in verification.failed)
    starts = [start for start, end in split_sentences(answer) if start <= place < end]
    return max(keep, starts[0] if starts else place)


def joined(answer: str, at: int, reply: str) -> str:
    """The beginning of an answer with another rest; a model may say the beginning again."""
    accepted, rest = answer[:at], reply.strip()
    known = accepted.strip()
    if known and rest.startswith(known):
        rest = rest[len(known) :].lstrip()
    if accepted and rest and not accepted[-1].isspace():
        space = answer[at : len(answer) - len(answer[at:].lstrip())]
        accepted += space or " "
    return f"{accepted}{rest}"


def abstained(verification: Verification, keep: int, abstention: str) -> str:
    """What is known of an answer: every sentence in which nothing failed, and that this is all."""
    answer = verification.answer
    failed = [verdict.claim.span for verdict in verification.failed]
    kept, position = answer[:keep], keep
    for start, end in split_sentences(answer):
        if end <= keep:
            continue
        if not any(first < end and start < past for first, past in failed):
            kept += answer[position:end]
        position = max(position, end)
    kept = kept.rstrip() if not keep or len(kept) > keep else kept
    separator = "" if not kept or kept[-1].isspace() else " "
    return f"{kept}{separator}{abstention}"
