"""One file, several processes: written, read, forked, ended and killed."""

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

from ctxguard.telemetry import LedgerStore
from tests.telemetry.made import raw

pytestmark = pytest.mark.slow

WRITE = """
import sys, time
from ctxguard.ledger import Ledger
from ctxguard.telemetry import LedgerStore
store = LedgerStore(sys.argv[1])
for number in range(int(sys.argv[3])):
    store.append(Ledger(run_id=f"{sys.argv[2]}-{number:05}", name="chain"))
    if number % 10 == 0:
        time.sleep(0.001)
    if number == 20:
        store.flush()
        print("begun", flush=True)
"""


def start(code: str, *given: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error::UserWarning", "-c", code, *map(str, given)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert not err
    return out


def test_one_writes_and_another_reads_and_tails(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    process = start(WRITE, path, "w", 500)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    store = LedgerStore(path)
    assert store.count() >= 21
    assert store.get("w-00003").name == "chain"
    seen: list[str] = []
    for run in store.tail(last=5, poll=0.01):
        seen.append(run.run_id)
        if run.run_id == "w-00499":
            break
    ended(process)
    assert seen == [f"w-{number:05}" for number in range(500 - len(seen), 500)]


def test_two_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for process in [start(WRITE, path, name, 400) for name in "ab"]:
        ended(process)
    assert LedgerStore(path).count() == 800


def test_a_writer_that_is_killed_leaves_what_it_had_written(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    process = start(WRITE, path, "w", 10**6)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    store = LedgerStore(path)
    while store.count() < 200:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    count = store.count()
    assert count >= 200
    assert sorted(run.run_id for run in store.list()) == [f"w-{n:05}" for n in range(count)]
    assert raw(path, "PRAGMA integrity_check") == [("ok",)]
    ended(start(WRITE, path, "x", 30))
    assert store.count() == count + 30
    assert store.list(limit=1)[0].run_id == "x-00029"


EXIT = """
import sys, time
from ctxguard.ledger import Ledger
from ctxguard.telemetry import LedgerStore, file, record_to
from ctxguard import Guard
store = LedgerStore(sys.argv[1])
record_to(store)
with Guard().run("q", "chain"):
    pass
if sys.argv[2] == "hangs":
    file.TraceFile.write = lambda *given: time.sleep(60)
"""


def test_the_end_of_a_process_waits_for_what_is_not_written(tmp_path: Path) -> None:
    ended(start(EXIT, tmp_path / "a.db", "soon"))
    assert LedgerStore(tmp_path / "a.db").count() == 1


def test_but_for_two_seconds_at_most(tmp_path: Path) -> None:
    begun = time.monotonic()
    ended(start(EXIT, tmp_path / "a.db", "soon"))
    usual = time.monotonic() - begun
    begun = time.monotonic()
    ended(start(EXIT, tmp_path / "b.db", "hangs"))
    assert time.monotonic() - begun < 3 * usual + 3
    assert not (tmp_path / "b.db").exists()


FORK = """
import os, sys
from ctxguard.ledger import Ledger
from ctxguard.telemetry import LedgerStore, record_to
from ctxguard import Guard
store = LedgerStore(sys.argv[1])
record_to(store)
def work(name):
    for _ in range(20):
        with Guard().run("q", name):
            pass
work("parent")
child = os.fork()
work("child" if child == 0 else "parent")
if child == 0:
    assert store.flush(10)
    assert store.written == 20, store.written
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_fork_writes_by_itself(tmp_path: Path) -> None:
    ended(start(FORK, tmp_path / "a.db"))
    store = LedgerStore(tmp_path / "a.db")
    names = [run.name for run in store.list()]
    assert (names.count("parent"), names.count("child")) == (40, 20)


ALONE = """
import os, resource, sys, warnings
from ctxguard.errors import InputError
from ctxguard.ledger import Ledger
from ctxguard.telemetry import LedgerStore

def alone(path, take_away):
    store = LedgerStore(path)
    store.append(Ledger(run_id="before"))
    store.close()
    take_away()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(3):
            store.append(Ledger(run_id=str(number)))
            assert store.flush(10)
    print(store.dropped, [run.run_id for run in store.list()], *(one.message for one in caught))

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def protect():
    os.chmod("folder/read-only.db", 0o444)
    os.chmod("folder", 0o555)
    if os.geteuid() == 0:  # root may write all the same
        os.setuid(65534)

os.chdir(sys.argv[1])
alone("full.db", lambda: limit(0))
limit(resource.RLIM_INFINITY)
os.mkdir("folder", 0o755)
alone("folder/read-only.db", protect)
sys.stdout.flush()
os._exit(0)  # what measures coverage cannot write its file any more, and would say so
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may go into as well."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_a_disk_that_is_full_and_a_folder_that_is_read_only(open_folder: Path) -> None:
    full, read_only = ended(start(ALONE, open_folder)).splitlines()
    for line, file, reason in (
        (full, "full.db", "disk I/O error"),
        (read_only, "folder/read-only.db", "readonly"),
    ):
        assert line.startswith(f"3 ['before'] {open_folder / file}: ")
        assert reason in line or "Permission denied" in line
        assert line.count("what is left out is counted in `dropped`") == 1, "told once"
