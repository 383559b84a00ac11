"""The demo's corpus: the licence texts of the installed distributions.

They are real legal texts, they are on every machine, and they are full of copies that are identical
and of near-copies that differ in a holder, a year or a version: contract analysis in small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ctxguard.errors import InputError

__all__ = ["Corpus", "Licence", "read_licences"]

MAX_CHARACTERS = 60_000
"""Per file. A few wheels carry the licences of everything that they bundle, hundreds of pages;
uncut, one of them can be a quarter of the corpus. Every cut is noted in `Corpus.notes`."""

_FILE_NAME = re.compile(r"(?:un)?licen[cs]e|copying|notice", re.IGNORECASE)
_METADATA_FOLDER = (".dist-info", ".egg-info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """One licence file of one distribution."""

    distribution: str
    """Name of the distribution as its metadata spells it, for example 'numpy'."""
    version: str
    path: str
    """Relative to the environment's folder, with forward slashes."""
    text: str
    """At most `max_characters` of `read_licences`, line ends as newlines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What was found, and what was not read as it stands."""

    licences: tuple[Licence, ...]
    """Ordered by distribution and path, so that every run indexes in the same order."""
    notes: tuple[str, ...] = ()
    """One sentence per file that was cut, decoded with losses or left out."""

    @property
    def characters(self) -> int:
        """Characters of all texts."""
        return sum(len(licence.text) for licence in self.licences)

    @property
    def distributions(self) -> int:
        """Distributions that carry at least one licence file."""
        return len({licence.distribution for licence in self.licences})


def read_licences(
    distributions: Iterable[metadata.Distribution] | None = None,
    *,
    max_characters: int = MAX_CHARACTERS,
) -> Corpus:
    """The licence files in the metadata folders of the distributions.

    Args:
        distributions: what to read; None: everything that is installed.
        max_characters: a longer file is cut there, and a note says so.

    Raises:
        InputError: when no licence text is found at all.
    """
    found = metadata.distributions() if distributions is None else distributions
    licences: list[Licence] = []
    notes: list[str] = []
    for distribution in _first_of_each_name(found):
        for file in _licence_files(distribution):
            _read(distribution, file, max_characters, licences, notes)
    if not licences:
        raise InputError(
            "licences: no LICENSE, COPYING or NOTICE file in the metadata of the installed "
            "distributions; run the demo inside a virtual environment that pip or uv filled"
        )
    licences.sort(key=lambda licence: (licence.distribution.lower(), licence.path))
    return Corpus(licences=tuple(licences), notes=tuple(notes))


def _first_of_each_name(
    distributions: Iterable[metadata.Distribution],
) -> Iterator[metadata.Distribution]:
    """Each name once: of two on the path, Python imports the first."""
    seen: set[str] = set()
    for distribution in distributions:
        name = _field(distribution, "Name")
        if name and name.lower() not in seen:
            seen.add(name.lower())
            yield distribution


def _field(distribution: metadata.Distribution, name: str) -> str:
    """A field of the distribution's METADATA, blank when the file or the field is missing."""
    # A half-removed distribution leaves a folder without METADATA: Pythons differ in what they do.
    try:
        fields = distribution.metadata
        return (fields[name] or "") if name in fields else ""
    except (OSError, TypeError, UnicodeDecodeError):
        return ""


def _licence_files(distribution: metadata.Distribution) -> list[metadata.PackagePath]:
    return [
        file
        for file in distribution.files or ()
        if file.parts[0].endswith(_METADATA_FOLDER) and _FILE_NAME.match(file.name)
    ]


def _read(
    distribution: metadata.Distribution,
    file: metadata.PackagePath,
    max_characters: int,
    licences: list[Licence],
    notes: list[str],
) -> None:
    """Append the file to `licences`, and to `notes` what a reader has to know about it."""
    path = file.as_posix()
    try:
        data = Path(str(file.locate())).read_bytes()
    except OSError as error:
        notes.append(f"{path}: left out, {error.strerror or 'cannot be read'}")
        return
    text, encoding = _decode(data)
    if "\0" in text:
        notes.append(f"{path}: left out, it is no text")
        return
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        notes.append(f"{path}: left out, it is empty")
        return
    if encoding == "latin-1":
        notes.append(f"{path}: not UTF-8, read as Latin-1")
    if len(text) > max_characters:
        notes.append(f"{path}: cut at {max_characters:,} of {len(text):,} characters")
        text = text[:max_characters]
    licences.append(
        Licence(
            distribution=_field(distribution, "Name"),
            version=_field(distribution, "Version"),
            path=path,
            text=text,
        )
    )


def _decode(data: bytes) -> tuple[str, str]:
    """Text and encoding: a byte-order mark decides, then UTF-8, then Latin-1, which cannot fail."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), "utf-16"
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"
