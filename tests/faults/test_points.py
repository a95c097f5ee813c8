"""A process is killed at a point that has a name, once or again as it recovers; nothing is lost.

The killed process replaces a function of the package by one that kills it, at the n-th call, before
or after doing what it was called for. How many steps it had done it puts into memory that the test
shares.
"""

import signal
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from faults import harness, nursery
from patience import GUARD

from traininglog import SQLiteLog, Store
from traininglog.sql.tables import REVISION

IMPORTS = """
import numpy  # without which nothing would be sealed so soon
from traininglog import SQLiteLog, Store
"""

SCRIPT = """
import importlib, mmap, os, signal, sys
from traininglog import SQLiteLog, Store

path, shared, uuid, point, count, when, act = sys.argv[1:]
calls = int(count)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(point):
    where, _, name = point.partition(":")
    holder = importlib.import_module("traininglog." + where)
    *owners, name = name.split(".")
    for owner in owners:
        holder = getattr(holder, owner)
    real = getattr(holder, name)

    def deadly(*args, **kwargs):
        global calls
        calls -= 1
        if calls == 0 and when == "before":
            die()
        result = real(*args, **kwargs)
        if calls == 0:
            die()
        return result

    setattr(holder, name, deadly)


def write_half(real):
    class Half:
        def __init__(self, *args):
            self.real = real(*args)

        def __getattr__(self, name):
            return getattr(self.real, name)

        def __setitem__(self, place, data):
            self.real[place] = data

        def __getitem__(self, place):
            return self.real[place]

        def write(self, data):
            global calls
            calls -= 1
            if calls == 0:
                self.real.write(data[: len(data) // 2])
                die()
            return self.real.write(data)

    return Half


with open(shared, "r+b") as file:
    memory = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")  # each count one store
if act == "write":
    log = SQLiteLog(path)
    log[0]["x"] = 0.0
    log.flush()
    t = 1
elif act == "take over":
    kill_at(point)
    log = SQLiteLog(path, uuid, takeover=True)
elif act == "go on":
    kill_at(point)
    log = SQLiteLog(path, uuid)
    t = len(log)
else:
    kill_at(point)
    Store(path).close()
    raise SystemExit
if point == "half a record":
    from traininglog.journal import region as regions
    regions._map = write_half(regions._map)
elif act == "write":
    kill_at(point)
while t < 100_000:
    log[t]["x"] = t / 7
    if t % 10 == 0:
        log[t].update(text=str(t), n=t)
    t += 1
    memory[0] = t
    if t % 3000 == 0:
        log.flush()
    if t == 20_000:
        log.close()
        die()
"""

#: While a run is written: the point, at which call of it, before or after.
WRITING = {
    "before publish": ("writer.hot_path:pack_float", 5000, "before"),
    "half a record": ("half a record", 5000, "-"),
    "as a key gets its number": ("writer.buffer:pack_key", 1, "after"),
    "as a region begins": ("journal.region:Region.begin", 2, "after"),
    "as a region comes to rest": ("journal.region:Region.rest", 2, "before"),
    "before a flush": ("sqlite.database.database:Database.write", 1, "before"),
    "mid-flush, as keys are in": ("sql.writing:save_keys", 2, "after"),
    "mid-flush, as entries are in": ("sql.writing:save_mark", 2, "after"),
    "mid-flush, before the commit": ("sql.writing:update_run", 2, "after"),
    "after the commit, before recycling": ("journal.journal:Journal.recycle", 2, "before"),
    "mid-recycling": ("journal.region:Region.erase", 2, "before"),
    "mid-seal, before segments are in": ("sql.segments:save_points", 1, "before"),
    "mid-seal, as segments are in": ("sql.segments:save_points", 1, "after"),
    "mid-seal, as entries are gone": ("sql.segments:delete_numbers", 1, "after"),
    "after the commit of a seal": ("sqlite.sink.compaction:Sealer.committed", 3, "before"),
    "after recycling": ("journal.journal:Journal.recycle", 2, "after"),
    "mid-close, before the rest is sealed": ("sqlite.sink.compaction:seal_run", 1, "before"),
    "mid-close, as the rest is sealed": ("sql.runs.totals:forget_totals", 1, "after"),
    "mid-close, as totals are noted": ("sqlite.sink.compaction:seal_run", 1, "after"),
    "mid-close, before the journal goes": ("journal.journal:Journal.remove", 1, "before"),
    "mid-close, after the journal went": ("journal.journal:Journal.remove", 1, "after"),
    "mid-close, before the lock goes": ("sqlite.sink.leases:Owners.release", 1, "before"),
}

#: While what another process left is put back.
RECOVERING = {
    "before reading": ("sqlite.sink.recovery:read_journal", "before"),
    "mid-recovery, as entries are in": ("sql.writing:widen_run", "after"),
    "mid-recovery, before the commit": ("sqlite.sink.recovery:_replay", "after"),
    "after the commit, before the journal goes": ("sqlite.sink.recovery:Path.unlink", "before"),
    "after the journal went": ("sqlite.sink.recovery:Path.unlink", "after"),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def killed(path, point, count, when, act="write", uuid="-"):
    """Run a process until it dies at a point; return how many steps it had done."""
    shared = path.with_suffix(".shared")
    shared.write_bytes(bytes(8))
    errors = path.with_suffix(".errors")
    arguments = path, shared, uuid, point, count, when, act
    with (
        errors.open("wb") as file,
        nursery.start(SCRIPT, *arguments, imports=IMPORTS, stdout=file.fileno()) as process,
    ):
        assert process.wait(GUARD) == -signal.SIGKILL, (point, errors.read_text())
    return struct.unpack("Q", shared.read_bytes())[0]


def check(path, steps, state="lost", torn=None):
    """See to it that all steps are there, and at most what was being done as well."""
    with Store(path) as store:
        (uuid,) = store.runs(heads=False)["uuid"]
        assert store.state(uuid) == state
        assert store.check().ok
        with store.log(uuid, readonly=True) as log:
            rows = log.to_dict()
    assert list(rows) == list(range(len(rows)))
    assert steps <= len(rows) <= steps + 1
    for t, row in rows.items():
        if t == 0:
            assert row == {"x": 0.0}
        elif t % 10 or t in (torn, len(rows) - 1):
            assert row["x"] == t / 7
        else:
            assert row == {"x": t / 7, "text": str(t), "n": t}
    assert harness.tails(path) == []
    return uuid


@pytest.mark.parametrize("name", WRITING)
def test_a_process_that_is_killed_while_it_writes_loses_nothing(path, name):
    steps = killed(path, *WRITING[name])
    assert steps > 0 or "key" in name
    closed = name.startswith("mid-close")
    uuid = check(path, max(steps, 1), "finished" if closed else "lost")
    with SQLiteLog(path, uuid) as log:
        count = len(log)
        log[count]["x"] = count / 7
    check(path, count + 1, "finished", torn=steps)


@pytest.mark.parametrize("name", RECOVERING)
def test_a_process_that_is_killed_while_it_recovers_leaves_it_to_the_next(path, name):
    steps = killed(path, "sql.writing:save_mark", 3, "before")
    assert harness.tails(path)
    point, when = RECOVERING[name]
    killed(path, point, 1, when, "recover")
    check(path, steps)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "point",
    [
        "sql.writing:find_run",
        "sqlite.sink.sink:SQLiteSink._origin",
        "sqlite.sink.leases:Owners.take",
    ],
)
def test_a_process_that_is_killed_as_it_becomes_the_writer_changes_nothing(path, point, when):
    steps = killed(path, "sql.writing:save_mark", 3, "before")
    with Store(path, readonly=True) as store:
        uuid = store.latest()
    before = len(SQLiteLog(path, uuid, readonly=True))
    killed(path, point, 1, when, "go on", uuid)
    assert check(path, steps) == uuid.hex
    assert len(SQLiteLog(path, uuid, readonly=True)) == before


OLD = Path(__file__).parents[1] / "schemas" / "0001.sql"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("sqlite.database.database:Database.backup", 1),
        ("sqlite.file.migrations:upgrade", 1),
        ("sqlite.file.migrations:configuration", 1),
        ("sqlite.database.database:Database._set_wal", 1),
    ],
)
def test_a_process_that_is_killed_as_it_upgrades_a_file_leaves_it_to_the_next(
    path, point, count, when
):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD.read_text(encoding="utf-8"))
    killed(path, point, count, when, "recover")
    with Store(path) as store:
        assert store.revision == REVISION
        assert store.check().problems == []
        with store.log(store.latest(), readonly=True) as log:
            assert log[3]["loss"] == 0.25


DISPLACED = """
import sys
from traininglog import SQLiteLog
from traininglog.writer import writer
writer.INTERVAL = 60  # else a flush in the background might find out that the run was taken
log = SQLiteLog(sys.argv[1])
for t in range(500):
    log[t]["x"] = t / 7
print(log.h_uuid, flush=True)
sys.stdin.readline()
for t in range(500, 1000):
    log[t]["x"] = t / 7
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_is_killed_as_it_takes_a_run_over_loses_nothing_of_the_other(path, when):
    with subprocess.Popen(
        [sys.executable, "-c", DISPLACED, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        uuid = process.stdout.readline().strip()
        killed(path, "sqlite.sink.sink:mark_displaced", 1, when, "take over", uuid)
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        process.kill()
    with pytest.warns(UserWarning, match="after the run was taken from it is now run"):
        store = Store(path)
    with store:
        assert store.check().ok
        main, aside = store.runs(heads=False)["uuid"]
        assert main == uuid
        with store.log(aside, readonly=True) as log:
            assert log.to_dict() == {t: {"x": t / 7} for t in range(1000)}
    assert harness.tails(path) == []
