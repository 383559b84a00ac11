"""Deduplicate: copies out, versions kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, get_args

from ctxguard.errors import PolicyError
from ctxguard.stages._rephrased import leave_out_rephrased
from ctxguard.stages._sift import Sifter
from ctxguard.stages._versions import Mode, Settings
from ctxguard.types import Context, StageResult

__all__ = ["Deduplicate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicate:
    """Takes out what a better-ranked chunk says already, and nothing else.

    Word sequences in common (shingles) only find the pairs to look at. Whether a chunk goes is
    decided by aligning the two texts: it goes when it has the same content words (a copy) or when
    they are one piece of the other's (a cutting); what the overlap of two windows of one text
    repeats is trimmed. Figures are compared by value: `thirty (30) days` is `30 days`, and no other
    number. Two texts that differ in any word, number, sign or order both stay, and are flagged with
    what differs. The one exception is a short text all of which a better-ranked one says in other
    words, with the same facts: `paraphrase` says how sure that must be.
    """

    name: ClassVar[str] = "dedupe"

    near_duplicate: float = 0.5
    """Share of the shorter text's shingles (0 to 1) that the other must have too for the two to be
    aligned. Higher is faster and finds fewer copies; it never decides that a chunk goes."""
    shingle: int = 5
    """Words per shingle; texts of up to 48 words are also compared by pairs of words."""
    min_overlap: int = 20
    """Tokens that must repeat for a chunk to be trimmed."""
    share_boilerplate: bool = False
    """Trim the worse-ranked of two versions to the sentences that differ, with a note naming the
    chunk that holds the rest. Saves most where long clauses differ in one sentence; a reader of
    the trimmed chunk alone then misses the rest."""

    versions: Mode = "keep"
    """What is done with versions that conflict in a fact:

    - 'keep': all stay, and are flagged.
    - 'latest': the newest stays, by `version_key`; where the metadata do not tell, all stay.
    - 'label': all stay, each with a line before it that the model reads: `[Version of “Either party
      may” (b.pdf): differs in 30 days / 60 days]`.
    """
    version_key: str | None = None
    """The name in the metadata of a date or a version number; None: the usual names, `version`,
    `effective_date`, `date`, `modified` and their like, the first that tells two chunks apart."""
    paraphrase: float | None = 0.7
    """How sure it must be (above 0, up to 1) that a better-ranked chunk says all of a short one in
    other words, for that one to be dropped; None: only copies are. English only. Below 0.5 chunks
    go of which something is not said."""

    def __post_init__(self) -> None:
        """Check every field; the message names the field and the way out."""
        _check_whole("shingle", self.shingle)
        _check_whole("min_overlap", self.min_overlap)
        share = self.near_duplicate
        if isinstance(share, bool) or not isinstance(share, int | float) or math.isnan(share):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise PolicyError(f"Deduplicate.near_duplicate: expected a number, got {share!r}")
        if not 0 < share <= 1:
            raise PolicyError(
                f"Deduplicate.near_duplicate: expected a share above 0 and up to 1, got {share!r}"
            )
        if not isinstance(self.share_boilerplate, bool):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise PolicyError(
                "Deduplicate.share_boilerplate: expected True or False, "
                f"got {self.share_boilerplate!r}"
            )
        if self.versions not in get_args(Mode):
            raise PolicyError(
                f"Deduplicate.versions: expected 'keep', 'latest' or 'label', got {self.versions!r}"
            )
        if not (self.version_key is None or isinstance(self.version_key, str)):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise PolicyError(
                f"Deduplicate.version_key: expected a name or None, got {self.version_key!r}"
            )
        _check_paraphrase(self.paraphrase)

    def __call__(self, context: Context, /) -> StageResult:
        """Take out copies; a Decision for each chunk that is dropped, trimmed or a version."""
        settings = Settings(
            shingle=self.shingle,
            near_duplicate=self.near_duplicate,
            min_overlap=self.min_overlap,
            share_boilerplate=self.share_boilerplate,
            versions=self.versions,
            version_key=self.version_key,
        )
        sifter = Sifter(settings, context.chunks, context.analyzer)
        sifter.run()
        kept, decisions = sifter.kept(), sifter.decisions()
        if self.paraphrase is not None:
            kept, decisions = leave_out_rephrased(
                kept, decisions, context.analyzer, self.paraphrase
            )
        return StageResult(context=replace(context, chunks=kept), decisions=decisions)


def _check_whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PolicyError(f"Deduplicate.{name}: expected a whole number, got {value!r}")
    if value < 1:
        raise PolicyError(f"Deduplicate.{name}: expected at least 1, got {value}")


def _check_paraphrase(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise PolicyError(
            f"Deduplicate.paraphrase: expected a number above 0 and up to 1, or None, got {value!r}"
        )
