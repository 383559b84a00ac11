"""A disk that does not do what it should fails no call: a warning, a count, and nothing deleted."""

from __future__ import annotations

import os
import sqlite3
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ctxguard.errors import InputError
from ctxguard.ledger import Ledger
from ctxguard.run import Outcome
from ctxguard.telemetry import LedgerStore, StoreWarning, file
from tests.telemetry.made import ledger

Make = Callable[..., LedgerStore]


def put(store: LedgerStore, item: str | Ledger | Outcome) -> None:
    """Append one, and wait."""
    store.append(ledger(item) if isinstance(item, str) else item)
    assert store.flush(10)


def put_all(store: LedgerStore, items: Sequence[str | Ledger | Outcome]) -> None:
    """Append each by itself."""
    for item in items:
        put(store, item)


# -- a file that is damaged, or none ------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"no database, and no header either" * 200, None])
def test_a_damaged_file_is_put_aside(make: Make, damage: bytes | None) -> None:
    store = make()
    for number in range(50):
        put(store, str(number))
    store.close()
    if damage is None:  # its pages, after a header that is sound
        sound = store.path.read_bytes()
        damage = sound[:4096] + os.urandom(len(sound) - 4096)
    store.path.write_bytes(damage)
    with pytest.raises(InputError, match=r"not a database|malformed"):
        list(store.tail(follow=False))
    with pytest.warns(StoreWarning, match="the file was damaged; it is now") as caught:
        put(store, "new")
    (aside,) = store.path.parent.glob("traces.sqlite3.damaged-*")
    assert str(aside) in str(caught[0].message)
    assert aside.read_bytes() == damage, "nothing is deleted"
    assert [run.run_id for run in store.list()] == ["new"]
    assert store.dropped == 0


def test_a_file_that_is_damaged_while_it_is_open(make: Make) -> None:
    store = make()
    for number in range(50):
        put(store, str(number))
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with store.path.open("r+b") as opened:
        opened.seek(4096)
        opened.write(os.urandom(store.path.stat().st_size - 4096))
    with pytest.warns(StoreWarning, match="damaged"):
        put_all(store, [f"new-{number}" for number in range(3)])
    assert len(store.list()) in (2, 3), "pages may be in memory for one more"


def test_a_file_that_another_process_has_put_aside_already(make: Make) -> None:
    store = make()
    store.path.write_bytes(b"no database" * 1000)
    damaged = file.TraceFile(path=store.path, max_bytes=10**6, max_ledgers=9)
    with pytest.raises(sqlite3.DatabaseError):
        damaged._connection()
    store.path.rename(store.path.with_name("aside"))  # the other one
    put(store, "theirs")
    damaged._put_aside()
    assert store.count() == 1
    assert not list(store.path.parent.glob("*.damaged-*"))
    assert store.path.with_name("aside").exists()


def test_a_file_that_was_removed_is_made_anew(store: LedgerStore) -> None:
    put(store, "a")
    for one in store.path.parent.glob("traces.sqlite3*"):
        one.unlink()
    put(store, "b")
    assert [run.run_id for run in store.list()] == ["b"]


def test_a_file_of_a_later_release_is_left_alone(make: Make) -> None:
    store = make()
    put(store, "a")
    store.close()
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("PRAGMA user_version = 99")
    before = store.path.read_bytes()
    with pytest.warns(StoreWarning, match="written by a later ctxguard"):
        put(store, "b")
    with pytest.raises(InputError, match="written by a later ctxguard"):
        store.list()
    assert store.dropped == 1
    assert store.path.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1])
def test_a_database_of_somebody_else_is_left_alone(store: LedgerStore, version: int) -> None:
    with closing(sqlite3.connect(store.path)) as db:
        db.executescript(f"CREATE TABLE mine (a); PRAGMA user_version = {version}")
    before = store.path.read_bytes()
    with pytest.warns(StoreWarning, match="not a store of traces, but another database"):
        put(store, "a")
    with pytest.raises(InputError, match="not a store of traces, but another database"):
        store.list()
    assert store.path.read_bytes() == before


# -- a disk that takes no more ------------------------------------------------------------------


def test_a_disk_that_is_full(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store, pages = make(), ["PRAGMA max_page_count = 10"]
    connect = file.open_wal

    def limited(*given: object, **named: object) -> sqlite3.Connection:
        db = connect(*given, **named)  # type: ignore[arg-type]
        db.execute(pages[0])
        return db

    monkeypatch.setattr(file, "open_wal", limited)
    with pytest.warns(StoreWarning, match="full") as caught:
        put_all(store, [f"{number:02}" for number in range(60)])
    assert len(caught) == 1, "told once"
    assert store.dropped + store.written == 60
    assert store.count() == store.written > 0
    pages[0] = "PRAGMA max_page_count = 1000"
    put(store, "room again")
    assert store.list(limit=1)[0].run_id == "room again"


def test_a_ledger_that_is_larger_than_the_file_may_be(make: Make) -> None:
    store = make(max_bytes=100_000, content=True)
    put(store, "small")
    with pytest.warns(StoreWarning, match="larger than the whole file"):
        put_all(store, [ledger("large", text="x" * 150_000)])
    assert store.dropped == 1
    put(store, "another")
    assert store.list(limit=1)[0].run_id == "another"


@pytest.mark.parametrize("name", ["a-file/traces.db", "a-folder"])
def test_a_path_that_cannot_be_a_file(tmp_path: Path, make: Make, name: str) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "a-folder").mkdir()
    store = make(tmp_path / name)
    with pytest.warns(StoreWarning, match=name.partition("/")[0]):
        put(store, "a")
    assert store.dropped == 1


def test_a_file_that_another_process_holds(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_WAIT", 0.05)
    monkeypatch.setattr(file, "_LOOK", 0.01)
    store = make()
    put(store, "a")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert store.count() == 1, "who reads does not wait"
        with pytest.warns(StoreWarning, match="locked"):
            put(store, "b")
    put(store, "c")
    assert [run.run_id for run in store.list()] == ["c", "a"]
    assert store.dropped == 1


def test_a_file_that_another_process_holds_for_a_moment(store: LedgerStore) -> None:
    put(store, "a")
    db = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    db.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.6, db.close)
    timer.start()
    put(store, "b")
    timer.join()
    assert (store.count(), store.dropped) == (2, 0)


# -- what is in the queue -----------------------------------------------------------------------


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is written until this is set."""
    go_on, write = threading.Event(), file.TraceFile.write

    def wait(self: file.TraceFile, *given: object) -> file.Written:
        assert go_on.wait(10)
        return write(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(file.TraceFile, "write", wait)
    return go_on


def test_a_queue_that_is_full_drops_and_says_so(make: Make, held: threading.Event) -> None:
    store = make(max_waiting=5)
    for number in range(200):
        store.append(ledger(str(number)))
    held.set()
    with pytest.warns(StoreWarning, match="more than 5 were waiting") as caught:
        assert store.flush(10)
    assert len(caught) == 1
    assert store.written + store.dropped == 200
    assert store.dropped >= 190


def test_closing_does_not_wait_for_ever(make: Make, held: threading.Event) -> None:
    store = make(max_waiting=1000)
    for number in range(600):  # more than one batch
        store.append(ledger(str(number)))
    assert not store.flush(0.01)
    with pytest.warns(StoreWarning, match=r"not written within 0\.01 s"):
        store.close(0.01)
    assert store.dropped >= 300
    held.set()
    put(store, "after")
    assert "after" in {run.run_id for run in store.list()}


def test_a_ledger_that_cannot_be_made(store: LedgerStore) -> None:
    def fail() -> Ledger:
        raise KeyError("of the user's")

    with pytest.warns(StoreWarning, match="could not be made: KeyError"):
        put_all(store, [Outcome(fail), "a"])
    assert (store.written, store.dropped) == (1, 1)


def test_no_thread_can_be_started(store: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the interpreter is about to end."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", start)
        with pytest.warns(StoreWarning, match="no thread to write with"):
            store.append(ledger("a"))
    assert store.dropped == 1
    put(store, "b")
    assert store.count() == 1


def test_the_thread_outlives_warnings_that_are_errors(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    store = make(tmp_path / "a-file" / "traces.db")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(3):
            put(store, str(number))
    assert store.dropped == 3
    assert store.flush(1)


def test_odd_texts_go_in(make: Make) -> None:
    store = make(content=True)
    odd = "half \ud83d of a pair, \0 and so on"
    store.append(replace(ledger("odd", text=odd), name=odd, question=odd, model=odd, error=odd))
    store.feedback("odd", ok=True, by=odd, comment=odd)
    assert store.get("odd").chunks[0].text == odd
    assert store.marks("odd")[0].comment.startswith("half ")
    assert store.dropped == 0


def test_what_waits_is_there_once(store: LedgerStore, held: threading.Event) -> None:
    outcome, makes = Outcome(), [0]

    def make_it() -> Ledger:
        makes[0] += 1
        return ledger("a")

    store.append(ledger("first"))
    for _ in range(1000):
        outcome.settle(make_it)
        store.append(outcome)
    held.set()
    assert store.flush(10)
    assert makes[0] <= 2, "of a run that is published again and again, what it is by then"
    assert store.dropped == 0
