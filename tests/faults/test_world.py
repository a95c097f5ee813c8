"""Whatever happens to the file, the loop goes on at its speed, and everything is there afterwards.

Also if the process is killed in the midst of it, and the file is opened once it has passed.
`TESTS_LONG=1` makes each of these faults last ten times as long.
"""

import contextlib
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import pytest
from faults import harness, world
from patience import GUARD

from traininglog import SQLiteLog, Store, TrainingLogWarning

pytestmark = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="needs Linux, to do things to another process"
)

#: How long a fault lasts, in seconds.
LASTS = 8.0 if harness.LONG else 0.8


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


# -- faults -----------------------------------------------------------------------------------


@contextlib.contextmanager
def no_larger_files(loop):
    """Let no file of a process grow past 8 KiB: neither database, nor WAL, nor journal."""
    before = resource.prlimit(loop.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(loop.pid, resource.RLIMIT_FSIZE, (2**13, before[1]))
    yield
    with contextlib.suppress(ProcessLookupError):  # it was killed
        resource.prlimit(loop.pid, resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def immutable(loop):
    """Make a database and its WAL read-only, even for root and for who has them open."""
    files = [loop.path, loop.path.with_name(loop.path.name + "-wal")]

    def attribute(flag):
        done = subprocess.run(["chattr", flag, *files], capture_output=True, check=False)
        return done.returncode == 0

    if shutil.which("chattr") is None or not attribute("+i"):
        attribute("-i")
        pytest.skip("needs root and a file system with attributes: chattr +i failed")
    try:
        yield
    finally:
        attribute("-i")


@contextlib.contextmanager
def io_errors(loop):
    """Let every write to the files of a process fail, and every attempt to make one larger."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    calls = "pwrite64,pwritev,write,fallocate,ftruncate,fsync,fdatasync"
    command = ["strace", "-f", "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO"]
    for file in loop.path.parent.glob(f"{loop.path.name}*"):
        command += ["-P", str(file)]
    command += ["-o", "/dev/null", "-p", str(loop.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        said = ""
        while "attached" not in said:
            said = tracer.stderr.readline()
            if not said or "not permitted" in said:
                tracer.kill()
                pytest.skip(f"strace may not trace here: {said}")
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)  # it lets go of the process
            tracer.communicate(timeout=GUARD)


@contextlib.contextmanager
def renamed(loop):
    """Rename a database away, and then back."""
    aside = loop.path.with_suffix(".aside")
    loop.path.rename(aside)
    yield
    aside.rename(loop.path)


def replaced_by(make):
    """Return a fault: another file is where the database was, and then the database again.

    A log that wrote on would write into the file of somebody else; or it would tell of success,
    and what it wrote would be in a file that has no name. So it must not flush and must say why.
    The run goes on, and so does the journal, until the file is the one that it was.
    """

    @contextlib.contextmanager
    def replaced(loop):
        path, aside = loop.path, loop.path.with_suffix(".aside")
        other = path.with_suffix(".other")
        make(path, other)
        content = other.read_bytes()
        path.rename(aside)
        other.rename(path)
        yield
        assert path.read_bytes() == content, "something was written to another's file"
        path.unlink()
        aside.rename(path)

    return replaced


def stranger(path, other):
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE theirs (note TEXT)")
        connection.execute("INSERT INTO theirs VALUES ('mine')")
        connection.commit()


def another_log(path, other):
    with SQLiteLog(other) as log:
        log[1]["x"] = "mine"


def older_copy(path, other):
    with Store(path) as store:
        store.backup(other)


#: What happens to a process and its file; and what a flush says meanwhile.
FAULTS = {
    "no larger files": (no_larger_files, "StoreFailed"),
    "immutable": (immutable, "StoreFailed|StoreUnwritable"),
    "I/O errors": (io_errors, "StoreFailed"),
    "renamed": (renamed, "StoreFailed"),
    "replaced by a stranger": (replaced_by(stranger), "StoreFailed: .*replaced"),
    "replaced by another log": (replaced_by(another_log), "StoreFailed: .*replaced"),
    "replaced by an older copy": (replaced_by(older_copy), "StoreFailed: .*replaced"),
}


def go_through(folder, fault, answer, *, prefix=(), room=True, warnings=(1,), **options):
    """Let two processes log through a fault, each to a file; one of them is killed in its midst.

    Args:
        folder: Where the files are.
        fault: Does it to a process and its file, until it is left.
        answer: What a flush says meanwhile, as a pattern.
        prefix: A command that runs another one where the folder is.
        room: Whether the journal can grow meanwhile. What it has no room for is in memory, and
            survives anything but a kill.
        warnings: How many there may be; one more where the journal had to go on in memory.
        options: Of the processes.

    """
    if not room:
        warnings = (*warnings, max(warnings) + 1)
    with (
        world.Loop(folder / "runs.db", prefix=prefix, **options) as loop,
        world.Loop(folder / "killed.db", prefix=prefix, **options) as killed,
    ):
        loop.start()
        killed.start()
        world.watch(0.3, loop, killed)
        assert loop.warnings() == []
        with fault(loop), fault(killed):
            before = killed.count
            world.watch(LASTS, loop, killed)
            said = str(loop.ask("impatient(log.flush)"))
            assert re.match(answer, said), f"in the midst of it a flush says: {said}"
            assert said == "None" or str(loop.path) in said
            wait_until(lambda: len(loop.warnings()) >= min(warnings))
            world.watch(0.1, loop, killed)
            killed.kill()
            acknowledged = killed.count
        world.watch(0.3, loop)
        assert loop.ask("log.flush()") is None
        world.watch(0.1, loop)
        # Once: a minute has not passed.
        assert len(told := loop.warnings()) in warnings, told
        assert all(one.startswith("TrainingLogWarning: ") for one in told), told
        assert all(str(loop.path) in one for one in told), told
        loop.end()
        count = loop.count
    found = world.look(loop.path, killed.path, prefix=prefix)
    ours, theirs = found[loop.uuid], found[killed.uuid]
    assert (ours["state"], theirs["state"]) == ("finished", "lost")
    assert (ours["steps"], ours["more"], ours["wrong"]) == (count, [], [])
    assert ours["status"] == {"iterations_done": (count - 1) // 100 * 100}
    assert theirs["wrong"] == []
    # What was acknowledged; and perhaps the next step, or a part of it.
    least = acknowledged if room else before
    assert least <= theirs["steps"] <= acknowledged + 1, (before, acknowledged, theirs["steps"])
    assert {step for step, _ in theirs["more"]} <= {theirs["steps"]}


@pytest.mark.parametrize("name", FAULTS)
def test_the_loop_goes_on_and_everything_is_there_afterwards(tmp_path, name):
    fault, answer = FAULTS[name]
    go_through(tmp_path, fault, answer, room=fault not in (no_larger_files, io_errors))
    assert not any("-tail-" in file.name for file in tmp_path.iterdir())


@pytest.mark.parametrize("pause", [0.0, 0.0005])
def test_a_fault_that_comes_and_goes_is_survived_whatever_it_comes_between(path, pause):
    """Between a commit and what follows on it, for one."""
    draw = random.Random(pause)
    with world.Loop(path, pause=pause) as loop:
        loop.start()
        before = resource.prlimit(loop.pid, resource.RLIMIT_FSIZE)
        end = time.monotonic() + 5 * LASTS
        while time.monotonic() < end:
            most = int(2 ** draw.uniform(10, 21))
            resource.prlimit(loop.pid, resource.RLIMIT_FSIZE, (most, before[1]))
            time.sleep(draw.choice([0.001, 0.01, 0.05, 0.3]))
            resource.prlimit(loop.pid, resource.RLIMIT_FSIZE, before)
            time.sleep(draw.choice([0.001, 0.01, 0.05, 0.3]))
        world.watch(0.1, loop)
        assert loop.ask("log.flush()") is None
        loop.end()
        count = loop.count
    found = world.look(path)[loop.uuid]
    assert (found["steps"], found["more"], found["wrong"]) == (count, [], [])


def test_a_process_that_loses_the_right_to_write_goes_on():
    """What it has open it may write; and what it may not is put off."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")

    @contextlib.contextmanager
    def without_permission(loop):
        folder = loop.path.parent
        files = [file for file in folder.glob(f"{loop.path.name}*") if "-tail-" not in file.name]
        before = {file: file.stat().st_mode for file in [*files, folder]}
        for file, mode in before.items():
            file.chmod(mode & ~0o222)
        yield
        for file, mode in before.items():
            file.chmod(mode | 0o200)

    with tempfile.TemporaryDirectory() as folder:  # pytest's folders are the user's own
        os.chown(folder, 65534, 65534)
        answer = "None|StoreFailed|StoreUnwritable"
        go_through(Path(folder), without_permission, answer, nobody=True, warnings=(0, 1))


READ_AS_NOBODY = """
import os, sys
from traininglog import SQLiteLog
with SQLiteLog(":memory:") as warm:  # what is imported late may be out of reach afterwards
    warm[1]["x"] = 1
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
with SQLiteLog(sys.argv[1], sys.argv[2], readonly=True) as log:
    print(len(log))
"""


def test_a_log_closes_in_a_folder_that_has_become_read_only():
    """Its journal stays, as it may not be deleted; nothing is in it, and nobody is told of it."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    with tempfile.TemporaryDirectory() as name:  # pytest's folders are the user's own
        folder = Path(name)
        os.chown(folder, 65534, 65534)
        with world.Loop(folder / "runs.db", nobody=True) as loop:
            loop.start()
            world.watch(0.3, loop)
            folder.chmod(0o555)
            loop.end()
            count = loop.count
        assert any("-tail-" in file.name for file in folder.iterdir())
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", READ_AS_NOBODY, loop.path, loop.uuid],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == (f"{count}\n", "")
        folder.chmod(0o755)
        found = world.look(loop.path)[loop.uuid]
        assert (found["state"], found["steps"], found["more"]) == ("finished", count, [])
        assert not any("-tail-" in file.name for file in folder.iterdir())


# -- a file that is locked --------------------------------------------------------------------


@contextlib.contextmanager
def seized(path):
    """Hold the write lock of a file from the moment at which somebody has written much to it.

    Then the WAL is about to be copied into the file; whoever does so must not wait for the lock.
    """
    wal = path.with_name(path.name + "-wal")
    deadline = time.monotonic() + 5
    with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        grown = True
        while True:
            with contextlib.suppress(sqlite3.OperationalError):  # it is locked
                connection.execute("BEGIN IMMEDIATE")
                before, grown = grown, wal.stat().st_size > 4 * 2**20
                if (grown and not before) or time.monotonic() > deadline:
                    break
                connection.execute("ROLLBACK")
        yield
        connection.execute("ROLLBACK")


def test_a_loop_at_full_speed_waits_for_nobody_who_holds_its_file(tmp_path):
    """Another process holds it for three seconds, or thirty."""
    # At full speed it would have logged a few gigabytes after thirty seconds.
    with (
        world.Loop(tmp_path / "runs.db", pause=0.0005 if harness.LONG else 0) as loop,
        world.Loop(tmp_path / "killed.db") as killed,
    ):
        loop.start()
        killed.start()
        world.watch(0.3, loop, killed)
        with seized(loop.path), harness.locked(killed.path):
            world.watch(30 if harness.LONG else 3, loop, killed)
            for one in (loop, killed):
                wait_until(one.warnings)
                (told,) = one.warnings()
                assert told.startswith("TrainingLogWarning: ")
                assert str(one.path) in told
            assert loop.ask("impatient(log.flush)").startswith("StoreLocked: ")
            assert loop.ask("impatient(log.commit)").startswith("StoreLocked: ")
            killed.kill()
        world.watch(1.0, loop)
        assert len(loop.warnings()) == 1
        loop.end()
    found = world.look(loop.path, killed.path)
    ours, theirs = found[loop.uuid], found[killed.uuid]
    assert (ours["state"], theirs["state"]) == ("finished", "lost")
    assert (ours["steps"], ours["more"], ours["wrong"]) == (loop.count, [], [])
    assert theirs["steps"] in (killed.count, killed.count + 1)
    assert {step for step, _ in theirs["more"]} <= {theirs["steps"]}
    assert theirs["wrong"] == []
    assert not any("-tail-" in file.name for file in tmp_path.iterdir())


# -- a full disk ------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 MiB that only those processes see which are started with a prefix."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("needs unshare and nsenter")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = 'mount -t tmpfs -o size=64m traininglog "$0" && echo ready && exec cat'
    # The disk is gone when the last of its processes is.
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", mount, folder],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as keeper:  # fmt: skip
        if keeper.stdout.readline() != "ready\n":
            pytest.skip(f"needs the right to mount: {keeper.communicate()[1]}")
        yield folder, keeper.pid
        keeper.communicate()


def test_a_full_disk_is_no_end_of_the_run(small_disk):
    """Nor is there a SIGBUS, which is what a page that the disk has no room for would be."""
    folder, keeper = small_disk
    seen_from_here = Path(f"/proc/{keeper}/root/{folder}")

    @contextlib.contextmanager
    def full(loop):
        ballast = seen_from_here / f"{loop.path.name}-ballast"
        over = threading.Event()

        def fill():
            with ballast.open("wb", buffering=0) as file:
                while not over.wait(0.01):  # again and again: SQLite gives some space back
                    for size in (2**20, 2**12):
                        with contextlib.suppress(OSError):
                            while not over.is_set():
                                file.write(bytes(size))

        filling = threading.Thread(target=fill)
        filling.start()
        try:
            wait_until(lambda: os.statvfs(seen_from_here).f_bavail == 0)
            yield
        finally:
            over.set()
            filling.join()
            ballast.unlink()

    prefix = ("nsenter", "--mount", "--target", str(keeper))
    go_through(folder, full, "StoreFailed", prefix=prefix, room=False)
    assert not any("-tail-" in file.name for file in seen_from_here.iterdir())


def wait_until(reached):
    deadline = time.monotonic() + GUARD
    while not reached():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.001)


# -- a file that does not come back -----------------------------------------------------------


def test_a_file_that_was_deleted_is_told_of_and_the_journal_is_kept(tmp_path):
    """What was flushed went with the file. What was not must not follow it into nowhere."""
    with (
        world.Loop(tmp_path / "runs.db") as loop,
        world.Loop(tmp_path / "killed.db") as killed,
    ):
        loop.start()
        killed.start()
        world.watch(0.3, loop, killed)
        for one in (loop, killed):
            one.path.unlink()
        time.sleep(0.05)  # a flush may have been under way
        begin = {one: one.count for one in (loop, killed)}
        world.watch(LASTS, loop, killed)
        for one in (loop, killed):
            said = str(one.ask("impatient(log.flush)"))
            assert said.startswith("StoreFailed: "), f"a flush says: {said}"
            assert str(one.path) in said
        for one in (loop, killed):
            wait_until(one.warnings)
            (told,) = one.warnings()
            assert str(one.path) in told
        world.watch(0.1, loop, killed)
        killed.kill()
        # Nobody has to close a log; but that what it holds goes nowhere has to be said.
        assert str(loop.path) in loop.leave()
    for one, first in begin.items():
        journals = one.path.parent.glob(f"{one.path.name}-tail-*")
        kept = notes_in(b"".join(file.read_bytes() for file in journals))
        wanted = {step for step in range(first + 5, one.count) if step % 5 == 0}
        assert wanted <= kept, f"of {len(wanted)} steps {len(wanted - kept)} are gone"
        # A file that is begun anew under the same name has nothing to do with it.
        left = harness.tails(one.path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrainingLogWarning)  # the journal may be spoken of
            with SQLiteLog(one.path) as log:
                log[1]["x"] = 1
            with Store(one.path) as store:
                assert store.check().ok
                assert store.runs(heads=False)["uuid"].to_list() == [log.h_uuid]
                assert store.log(log.uuid, readonly=True).to_dict() == {1: {"x": 1}}
        assert harness.tails(one.path) == left


def notes_in(content):
    """Return the steps whose notes stand somewhere in the content of files."""
    found = set()
    for match in re.finditer(rb"(?<!, )step (\d+), ", content):
        step = int(match[1])
        if content.startswith(world.note_of(step).encode(), match.start()):
            found.add(step)
    return found


# -- when nothing more can be held ------------------------------------------------------------

#: Little enough to be reached in a second.
FEW_BYTES = 2 * 2**20


def test_when_nothing_more_can_be_held_the_assignment_raises(path):
    """It has not been made, not even half of it; and it can be made when the file can be written.

    What had been taken before is all there.
    """
    options = {"max_pending_bytes": FEW_BYTES, "on_full": "raise"}
    with world.Loop(path, insist=True, pause=0, **options) as loop:
        loop.start()
        world.watch(0.3, loop)
        # On a busy machine much may wait by now, which would leave less room for what comes.
        assert loop.ask("log.flush()") is None
        with harness.locked(path):
            begin = loop.count
            wait_until(lambda: loop.ask("refused")["count"] > 3)
            held = loop.count
            size = sum(len(world.note_of(step)) for step in range(begin, held) if step % 5 == 0)
            assert FEW_BYTES / 4 < size < FEW_BYTES
            refused = loop.ask("refused")
            assert re.match("(StoreFailed|JournalFull): ", refused["error"])
            assert refused["half"] == []
            # What a flush would have written has been read back all the time.
            assert loop.ask("compare(log.to_dict())")["steps"] == held
            assert loop.count == held
        world.watch(0.3, loop)
        assert loop.ask("log.flush()") is None
        assert "_dropped" not in loop.ask("dict(log.status)")
        loop.end()
        count = loop.count
    found = world.look(path)[loop.uuid]
    assert (found["steps"], found["more"], found["wrong"]) == (count, [], [])
    assert set(found["status"]) == {"iterations_done"}


def test_or_values_are_left_out_and_the_gap_is_told(tmp_path):
    """If that is what one asked for. The loop goes on, and the status tells what is not there."""
    options = {"max_pending_bytes": FEW_BYTES, "on_full": "drop", "status": False}
    with (
        world.Loop(tmp_path / "runs.db", **options) as loop,
        world.Loop(tmp_path / "killed.db", **options) as killed,
    ):
        loop.start()
        killed.start()
        world.watch(0.3, loop, killed)
        with harness.locked(loop.path), harness.locked(killed.path):
            for one in (loop, killed):
                wait_until(lambda one=one: any("left out" in told for told in one.warnings()))
            world.watch(0.3, loop, killed)
            killed.kill()
        world.watch(0.3, loop)
        assert loop.ask("log.flush()") is None
        again = loop.count
        world.watch(0.1, loop)
        gaps = loop.ask("log.status['_dropped']")
        told = loop.warnings()
        loop.end()
        count = loop.count
    # One may tell that the file is held, and one tells that something is lost.
    assert len([one for one in told if "left out" in one and "_dropped" in one]) == 1, told
    assert len(told) <= 2, told
    found = world.look(loop.path, killed.path)
    ours, theirs = found[loop.uuid], found[killed.uuid]
    assert ours["wrong"] == theirs["wrong"] == []
    assert ours["status"] == {"iterations_done": 0, "_dropped": gaps}
    missing = missing_of(ours, count)
    assert sum(gap["count"] for gap in gaps) == len(missing) > 0
    for step, _ in missing:
        assert any(gap["first"] <= step <= gap["last"] for gap in gaps)
    assert (gaps[0]["first"], gaps[-1]["last"]) == (missing[0][0], missing[-1][0])
    assert gaps[-1]["last"] < again
    # Of what is assigned at once all is there or nothing.
    assert all(((step, "n") in missing) == ((step, "note") in missing) for step, _ in missing)
    # Of the one that was killed everything is there up to its gap, which is told of, too.
    assert theirs["steps"] == theirs["status"]["_dropped"][0]["first"]


def missing_of(found, count):
    """Return the places, as (time, key), that so many steps assigned and that are not there."""
    more = {(step, key) for step, key in found["more"]}
    return [
        (step, key)
        for step in range(found["steps"], count)
        for update in world.assignments(step)
        for key in update
        if (step, key) not in more
    ]
