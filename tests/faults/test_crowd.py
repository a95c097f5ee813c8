"""A crowd at one file: nobody loses a value, nobody is told to try again, nobody sees half of it.

`TESTS_CROWD` says how many processes write at once; 32 unless it is set.
"""

import inspect
import os
import signal
import subprocess
import sys

import pytest
from faults import harness
from patience import GUARD

from traininglog import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# Read here, as settings from outside are kept out of the tests themselves.
CROWD = int(os.environ.get("TESTS_CROWD", "32"))

#: Rows of ten values that each process logs.
ROWS = 500

READERS = 4

# One process that imports everything and forks the others before any log is open: to start each of
# them anew would take most of the time. They wait at a gate, which opens for all of them at once.
SERVER = """
import gc, os, random, signal, sys, time
from traininglog import SQLiteLog, Store

arrivals, arrived = os.pipe()
gate, shut = os.pipe()
processes = set()

def fork(work, *arguments):
    gc.freeze()  # or each of them would spend most of its time on what it shares with the others
    pid = os.fork()
    if pid:
        processes.add(pid)
        return
    os.close(shut)
    os.write(arrived, b".")
    os.close(arrived)
    os.read(gate, 1)  # nothing ever comes: it ends when the server lets go of its end
    work(*arguments)
    sys.exit()

def run():
    os.close(arrived)
    here = b"".join(iter(lambda: os.read(arrivals, 100), b""))
    assert len(here) == len(processes)
    os.close(shut)
    while processes:
        pid, status = os.wait()
        processes.remove(pid)
        if status:  # it has said why; the others might wait for it
            for other in processes:
                os.kill(other, signal.SIGKILL)
            sys.exit(1)
"""


def row(number, t):
    """Return what the process of a number logs at a time."""
    values = {f"k{k}": number + (t * 10 + k) / 7 for k in range(8)}
    return values | {"count": number * 1_000_000 + t, "text": f"{number} at {t}"}


CROWD_AT_ONE_FILE = (
    SERVER
    + inspect.getsource(row)
    + """
import traininglog.frames  # what is slow to import, for those who look

path, crowd, rows, readers = sys.argv[1], *map(int, sys.argv[2:])

def write(number):
    log = SQLiteLog(path)
    log.status["number"] = number
    for t in range(rows):
        here = log[t]
        for key, value in row(number, t).items():
            here[key] = value
        log.status["iterations_done"] = t
        if number % 2 and t % 25 == 0:  # half of them at full speed, half of them for a while
            time.sleep(0.25)
    log.close()

ORDER = {"running": 0, "finished": 1}

def look():
    store = Store(path, readonly=True)
    expected = {}  # by run: all that it will log, in order
    counts = {}  # by run: how many of its values have been seen
    states = {}
    looks, partial = 0, 0
    while list(states.values()) != ["finished"] * crowd:
        table = store.runs(heads=False)
        assert states.keys() <= set(table["uuid"]), "a run is gone"
        for uuid, state, count in zip(table["uuid"], table["state"], table["values"]):
            before = states.get(uuid, "running")
            assert state in ORDER, f"the run of a process that is well is told to be {state}"
            assert ORDER[state] >= ORDER[before], f"it was {before}, and is {state}"
            assert count >= counts.get(uuid, 0), f"{count} values, after {counts[uuid]}"
            assert state == "running" or count == rows * 10, f"finished with {count} values"
            counts[uuid], states[uuid] = count, state
        under_way = list(table["uuid"][table["state"] == "running"])
        for uuid in random.sample(under_way, min(4, len(under_way))):
            with store.log(uuid, readonly=True) as log:
                frame = log.to_dataframe(layout="long")
                number = log.status.get("number")
            found = {(t, key): value for t, key, value in frame.itertuples(index=False)}
            count = len(found)
            assert count == len(frame), "a value twice"
            assert count >= counts[uuid], f"{count} values, after {counts[uuid]}"
            counts[uuid] = count
            if number is None:
                assert not found, "values, but not the status that was set before them"
                continue
            if number not in expected:
                expected[number] = [
                    (t, key, value) for t in range(rows) for key, value in row(number, t).items()
                ]
            # What is seen is what was assigned up to some moment: nothing is missing in between.
            wanted = {(t, key): value for t, key, value in expected[number][:count]}
            assert found == wanted, set(found.items()) ^ set(wanted.items())
            partial += 0 < count < rows * 10
        looks += 1
        time.sleep(0.02)
    store.close()
    os.write(1, f"{looks} {partial}\\n".encode())

for _ in range(readers):
    fork(look)
for number in range(crowd):
    fork(write, number)
run()
"""
)

COMING_AND_GOING = (
    SERVER
    + """
path, crowd, rounds = sys.argv[1], *map(int, sys.argv[2:])

def write():
    for number in range(rounds):
        with SQLiteLog(path) as log:
            log[number]["x"] = number

def look():
    with Store(path, readonly=True) as store:
        done = set()
        while len(done) < crowd * rounds:
            table = store.runs(heads=False)
            states = set(table["state"])
            assert states <= {"running", "finished"}, f"the runs are told to be {states}"
            now = set(table["uuid"][table["state"] == "finished"])
            assert done <= now, "a run is told to be running that was finished"
            done = now
            for uuid in set(table["uuid"]) - done:
                state = store.state(uuid)
                assert state in ("running", "finished"), f"a run is told to be {state}"

import traininglog.frames

for _ in range(2):
    fork(look)
for _ in range(crowd):
    fork(write)
run()
"""
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def complete(script, *arguments):
    """Run a script in which nobody may complain, and return what its processes printed."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        out, errors = process.communicate(timeout=GUARD + 4 * CROWD)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and all that it has forked
        pytest.fail(f"they have not come to an end: {process.communicate()}")
    assert not errors, errors
    assert process.returncode == 0
    return out.split("\n")[:-1]


def test_a_crowd_writes_while_others_look_and_nothing_is_lost_nor_seen_wrong(path):
    """Each of them 5,000 values; what a reader sees of a run is always a beginning of it."""
    Store(path, create=True).close()
    told = complete(CROWD_AT_ONE_FILE, path, CROWD, ROWS, READERS)
    looks = [tuple(map(int, line.split())) for line in told]
    assert len(looks) == READERS
    # They have seen runs that were being written: else this would show nothing.
    assert all(times >= 2 for times, _ in looks), looks
    assert sum(partial for _, partial in looks) > 0, looks

    with Store(path) as store:
        assert store.check().ok
        table = store.runs(heads=False)
        assert table["state"].to_list() == ["finished"] * CROWD
        assert table["values"].to_list() == [ROWS * 10] * CROWD
        numbers = set()
        for uuid in table["uuid"]:
            with store.log(uuid, readonly=True) as log:
                number = log.status["number"]
                assert log.to_dict() == {t: row(number, t) for t in range(ROWS)}
                assert log.status["iterations_done"] == ROWS - 1
            numbers.add(number)
    assert numbers == set(range(CROWD))
    assert harness.tails(path) == []


def test_a_run_whose_process_is_well_is_never_told_to_be_lost(path):
    """Neither as it begins nor as it ends, however often one looks."""
    Store(path, create=True).close()
    complete(COMING_AND_GOING, path, 4, 15)


FIRST_OPENING = (
    SERVER
    + """
path, crowd = sys.argv[1], int(sys.argv[2])

def begin(number):
    with SQLiteLog(path) as log:
        log[number]["x"] = number / 7
        uuid = log.h_uuid
    os.write(1, f"{uuid} {number}\\n".encode())

for number in range(crowd):
    fork(begin, number)
run()
"""
)


def test_a_crowd_that_opens_a_file_which_is_not_there_makes_it_once(tmp_path):
    for attempt in range(3):
        path = tmp_path / f"{attempt}.db"
        told = dict(line.split() for line in complete(FIRST_OPENING, path, CROWD))
        assert sorted(map(int, told.values())) == list(range(CROWD))
        with Store(path) as store:
            assert store.check().ok
            table = store.runs(heads=False)
            assert set(table["uuid"]) == set(told)
            assert table["state"].to_list() == ["finished"] * CROWD
            for uuid, number in told.items():
                with store.log(uuid, readonly=True) as log:
                    assert log.to_dict() == {int(number): {"x": int(number) / 7}}
        assert harness.tails(path) == []
        # Nothing that only the making of it needed is left, either.
        assert {found.name for found in tmp_path.glob(f"{path.name}*")} <= {
            path.name, f"{path.name}-owners",
        }  # fmt: skip
