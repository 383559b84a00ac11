"""Processes that share one store, and processes for which the file is full or read-only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctxguard.routing.state import (
    Budgets,
    RedisStore,
    SpendLimit,
    SqliteStore,
    StateStore,
    open_state,
)
from ctxguard.routing.state.sqlite import default_path
from tests.routing.state.redis_server import RedisServer

WORKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from ctxguard.routing.state import Budgets, RedisStore, SpendLimit, SqliteStore, Stickiness
kind, where, calls = sys.argv[1:]
store = SqliteStore(where, timeout=20) if kind == "sqlite" else RedisStore(where, timeout=20)
budgets = Budgets(store=store, limits=[SpendLimit(usd=1.0, per="day")])
print("ready", flush=True)
sys.stdin.readline()

def call(number):
    reservation = budgets.reserve("acme", 0.01)
    if reservation.admitted and number % 3:
        budgets.commit(reservation, 0.01)
    elif reservation.admitted:
        budgets.commit(reservation, 0.005)
    return reservation.admitted, number % 3

with ThreadPoolExecutor(8) as pool:
    done = list(pool.map(call, range(int(calls))))
print(sum(0.01 if rest else 0.005 for admitted, rest in done if admitted), flush=True)
print(Stickiness(store=store).keep("conversation", sys.argv[0] + str(id(store))), flush=True)
"""


def where(store: StateStore) -> list[str]:
    """The kind and place of a store, as a worker takes them."""
    if isinstance(store, SqliteStore):
        return ["sqlite", str(store._path)]
    assert isinstance(store, RedisStore)
    assert store._url is not None
    return ["redis", store._url]


def worker(*args: str, code: str = WORKER) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *args]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.slow
def test_two_processes_spend_one_budget(shared_store: StateStore) -> None:
    workers = [worker(*where(shared_store), "150") for _ in range(2)]
    assert [line(one) for one in workers] == ["ready", "ready"]
    told = [one.communicate("go\n", timeout=60)[0].split() for one in workers]
    spent = sum(float(one[0]) for one in told)
    assert 0.99 < spent < 1.0 + 1e-9, "all of it, and no more"
    budgets = Budgets(store=shared_store, limits=[SpendLimit(usd=1.0, per="day")])
    assert budgets.standing("acme")[0].usd == pytest.approx(spent)
    assert told[0][1] == told[1][1], "and a conversation has one route"


HOLDER = """
import sys, time
from ctxguard.routing.state import Budgets, RedisStore, SpendLimit, SqliteStore
kind, where = sys.argv[1:]
store = SqliteStore(where) if kind == "sqlite" else RedisStore(where, timeout=5)
budgets = Budgets(store=store, limits=[SpendLimit(usd=1.0, per="day")])
assert budgets.reserve("acme", 0.6).admitted
if kind == "sqlite":  # in the middle of a change
    store._opened().connection.execute("BEGIN IMMEDIATE")
    store._opened().connection.execute("DELETE FROM state")
print("holds", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_what_it_had_reserved(shared_store: StateStore) -> None:
    holder = worker(*where(shared_store), code=HOLDER)
    assert line(holder) == "holds"
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    budgets = Budgets(store=shared_store, limits=[SpendLimit(usd=1.0, per="day")])
    assert not budgets.reserve("acme", 0.5).admitted, "its call may have been made"
    assert budgets.reserve("acme", 0.4).admitted


THROUGH = """
import sys, time
from ctxguard.routing.state import Budgets, RedisStore, SharedState, SpendLimit
state = SharedState(RedisStore(sys.argv[1]), pause=0.05, longest_pause=0.1)
budgets = Budgets(store=state, limits=[SpendLimit(usd=100.0, per="day")])
spent, notices = 0.0, []
print("ready", flush=True)
sys.stdin.readline()
until = time.monotonic() + 20
while (len(notices) < 2 or spent < 0.1) and time.monotonic() < until:
    reservation = budgets.reserve("acme", 0.002)
    assert reservation.admitted
    budgets.commit(reservation, 0.001)
    spent += 0.001
    notices += filter(None, [state.notice()])
    time.sleep(0.002)
state.close()
print(spent, len(notices), "goes on by itself" in notices[0], "used again" in notices[1])
"""


@pytest.mark.slow
@pytest.mark.redis
def test_two_processes_go_on_through_a_killed_server(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        workers = [worker(server.url, code=THROUGH) for _ in range(2)]
        assert [line(one) for one in workers] == ["ready"] * 2
        for one in workers:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        time.sleep(0.3)
        server.kill()
        time.sleep(0.3)
        server.start()
        told = [one.communicate(timeout=60)[0].split() for one in workers]
        assert [one[1:] for one in told] == [["2", "True", "True"]] * 2, "gone, and back"
        store = RedisStore(server.url)
        budgets = Budgets(store=store, limits=[SpendLimit(usd=100.0, per="day")])
        assert budgets.standing("acme")[0].usd == pytest.approx(sum(float(one[0]) for one in told))
        store.close()


OPENERS = """
import sys
from ctxguard.routing.state import SqliteStore
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    store = SqliteStore(sys.argv[1], timeout=20)
    store.add("n", 1, ttl=600)
    store.close()
"""


@pytest.mark.slow
def test_processes_that_make_the_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite3"
    workers = [worker(str(file), code=OPENERS) for _ in range(2)]
    assert [line(one) for one in workers] == ["ready"] * 2
    for one in workers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in workers:
        one.communicate(timeout=60)
        assert one.returncode == 0
    store = SqliteStore(file)
    assert store.totals(["n"]) == (40,)
    store.close()


@pytest.mark.slow
def test_a_fork_opens_the_file_for_itself(tmp_path: Path) -> None:
    code = """
import os, sys
from ctxguard.routing.state import SqliteStore
store = SqliteStore(sys.argv[1])
store.add("n", 1, ttl=600)
child = os.fork()
for _ in range(50):
    store.add("n", 1, ttl=600)
if child == 0:
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
print(store.totals(["n"])[0])
"""
    told, _ = worker(str(tmp_path / "s.sqlite3"), code=code).communicate(timeout=60)
    assert told == "101\n"


# -- a file that takes no more ------------------------------------------------------------------

ALONE = """
import os, resource, sys
from ctxguard.routing.state import Budgets, SharedState, SpendLimit, SqliteStore

def alone(file, take_away):
    state = SharedState(SqliteStore(file))
    budgets = Budgets(store=state, limits=[SpendLimit(usd=1.0, per="day")])
    assert budgets.reserve("acme", 0.6).admitted and not state.alone
    state.close()
    take_away()
    print(budgets.reserve("acme", 0.5).admitted, budgets.reserve("acme", 0.4).admitted)
    print(state.notice(), repr(state.notice()))

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def protect():
    os.chmod("read-only", 0o444)
    if os.geteuid() == 0:  # root may write all the same
        os.setuid(65534)

os.chdir(sys.argv[1])
alone("full", lambda: limit(0))
limit(resource.RLIM_INFINITY)
alone("read-only", protect)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may write to as well."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.slow
def test_a_file_that_is_full_or_read_only(open_folder: Path) -> None:
    told, _ = worker(str(open_folder), code=ALONE).communicate(timeout=60)
    lines = told.splitlines()
    assert lines[::2] == ["False True"] * 2, "it goes on from what was spent"
    for file, reason, notice in zip(
        ("full", "read-only"), ("disk I/O error", "readonly"), lines[1::2], strict=True
    ):
        assert notice.startswith(f"sqlite {open_folder / file}: ")
        assert reason in notice
        assert notice.endswith("this process goes on by itself, and tries again ''"), "told once"


def test_a_state_is_opened_by_its_place(tmp_path: Path) -> None:
    assert open_state("memory").name == "memory"
    for place in (tmp_path / "s.sqlite3", str(tmp_path / "s.sqlite3")):
        assert open_state(place).name == f"sqlite {tmp_path / 's.sqlite3'}"
    assert open_state().name == f"sqlite {default_path()}"
    assert open_state("redis://127.0.0.1:1/3").name == "redis 127.0.0.1:1/3"
    state = open_state("memory")
    assert open_state(state) is state
    assert open_state(state._store).name == "memory"
