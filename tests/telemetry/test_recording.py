"""The ledgers of all handles of a process go to a store, while somebody wants that."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ctxguard import listeners
from ctxguard.handle import Handle
from ctxguard.ledger import Ledger
from ctxguard.listeners import listen, unlisten
from ctxguard.run import Outcome, Record
from ctxguard.telemetry import LedgerStore, record_to, recording
from tests.telemetry.made import GUARD, call

Make = Callable[..., LedgerStore]


def test_the_calls_of_a_block(make: Make) -> None:
    store = make(content=True)
    call("before")
    with record_to(store) as given:
        assert given is store
        run_id = call("What is the fee?")
    call("after")
    (run,) = store.list()
    assert (run.run_id, run.name) == (run_id, "chain")
    ledger = store.get(run_id)
    assert ledger.question == "What is the fee?"
    assert len(ledger.dropped()) == run.dropped == 1
    assert run.tokens_kept < run.tokens_in


def test_until_it_is_stopped(store: LedgerStore) -> None:
    recording = record_to(store)
    call("one")
    assert recording.stop()
    call("two")
    assert store.count() == 1


def test_a_call_inside_of_another_is_in_its_ledger(store: LedgerStore) -> None:
    with record_to(store), GUARD.run("outer", "agent") as outer:
        inner = call("inner")
    (run,) = store.list()
    assert run.run_id == outer.run_id
    assert [child.run_id for child in store.get(run.run_id).children] == [inner]


def test_a_call_that_fails_is_kept(store: LedgerStore) -> None:
    with record_to(store), pytest.raises(ValueError, match="secret"), GUARD.run("q", "chain"):
        raise ValueError("secret")
    (run,) = store.list(errors_only=True)
    assert run.error == "ValueError"


def test_a_run_that_goes_on_is_kept_as_it_ends(store: LedgerStore) -> None:
    handle = Handle(GUARD, "plain")
    with record_to(store):
        run = handle.start("q", "agent")
        for number in range(3):
            run.add(Record(question=str(number), timings={"rank": 1.0}))
            handle.publish(run)
        store.flush()
        run.add(Record(timings={"rank": 1.0}))
        handle.finish(run)
    assert store.count() == 1
    assert store.get(run.run_id).timings == {"rank": 4.0}


def test_a_ledger_is_made_off_the_thread_of_the_call(store: LedgerStore) -> None:
    made: list[str] = []

    def complete(record: Record) -> Record:
        made.append(threading.current_thread().name)
        return record

    with record_to(store), GUARD.run("q", "chain") as run:
        run.add(Record(complete=complete))
    assert made == ["ctxguard-traces"]


def test_a_call_that_settles_anew_does_not_wait_for_who_reads() -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> Ledger:
        reading.set()
        assert go_on.wait(10)
        return Ledger(run_id="old")

    outcome = Outcome(slow)
    found: list[Ledger] = []
    reader = threading.Thread(target=lambda: found.append(outcome.ledger))
    reader.start()
    assert reading.wait(10)
    outcome.settle(lambda: Ledger(run_id="new"))  # would wait for ever
    go_on.set()
    reader.join()
    assert [one.run_id for one in found] == ["old"]
    assert outcome.ledger.run_id == "new"
    assert outcome.ledger is outcome.ledger


# -- listeners --------------------------------------------------------------------------------


@pytest.fixture
def failing() -> Iterator[Callable[[Outcome], None]]:
    def fail(outcome: Outcome) -> None:
        raise OSError("no more room")

    listen(fail)
    listen(fail)
    yield fail
    unlisten(fail)
    assert fail not in listeners._listeners


def test_a_listener_that_fails_is_a_warning(failing: Callable[[Outcome], None]) -> None:
    with pytest.warns(RuntimeWarning, match="OSError: no more room") as caught:
        assert call("q")
    assert len(caught) == 1, "it was asked for twice, and is told once"


def test_it_ends_no_call_where_warnings_are_errors(failing: Callable[[Outcome], None]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert call("q")


# -- the environment --------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "from" / "environment.sqlite3"
    started: dict[str, LedgerStore] = {}
    monkeypatch.setattr(recording, "_started", started)
    monkeypatch.setenv("CTXGUARD_TRACES", str(path))
    yield path
    for store in started.values():
        unlisten(store.append)
        store.close()


def test_the_environment_turns_it_on(environment: Path) -> None:
    first, second = call("What is the secret fee?"), call("again")
    assert LedgerStore(environment).flush()
    (store,) = recording._started.values()
    assert {run.run_id for run in store.list()} == {first, second}
    assert store.get(first).question == "", "without content"


def test_a_blank_value_turns_nothing_on(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTXGUARD_TRACES", " ")
    call("q")
    assert not recording._started
    assert not environment.exists()
