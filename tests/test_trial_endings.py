"""How a trial ends is told truthfully: real processes, in every store that outlives one."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from patience import GUARD

from traininglog import RunBusy
from traininglog.trials import Status, TrialClient, TrialNotFound

PROGRAM = """
import os, signal, sys, threading, time
from traininglog.trials import Status, TrialClient

client = TrialClient(sys.argv[1])
client.set_project(name="p")
trial = client.new_trial(name="t", version="1", parameters={{"a": 1}})

def ready():
    print("ready", flush=True)
    for _ in range(600):  # a signal that comes just before a sleep begins is seen after it
        time.sleep(0.1)

{body}
"""


@pytest.fixture(params=["sqlite", "file"])
def where(request, tmp_path):
    return str(tmp_path / "runs.db") if request.param == "sqlite" else f"file:{tmp_path}/r.json"


def program(where, body):
    text = PROGRAM.format(body=textwrap.dedent(body))
    return subprocess.Popen(
        [sys.executable, "-c", text, where],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(where, body, number=None):
    """Run a program, perhaps send it a signal, and return it with the trial that it leaves."""
    child = program(where, body)
    if number is not None:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        child.send_signal(number)
    child.out, child.error = child.communicate(timeout=GUARD)
    with TrialClient(where) as client:
        (trial,) = client.fetch_trials()
        assert trial.metrics == {"loss": {n: n / 2 for n in range(100)}}
    return child, trial


LOGGING = "for n in range(100): trial.log_metrics(step=n, loss=n / 2)\n"
INSIDE = f"with trial:\n    {LOGGING}    "
OUTSIDE = f"trial.start()\n{LOGGING}"


@pytest.mark.parametrize("start", [INSIDE, OUTSIDE])
def test_a_program_that_ends_completes_its_trial(where, start):
    child, trial = ended(where, start + "pass\n")
    assert (child.returncode, child.error) == (0, "")
    assert trial.status is Status.Completed
    assert trial.errors == []
    assert trial.runtime > 0


@pytest.mark.parametrize("start", [INSIDE, OUTSIDE])
def test_an_exception_that_nobody_catches(where, start):
    child, trial = ended(where, start + "raise ValueError('out of luck')\n")
    assert child.returncode == 1
    assert child.error.endswith("ValueError: out of luck\n")
    assert child.error.count("Traceback") == 1
    assert trial.status is Status.Exception
    (error,) = trial.errors
    assert (error["type"], error["message"]) == ("ValueError", "out of luck")
    assert "raise ValueError" in error["traceback"] or "<string>" in error["traceback"]
    assert trial.runtime > 0


@pytest.mark.parametrize("start", [INSIDE, OUTSIDE])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_its_exit_code(where, start, number):
    child, trial = ended(where, start + "ready()\n", number)
    assert child.returncode == -number
    assert trial.status is Status.Interrupted
    assert trial.errors == []
    assert trial.runtime > 0
    if number == signal.SIGTERM:
        assert child.error == ""


@pytest.mark.parametrize("start", [INSIDE, OUTSIDE])
def test_a_killed_trial_is_broken_and_goes_on_as_one_curve(where, start):
    child, trial = ended(where, start + "ready()\n", signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert trial.status is Status.Broken
    with TrialClient(where) as client:
        assert client.fetch_trials({"status": "Broken"}) == [trial]
        assert client.fetch_trials({"status": "Running"}) == []
        again = client.set_trial(uid=trial.uid)
        with again:
            for n in range(100, 110):
                again.log_metrics(step=n, loss=n / 2)
            first, second = (run for run, _ in again.log.lineage())
            assert second.hex == trial.log
        found = client.store.trial(trial.uid)
        assert found.status is Status.Completed
        assert found.metrics == {"loss": {n: n / 2 for n in range(110)}}
        assert found.log == first.hex
        with again.log as log:
            assert list(log) == list(range(110))


def test_a_running_trial_reads_running_and_is_left_to_its_process(where):
    child = program(where, INSIDE + "ready()\n")
    assert child.stdout.readline() == "ready\n", child.stderr.read()
    with TrialClient(where) as client:
        (trial,) = client.fetch_trials()
        assert trial.status is Status.Running
        assert client.fetch_trials({"status": Status.Running}) == [trial]
        with pytest.raises(RunBusy, match=str(child.pid)):
            client.set_trial(uid=trial.uid).log_metrics(step=1, loss=1.0)
        child.kill()
        child.communicate()
        assert client.store.trial(trial.uid).status is Status.Broken


@pytest.mark.parametrize(
    ("leaving", "code", "status"),
    [
        ("sys.exit()", 0, Status.Completed),
        ("sys.exit(3)", 3, Status.Exception),
        ("trial.set_status(Status.Suspended)", 0, Status.Suspended),
        ("trial.set_status('Suspended'); sys.exit(0)", 0, Status.Suspended),
        ("os._exit(4)", 4, Status.Broken),
    ],
)
def test_other_ways_to_leave_a_block(where, leaving, code, status):
    child, trial = ended(where, INSIDE + leaving + "\n")
    assert child.returncode == code
    assert trial.status is status


def test_handlers_that_were_there_are_called_and_put_back(where):
    child, trial = ended(
        where,
        """
        called = []
        signal.signal(signal.SIGTERM, lambda number, frame: called.append(number))
        hook = lambda *error: print("hook", error[0].__name__)
        sys.excepthook = hook
        mine = signal.getsignal(signal.SIGTERM)
        with trial:
            for n in range(100): trial.log_metrics(step=n, loss=n / 2)
            print("ready", flush=True)
            while not called: time.sleep(0.01)
        assert signal.getsignal(signal.SIGTERM) is mine
        assert sys.excepthook is hook
        print("called", called)
        raise KeyError
        """,
        signal.SIGTERM,
    )
    assert child.out == "called [15]\nhook KeyError\n"
    assert trial.status is Status.Interrupted


def test_two_trials_of_one_process_are_both_interrupted(where):
    child = program(
        where,
        """
        other = TrialClient(client.store).new_trial(name="other", version="1", parameters={})
        with trial, other:
            other.log_metrics(step=1, loss=1.0)
            ready()
        """,
    )
    assert child.stdout.readline() == "ready\n", child.stderr.read()
    child.terminate()
    child.communicate(timeout=GUARD)
    with TrialClient(where) as client:
        assert {trial.status for trial in client.fetch_trials()} == {Status.Interrupted}


def test_a_client_may_be_made_and_used_in_any_thread(tmp_path):
    found = []

    def work():
        with TrialClient(tmp_path / "runs.db") as client:
            with client.new_trial(parameters={}) as trial:
                trial.log_metrics(step=1, loss=1.0)
            found.append(client.store.trial(trial.uid).status)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [Status.Completed]


def test_a_forked_child_says_nothing_of_its_parents_trial(where):
    _, trial = ended(
        where,
        """
        import warnings
        with trial:
            for n in range(100): trial.log_metrics(step=n, loss=n / 2)
            warnings.simplefilter("ignore")
            if os.fork() == 0:
                sys.exit(0) if sys.argv[1].startswith("file") else os._exit(0)
            os.wait()
            assert client.store.trial(trial.uid).status is Status.Running
        """,
    )
    assert trial.status is Status.Completed


def test_a_reader_tells_a_process_from_another_that_got_its_number(where):
    _, trial = ended(where, INSIDE + "os._exit(0)\n")
    with TrialClient(where) as client:
        record = client.store.records.get("trial", trial.uid)
        owner = record["owner"] | {"pid": os.getpid()}
        changed = record | {"edit": record["edit"] + 1, "token": "x", "owner": owner}
        assert client.store.records.replace("trial", changed, record["edit"])
        assert client.store.trial(trial.uid).status is Status.Broken


# -- many processes -------------------------------------------------------------------------

CROWD = """
import os, sys
import traininglog.jsonfile.trials, traininglog.sqlite.trials  # here, once for all of them
from traininglog.trials import Status, TrialClient

{work}

where, count = sys.argv[1], int(sys.argv[2])
ready, start = os.pipe(), os.pipe()
for number in range(count):
    if os.fork() == 0:
        os.close(start[1])
        client = TrialClient(where)
        os.write(ready[1], b".")
        os.read(start[0], 1)  # until all of them are ready
        work(client)
        sys.exit()
for _ in range(count):
    os.read(ready[0], 1)
os.close(start[1])
sys.exit(sum(os.wait()[1] != 0 for _ in range(count)))
"""


def crowd(where, count, work):
    """Have so many processes do some work at once; return the lines that they print."""
    text = CROWD.format(work=textwrap.dedent(work))
    done = subprocess.run(
        [sys.executable, "-c", text, where, str(count)],
        capture_output=True, text=True, timeout=GUARD, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_twelve_workers_reserve_nine_trials(where):
    with TrialClient(where) as client:
        client.set_project(name="p")
        for n in range(9):
            client.new_trial(parameters={"n": n}, force=True, version="1")
    got = crowd(
        where,
        12,
        """
        def work(client):
            taken = client.fetch_and_update_trial(
                {"status": "CreatedGroup"}, "set_trial_status", Status.Running
            )
            if taken is not None:
                logger = client.set_trial(uid=taken.uid)
                with logger:
                    for step in range(20):
                        logger.log_metrics(step=step, worker=taken.parameters["n"])
            os.write(1, f"{None if taken is None else taken.parameters['n']}\\n".encode())
        """,
    )
    assert sorted(got) == sorted([*map(str, range(9)), "None", "None", "None"])
    with TrialClient(where) as client:
        for trial in client.fetch_trials():
            assert trial.status is Status.Completed
            assert trial.metrics == {"worker": dict.fromkeys(range(20), trial.parameters["n"])}


def test_processes_that_make_the_same_trial_get_revisions_of_it(where):
    crowd(
        where,
        4,
        """
        def work(client):
            client.set_project(name="p")
            for _ in range(3):
                with client.new_trial(parameters={"a": 1}, version="1") as trial:
                    trial.log_metrics(step=1, loss=1.0)
        """,
    )
    with TrialClient(where) as client:
        trials = client.fetch_trials(sort="revision")
    assert [trial.revision for trial in trials] == list(range(12))


def test_a_worker_is_attached_by_its_environment(where, monkeypatch):
    with TrialClient(where) as client:
        client.set_project(name="p")
        client.set_group(name="g")
        made = client.new_trial(parameters={"lr": 0.5}, version="1")
    monkeypatch.setenv("TRAININGLOG_PROJECT", "p")
    monkeypatch.setenv("TRAININGLOG_GROUP", "g")
    monkeypatch.setenv("TRAININGLOG_TRIAL", made.uid)
    monkeypatch.setenv("TRAININGLOG_STORE", where)
    with TrialClient() as client:
        client.log_metrics(step=1, loss=1.0)
        client.finish()
        assert (client.project.name, client.group.name) == ("p", "g")
        assert client.store.trial(made.uid).metrics == {"loss": {1: 1.0}}
    monkeypatch.setenv("TRAININGLOG_TRIAL", "f" * 64 + "_0")
    with pytest.raises(TrialNotFound):
        TrialClient()
