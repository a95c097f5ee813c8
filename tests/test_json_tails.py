"""The runs of a JSON document: one writer, nothing lost, every fault said; and tails of old."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from traininglog import RunBusy, StoreFailed, TrainingLogWarning
from traininglog.journal.reader import journal_path, read_journal
from traininglog.jsonfile import FileTrials
from traininglog.jsonfile.lease import lease_path
from traininglog.jsonfile.old_tail import old_tail_path

PATIENCE = 120  # seconds, for a process on a crowded machine

# Writes a run, says each value once it was assigned, and flushes as often as it is told to.
WRITE = """
import os, sys
from traininglog.jsonfile import FileTrials

path, uuid, often = sys.argv[1], sys.argv[2], int(sys.argv[3])
records = FileTrials(__import__("pathlib").Path(path))
log = records.new_log() if uuid == "new" else records.open_log(uuid)
print(log.h_uuid, flush=True)
start = (log.last("loss").time + 1) if "loss" in log.keys_seen() else 0
for n in range(start, 10**9):
    log[n]["loss"] = n / 7
    os.write(1, b"%d\\n" % n)
    if often and n % often == often - 1:
        log.flush()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.json"


def started(script, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@contextlib.contextmanager
def writing(path, uuid="new", often=0):
    """Have another process write a run until the end of the block; it is killed there."""
    with started(WRITE, path, uuid, often) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def said_to_the_end(process, before):
    """Kill a writer and return the last value of which it said that it was assigned.

    That is the one ``before`` if it said no more since then.
    """
    process.kill()
    rest = process.stdout.read()
    whole = rest[: rest.rfind("\n") + 1].split()
    assert process.wait(PATIENCE) == -signal.SIGKILL, process.stderr.read()
    return int(whole[-1]) if whole else before


def leftovers(path):
    """Return what lies beside a document, but for its lock."""
    return sorted(
        found.name
        for found in path.parent.iterdir()
        if found.name not in (path.name, f"{path.name}-lock")
    )


def losses(log):
    return dict(enumerate(log[:]["loss"].tolist())) if "loss" in log.keys_seen() else {}


# -- one writer ---------------------------------------------------------------------------------


def test_a_second_opener_sees_what_a_live_writer_assigned_and_leaves_it(path):
    with writing(path) as (process, uuid):
        for n in range(50):
            assert int(process.stdout.readline()) == n
        for _ in range(5):
            log = FileTrials(path).open_log(uuid)
            assert losses(log)[49] == 49 / 7
            with pytest.raises(RunBusy, match=rf"{uuid} .* process {process.pid} on "):
                log[10**6]["loss"] = 0.0
            assert 10**6 not in log
            log.close()
        child = FileTrials(path).resume_log(uuid, at=10)  # a run of its own may be begun
        child[11]["loss"] = -1.0
        child.close()
        last = said_to_the_end(process, before=49)
    with FileTrials(path).open_log(uuid) as log:
        found = losses(log)
        assert found == {n: n / 7 for n in range(len(found))}
        assert len(found) > last
        log[len(found)]["loss"] = 1.0  # now it can be written
    assert leftovers(path) == []


def test_a_writer_keeps_its_run_between_two_flushes(path):
    script = """
import sys
from pathlib import Path
from traininglog.jsonfile import FileTrials
log = FileTrials(Path(sys.argv[1])).new_log()
log[0]["x"] = 0
log.flush()
print(log.h_uuid, flush=True)
sys.stdin.readline()
log[1]["x"] = 1
log.close()
"""
    with started(script, path, stdin=subprocess.PIPE) as process:
        uuid = process.stdout.readline().strip()
        other = FileTrials(path).open_log(uuid)
        with pytest.raises(RunBusy):
            other[5]["x"] = 5
        _, errors = process.communicate("\n", timeout=PATIENCE)
        assert not errors
        # It ended: the other one may write, after all that was written meanwhile.
        other[2]["x"] = 2
        assert other.to_dict() == {0: {"x": 0}, 1: {"x": 1}, 2: {"x": 2}}
        other.close()
    assert FileTrials(path).open_log(uuid).to_dict() == {0: {"x": 0}, 1: {"x": 1}, 2: {"x": 2}}


def test_two_logs_of_one_process_write_one_run(path):
    records = FileTrials(path)
    first = records.new_log()
    first[0]["x"] = 0
    second = FileTrials(path).open_log(first.h_uuid)
    assert second.to_dict() == {0: {"x": 0}}
    second[1]["x"] = 1
    first.flush()
    first[2]["x"] = 2
    first.close()
    second[3]["x"] = 3
    second.close()
    with records.open_log(first.h_uuid, readonly=True) as log:
        assert log.to_dict() == {n: {"x": n} for n in range(4)}
    assert leftovers(path) == []


def test_a_killed_writer_whose_forked_child_lives_on_is_gone(path):
    script = WRITE.replace(
        "for n in range(start",
        "if os.fork() == 0:\n    import time; time.sleep(600)\nfor n in range(start",
    )
    with started(script, path, "new", 0, start_new_session=True) as process:
        try:
            uuid = process.stdout.readline().strip()
            for n in range(20):
                assert int(process.stdout.readline()) == n
            os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)
            with FileTrials(path).open_log(uuid) as log:
                assert losses(log)[19] == 19 / 7
                log[10**6]["loss"] = 1.0
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert leftovers(path) == []


# -- kills --------------------------------------------------------------------------------------


@pytest.mark.parametrize("often", [0, 7])
def test_a_killed_writer_loses_nothing_that_was_acknowledged(path, often):
    """Again and again on one run, with readers meanwhile, killed at any point of a flush."""
    random.seed(often)
    with writing(path, often=often) as (process, uuid):
        last = said_to_the_end(process, before=int(process.stdout.readline()))
    for _ in range(8):
        with writing(path, uuid, often) as (process, _):
            for _ in range(random.randrange(60)):
                process.stdout.readline()
            FileTrials(path, readonly=True).open_log(uuid, readonly=True).close()
            last = said_to_the_end(process, before=int(process.stdout.readline()))
        with FileTrials(path, readonly=True).open_log(uuid, readonly=True) as log:
            found = losses(log)
            assert found == {n: n / 7 for n in range(len(found))}
            assert len(found) > last
    FileTrials(path).open_log(uuid).close()
    assert leftovers(path) == []


@pytest.mark.parametrize(
    "point", ["buffer.Buffer.saved", "buffer.Buffer.end", "lease.RunLease.let_go"]
)
def test_a_kill_after_the_document_was_written_changes_nothing(path, point):
    """The journal is still there, and is put into the document a second time."""
    script = f"""
import os, sys
from pathlib import Path
from traininglog.jsonfile import FileTrials, lease
from traininglog.writer import buffer
log = FileTrials(Path(sys.argv[1])).new_log()
log[3]["a"] = 1
log[3].update(a=2, b=3)
del log[3]["b"]
log.status.update(x=1, y=2)
del log.status["x"]
log.status["x"] = 5
print(log.h_uuid, flush=True)
{point} = lambda *_, **__: os._exit(9)
log.close()
"""
    with started(script, path) as process:
        uuid = process.stdout.readline().strip()
        assert process.wait(PATIENCE) == 9
    for _ in range(2):
        with FileTrials(path).open_log(uuid) as log:
            assert log.to_dict() == {3: {"a": 2}}
            assert list(log.status.items())[-2:] == [("y", 2), ("x", 5)]
    assert leftovers(path) == []


# -- a disk that is full ------------------------------------------------------------------------

FULL = """
import os, resource, signal, sys, warnings
from pathlib import Path
from traininglog.jsonfile import FileTrials

path, then = Path(sys.argv[1]), sys.argv[2]
warnings.simplefilter("always")
log = FileTrials(path).new_log()
print(log.h_uuid, flush=True)
for n in range(5):
    log[n]["x"] = n
log.flush()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 60, hard))
for n in range(5, 40):
    log[n]["x"] = n
assert len(log) == 40
if then == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if then == "flushed":  # before there is space again
    try:
        log.flush()
    except OSError as error:
        print(type(error).__name__)
if then == "closed":
    try:
        log.close()
    except OSError as error:
        print(type(error).__name__)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
if then == "assigned":
    import time
    time.sleep(0.1)
    log[40]["x"] = 40
    os.kill(os.getpid(), signal.SIGKILL)
if then == "dropped":
    del log
    os.kill(os.getpid(), signal.SIGKILL)
log.close()
"""


@pytest.mark.parametrize(
    ("then", "there"),
    [("flushed", 40), ("closed", 40), ("assigned", 41), ("dropped", 40), ("killed", 40)],
)
def test_a_disk_that_was_full_for_a_while_costs_nothing_but_a_warning(path, then, there):
    with started(FULL, path, then) as process:
        out, errors = process.communicate(timeout=PATIENCE)
    ends_by_kill = then in ("assigned", "dropped", "killed")
    assert process.returncode == (-signal.SIGKILL if ends_by_kill else 0), errors
    assert errors.count("Warning") <= 1, errors
    uuid, *raised = out.split()
    assert raised == (["StoreFailed"] if then in ("flushed", "closed") else [])
    with FileTrials(path).open_log(uuid) as log:
        assert log.to_dict() == {n: {"x": n} for n in range(there)}
    assert leftovers(path) == []


@pytest.mark.filterwarnings("ignore:.*(waits|is kept) in memory:traininglog.TrainingLogWarning")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a file system")
def test_a_small_file_system_that_is_full(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this system does not let us mount")
    try:
        path = folder / "report.json"
        log = FileTrials(path).new_log()
        log[0]["x"] = 0
        with (folder / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(512))
        log.update({n: {"x": n} for n in range(1, 400)})
        with pytest.raises(StoreFailed, match="No space left"):
            log.flush()
        (folder / "ballast").unlink()
        log.close()
        assert FileTrials(path).open_log(log.h_uuid).to_dict() == {n: {"x": n} for n in range(400)}
    finally:
        subprocess.run(["umount", folder], check=False)


# -- damaged lines ------------------------------------------------------------------------------

GOOD = '{"wall":1.0,"rows":{"%d":{"x":%d}}}\n'
BAD = {
    "half of a line, and another one": '{"wall":1.0,"rows":{"7":{"wa{"wall":2.0,"rows":{}}\n',
    "no JSON": "hello\n",
    "nothing": "\n",
    "NULs": "\0" * 5000 + "\n",
    "no UTF-8": "\udcff\udcfe\n",
    "another type": "[1, 2]\n",
    "rows of another type": '{"wall":1.0,"rows":[7]}\n',
    "a row of another type": '{"wall":1.0,"rows":{"7":7}}\n',
    "a time that is none": '{"wall":1.0,"rows":{"-7":{"x":7}}}\n',
    "a time too large": '{"wall":1.0,"rows":{"9223372036854775808":{"x":7}}}\n',
    "a key that is none": '{"wall":1.0,"rows":{"7":{"":7}}}\n',
    "a value of no kind": '{"wall":1.0,"rows":{"7":{"x":[7]}}}\n',
    "a kind that is none": '{"wall":1.0,"rows":{"7":{"x":{"kind":99,"value":1}}}}\n',
    "an integer too large": '{"wall":1.0,"rows":{"7":{"x":9223372036854775808}}}\n',
    "an integer of many digits": '{"wall":1.0,"rows":{"7":{"x":%s}}}\n' % ("1" * 10_000),
    "a float too large": '{"wall":1.0,"rows":{"7":{"x":1e999}}}\n',
    "NaN": '{"wall":1.0,"rows":{"7":{"x":NaN}}}\n',
    "a key twice": '{"wall":1.0,"rows":{"7":{"x":7,"x":8}}}\n',
    "no moment": '{"rows":{"7":{"x":7}}}\n',
    "a moment that is none": '{"wall":"now","rows":{"7":{"x":7}}}\n',
    "a status of another type": '{"status":[7]}\n',
    "deep nesting": "[" * 100_000 + "\n",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_damaged_line_costs_itself_and_a_warning(path, bad):
    with FileTrials(path).new_log() as log:
        uuid = log.h_uuid
    text = GOOD % (0, 0) + bad + GOOD % (1, 1) + bad + GOOD % (2, 2)
    tail = old_tail_path(path, uuid)
    tail.write_bytes(text.encode("utf-8", "surrogateescape"))
    there = {n: {"x": n} for n in range(3)}
    with pytest.warns(TrainingLogWarning, match="2 damaged lines were left out") as said:
        log = FileTrials(path, readonly=True).open_log(uuid, readonly=True)
    assert log.to_dict() == there
    assert len(said) == 1
    assert tail.read_bytes() == text.encode("utf-8", "surrogateescape")  # looking changes nothing
    with pytest.warns(TrainingLogWarning) as said:
        log = FileTrials(path).open_log(uuid)
    assert log.to_dict() == there
    (kept,) = leftovers(path)
    assert [kept in str(one.message) for one in said] == [False, True]
    assert (path.parent / kept).read_bytes() == text.encode("utf-8", "surrogateescape")
    log[3]["x"] = 3
    log.close()
    with FileTrials(path).open_log(uuid) as log:  # which warns of nothing any more
        assert len(log) == 4
    assert leftovers(path) == [kept]


def test_a_last_line_that_was_cut_off_is_said_and_does_not_harm_the_next(path):
    with FileTrials(path).new_log() as log:
        uuid = log.h_uuid
    old_tail_path(path, uuid).write_text(GOOD % (0, 0) + (GOOD % (1, 1))[:20], encoding="utf-8")
    with FileTrials(path, readonly=True).open_log(uuid, readonly=True) as log:
        assert log.to_dict() == {0: {"x": 0}}  # for all a reader knows it is being written
    with pytest.warns(TrainingLogWarning, match="in the midst of its last line"):
        log = FileTrials(path).open_log(uuid)
    log[2]["x"] = 2
    log.close()
    with FileTrials(path).open_log(uuid) as log:
        assert log.to_dict() == {0: {"x": 0}, 2: {"x": 2}}
    assert leftovers(path) == []


# -- what is no tail ----------------------------------------------------------------------------


def sparse(place):
    with place.open("wb") as stream:
        stream.truncate(40 * 2**30)


NO_TAILS = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to an endless device": lambda place: place.symlink_to("/dev/zero"),
    "a link to nothing": lambda place: place.symlink_to("nowhere"),
    "a link to itself": lambda place: place.symlink_to(place),
    "a huge sparse file": sparse,
}

# Prints how much memory it took, in KiB, and how many seconds of a processor.
LOOK = """
import resource, sys, time, warnings
from pathlib import Path
import traininglog.memory.trials
from traininglog import TrainingLogError
from traininglog.jsonfile import FileTrials

path, uuid = Path(sys.argv[1]), sys.argv[2]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
since = time.process_time()
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    log = FileTrials(path).open_log(uuid)
assert log.to_dict() == {0: {"x": 0}}, log.to_dict()
assert len(said) == 1, said
try:
    log[1]["x"] = 1
except TrainingLogError as error:
    print(type(error).__name__, "move it away" in str(error))
assert 1 not in log
log.close()
used = time.process_time() - since
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 200 * 1024, used < 2)
"""


@pytest.mark.parametrize("make", NO_TAILS.values(), ids=NO_TAILS)
def test_what_is_no_tail_costs_a_warning_and_is_left_alone(path, make):
    with FileTrials(path).new_log() as log:
        log[0]["x"] = 0
    place = old_tail_path(path, log.h_uuid)
    make(place)
    before = place.lstat()
    with started(LOOK, path, log.h_uuid) as process:
        out, errors = process.communicate(timeout=PATIENCE)
    assert not errors
    assert out.split() == ["StoreUnwritable", "True", "True", "True"]
    after = place.lstat()
    assert (before.st_ino, before.st_size, before.st_mtime) == (
        after.st_ino, after.st_size, after.st_mtime,
    )  # fmt: skip


# -- what others do to the files ----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:somebody deleted:traininglog.TrainingLogWarning")
def test_what_was_removed_or_renamed_beside_a_document_is_made_again(path):
    """Of a run that is being written: the file of its lease, and its journal."""
    log = FileTrials(path).new_log()
    for n, act in enumerate([Path.unlink, lambda file: file.rename(path.with_name("moved"))]):
        for place in (lease_path(path, log.h_uuid), journal_path(path, log.uuid, 1)):
            log[len(log)]["x"] = n
            act(place)
            log[len(log)]["x"] = n
            log.flush()
            with started(ASSIGN, path, log.h_uuid) as process:
                assert "RunBusy" in process.communicate(timeout=PATIENCE)[1]
    seen = FileTrials(path, readonly=True).open_log(log.h_uuid, readonly=True)
    assert seen.to_dict() == log.to_dict()
    assert len(seen) == 8
    log.close()
    assert leftovers(path) == ["moved"]


@pytest.mark.filterwarnings("ignore:.*waits in the journal:traininglog.TrainingLogWarning")
def test_a_document_that_was_replaced_loses_nothing_silently(path):
    log = FileTrials(path).new_log()
    log[0]["x"] = 0
    before = path.read_bytes()
    path.unlink()
    with pytest.raises(StoreFailed, match=f"does not hold run {log.h_uuid}"):
        log.flush()
    assert read_journal(journal_path(path, log.uuid, 1)).regions
    path.write_bytes(before)
    log.close()
    assert FileTrials(path).open_log(log.h_uuid).to_dict() == {0: {"x": 0}}


ASSIGN = """
import sys
from pathlib import Path
from traininglog.jsonfile import FileTrials
FileTrials(Path(sys.argv[1])).open_log(sys.argv[2])[1]['x'] = 1
"""


def test_copies_and_hashes_of_the_files_by_the_process_itself_take_nothing_from_it(path, tmp_path):
    """Closing another descriptor of a file drops locks of POSIX; this one is of another kind."""
    import shutil

    with writing(path) as (process, uuid):
        process.stdout.readline()
        for n in range(3):
            shutil.copytree(path.parent, tmp_path.with_name(f"{tmp_path.name}-{n}"))
        with pytest.raises(RunBusy):
            FileTrials(path).open_log(uuid)[0]["loss"] = 1.0
    log = FileTrials(path).new_log()
    log[0]["x"] = 0
    lease_path(path, log.h_uuid).read_bytes()
    path.with_name(f"{path.name}-lock").read_bytes()
    with started(ASSIGN, path, log.h_uuid) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert "RunBusy" in errors
    log.close()


def test_a_link_to_a_document_stays_one(tmp_path):
    (tmp_path / "data").mkdir()
    real, link = tmp_path / "data" / "real.json", tmp_path / "report.json"
    link.symlink_to(real)
    with FileTrials(link).new_log() as log:
        log[0]["x"] = 0
    assert link.is_symlink()
    assert FileTrials(real).open_log(log.h_uuid).to_dict() == {0: {"x": 0}}


def test_parts_of_killed_writers_are_swept(path):
    FileTrials(path).new_log().close()
    for name in (f".{path.name}.4711.part", f".{path.name}.0123456789abcdef.part"):
        path.with_name(name).write_text("{", encoding="utf-8")
    path.with_name(".another.json.4711.part").write_text("{", encoding="utf-8")
    FileTrials(path).new_log().close()
    assert leftovers(path) == [".another.json.4711.part"]


def test_a_writer_that_was_stopped_with_the_lock_keeps_no_reader_out(path):
    script = """
import os, signal, sys
from pathlib import Path
from traininglog.jsonfile.document import Document
with Document(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""
    with FileTrials(path).new_log() as log:
        log[0]["x"] = 0
    with started(script, path) as process:
        process.stdout.readline()
        os.waitpid(process.pid, os.WUNTRACED)
        with FileTrials(path, readonly=True).open_log(log.h_uuid, readonly=True) as seen:
            assert seen.to_dict() == {0: {"x": 0}}
        process.kill()


def test_old_tails_are_read(path):
    """Those of the versions before had no first line that tells who writes."""
    with FileTrials(path).new_log() as log:
        uuid = log.h_uuid
    old_tail_path(path, uuid).write_text(
        GOOD % (0, 0) + '{"status":{"n":3,"x":{"kind":4,"value":"nan"}}}\n', encoding="utf-8"
    )
    with FileTrials(path).open_log(uuid) as log:
        assert log.to_dict() == {0: {"x": 0}}
        assert log.status["n"] == 3
    assert leftovers(path) == []
