"""A store of one's own, of eight methods, is as good as ours: the suite, kills, takeovers."""

import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import settings
from own_store import DictStore, QuickStore

from traininglog import RunNotFound, StoreFailed, TrainingLogWarning
from traininglog.journal.reader import damaged_path
from traininglog.journaled import JournaledLog, spool_of
from traininglog.jsonfile.document import Document
from traininglog.jsonfile.log import FileLog
from traininglog.jsonfile.store import DocumentStore
from traininglog.testing import LogConformance, log_machine

PATIENCE = 120  # seconds, for a process on a crowded machine


class TestOwnStore(LogConformance):
    @pytest.fixture
    def open_log(self, tmp_path):
        return lambda uuid=None, **options: JournaledLog(
            DictStore(tmp_path / "runs.json"), uuid, **options
        )


TestMachine = log_machine(
    {"mine": lambda folder, uuid: JournaledLog(QuickStore(folder / "runs.json"), uuid)}
).TestCase
TestMachine.settings = settings(TestMachine.settings, max_examples=10)


# -- kills --------------------------------------------------------------------------------------

# Writes a run, says each value once it was assigned, and flushes when it is told to.
WRITE = """
import os, sys
sys.path.insert(0, sys.argv[2])
from own_store import QuickStore
from traininglog import StoreFailed
from traininglog.journaled import JournaledLog

class Store(QuickStore):
    here = True

    def open(self, *, write=False):
        if not self.here:
            raise StoreFailed("the store cannot be reached")
        return super().open(write=write)

store = Store(sys.argv[1])
store.here = "away" not in sys.argv
log = JournaledLog(store)
print(log.h_uuid, flush=True)
for n in range(10**9):
    if "resumes" in sys.argv and n % 400 == 399:
        log.resume(at=n - 10)
        print(log.h_uuid, flush=True)
        for again in range(n - 9, n):
            log[again]["loss"] = -1.0
    log[n]["loss"] = n / 7
    log.status["iterations_done"] = n
    os.write(1, b"%d\\n" % n)
"""


def killed(path, *how, after):
    """Have another process write until it has said so many lines; return them."""
    arguments = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        WRITE,
        path,
        str(Path(__file__).parent),
        *how,
    ]
    with subprocess.Popen(
        list(map(str, arguments)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        lines = [process.stdout.readline().strip() for _ in range(after)]
        process.kill()
        rest = process.stdout.read()
        lines += rest[: rest.rfind("\n") + 1].split()
        assert process.wait(PATIENCE) == -signal.SIGKILL, process.stderr.read()
    return [line for line in lines if line]


@pytest.mark.parametrize("after", [2, 300, 20_000])
def test_a_killed_writer_loses_nothing(tmp_path, after):
    path = tmp_path / "runs.json"
    run, *said = killed(path, after=after)
    with JournaledLog(QuickStore(path), run) as log:
        times = list(log)
        assert log[:]["loss"].to_dict() == {n: n / 7 for n in times}
        assert times == list(range(len(times)))
        assert len(times) > int(said[-1])
        assert log.status["iterations_done"] in (times[-1], times[-1] - 1)
        log[len(times)]["loss"] = 0.0
    assert len(JournaledLog(QuickStore(path), run, readonly=True)) == len(times) + 1
    assert not list(tmp_path.glob("*-tail-*"))


@pytest.mark.parametrize("after", [2, 3_000])
def test_runs_of_which_the_store_never_heard_are_made_from_their_journals(tmp_path, after):
    """It was away from the first assignment on and through resumes, until the kill."""
    path = tmp_path / "runs.json"
    said = killed(path, "away", "resumes", after=after)
    runs = [line for line in said if len(line) == 32]
    own = said[said.index(runs[-1]) + 1 :]  # what was said of the last run
    assert not path.exists()
    log = JournaledLog(QuickStore(path), runs[-1])
    assert [each.uuid.hex for each in log.lineage()] == runs[::-1]
    assert [each.resumed_at for each in log.lineage()] == [
        *(400 * n - 11 for n in range(len(runs) - 1, 0, -1)), None,
    ]  # fmt: skip
    assert list(log) == list(range(len(log)))
    assert len(log) > (int(own[-1]) if own else 400 * (len(runs) - 1) - 11)
    for n in range(len(log)):
        again = 390 <= n % 400 < 399 and n < (len(runs) - 1) * 400
        assert log[n]["loss"] == (-1.0 if again else n / 7)
    log.close()
    assert not list(tmp_path.glob("*-tail-*"))


def test_a_journal_whose_parent_is_in_no_store_is_told_once_and_kept(tmp_path):
    """Who finds it learns where it is, and what to do; when the parent is there, it is put back."""
    path = tmp_path / "runs.json"
    said = killed(path, "away", "resumes", after=900)
    first, *later = [line for line in said if len(line) == 32]
    journals = list(tmp_path.glob("*-tail-*"))
    (gone,) = [journal for journal in journals if first in journal.name]
    data = gone.read_bytes()
    gone.unlink()
    left = {str(journal) for journal in journals if any(run in journal.name for run in later)}
    # A writer that is killed before it writes anything leaves such a one, which hides no other.
    empty = gone.with_name(gone.name.replace(first, uuid.uuid4().hex))
    empty.touch()
    with pytest.warns(TrainingLogWarning, match="the run that it was resumed from") as told:
        JournaledLog(QuickStore(path)).close()
    named = [str(one.message).partition(" holds")[0] for one in told]
    assert left <= set(named) <= set(map(str, journals))
    assert len(named) == len(set(named))
    JournaledLog(QuickStore(path)).close()  # a warning would be an error
    assert all(Path(journal).exists() for journal in left)
    gone.write_bytes(data)
    log = JournaledLog(QuickStore(path), later[-1])
    assert log.lineage()[-1].uuid.hex == first
    log.close()
    assert not any(Path(journal).exists() for journal in left)


def test_what_a_writer_assigned_after_its_run_was_taken_becomes_a_run_of_its_own(tmp_path):
    path = tmp_path / "runs.json"
    run, *_ = killed(path, after=500)
    (left,) = tmp_path.glob("*-tail-*")
    data = left.read_bytes()
    with JournaledLog(QuickStore(path), run) as log:
        log[10**6]["loss"] = 1.0
        seen = log.to_dict()
    left.write_bytes(data)  # as on another machine, where the journal had stayed
    with pytest.warns(TrainingLogWarning, match="is now run"):
        log = JournaledLog(QuickStore(path), run)
    assert log.to_dict() == seen
    (aside,) = {one.uuid for one in QuickStore(path).runs()} - {uuid.UUID(run)}
    other = JournaledLog(QuickStore(path), aside)
    assert other.lineage()[1].uuid.hex == run
    assert all(other[n]["loss"] == n / 7 for n in range(500) if n in other)
    assert not list(tmp_path.glob("*-tail-*"))


def test_a_damaged_journal_is_kept_and_over_no_other_one(tmp_path):
    path = tmp_path / "runs.json"
    run, *_ = killed(path, after=3000)
    (left,) = tmp_path.glob("*-tail-*")
    data = bytearray(left.read_bytes())
    data[100:140] = bytes(40)
    taken = damaged_path(left)
    taken.write_bytes(b"of another time")
    left.write_bytes(data)
    with pytest.warns(TrainingLogWarning, match="the journal is kept as"):
        JournaledLog(QuickStore(path), run)
    assert taken.read_bytes() == b"of another time"
    (kept,) = set(tmp_path.glob("*-damaged-*")) - {taken}
    assert kept.read_bytes() == data
    assert not list(tmp_path.glob("runs.json-spool-tail-*"))


def test_a_second_opening_reads_of_a_live_run_what_is_in_its_journal_once(tmp_path):
    """Its columns, its status and its clock are of one moment."""
    path = tmp_path / "report.json"
    log = FileLog(Document(path))
    log[1]["x"] = 1.0
    log.status["n"] = 1
    other = DocumentStore(Document(path))
    with other.still():
        assert [column.times for column in other.columns(log.uuid)] == [[1]]
        log[2]["x"] = 2.0
        log.status["n"] = 2
        assert other.status(log.uuid)["n"] == 1
        assert [column.times for column in other.columns(log.uuid)] == [[1]]
    assert other.status(log.uuid)["n"] == 2
    assert [column.times for column in other.columns(log.uuid)] == [[1, 2]]
    log.close()


def test_a_journal_of_a_run_that_was_deleted_is_left_alone(tmp_path):
    path = tmp_path / "runs.json"
    run, *_ = killed(path, after=2000)
    path.unlink()
    before = [left.read_bytes() for left in tmp_path.glob("*-tail-*")]
    QuickStore(path)
    JournaledLog(QuickStore(path)).close()
    with pytest.raises(RunNotFound):
        JournaledLog(QuickStore(path), run)
    assert [left.read_bytes() for left in tmp_path.glob("*-tail-*")] == before


@pytest.mark.filterwarnings("ignore:.*waits in the journal:traininglog.TrainingLogWarning")
def test_a_store_that_is_away_when_it_is_opened_leaves_the_journals(tmp_path):
    path = tmp_path / "runs.json"
    run, *said = killed(path, after=50)

    class Away(QuickStore):
        def open(self, *, write=False):
            raise StoreFailed("the store cannot be reached")

    with pytest.warns(TrainingLogWarning, match="cannot be reached; what a killed process"):
        log = JournaledLog(Away(path))
    log[1]["x"] = 1.0
    assert log[1]["x"] == 1.0
    with pytest.raises(StoreFailed):
        log.flush()
    with JournaledLog(QuickStore(path), run) as again:
        assert len(again) > int(said[-1])
    log._store.open = QuickStore(path).open
    log.close()
    assert len(list(QuickStore(path).runs())) == 2


def test_a_live_writer_is_left_alone(tmp_path):
    path = tmp_path / "runs.json"
    log = JournaledLog(QuickStore(path))
    log[1]["x"] = 1.0
    JournaledLog(QuickStore(path)).close()
    assert len(list(tmp_path.glob("*-tail-*"))) == 1
    log[2]["x"] = 2.0
    log.close()
    assert len(JournaledLog(QuickStore(path), log.uuid)) == 2


def test_a_spool_is_in_the_state_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    spool = spool_of("https://example.org/team")
    assert spool.parent == tmp_path / "traininglog"
    assert spool.parent.stat().st_mode & 0o777 == 0o700
    assert spool != spool_of("https://example.org/other")
