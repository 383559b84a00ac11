from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ctxguard.errors import InputError, MissingDependencyError
from ctxguard.routing import Columns, Trace, read_traces

TRACES = [
    Trace(prompt='Say "a, b"\nor c?', light_ok=True, heavy_ok=False, group="x"),
    Trace(prompt="Größe?", light_ok=False, heavy_ok=True, group="y"),
]
NAMED = Columns(group="group")
ROWS = b"prompt,light_ok,heavy_ok\n" + b"x,1,1\n" * 9


def as_csv() -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["prompt", "light_ok", "heavy_ok", "group"])
    writer.writerows([[one.prompt, one.light_ok, one.heavy_ok, one.group] for one in TRACES])
    return out.getvalue()


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".CSV"])
def test_csv(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"traces{ending}"
    data = as_csv().encode("utf-8-sig")
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    assert read_traces(path, NAMED) == TRACES


SEEN = {"conflicts": 1.5, "turns": 0.0}


def test_surroundings_are_an_object_or_its_json(tmp_path: Path) -> None:
    path = tmp_path / "traces.csv"
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["prompt", "light_ok", "heavy_ok", "seen"])
    writer.writerows([["a", 1, 0, json.dumps(SEEN)], ["b", 1, 0, ""]])
    path.write_text(out.getvalue())
    columns = Columns(around="seen")
    assert [one.around for one in read_traces(path, columns)] == [SEEN, {}]
    rows = ({"seen": SEEN}, {"seen": None}, {"seen": {"turns": None, "conflicts": 2}})
    lines = [json.dumps({"prompt": "a", "light_ok": 1, "heavy_ok": 0, **row}) for row in rows]
    path = tmp_path / "traces.jsonl"
    path.write_text("\n".join(lines))
    assert [one.around for one in read_traces(path, columns)] == [SEEN, {}, {"conflicts": 2.0}]


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ("[1]", "expected an object"),
        ("{", "not JSON"),
        ('{"turn": 1}', "no such signal 'turn'"),
        ('{"turns": "many"}', "seen.turns: expected a number, got 'many'"),
        ('{"turns": true}', "expected a number, got True"),
    ],
)
def test_surroundings_that_are_none(tmp_path: Path, seen: str, said: str) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps({"prompt": "a", "light_ok": 1, "heavy_ok": 0, "seen": seen}))
    with pytest.raises(InputError, match=said):
        read_traces(path, Columns(around="seen"))


def test_json_lines_with_columns_of_other_names(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text('{"q": "a?", "l": 1, "h": "no"}\n\n{"q": "b?", "l": false, "h": true}\n')
    found = read_traces(path, Columns(prompt="q", light_ok="l", heavy_ok="h"))
    assert [(one.light_ok, one.heavy_ok) for one in found] == [(True, False), (False, True)]


def test_a_log_that_knows_one_route_of_each_question(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("prompt,light_ok,heavy_ok,p\na?,1,,0.9\nb?,,no,.1\nc?,1,0,\n")
    found = read_traces(path, Columns(taken_with="p"))
    assert [(one.light_ok, one.heavy_ok, one.taken_with) for one in found] == [
        (True, None, 0.9),
        (None, False, 0.1),
        (True, False, None),
    ]
    lines = tmp_path / "log.jsonl"
    lines.write_text('{"prompt": "a?", "light_ok": null, "heavy_ok": true}\n')
    assert read_traces(lines) == [Trace(prompt="a?", light_ok=None, heavy_ok=True)]
    for odd in ("0", "2", "often"):
        path.write_text(f"prompt,light_ok,heavy_ok,p\na?,1,,{odd}\n")
        with pytest.raises(InputError, match="row 1, p: expected a probability above 0"):
            read_traces(path, Columns(taken_with="p"))


def test_parquet(tmp_path: Path) -> None:
    # By name: the package has no types.
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    rows = [
        {
            "prompt": "a?",
            "light_ok": True,
            "heavy_ok": False,
            "p": None,
            "seen": {"turns": 1.0, "conflicts": None},
        },
        {
            "prompt": "b?",
            "light_ok": None,
            "heavy_ok": True,
            "p": 0.1,
            "seen": {"turns": 2.0, "conflicts": 3.0},
        },
    ]
    path = tmp_path / "traces.parquet"
    parquet.write_table(arrow.Table.from_pylist(rows), path)
    assert read_traces(path, Columns(taken_with="p", around="seen")) == [
        Trace(prompt="a?", light_ok=True, heavy_ok=False, around={"turns": 1.0}),
        Trace(
            prompt="b?",
            light_ok=None,
            heavy_ok=True,
            around={"turns": 2.0, "conflicts": 3.0},
            taken_with=0.1,
        ),
    ]


def test_parquet_needs_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)  # as where it is not installed
    with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
        read_traces(tmp_path / "traces.parquet")


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("a.txt", b"", r"expected \.csv"),
        ("a.csv", b"", "there is no row"),
        ("a.csv", b"prompt,light_ok\nx,1\n", "row 1: no column 'heavy_ok', there are 'prompt'"),
        (
            "a.csv",
            b"prompt,light_ok,heavy_ok\nx,1,maybe\n",
            "heavy_ok: expected true, false or",
        ),
        ("a.csv", b"prompt,light_ok,heavy_ok\n,1,1\n", "row 1, prompt: expected a text"),
        ("a.csv", b"prompt,light_ok,heavy_ok\nx,1\n", "row 1: fewer cells than columns"),
        ("a.csv", b"prompt,light_ok,heavy_ok\nx,,\n", "row 1: light_ok and heavy_ok are blank"),
        ("a.csv", b"\xff\xfe\x00", "not a text file"),
        ("a.csv.gz", b"no gzip", "Not a gzipped file"),
        ("a.csv.gz", gzip.compress(ROWS, mtime=0)[:-9], "Compressed file ended"),
        ("a.jsonl", b"{", "line 1: not JSON"),
        ("a.jsonl", b"[1]", "line 1: expected an object"),
        ("a.csv", b"prompt,light_ok,heavy_ok\n" + b"x" * 200_000 + b",1,1\n", "not CSV"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str, data: bytes, match: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=match):
        read_traces(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_traces(tmp_path / "none.csv")
