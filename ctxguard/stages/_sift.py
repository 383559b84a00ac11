"""Sifting: every chunk against the better-ranked ones that it shares words with.

Repeated until nothing changes, so that the stage is idempotent by construction: the last pass is a
run of the stage on its own output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ctxguard.stages._compare import Kin, Relation, compare
from ctxguard.stages._explain import (
    Redundant,
    Repeated,
    also_in,
    dropped,
    emptied,
    is_labelled,
    note_for,
    passed_on,
    trimmed,
)
from ctxguard.stages._pool import Entry, cut
from ctxguard.stages._shingles import Candidate, candidates, containment
from ctxguard.stages._versions import Match, Settings, Versions, can_be_cut, rank_of
from ctxguard.stages._view import Shared, TextView
from ctxguard.stages._windows import may_be_neighbours, neighbours
from ctxguard.text.analysis import Analyzer
from ctxguard.types import Chunk, Decision, Span

__all__ = ["Sifter"]

_TWINS = 8
"""Better-ranked chunks that one is compared with, those that share most first."""
_MARKS = bytes(code for code in range(128) if not chr(code).isalnum())


class Sifter:
    """One call of the stage: the entries in rank order, and what is known about their pairs."""

    def __init__(self, settings: Settings, chunks: Sequence[Chunk], analyzer: Analyzer) -> None:
        self.settings = settings
        shared = Shared(analyzer, settings.shingle)
        self.entries = [
            Entry(rank=rank, chunk=chunk, view=TextView(chunk.text, shared), came_in=chunk.text)
            for rank, chunk in enumerate(chunks)
        ]
        self._analyzer = analyzer
        self._tokens = analyzer.count
        self._by_id = {entry.chunk.id: entry for entry in self.entries}
        self._known: dict[tuple[TextView, TextView], tuple[Relation, float]] = {}
        self._far: set[tuple[TextView, TextView]] = set()
        self._also_in: dict[Entry, dict[str, None]] = {}
        self._matched: dict[Entry, list[Match]] = {}
        self._versions = Versions(settings, self._tokens, self._root)
        self._cuts = settings.versions != "latest"

    def run(self) -> None:
        """Sift until nothing is left to take out, then flag the versions that stay."""
        while self._pass() or self._supersede() or self._start_cutting():
            pass
        for entry in self._alive():
            if entry not in self._versions.flags:
                self._versions.flag(entry, self._matched[entry])
        if self.settings.versions == "label":
            self._versions.label(again=any(is_labelled(entry.came_in) for entry in self.entries))

    def kept(self) -> tuple[Chunk, ...]:
        """The chunks that stay, as they are now, with the ids of those that they are tied to."""
        return tuple(self._versions.tied(self._alive(), self._leans_on))

    def decisions(self) -> tuple[Decision, ...]:
        """What was decided, by the rank of its subject."""
        out: list[Decision] = []
        for entry in self.entries:
            about = self._versions.flags.get(entry), self._versions.labels.get(entry)
            made = [entry.dropped] if entry.dropped else [*entry.trims, *about]
            out += [self._redirected(decision) for decision in made if decision is not None]
        return tuple(out)

    # -- a pass ---------------------------------------------------------------------------------

    def _alive(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.dropped is None]

    def _pass(self) -> bool:
        """One pass over the entries that are left; whether the next one may find more.

        It may where a text or the candidates of one changed; exact copies are no candidates.
        """
        left = self._without_exact()
        self._hash(left)
        words = [entry.view.hashes for entry in left]
        found = candidates(words, self.settings.shingle, most=2 * _TWINS)
        near = [self._near(left, entry, found[place]) for place, entry in enumerate(left)]
        changed = False
        for entry, twins in zip(left, near, strict=True):
            if twins:
                changed |= self._settle(entry, twins)
            else:
                self._matched[entry] = []
        self._remember_sources()
        return changed

    def _remember_sources(self) -> None:
        """Note on the twins where else their text stands: once a pass, not once for each copy."""
        for twin, also in self._also_in.items():
            sources = dict.fromkeys((*twin.chunk.also_in, *also))
            sources.pop(twin.chunk.source or twin.chunk.id, None)
            twin.chunk = replace(twin.chunk, also_in=tuple(sources))
        self._also_in.clear()

    def _hash(self, entries: Sequence[Entry]) -> None:
        """Read the words of all texts at once."""
        new = [entry.view for entry in entries if not entry.view.is_hashed]
        words = self._analyzer.words_of([view.text for view in new])
        for view, found in zip(new, words, strict=True):
            view.hashes = found.hashes

    def _near(self, left: Sequence[Entry], entry: Entry, found: Sequence[Candidate]) -> list[Entry]:
        """The candidates but for those that share too little, and are no neighbouring windows."""
        near: list[Entry] = []
        for index, at_most in found:
            twin = left[index]
            if at_most < self.settings.near_duplicate:
                pair = entry.view, twin.view
                if pair in self._far:
                    continue
                kin = _kin(entry.chunk, twin.chunk)
                if kin == "other" or not may_be_neighbours(*pair):
                    self._far.add(pair)
                    continue
            near.append(twin)
        return near

    def _without_exact(self) -> list[Entry]:
        """Drop the blank ones and, of those with the same text, all but the best-ranked."""
        first: dict[bytes | str, Entry] = {}
        alike: dict[bytes, list[Entry]] = {}
        for entry in self._alive():
            solid = entry.view.solid
            if not solid and not entry.view.spaced:
                entry.dropped = emptied(entry, self._tokens(entry.came_in))
                continue
            alike.setdefault(solid, []).append(entry)
        for entries in alike.values():
            for entry in entries if len(entries) > 1 else ():
                twin = first.setdefault(entry.view.same, entry)
                if twin is not entry:
                    self._drop(entry, Match(twin, Relation(kind="copy"), 1.0))
        return self._alive()

    def _settle(self, entry: Entry, twins: Sequence[Entry]) -> bool:
        """Drop or trim an entry as far as the better-ranked ones allow; whether it changed."""
        changed = False
        while True:
            matches: list[Match] = []
            # Of those that make it redundant the best-ranked counts: the others are not compared.
            for twin in sorted(self._roots(twins), key=lambda twin: twin.rank):
                match = self._match(entry, twin)
                if match and match.relation.kind in ("copy", "part"):
                    self._drop(entry, match)
                    return True
                matches += [match] if match else []
            cut = self._cuts and (self._trim(entry, matches) or self._share(entry, matches))
            if not cut:
                self._matched[entry] = matches
                return changed
            changed = True

    def _roots(self, twins: Sequence[Entry]) -> list[Entry]:
        """The twins, or what stands for them, those first that share most; not all of many."""
        return list(dict.fromkeys(map(self._root, twins)))[:_TWINS]

    def _match(self, entry: Entry, twin: Entry) -> Match | None:
        """What a better-ranked entry means for this one, None if they have too little in common."""
        key = entry.view, twin.view
        if key not in self._known:
            score = containment(entry.view.shingles, twin.view.shingles)
            kin = _kin(entry.chunk, twin.chunk)
            self._known[key] = self._relation(*key, kin, score=score), score
        relation, score = self._known[key]
        return Match(twin, relation, score) if relation.kind != "none" else None

    def _relation(self, worse: TextView, better: TextView, kin: Kin, *, score: float) -> Relation:
        if score >= self.settings.near_duplicate:
            return compare(worse, better, kin=kin)
        window = neighbours(worse, better) if kin != "other" else None
        if window is None:
            return Relation(kind="none")
        return Relation(kind="repeat", removed=window.removed, window=True)

    # -- what is done ---------------------------------------------------------------------------

    def _drop(self, entry: Entry, match: Match) -> None:
        """Leave an entry out; the twin remembers where else its text stands."""
        twin = match.twin
        entry.dropped = dropped(
            entry,
            twin,
            _drop_code(entry, match),
            measured=(match.score, self.settings.near_duplicate),
            tokens=self._tokens(entry.came_in),
            but=match.relation.but,
        )
        gone = entry.chunk
        also = self._also_in.setdefault(twin, {})
        also |= dict.fromkeys((gone.source or gone.id, *gone.also_in))
        also |= self._also_in.pop(entry, {})

    def _trim(self, entry: Entry, matches: Sequence[Match]) -> bool:
        """Take out what the best-ranked twin that is repeated has too; whether it was worth it."""
        text = entry.chunk.text
        if not can_be_cut(entry.chunk):
            return False
        for match in sorted(matches, key=rank_of):
            removed = match.relation.removed
            if removed is None or not self._is_worthwhile(text[slice(*removed)]):
                continue
            kept = _rest(removed, text)
            if kept is not None:
                code = "overlap" if match.relation.window else "repeated-text"
                self._cut(entry, [kept], match, code)
                return True
        return False

    def _is_worthwhile(self, removed: str) -> bool:
        return self._tokens(removed) >= self.settings.min_overlap

    def _share(self, entry: Entry, matches: Sequence[Match]) -> bool:
        """With `share_boilerplate`: leave only what differs from the best-ranked version."""
        text = entry.chunk.text
        if not self.settings.share_boilerplate or not can_be_cut(entry.chunk):
            return False
        before = self._tokens(text)
        for match, found in self._versions.of(entry, matches):
            if not found.in_place:
                continue  # It would lose the order of sentences.
            note, kept = note_for(match.twin.chunk), _complement(found.shared, text)
            shared = sum(self._tokens(text[slice(*span)]) for span in found.shared)
            saved = shared - self._tokens(note)
            if kept and saved >= self.settings.min_overlap and 2 * shared >= before:
                self._versions.flag(entry, matches)
                self._cut(entry, kept, match, "shared-text", note=note)
                return True
        return False

    def _cut(
        self,
        entry: Entry,
        kept: Sequence[Span],
        match: Match,
        code: Repeated,
        *,
        note: str = "",
    ) -> None:
        """Trim an entry to some spans of its text."""
        before = self._tokens(entry.chunk.text)
        removed = cut(entry, kept, note=note)
        tokens = before, self._tokens(entry.chunk.text)
        entry.trims.append(
            trimmed(entry, match.twin, code, removed=removed, score=match.score, tokens=tokens)
        )

    # -- versions -------------------------------------------------------------------------------

    def _supersede(self) -> bool:
        """In mode 'latest' leave out older versions; whether any went."""
        if self.settings.versions != "latest":
            return False
        alive = self._alive()
        held = {root for entry in alive for root in self._leans_on(entry)}
        return self._versions.supersede(alive, self._matched, held)

    def _start_cutting(self) -> bool:
        """Let texts be cut once the older versions are gone: nothing may lean on what goes."""
        started, self._cuts = not self._cuts, True
        return started

    def _leans_on(self, entry: Entry) -> set[Entry]:
        """The entries that hold what was taken out of one."""
        names = [*entry.chunk.leans_on, *(trim.twin for trim in entry.trims)]
        roots = {self._root(self._by_id[name]) for name in names if name in self._by_id}
        return {root for root in roots if root is not entry and root.dropped is None}

    # -- twins ----------------------------------------------------------------------------------

    def _root(self, entry: Entry) -> Entry:
        """The entry that holds what this one said: itself, or its twin's if it was dropped."""
        while entry.dropped is not None and entry.dropped.twin is not None:
            entry = self._by_id[entry.dropped.twin]
        return entry

    def _redirected(self, decision: Decision) -> Decision:
        """The decision with a twin that is still there."""
        if decision.twin is None:
            return decision
        twin = self._by_id[decision.twin]
        root, also, older = self._root(twin), list[str](), False
        while twin is not root and twin.dropped is not None and twin.dropped.twin is not None:
            also += also_in(twin.dropped)
            older |= twin.dropped.code == "superseded"
            twin = self._by_id[twin.dropped.twin]
        if root.chunk.id == decision.twin:
            return decision
        return passed_on(decision, root, also, newer=older)


def _drop_code(entry: Entry, match: Match) -> Redundant:
    if match.relation.kind == "part":
        return "subset"
    one, other = entry.view, match.twin.view
    same = one.spaced == other.spaced or (
        _has_letters_of(one.text, other.text)
        and one.analysis.normalised == other.analysis.normalised
    )
    return "exact-duplicate" if same else "near-duplicate"


def _has_letters_of(one: str, other: str) -> bool:
    """Whether two texts may have one normal form, which takes 50 times as long to make.

    Of ASCII it folds case and leaves out marks, never a letter or a digit.
    """
    if not (one.isascii() and other.isascii()):
        return True
    left, right = (text.lower().encode().translate(None, _MARKS) for text in (one, other))
    return left == right


def _kin(one: Chunk, other: Chunk) -> Kin:
    if one.source != other.source:
        return "other"
    return "same" if one.source else "unknown"


def _rest(removed: Span, text: str) -> Span | None:
    """What remains without a piece at the start or the end; None if that is blank."""
    kept = (removed[1], len(text)) if removed[0] == 0 else (0, removed[0])
    return kept if text[slice(*kept)].strip() else None


def _complement(spans: Sequence[Span], text: str) -> list[Span]:
    """The pieces between ascending spans, without the whitespace around them."""
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    pieces: list[Span] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        piece = text[start:end]
        bare = piece.strip()
        if bare:
            lead = start + len(piece) - len(piece.lstrip())
            pieces.append((lead, lead + len(bare)))
    return pieces
