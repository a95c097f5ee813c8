"""The clock on the wall may be set, back or forward, at any moment: nothing depends on it.

A test cannot set the real one. So the processes here replace what Python reads it with, before they
import anything that might. That is fair: nothing else changes for a process when a clock is set.
`time.monotonic` is left alone because the system leaves it alone, too: CLOCK_MONOTONIC never jumps,
whoever sets the time, nor do the timeouts of locks and waits, which go by it. (`datetime.now` is
not replaced, as the stores do not use it; `created` would tell if they did.)
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from faults import harness
from patience import GUARD

from traininglog import RunBusy, SQLiteLog, Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals of POSIX")

BACK = -3600
FORWARD = 10 * 365 * 86_400
JUMPS = {"back": BACK, "forward": FORWARD}

CLOCK = """
import time

_time, _time_ns, _offset = time.time, time.time_ns, 0

def set_clock(offset):
    global _offset
    _offset = offset

time.time = lambda: _time() + _offset
time.time_ns = lambda: _time_ns() + _offset * 1_000_000_000

import json, os, signal, sys
from traininglog import RunBusy, SQLiteLog, Store

path, *arguments = sys.argv[1:]
BACK, FORWARD = -3600, 10 * 365 * 86_400
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@contextmanager
def process(script, *arguments):
    """Run a script that has a clock of its own, and be able to talk to it."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CLOCK + script, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        try:
            yield started
        finally:
            started.kill()


def output(script, *arguments, status=0):
    """Run a script that has a clock of its own to its end, and return what it printed."""
    with process(script, *arguments) as started:
        out, errors = started.communicate(timeout=GUARD)
    assert not errors, errors
    assert started.returncode == status
    return out


# -- order ------------------------------------------------------------------------------------

# Between flushes the clock is set; everything is written again and again, and the last write wins.
WRITE = """
log = SQLiteLog(path)
offsets = [0, FORWARD, BACK, 0, BACK, int(arguments[0])]
for n, offset in enumerate(offsets):
    set_clock(offset)
    log[n][f"key {n}"] = n
    for t in range(3):
        log[t].update(x=n + t / 7, text=f"{n}, {t}")
    if n > 1:
        del log[n - 1][f"key {n - 1}"]
    log.status.update({"n": n, f"status {n}": n})
    assert log[0]["x"] == n and log.status["n"] == n
    if n < len(offsets) - 1:
        log.flush()
    assert log[0]["x"] == n and log.status["n"] == n
if arguments[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
log.close()
"""

LOOK = """
set_clock(int(arguments[0]))
with Store(path) as store, store.log(store.latest(), readonly=True) as log:
    print(json.dumps([
        store.state(log.uuid), list(log.to_dict().items()), list(log.status.items()),
        log.keys_seen(), log.last("x"),
    ]))
"""


def written(state):
    """Return what LOOK has to find after WRITE, whatever the clock was."""
    rows = [
        [0, {"key 0": 0, "x": 5, "text": "5, 0"}],
        [1, {"x": 5 + 1 / 7, "text": "5, 1"}],
        [2, {"x": 5 + 2 / 7, "text": "5, 2"}],
        [5, {"key 5": 5}],
    ]
    status = {"iterations_done": 0, "epochs_done": 0, "_epoch_ends": [], "resumed_from": None}
    status |= {"n": 5} | {f"status {n}": n for n in range(6)}
    return [
        state, rows, [list(item) for item in status.items()], ["key 0", "x", "text", "key 5"],
        [2, 5 + 2 / 7],
    ]  # fmt: skip


@pytest.mark.parametrize("last", JUMPS)
def test_the_last_write_wins_however_the_clock_is_set_between_flushes(path, last):
    output(WRITE, path, JUMPS[last], "closed")
    for offset in (BACK, FORWARD):
        assert json.loads(output(LOOK, path, offset)) == written("finished")


@pytest.mark.parametrize("own", JUMPS)
@pytest.mark.parametrize("last", JUMPS)
def test_what_was_assigned_before_a_kill_is_recovered_at_any_time(path, last, own):
    """The clock of whoever recovers it differs from that of the dead by up to ten years."""
    output(WRITE, path, JUMPS[last], "killed", status=-signal.SIGKILL)
    assert harness.tails(path) != []
    assert json.loads(output(LOOK, path, JUMPS[own])) == written("lost")
    assert harness.tails(path) == []
    # By the time of this process, the dead one may have written last in ten years.
    with SQLiteLog(path) as other:
        other[1]["x"] = 1
    with Store(path) as store:
        assert store.check().ok
        first = store.find(store.runs(state="lost")["uuid"].item())
        with store.log(first) as log:
            log[0]["x"] = "later"
            log.status["n"] = "later"
        assert store.state(first) == "finished"
        with store.log(first, readonly=True) as log:
            assert log[0]["x"] == "later"
            assert log.status["n"] == "later"


# -- who is alive -----------------------------------------------------------------------------

# It sets its clock when it is told to, and then does nothing at all until it is told more.
HOLD = """
log = SQLiteLog(path)
log[0]["x"] = 0
log.flush()
print(log.h_uuid, flush=True)
for line in sys.stdin:
    set_clock(int(line))
    log[1]["x"] = int(line)
    log.flush()
    print("set", flush=True)
"""

ASK = """
set_clock(int(arguments[1]))
with Store(path) as store:
    told = [store.state(arguments[0]), *store.runs(heads=False)["state"]]
with SQLiteLog(path, arguments[0]) as log:
    try:
        log[2]["x"] = 2
    except RunBusy:
        told.append("busy")
print(*told)
"""


def test_a_run_is_running_and_busy_while_its_process_lives_whatever_the_clocks_say(path):
    with process(HOLD, path) as holder:
        uuid = holder.stdout.readline().strip()
        for offset in (BACK, FORWARD):
            holder.stdin.write(f"{offset}\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "set\n"
            with Store(path) as store:
                assert store.state(uuid) == "running"
            with SQLiteLog(path, uuid) as log, pytest.raises(RunBusy):
                log[2]["x"] = 2
            others = FORWARD if offset == BACK else BACK
            assert output(ASK, path, uuid, others) == "running running busy\n"
        holder.kill()
        holder.wait(GUARD)
    with Store(path) as store:
        assert store.state(uuid) == "lost"
        assert store.log(uuid, readonly=True).to_dict() == {0: {"x": 0}, 1: {"x": FORWARD}}
    # Now it can be written, at once and at any time.
    assert output(ASK, path, uuid, BACK) == "lost lost\n"


GO_ON = """
log = SQLiteLog(path)
print(log.h_uuid, flush=True)
set_clock(int(arguments[0]))
t = 0
while True:
    log[t]["x"] = t
    t += 1
    time.sleep(0.005)
"""


@pytest.mark.parametrize("jump", JUMPS)
def test_what_is_assigned_is_seen_by_others_in_a_moment_not_in_an_hour(path, jump):
    with process(GO_ON, path, JUMPS[jump]) as writer:
        uuid = writer.stdout.readline().strip()
        with Store(path) as store:
            for _ in range(3):
                with store.log(uuid, readonly=True) as log:
                    seen = len(log)
                    deadline = time.monotonic() + GUARD
                    while len(log) == seen:
                        assert time.monotonic() < deadline, f"nothing new after {seen} rows"
                        time.sleep(0.05)


# -- many runs --------------------------------------------------------------------------------

BEGIN = """
for number, offset in enumerate([0, FORWARD, BACK, 0]):
    set_clock(offset)
    with SQLiteLog(path) as log:
        log.status["name"] = f"run {number}"
        log[number]["x"] = number
"""


def test_runs_are_listed_in_the_order_in_which_they_were_made(path):
    """What each says of when that was is what its clock said."""
    output(BEGIN, path)
    names = [f"run {number}" for number in range(4)]
    with Store(path) as store:
        table = store.runs("x").set_index("name")
        # So it is with the clocks that were set that these were written.
        since = (table["created"] - table["created"]["run 0"]).dt.total_seconds()
        assert since["run 1"] == pytest.approx(FORWARD, abs=60)
        assert since["run 2"] == pytest.approx(BACK, abs=60)
        assert table["state"].to_list() == ["finished"] * 4
        assert table["x"].to_dict() == {name: number for number, name in enumerate(names)}

        assert list(table.index) == names
        assert store.to_dataframe()["value"].to_list() == [0, 1, 2, 3]
        assert store.latest().hex == table["uuid"]["run 3"]
        assert list(store.runs(limit=2)["name"]) == names[2:]
        assert store.check().ok


MAKE = """
set_clock(int(arguments[0]))
with SQLiteLog(path) as log:
    log.status["name"] = arguments[1]
    log[0]["x"] = 0
"""


def test_runs_that_were_merged_take_their_place_by_their_clock_and_new_ones_come_last(path):
    other = path.with_name("other.db")
    output(MAKE, other, BACK, "early elsewhere")
    output(MAKE, path, 0, "first")
    output(MAKE, path, 2 * BACK, "second, by a clock that is wrong")
    with Store(path) as store:
        store.merge(other)
        assert list(store.runs(heads=False)["name"]) == [
            "early elsewhere",
            "first",
            store.runs(heads=False)["name"][2],
        ]
        assert store.runs(heads=False)["name"][2].startswith("second")
        output(MAKE, path, BACK, "third")
        with SQLiteLog(path, store.latest()) as log:
            assert log.status["name"] == "third"
            clock = log.to_dataframe(index="wall")
            assert len(clock) == 1  # and its rows have the moments that its clock said
            log.resume()
            log[1]["x"] = 1
            child = log.uuid
        assert store.latest() == child
        copy = path.with_name("copy.db")
        with Store(copy, create=True) as merged:
            merged.merge(store)
            assert list(merged.runs(heads=False)["uuid"]) == list(store.runs(heads=False)["uuid"])
            assert merged.latest() == child


def test_a_run_from_elsewhere_takes_its_place_by_when_it_began(path):
    output(MAKE, path, FORWARD, "by a clock that is wrong")
    output(MAKE, path, 0, "second")
    with SQLiteLog(path, created=1e9) as log:
        log.status["name"] = "from elsewhere"
    with Store(path) as store:
        names = ["from elsewhere", "by a clock that is wrong", "second"]
        assert list(store.runs(heads=False)["name"]) == names


@pytest.mark.parametrize("where", ["sqlite", "file", "memory"])
def test_the_latest_trial_is_that_which_was_made_last(path, where):
    script = f"""
from traininglog.trials import Trial, TrialStore
from traininglog.stores import open_records
where = {{"sqlite": path, "file": f"file:{{path}}.json", "memory": "memory:"}}[{where!r}]
store = TrialStore(open_records(where))
for number, offset in enumerate([0, FORWARD, BACK, 0, 2 * BACK]):
    set_clock(offset)
    made = store.new_trial(Trial(f"t{{number}}"))
    store.add_trial_tags(made, number=number)
    assert store.latest().name == f"t{{number}}", store.latest()
print([trial.name for trial in store.fetch_trials()])
"""
    assert output(script, path) == "['t0', 't1', 't2', 't3', 't4']\n"


def test_trials_that_were_merged_are_the_latest_only_by_their_clock(path):
    make = """
from traininglog.trials import TrialClient
set_clock(int(arguments[0]))
TrialClient(path).new_trial(name=arguments[1], parameters={})
"""
    other = path.with_name("other.db")
    output(make, other, 2 * BACK, "elsewhere")
    output(make, path, 0, "first")
    output(make, path, BACK, "second")
    with Store(path) as store:
        store.merge(other)
    script = """
from traininglog.trials import TrialStore
from traininglog.stores import open_records
print(TrialStore(open_records(path)).latest().name)
"""
    assert output(script, path) == "second\n"
    output(make, path, BACK, "third")
    assert output(script, path) == "third\n"


RESUME = """
log = SQLiteLog(path)
set_clock(FORWARD)
for t in range(10):
    log[t]["x"] = "root"
log.status["iterations_done"] = 9
set_clock(BACK)
log.resume(at=4)
for t in range(5, 10):
    log[t]["x"] = "child"
log.status["iterations_done"] = 9
state = log.state_dict()
log[10]["x"] = "a step that the checkpoint does not know"
set_clock(FORWARD)
log.load_state_dict(state)
set_clock(0)
log[10]["x"] = "grandchild"
if arguments[0] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
log.close()
"""


@pytest.mark.parametrize("ending", ["closed", "killed"])
def test_a_run_is_resumed_as_one_curve_though_its_child_seems_to_be_older(path, ending):
    output(RESUME, path, ending, status=0 if ending == "closed" else -signal.SIGKILL)
    with Store(path) as store:
        assert store.check().ok
        table = store.runs(heads=False).set_index("uuid")
        parents = {uuid: parent for uuid, parent in table["resumed_from"].items() if parent}
        (youngest,) = set(table.index) - set(parents.values())
        with store.log(youngest, readonly=True) as log:
            values = [row["x"] for row in log.to_dict().values()]
            assert values == ["root"] * 5 + ["child"] * 5 + ["grandchild"]
            assert log.to_dataframe()["x"].to_list() == values
            assert log.status["iterations_done"] == 9
            lineage = log.lineage()
        assert [ancestor.resumed_at for ancestor in lineage] == [9, 4, None]
        uuids = [ancestor.uuid.hex for ancestor in lineage]
        assert table["state"].to_dict() == {
            uuids[2]: "finished", uuids[1]: "finished",
            uuids[0]: "finished" if ending == "closed" else "lost",
        }  # fmt: skip
        # It goes on from here, too, by the clock of this process.
        with store.log(youngest, resume=True) as log:
            log[11]["x"] = "great-grandchild"
            assert log.last("x") == (11, "great-grandchild")
            assert len(log) == 12
        assert set(store.runs(heads=False)["uuid"]) == {*uuids, log.h_uuid}


CLOSE_LATER = """
log = SQLiteLog(path)
log[0]["x"] = 0
log.flush()
with Store(path) as store:
    store.backup(arguments[0])
set_clock(int(arguments[1]))
log.close()
"""


@pytest.mark.parametrize("jump", JUMPS)
def test_a_merge_with_a_copy_that_was_made_before_does_not_undo_the_end_of_a_run(path, jump):
    """Nothing was assigned in between; the run was closed, and the clock was set before that."""
    copy = path.with_name("copy.db")
    output(CLOSE_LATER, path, copy, JUMPS[jump])
    with Store(path) as store, Store(copy) as other:
        store.merge(other)
        assert store.runs(heads=False)["state"].to_list() == ["finished"]
        other.merge(store)
        assert other.runs(heads=False)["state"].to_list() == ["finished"]
        for one in (store, other):
            assert one.log(one.latest(), readonly=True).to_dict() == {0: {"x": 0}}
