"""A run is alive as long as its process is, whatever becomes of locks and of names of files."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import GUARD

from traininglog import RunBusy, SQLiteLog, Store, StoreUnwritable, TrainingLogWarning
from traininglog.journal import reader as left
from traininglog.sqlite.sink import leases

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and /proc are of Linux")

_WRITE = """
import sys, warnings
from traininglog import SQLiteLog
warnings.simplefilter("always")
log = SQLiteLog(sys.argv[1])
log[1]["x"] = 1.0
log.flush()
print(log.h_uuid, flush=True)
t = 1
for line in sys.stdin:
    exec(line)
    t += 1
    log[t]["x"] = float(t)
    print(t, flush=True)
"""


class Writer:
    """A process that writes a run, and does what it is told before each assignment."""

    def __init__(self, path, *prefix):
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", _WRITE, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.uuid = self.process.stdout.readline().strip()
        assert self.uuid, self.process.stderr.read()

    def do(self, line="pass"):
        """Let it do something and then assign; return the last time it has assigned at."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.process.stderr.read()
        return int(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def end(self):
        """Let it end in good order; return what it complained of."""
        out, errors = self.process.communicate(timeout=GUARD)
        assert self.process.returncode == 0, (out, errors)
        return errors


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "runs.db"


def mount(*arguments):
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")


@contextmanager
def mounted(source, target):
    mount("--bind", source, target)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


def look(path, uuid):
    """Return the state of a run and how much it has, as another process sees it."""
    script = (
        "import sys; from traininglog import Store; s = Store(sys.argv[1]);"
        "print(s.state(sys.argv[2]), len(s.log(sys.argv[2], readonly=True)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(path), uuid],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    state, count = done.stdout.split()
    return state, int(count)


# -- locks ------------------------------------------------------------------------------------


@contextmanager
def holding(path, *spans):
    """Have another process hold shared locks on bytes of the owners' file until its input ends."""
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'rb');"
        "[fcntl.lockf(file, fcntl.LOCK_SH, *map(int, span.split(':'))) for span in sys.argv[2:]];"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, f"{path}-owners", *spans],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as holder:  # fmt: skip
        holder.stdout.readline()
        yield holder


@pytest.mark.parametrize("whole", [True, False], ids=["all bytes", "the run's"])
def test_a_run_is_alive_although_somebody_else_holds_its_lock(path, whole):
    """Its writer says so, is not taken for lost, and takes the lock as soon as it is free."""
    SQLiteLog(path).close()
    spans = ["0:0"] if whole else [f"1:{run + 2**32}" for run in range(10)]
    with holding(path, *spans) as holder, Writer(path) as writer:
        assert look(path, writer.uuid)[0] == "running"
        with SQLiteLog(path, writer.uuid) as log, pytest.raises(RunBusy):
            log[9]["x"] = 1.0
        with Store(path) as store, pytest.raises(RunBusy):
            store.delete(writer.uuid)
        holder.communicate()
        writer.do("log.flush()")
        writer.do("log.flush()")
        with Store(path) as store:
            byte = leases.writer_byte(2, 1)
            assert store._owners.is_locked(byte)
        assert look(path, writer.uuid)[0] == "running"


def test_a_writer_that_does_not_get_its_lock_says_so(path):
    SQLiteLog(path).close()
    with holding(path, "0:0") as holder:
        with pytest.warns(TrainingLogWarning, match="another process holds the lock of a run"):
            log = SQLiteLog(path)
        holder.communicate()
    log[1]["x"] = 1.0
    log.close()


def test_a_writer_takes_its_lock_again_where_the_file_was_deleted(path):
    with Writer(path) as writer:
        Path(f"{path}-owners").unlink()
        assert look(path, writer.uuid)[0] == "running"
        writer.do("log.flush()")
        writer.do("log.flush()")
        with Store(path) as store:
            assert store._owners.is_locked(leases.writer_byte(1, 1))
        assert writer.end() == ""


def test_whoever_looks_takes_no_lock(path):
    """One that is stopped as it looks must not keep a writer from its own lock."""
    from traininglog import file_locks

    with Writer(path) as writer, Store(path) as store:
        byte = leases.writer_byte(1, 1)
        assert store._owners.is_locked(byte)
        assert not store._owners.is_locked(byte + 1)
        with Path(f"{path}-owners").open("rb+") as file:
            assert file_locks.lock(file.fileno(), byte + 1)
            file_locks.unlock(file.fileno(), byte + 1)
        assert writer.end() == ""


def test_a_run_whose_process_is_gone_is_lost_although_a_child_has_its_lock(path):
    fork = "import ctypes; c = ctypes.CDLL(None); c.fork() or (c.sleep(60), c._exit(0))"
    with Writer(path) as writer:
        writer.do(fork)
        last = writer.do()
        writer.process.kill()
        writer.process.wait()
        try:
            assert look(path, writer.uuid) == ("lost", last)
            with SQLiteLog(path, writer.uuid) as log:
                log[last + 1]["x"] = 0.0
        finally:
            subprocess.run(["pkill", "-KILL", "-f", str(path)], check=False)


def test_a_copy_of_a_live_store_is_not_being_written(path):
    """The process lives, and writes another file."""
    with Writer(path) as writer:
        copy = path.with_name("copy.db")
        with Store(path) as store:
            store.backup(copy)
        assert look(copy, writer.uuid)[0] == "lost"
        with SQLiteLog(copy, writer.uuid) as log:
            log[9]["x"] = 9.0
        assert writer.end() == ""


def test_a_process_that_cannot_be_seen_is_told_by_its_lock_and_check_says_so(path):
    """As in a container: it has numbers of its own for processes."""
    apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no PID namespace can be made here")
    with Writer(path, *apart) as writer:
        assert look(path, writer.uuid)[0] == "running"
        with Store(path) as store:
            (told,) = [each for each in store.check().warnings if "cannot be seen" in each]
            assert writer.uuid in told
        last = writer.do()
        # Without the lock nothing but the journal's own is left.
        Path(f"{path}-owners").unlink()
        Store(path).close()
        assert [each.path.exists() for each in left.journals_beside(path)] == [True]
        writer.do("log.flush()")
        last = writer.do("log.flush()")
        assert look(path, writer.uuid)[0] == "running"
        subprocess.run(["pkill", "-KILL", "-f", str(path)], check=True)
        writer.process.wait()
    assert look(path, writer.uuid) == ("lost", last)


# -- names ------------------------------------------------------------------------------------


def test_a_folder_that_is_mounted_by_a_second_name_is_the_same_store(path, tmp_path):
    """The training process looks by that name, once; so do others; nothing is lost."""
    other = tmp_path / "other"
    other.mkdir()
    with mounted(path.parent, other), Writer(path) as writer:
        writer.do(f"from traininglog import Store; Store({str(other / 'runs.db')!r}).close()")
        assert look(path, writer.uuid)[0] == "running"
        assert look(other / "runs.db", writer.uuid)[0] == "running"
        last = [writer.do(each) for each in ["log.flush()"] * 20][-1]
        writer.process.kill()
        writer.process.wait()
        assert look(other / "runs.db", writer.uuid) == ("lost", last)
        with Store(path) as store:
            assert store.check().ok


def test_a_hard_link_is_not_written(path, tmp_path):
    with SQLiteLog(path) as log:
        log[1]["x"] = 1.0
    link = tmp_path / "link.db"
    os.link(path, link)
    before = path.read_bytes()
    for name in (path, link):
        with pytest.raises(StoreUnwritable, match=r"has 2 names \(hard .*traininglog backup"):
            SQLiteLog(name)
        with Store(name, readonly=True) as store:
            assert any("2 names" in each for each in store.check().warnings)
            assert store.log(log.uuid, readonly=True) == {1: {"x": 1.0}}
    assert path.read_bytes() == before
    link.unlink()
    with SQLiteLog(path, log.uuid) as again:
        again[2]["x"] = 2.0


def test_a_hard_link_made_while_a_run_is_written_costs_one_warning(path, tmp_path):
    with Writer(path) as writer:
        writer.do("log.flush()")
        os.link(path, tmp_path / "link.db")
        last = [writer.do(each) for each in ["log.flush()"] * 5][-1]
        errors = writer.end()
    assert errors.count("TrainingLogWarning") == 1, errors
    assert "was given a second name" in errors
    (tmp_path / "link.db").unlink()
    assert look(path, writer.uuid) == ("finished", last)


def test_a_file_that_is_mounted_alone_is_not_written(path, tmp_path):
    with SQLiteLog(path) as log:
        log[1]["x"] = 1.0
    other = tmp_path / "other.db"
    other.touch()
    with mounted(path, other):
        with pytest.raises(StoreUnwritable, match=r"mounted by itself.*Mount its folder"):
            SQLiteLog(other)
        with Store(other, readonly=True) as store:
            assert any("mounted by itself" in each for each in store.check().warnings)
        with SQLiteLog(path, log.uuid) as again:  # outside, the file has its own name
            again[2]["x"] = 2.0


# -- files that belong to a store --------------------------------------------------------------


@pytest.mark.parametrize("ending", ["-wal", "-wal -shm"])
@pytest.mark.parametrize("end", ["kill", "close"])
def test_a_wal_that_somebody_deletes_is_put_back_and_nothing_is_lost(path, ending, end):
    with Writer(path) as writer:
        for _ in range(5):
            writer.do("log.flush()")
        for name in ending.split():
            Path(f"{path}{name}").unlink()
        last = [writer.do(each) for each in ["log.flush()", "log.commit()", "pass"]][-1]
        if end == "kill":
            writer.process.kill()
            errors = writer.process.communicate()[1]
        else:
            errors = writer.end()
        assert "somebody deleted or replaced" in errors
        assert errors.count("TrainingLogWarning") == 1
    state, count = look(path, writer.uuid)
    assert (state, count) == ("lost" if end == "kill" else "finished", last)
    with Store(path) as store:
        assert store.check().ok


def test_a_journal_that_somebody_deletes_is_made_anew_and_said(path):
    with Writer(path) as writer:
        for _ in range(3):
            for journal in left.journals_beside(path):
                journal.path.unlink()
            writer.do("log.flush()")
            last = writer.do()
        assert len(list(left.journals_beside(path))) == 1
        writer.process.kill()
        assert "nothing is lost, and another one is made" in writer.process.communicate()[1]
    assert look(path, writer.uuid) == ("lost", last)


def test_the_folder_of_a_live_store_is_put_back_from_a_copy(path, tmp_path):
    """The copy is of a moment; the writer notices that its file was replaced, and says so."""
    with Writer(path) as writer:
        writer.do("log.flush()")
        shutil.copytree(path.parent, tmp_path / "copy")
        shutil.rmtree(path.parent)
        shutil.copytree(tmp_path / "copy", path.parent)
        writer.process.stdin.write("log.flush()\n")
        writer.process.stdin.flush()
        _, errors = writer.process.communicate(timeout=GUARD)
    assert "was replaced by another file" in errors


# -- transactions ------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["-shm", "", "-wal"])
def test_a_transaction_that_has_lost_the_lock_of_sqlite_is_still_alone(path, closed):
    """As of one that runs while a thread of the process copies the folder."""
    SQLiteLog(path).close()
    script = (
        "import sys; from traininglog import SQLiteLog; print('ready', flush=True);"
        "log = SQLiteLog(sys.argv[1]); log[1]['x'] = 1.0; log.close(); print(log.h_uuid)"
    )
    with Store(path) as store:
        with store._database.write() as connection:
            connection.exec_driver_sql("UPDATE runs SET command = 'the first'")
            Path(f"{path}{closed}").open("rb").close()
            other = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", script, str(path)], stdout=subprocess.PIPE
            )
            other.stdout.readline()
            time.sleep(5)  # for all that it can do
            assert other.poll() is None, "it did not wait for us"
        out, _ = other.communicate()
        assert other.returncode == 0
        assert store.origin(store.runs(heads=False)["uuid"][0])["command"] == "the first"
        assert store.log(out.decode().strip(), readonly=True) == {1: {"x": 1.0}}
        assert store.check().ok
