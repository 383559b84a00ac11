"""Versions that conflict: who is a version of whom, which one stays, and what the model is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast

from ctxguard.stages._compare import Relation, alike
from ctxguard.stages._differences import Differences, differences_of
from ctxguard.stages._explain import (
    contained,
    flagged,
    is_noted,
    label_for,
    labelled,
    superseded,
)
from ctxguard.stages._pool import Entry, cut
from ctxguard.stages._recency import Newer, newer
from ctxguard.stages._view import TextView
from ctxguard.types import Chunk, Decision

__all__ = ["Match", "Mode", "Settings", "Versions", "can_be_cut", "rank_of"]

Mode: TypeAlias = Literal["keep", "latest", "label"]
"""What is done with versions that conflict."""

_VERSIONS = 3
"""Better-ranked versions of a chunk that are looked at for what differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The fields of Deduplicate."""

    shingle: int
    near_duplicate: float
    min_overlap: int
    share_boilerplate: bool
    versions: Mode
    version_key: str | None


@dataclass(frozen=True, slots=True)
class Match:
    """A better-ranked entry and what it means for the one under judgement."""

    twin: Entry
    relation: Relation
    score: float


class Versions:
    """What is known about the versions in one pool."""

    def __init__(
        self, settings: Settings, tokens: Callable[[str], int], root: Callable[[Entry], Entry]
    ) -> None:
        """Start with nothing known.

        Args:
            settings: of the stage.
            tokens: counts the tokens of a text.
            root: the entry that stands for one that was dropped.
        """
        self.settings = settings
        self.flags: dict[Entry, Decision] = {}
        self.labels: dict[Entry, Decision] = {}
        self._tokens = tokens
        self._root = root
        self._conflicts: dict[Entry, Entry] = {}
        self._found: dict[tuple[TextView, TextView], Differences] = {}

    def of(self, entry: Entry, matches: Sequence[Match]) -> Iterator[tuple[Match, Differences]]:
        """The entries of which this one is another version, best-ranked first.

        Not those whose shared text was taken out: a note stands there that no source ever said.
        """
        if is_noted(entry.chunk.text):
            return
        near = [
            match
            for match in matches
            if match.relation.kind == "other" and not is_noted(match.twin.chunk.text)
        ]
        for match in sorted(near, key=rank_of)[:_VERSIONS]:
            key = entry.view, match.twin.view
            if key not in self._found:
                one, other = alike(*key)
                share = self.settings.share_boilerplate
                self._found[key] = differences_of(one.meant, other.meant, share=share)
            if self._found[key].versions:
                yield match, self._found[key]

    def flag(self, entry: Entry, matches: Sequence[Match]) -> None:
        """Flag the best-ranked version that conflicts, else the best-ranked with other words."""
        versions: list[tuple[Match, Differences]] = []
        for match, found in self.of(entry, matches):
            versions.append((match, found))
            if found.conflict:
                break
        if not versions:
            self._flag_contained(entry, matches)
            return
        best, found = versions[-1] if versions[-1][1].conflict else versions[0]
        also = [match.twin.chunk.id for match, _ in versions if match is not best]
        if found.conflict:
            self._conflicts[entry] = best.twin
        self.flags[entry] = flagged(
            entry,
            best.twin,
            found,
            measured=(best.score, self.settings.near_duplicate),
            also=also,
            ageless=self.settings.versions == "latest" and self._age(entry, best.twin) is None,
        )

    def _flag_contained(self, entry: Entry, matches: Sequence[Match]) -> None:
        """Flag a chunk that says all of a better-ranked one where it cannot be cut."""
        whole = [
            match
            for match in matches
            if match.relation.kind == "repeat" and not match.relation.window
        ]
        if whole and not entry.trims:
            best = min(whole, key=rank_of)
            self.flags[entry] = contained(entry, best.twin, score=best.score)

    # -- mode 'latest' --------------------------------------------------------------------------

    def supersede(
        self, alive: Sequence[Entry], matched: Mapping[Entry, Sequence[Match]], held: set[Entry]
    ) -> bool:
        """Leave out the older of two versions that conflict; whether any went.

        Args:
            alive: the entries that are left.
            matched: what each has to do with better-ranked ones.
            held: what others lean on, which stays.
        """
        pairs = (
            (entry, match, found)
            for entry in alive
            for match, found in self.of(entry, matched[entry])
            if found.conflict
        )
        gone = False
        for entry, match, found in pairs:
            age = self._age(entry, match.twin)
            if age is None or entry.dropped or match.twin.dropped:
                continue
            old, new = (match.twin, entry) if age.first else (entry, match.twin)
            # A text of over twice the length says other things too.
            if old in held or len(old.view.words) > 2 * len(new.view.words):
                continue
            tokens = self._tokens(old.came_in)
            old.dropped = superseded(old, new, found, age, score=match.score, tokens=tokens)
            gone = True
        return gone

    def _age(self, entry: Entry, twin: Entry) -> Newer | None:
        return newer(entry.chunk, twin.chunk, self.settings.version_key)

    # -- mode 'label' ---------------------------------------------------------------------------

    def label(self, *, again: bool) -> None:
        """Put a line before each version in conflict that names the other one.

        Args:
            again: some are labelled already. Then all that were to be are: a chunk has one note,
                and with the first one out of the way others would be found to name.
        """
        if again:
            self._conflicts.clear()
        for entry, twin in self._conflicts.items():
            root = self._root(twin)
            differs = cast("list[list[str]]", self.flags[entry].details["differs"])
            self._label(entry, root, differs)
            self._label(root, entry, [pair[::-1] for pair in differs])

    def _label(self, entry: Entry, twin: Entry, differs: Sequence[Sequence[str]]) -> None:
        text = entry.chunk.text
        if is_noted(text) or not can_be_cut(entry.chunk):
            return
        before = self._tokens(text)
        cut(entry, [(0, len(text))], note=label_for(twin, differs))
        tokens = before, self._tokens(entry.chunk.text)
        self.labels[entry] = labelled(entry, twin, tokens=tokens)

    # -- ties -----------------------------------------------------------------------------------

    def tied(
        self, alive: Sequence[Entry], leans_on: Callable[[Entry], set[Entry]]
    ) -> Iterator[Chunk]:
        """The chunks with the ids of those that they conflict with and lean on, by rank.

        Args:
            alive: the entries that are left, best-ranked first.
            leans_on: the entries that hold what was taken out of one.
        """
        places = {entry.chunk.id: entry.rank for entry in alive}
        tied: dict[str, set[str]] = {name: set() for name in places}
        pairs = [(one.chunk.id, self._root(twin).chunk.id) for one, twin in self._conflicts.items()]
        pairs += [(own.chunk.id, other) for own in alive for other in own.chunk.conflicts]
        for one, other in pairs:
            if one in places and other in places and one != other:
                tied[one].add(other)
                tied[other].add(one)
        for entry in alive:
            leans = {root.chunk.id for root in leans_on(entry)}
            conflicts = tuple(sorted(tied[entry.chunk.id], key=places.__getitem__))
            leaning = tuple(sorted(leans, key=places.__getitem__))
            if (conflicts, leaning) == (entry.chunk.conflicts, entry.chunk.leans_on):
                yield entry.chunk  # most of them; a copy takes 3 µs
            else:
                yield replace(entry.chunk, conflicts=conflicts, leans_on=leaning)


def rank_of(match: Match) -> int:
    """The place of a match's twin, 0 is best."""
    return match.twin.rank


def can_be_cut(chunk: Chunk) -> bool:
    """Whether the framework's form of the chunk holds its text, so that both are cut alike."""
    return not chunk.rendered or chunk.text in chunk.rendered
