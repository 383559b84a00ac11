"""A store gives back what was put in, bounded, and shows who wrote what when."""

from __future__ import annotations

import pickle
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ctxguard.errors import InputError
from ctxguard.ledger import Ledger
from ctxguard.telemetry import LedgerStore, StoredRun
from ctxguard.telemetry.store import default_path
from ctxguard.types import Decision, Verification
from tests.telemetry.made import ledger, raw, routed

Make = Callable[..., LedgerStore]


def test_what_goes_in_comes_out(make: Make) -> None:
    store = make(content=True)
    given = ledger("a1", chunks=3)
    store.append(given)
    assert store.get("a1") == given
    assert store.get("a") == given
    assert store.find("a") == "a1"
    assert (store.written, store.dropped, store.count()) == (1, 0, 1)


def test_without_content_a_ledger_keeps_what_is_no_text(store: LedgerStore) -> None:
    given = ledger("a1")
    store.append(given)
    assert store.get("a1") == Ledger.from_json(given.to_json(content=False))


def test_a_file_that_is_not_there_has_no_runs(store: LedgerStore) -> None:
    assert store.list() == ()
    assert list(store.tail(follow=False)) == []
    assert list(store.judged()) == []
    assert store.count() == 0
    assert store.flush()
    store.close()
    assert not store.path.exists()


@pytest.mark.parametrize(
    ("start", "said"), [("b", "there is none"), ("a", "more than one"), ("", "expected an id")]
)
def test_an_id_that_is_not_one_run(store: LedgerStore, start: str, said: str) -> None:
    store.append(ledger("a1"))
    store.append(ledger("a2"))
    with pytest.raises(InputError, match=said):
        store.get(start)


def test_an_id_that_another_begins_with_is_itself(store: LedgerStore) -> None:
    store.append(ledger("a"))
    store.append(ledger("ab"))
    assert store.get("a").run_id == "a"


def test_a_list_is_newest_first_and_can_be_narrowed(store: LedgerStore) -> None:
    store.append(ledger("a"))
    store.append(replace(ledger("b"), name="agent"))
    store.append(replace(ledger("c"), error="ValueError: of the user's"))
    failed = Decision(stage="rank", action="error", subject="", code="stage-failed", reason="")
    store.append(replace(ledger("d"), decisions=(failed,)))
    assert [run.run_id for run in store.list()] == ["d", "c", "b", "a"]
    assert [run.run_id for run in store.list(limit=2)] == ["d", "c"]
    assert [run.run_id for run in store.list(name="agent")] == ["b"]
    assert [run.run_id for run in store.list(errors_only=True)] == ["d", "c"]
    third = store.list()[1]
    assert (third.error, third.errors, third.name) == ("ValueError", 0, "chain")
    assert [run.run_id for run in store.list(since=third.at)] == ["d", "c"]
    assert store.list(since=datetime.now(UTC)) == ()


def test_a_row_says_in_numbers_what_the_ledger_says(store: LedgerStore) -> None:
    given = replace(routed("r", "What is the fee?", "heavy"), model="gpt-4o", name="chain")
    before = time.time()
    store.append(replace(given, verifications=(Verification(answer="none"),)))
    (run,) = store.list()
    assert isinstance(run, StoredRun)
    assert (run.name, run.model, run.route) == ("chain", "gpt-4o", "heavy")
    assert (run.grounded, run.ok) == (True, None)
    assert before <= run.at <= time.time()
    assert [(run.size,)] == raw(store.path, "SELECT length(ledger) FROM runs")


def test_a_run_that_goes_on_takes_its_place_anew(store: LedgerStore) -> None:
    for name in ("early", "other"):
        store.append(replace(ledger(name), name="first"))
    store.flush()
    store.append(replace(ledger("early"), name="second"))
    assert [(run.run_id, run.name) for run in store.list()] == [
        ("early", "second"),
        ("other", "first"),
    ]


def test_a_run_that_comes_twice_at_once_is_there_once(store: LedgerStore) -> None:
    for _ in range(3):
        store.append(ledger("a"))
    assert (store.count(), store.written, store.dropped) == (1, 3, 0)


def test_feedback_stands_beside_its_run(make: Make) -> None:
    store = make(content=True)
    store.append(ledger("a"))
    store.feedback("a", ok=False, comment="wrong year")
    store.feedback("a", ok=True, by="reviewer")
    assert store.list()[0].ok is True, "the last word counts"
    assert [(mark.by, mark.ok, mark.comment) for mark in store.marks("a")] == [
        ("user", False, "wrong year"),
        ("reviewer", True, ""),
    ]
    store.feedback("a", ok=False, by="reviewer")
    assert [mark.ok for mark in store.marks("a")] == [False, False], "replaced"
    assert store.count(judged=True) == 1


def test_feedback_may_come_before_its_run(store: LedgerStore) -> None:
    store.feedback("late", ok=True)
    assert store.list() == ()
    store.append(ledger("late"))
    assert store.list()[0].ok is True


def test_a_tail_shows_the_last_and_what_comes(store: LedgerStore) -> None:
    for name in "abc":
        store.append(ledger(name))
    assert [run.run_id for run in store.tail(follow=False, last=2)] == ["b", "c"]
    assert [run.run_id for run in store.tail(follow=False, last=9)] == ["a", "b", "c"]
    assert [run.run_id for run in store.tail(follow=False, last=0)] == []
    tail = store.tail(last=1, poll=0.01)
    assert next(tail).run_id == "c"
    timer = threading.Timer(0.05, store.append, [ledger("d")])
    timer.start()
    assert next(tail).run_id == "d"
    timer.join()


def test_a_tail_goes_on_in_a_file_that_was_made_anew(store: LedgerStore) -> None:
    for name in "abc":
        store.append(ledger(name))
    tail = store.tail(last=1, poll=0.01)
    assert next(tail).run_id == "c"
    store.close()
    store.path.unlink()
    store.append(ledger("new"))
    store.flush()
    assert next(tail).run_id == "new"


def test_pages_are_read_to_the_end(store: LedgerStore) -> None:
    for number in range(700):  # a page has 500
        store.append(ledger(f"{number:03}"))
        store.feedback(f"{number:03}", ok=number % 2 == 0)
        if number % 200 == 0:
            store.flush()
    judged = list(store.judged())
    assert [one.run_id for one in judged] == [f"{number:03}" for number in range(700)]
    assert [one.run_id for one in store.tail(follow=False, last=700)] == [
        one.run_id for one in judged
    ]


# -- bounds -----------------------------------------------------------------------------------


def test_the_oldest_leave_first(make: Make) -> None:
    store = make(max_ledgers=10)
    for number in range(25):
        store.append(ledger(f"{number:02}"))
        store.feedback(f"{number:02}", ok=True)
        if number % 7 == 0:
            store.flush()
    assert [run.run_id for run in store.list()] == [f"{n:02}" for n in range(24, 14, -1)]
    (kept,) = raw(store.path, "SELECT COUNT(*) FROM feedback")
    assert int(str(kept[0])) <= 11, "what was said of runs that left has left as well"


def test_a_small_file_stays_small(make: Make) -> None:
    store = make(max_bytes=200_000, content=True)
    for number in range(400):
        store.append(ledger(f"{number:03}", chunks=10))
        if number % 50 == 0:
            store.flush()
            assert store.path.stat().st_size <= 200_000
    assert store.list(limit=1)[0].run_id == "399"
    assert 20 < store.count() < 200
    assert store.dropped == 0
    store.close()
    assert store.path.stat().st_size <= 200_000
    (free,) = raw(store.path, "PRAGMA freelist_count")
    assert free == (0,)


def test_feedback_alone_is_bounded_too(make: Make) -> None:
    store = make(max_bytes=64 * 1024)
    for number in range(900):
        store.feedback("none", ok=True, by=f"{number} {'x' * 200}")
        if number % 300 == 0:
            store.flush()
    store.close()
    assert store.path.stat().st_size <= 64 * 1024


@pytest.mark.slow
def test_fifty_thousand_appends(make: Make) -> None:
    store = make(max_bytes=2**20)
    one = ledger("x")
    for number in range(50_000):
        store.append(replace(one, run_id=f"{number:05}"))
        if number % 900 == 0:
            store.flush()
    assert store.flush(60)
    assert store.written + store.dropped == 50_000
    assert store.dropped == 0, "nobody was faster than the thread"
    assert store.path.stat().st_size <= 2**20
    assert store.list(limit=1)[0].run_id == "49999"


@pytest.mark.parametrize(
    ("setting", "value"), [("max_bytes", 1000), ("max_ledgers", 0), ("max_waiting", 0)]
)
def test_a_bound_that_is_too_small(make: Make, setting: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{setting}: expected at least"):
        make(**{setting: value})


# -- many threads, and objects ------------------------------------------------------------------


def test_many_threads_write_and_read(store: LedgerStore) -> None:
    def work(worker: int) -> int:
        for number in range(20):
            store.append(ledger(f"{worker}-{number}"))
        return len(store.list(limit=5))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert store.count() == 160
    assert {run.run_id for run in store.list()} == {f"{w}-{n}" for w in range(8) for n in range(20)}


def test_it_pickles_as_its_settings(make: Make) -> None:
    store = make(content=True, max_ledgers=5, max_waiting=7)
    store.append(ledger("a"))
    store.flush()
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 -- of our own
    assert (again.path, again.content) == (store.path, True)
    assert again.get("a") == store.get("a")
    assert repr(again) == f"LedgerStore({str(store.path)!r}, content=True)"


def test_it_is_used_again_after_it_was_closed(store: LedgerStore) -> None:
    store.append(ledger("a"))
    store.close()
    store.close()
    store.append(ledger("b"))
    assert [run.run_id for run in store.list()] == ["b", "a"]


def test_nobody_holds_it_and_all_is_written(tmp_path: Path) -> None:
    store = LedgerStore(tmp_path / "a.db")
    for number in range(50):
        store.append(ledger(str(number)))
    del store
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and LedgerStore(tmp_path / "a.db").count() < 50:
        time.sleep(0.01)
    assert LedgerStore(tmp_path / "a.db").count() == 50
    while time.monotonic() < deadline and _threads():
        time.sleep(0.01)
    assert not _threads(), "its thread has ended"


def _threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "ctxguard-traces"]


def test_only_the_owner_may_read(tmp_path: Path, make: Make) -> None:
    store = make(tmp_path / "new" / "traces.db")
    store.append(ledger("a"))
    store.flush()
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    for file in store.path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_where_it_is_if_nobody_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "ctxguard" / "traces.sqlite3"
    assert LedgerStore().path == default_path()
