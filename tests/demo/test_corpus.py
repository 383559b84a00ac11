from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from ctxguard.demo.corpus import Corpus, read_licences
from ctxguard.errors import InputError


def read(folder: Path, **options: Any) -> Corpus:
    return read_licences(metadata.distributions(path=[str(folder)]), **options)


def test_finds_licences_copying_and_notices_wherever_the_metadata_keeps_them(install: Any) -> None:
    info = "alpha-1.0.dist-info"
    folder = install(
        "alpha",
        {
            "LICENSE.txt": "one",
            "COPYING": "two",
            "NOTICE": "three",
            f"{info}/licenses/vendored/LICENCE-MIT": "four",
            "AUTHORS": "not a licence",
            "alpha/license.py": "not in the metadata folder",
        },
    )
    corpus = read(folder)
    assert sorted(licence.text for licence in corpus.licences) == ["four", "one", "three", "two"]
    assert {licence.distribution for licence in corpus.licences} == {"alpha"}
    assert corpus.distributions == 1
    assert corpus.characters == len("onetwothreefour")
    assert not corpus.notes


def test_the_order_does_not_depend_on_the_folder(install: Any) -> None:
    for name in ("zeta", "Alpha", "mid"):
        folder = install(name, {"LICENSE": name})
    assert [licence.text for licence in read(folder).licences] == ["Alpha", "mid", "zeta"]


def test_a_name_is_read_once_as_python_would_import_it(install: Any) -> None:
    install("twice", {"LICENSE": "first"}, version="1.0")
    folder = install("twice", {"LICENSE": "second"}, version="2.0")
    assert len(read(folder).licences) == 1


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("©  Ä".encode("utf-8-sig"), "©  Ä"),
        ("©  Ä".encode("utf-16"), "©  Ä"),
        ("©  Ä".encode("latin-1"), "©  Ä"),
        (b"a\r\nb\rc\n", "a\nb\nc"),
    ],
)
def test_reads_any_encoding_and_line_end(install: Any, data: bytes, text: str) -> None:
    assert read(install("odd", {"LICENSE": data})).licences[0].text == text


def test_says_which_files_it_could_not_take_as_they_are(install: Any) -> None:
    files = {
        "LICENSE": "x" * 100,
        "COPYING": b"\x00\x01\x02",
        "NOTICE": "",
        "LICENSE.latin": "©".encode("latin-1"),
    }
    folder: Path = install("noted", files)
    corpus = read(folder, max_characters=40)
    assert [len(licence.text) for licence in corpus.licences] == [40, 1]
    notes = dict(note.removeprefix("noted-1.0.dist-info/").split(": ", 1) for note in corpus.notes)
    assert notes["LICENSE"] == "cut at 40 of 100 characters"
    assert notes["COPYING"] == "left out, it is no text"
    assert notes["NOTICE"] == "left out, it is empty"
    assert notes["LICENSE.latin"] == "not UTF-8, read as Latin-1"


def test_a_file_that_is_gone_stops_nothing(install: Any) -> None:
    folder: Path = install("gone", {"LICENSE": "text", "COPYING": "soon"})
    (folder / "gone-1.0.dist-info" / "COPYING").unlink()
    # Python 3.11 still lists the file, so it is noted; later ones do not know of it.
    assert [licence.text for licence in read(folder).licences] == ["text"]


def test_passes_over_distributions_without_a_name_or_a_record(install: Any, tmp_path: Path) -> None:
    install("nameless", {"LICENSE": "text"}, metadata=False)
    (tmp_path / "bare-1.0.dist-info").mkdir()
    install("good", {"LICENSE": "kept"})
    assert [licence.text for licence in read(tmp_path).licences] == ["kept"]


def test_without_any_licence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="virtual environment"):
        read(tmp_path)


def test_this_environment_has_a_corpus() -> None:
    corpus = read_licences()
    assert corpus.distributions > 20
    assert corpus.characters > 100_000
