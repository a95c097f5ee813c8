"""Closing a client or a store ends what was started by it, and one failure takes no other along."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from patience import GUARD

from traininglog import StoreFailed, TrainingLogWarning
from traininglog.trials import Multiplexer, Project, Status, Trial, TrialClient, TrialStore
from traininglog.trials.surroundings.environments import environment


@pytest.fixture(params=["memory", "sqlite", "file"])
def where(request, tmp_path):
    return {
        "memory": "memory:", "sqlite": str(tmp_path / "runs.db"), "file": f"file:{tmp_path}/r.json",
    }[request.param]  # fmt: skip


def fetched(client, where):
    """Return the trials of a store that was closed: of one in memory by the client itself."""
    if where == "memory:":
        return client.fetch_trials()
    with TrialClient(where) as other:
        trials = other.fetch_trials()
        for trial in trials:
            assert trial.metrics is not None
        return trials


class Left(Exception):
    pass


LEAVING = [
    (None, Status.Completed, None),
    (Left("out of luck"), Status.Exception, "out of luck"),
    (KeyboardInterrupt(), Status.Interrupted, None),
    (SystemExit(0), Status.Completed, None),
    (SystemExit(3), Status.Exception, "3"),
]


def ways():
    """Return the ways in which a client, or its store, is closed."""

    @contextlib.contextmanager
    def finally_(client):
        try:
            yield client
        finally:
            client.close()

    @contextlib.contextmanager
    def store(client):
        with client.store:
            yield client

    return [
        pytest.param(lambda client: client, id="with client"),
        pytest.param(contextlib.closing, id="closing"),
        pytest.param(finally_, id="finally"),
        pytest.param(store, id="with store"),
    ]


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize(("error", "status", "message"), LEAVING)
def test_a_trial_that_is_left_running_ends_as_its_client_is_left(
    where, way, error, status, message
):
    client = TrialClient(where)
    with contextlib.suppress(Left, KeyboardInterrupt, SystemExit), way(client):
        trial = client.new_trial(version="1", parameters={"a": 1})
        client.log_metrics(step=1, loss=1.0)
        if error is not None:
            raise error
    assert trial.ended
    (found,) = fetched(client, where)
    assert found.status == status
    assert [one["message"] for one in found.errors] == ([] if message is None else [message])
    assert found.metrics == {"loss": {1: 1.0}}
    assert found.runtime > 0


def test_all_trials_of_a_client_are_ended_and_those_of_others_are_not(where, tmp_path):
    other = TrialClient(tmp_path / "other.db")
    elsewhere = other.new_trial(version="1", parameters={}).start()
    with TrialClient(where) as client:
        first = client.new_trial(version="1", parameters={"a": 1}).start()
        second = client.new_trial(version="1", parameters={"a": 2}, force=True).start()
        waiting = client.new_trial(version="1", parameters={"a": 3}, force=True)
        bare = client.store.new_trial(Trial("bare"))
        client.store.log_trial_metrics(bare, step=1, loss=2.0)
    assert first.ended
    assert second.ended
    assert not waiting.ended
    assert [trial.status for trial in fetched(client, where)] == [
        Status.Completed, Status.Completed, Status.CreatedGroup, Status.Completed,
    ]  # fmt: skip
    assert elsewhere.running
    assert other.trial.status is Status.Running
    other.close()
    other.close()


def test_a_status_that_the_program_has_set_stays(where):
    with TrialClient(where) as client:
        client.new_trial(version="1", parameters={}).start().set_status(Status.Suspended)
    (found,) = fetched(client, where)
    assert found.status is Status.Suspended


def test_a_block_of_the_client_starts_the_trial_that_was_made_before(where):
    client = TrialClient(where)
    client.new_trial(version="1", parameters={"a": 1})
    with client as entered:
        assert entered is client
        assert client.trial.running
        with client.chrono("x"):
            pass
    (found,) = fetched(client, where)
    assert found.status is Status.Completed
    assert found.chronos["x"]["count"] == 1


def test_a_trial_that_the_settings_name_is_not_started_by_looking(tmp_path, monkeypatch):
    with TrialClient(tmp_path / "runs.db") as client:
        trial = client.new_trial(version="1", parameters={})
        monkeypatch.setenv("TRAININGLOG_TRIAL", trial.uid)
        with TrialClient(tmp_path / "runs.db") as worker:
            assert worker.trial.uid == trial.uid
    with TrialClient(tmp_path / "runs.db") as client:
        assert client.trial.status is Status.CreatedGroup


def test_a_client_reports_after_its_block(where, capsys):
    with TrialClient(where) as client:
        client.new_trial(version="1", parameters={"a": 1})
        client.log_metrics(step=1, loss=1.0)
    client.report()
    assert '"Completed"' in capsys.readouterr().out
    assert client.to_json()["metrics"] == {"loss": {1: 1.0}}


def test_a_trial_that_was_ended_elsewhere_keeps_its_status(where):
    """By the store's verb, or by another logger of the same trial."""
    with TrialClient(where) as client:
        first = client.new_trial(version="1", parameters={}).start()
        second = client.set_trial(uid=first.uid, force=True).start()
        second.finish(exc_val=Left("out of luck"))
        first.finish()
        third = client.new_trial(version="1", parameters={"a": 1}).start()
        client.store.log_trial_finish(third.uid, Left)
        assert not third.ended
    assert third.ended
    assert [trial.status for trial in fetched(client, where)] == [Status.Exception] * 2


def test_a_client_that_is_closed_waits_for_the_environment_of_a_trial_ended_elsewhere(
    where, monkeypatch
):
    """It is gathered in a thread, and kept through the client's store."""
    gathered = threading.Event()

    def gather():
        time.sleep(0.3)
        found = environment()
        gathered.set()
        return found

    monkeypatch.setattr("traininglog.trials.logger.environment", gather)
    with TrialClient(where) as client:
        trial = client.new_trial(version="1", parameters={}).start()
        client.store.log_trial_finish(trial.uid, Left)
    assert gathered.is_set()


@pytest.mark.parametrize(
    ("arguments", "status", "kinds"),
    [
        ((), Status.Completed, []),
        ((None, None, None), Status.Completed, []),
        ((Left, Left("x"), None), Status.Exception, ["Left"]),
        ((Left,), Status.Exception, ["Left"]),
        ((None, Left("x")), Status.Exception, ["Left"]),
        ((UnicodeDecodeError,), Status.Exception, ["UnicodeDecodeError"]),
        ((KeyboardInterrupt,), Status.Interrupted, []),
    ],
)
@pytest.mark.parametrize("verb", ["trial", "client", "store"])
def test_a_trial_is_finished_by_what_an_exit_is_called_with(verb, arguments, status, kinds):
    client = TrialClient("memory:")
    trial = client.new_trial(version="1", parameters={}).start()
    if verb == "store":
        client.store.log_trial_finish(trial.uid, *arguments)
    else:
        {"trial": trial, "client": client}[verb].finish(*arguments)
    (found,) = client.fetch_trials()
    assert found.status is status
    assert [error["type"].rpartition(".")[2] for error in found.errors] == kinds


# -- one that fails -------------------------------------------------------------------------


class Failing(TrialStore):
    """A store in which the trials of some names cannot be ended."""

    def end(self, trial, status, error=None):
        found = self.trial(trial if isinstance(trial, str) else trial.uid)
        if found.name in ("bad", "worse"):
            raise {"bad": StoreFailed, "worse": ZeroDivisionError}[found.name](f"{found.name} luck")
        return super().end(trial, status, error)


def failing():
    return TrialClient(Failing(TrialClient("memory:").store.records))


def test_a_trial_that_cannot_be_ended_keeps_no_other_from_it():
    client = failing()
    for name in ("first", "bad", "second", "worse", "last"):
        client.new_trial(name=name, version="1", parameters={}, force=True).start()
    with (
        pytest.raises(StoreFailed, match="bad luck"),
        pytest.warns(TrainingLogWarning, match="worse luck"),
    ):
        client.close()
    assert client.store.closed
    ended = {trial.name for trial in client.fetch_trials({"status": "Completed"})}
    assert ended == {"first", "second", "last"}


def test_what_left_a_client_is_not_hidden_by_a_trial_that_cannot_be_ended():
    client = failing()
    with (  # noqa: PT012, PT031 - what is raised is raised in a block
        pytest.raises(Left, match="own"),
        pytest.warns(TrainingLogWarning, match="bad luck"),
        client,
    ):
        client.new_trial(name="bad", version="1", parameters={}).start()
        raise Left("own")


def test_of_several_stores_all_are_closed(tmp_path):
    class Records:
        def __init__(self, records):
            self._records = records
            self.closed = False

        def __getattr__(self, name):
            return getattr(self._records, name)

        def close(self):
            self.closed = True
            raise StoreFailed("out of luck")

    records = [Records(TrialClient("memory:").store.records) for _ in range(3)]
    store = Multiplexer(*records)
    store.new_project(Project("p"))
    with (
        pytest.raises(StoreFailed, match="out of luck"),
        pytest.warns(TrainingLogWarning, match="left out"),
    ):
        store.close()
    assert [one.closed for one in records] == [True] * 3


PROGRAM = """
import os, signal, sys, threading, time
from traininglog.trials import TrialClient

def ready():
    print("ready", flush=True)
    for _ in range(600):
        time.sleep(0.1)

def started(where, **options):
    client = TrialClient(where)
    trial = client.new_trial(version="1", parameters={{"a": 1}}, **options).start()
    trial.log_metrics(step=1, loss=0.5)
    return client, trial

{body}
"""


def program(tmp_path, body, number=None):
    text = PROGRAM.format(body=textwrap.dedent(body))
    child = subprocess.Popen(
        [sys.executable, "-c", text],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if number is not None:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        child.send_signal(number)
    out, error = child.communicate(timeout=GUARD)
    return child.returncode, out, error


def status_in(path):
    with TrialClient(path) as client:
        (trial,) = client.fetch_trials()
        assert trial.metrics == {"loss": {1: 0.5}}
        return trial.status, trial.errors


LOST = """
document, trial = started("file:r.json")
database, other = started("runs.db")
third, lost = started("lost.db")
lost.store.end = lambda *_: 1 / 0
last, fourth = started("last.db")
"""


@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [
        ("", Status.Completed, 0),
        ("raise ValueError('out of luck')", Status.Exception, 1),
        ("ready()", Status.Interrupted, -signal.SIGTERM),
    ],
)
def test_at_the_end_of_a_program_each_trial_is_ended_on_its_own(tmp_path, ending, status, code):
    """In whatever order the stores were opened, and though one of them cannot be ended."""
    number = signal.SIGTERM if code < 0 else None
    returned, _, error = program(tmp_path, LOST + ending, number)
    assert returned == code
    assert "ZeroDivisionError" in error
    assert "could not be ended" in error
    for where in (f"file:{tmp_path}/r.json", tmp_path / "runs.db", tmp_path / "last.db"):
        found, errors = status_in(where)
        assert found is status
        assert len(errors) == (status is Status.Exception)


@pytest.mark.parametrize("first", ["file:r.json", "memory:"])
def test_a_store_that_is_opened_while_another_trial_runs_ends_its_own_truthfully(tmp_path, first):
    """What closes stores at the end of a program runs after what ends their trials."""
    code, _, error = program(tmp_path, f"a, b = started({first!r})\nc, d = started('runs.db')\n")
    assert (code, error) == (0, "")
    assert status_in(tmp_path / "runs.db")[0] is Status.Completed


def test_a_store_that_is_closed_in_a_forked_child_ends_no_trial_of_its_parent(tmp_path):
    code, out, error = program(
        tmp_path,
        """
        import warnings

        # Its environment is looked up on a thread, and newer Pythons warn of a fork beside any.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        client, trial = started("file:r.json")
        child = os.fork()
        if not child:
            client.close()
            os._exit(0)
        os.waitpid(child, 0)
        print(trial.status, trial.ended)
        """,
    )
    assert (code, out, error) == (0, "Running False\n", "")
    assert status_in(f"file:{tmp_path}/r.json")[0] is Status.Completed


# -- handlers -------------------------------------------------------------------------------


def test_the_handler_of_a_signal_goes_with_the_last_trial_whatever_thread_ends_it(tmp_path):
    code, out, error = program(
        tmp_path,
        """
        hook = sys.excepthook
        client, trial = started("runs.db")
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        thread = threading.Thread(target=trial.finish)
        thread.start()
        thread.join()
        assert sys.excepthook is hook
        print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        client, trial = started("other.db")
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        trial.finish()
        print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        """,
    )
    assert (code, out, error) == (0, "True\nTrue\n", "")


def test_a_signal_after_the_last_trial_does_what_it_did_before_the_first(tmp_path):
    """Also where the main thread has had no time to take the handler back: it waits for a lock."""
    code, _, error = program(
        tmp_path,
        """
        client, trial = started("runs.db")
        def work():
            trial.finish()
            print("ready", flush=True)
            time.sleep(60)
        threading.Thread(target=work, daemon=True).start()
        threading.Event().wait(60)
        """,
        signal.SIGTERM,
    )
    assert (code, error) == (-signal.SIGTERM, "")
    assert status_in(tmp_path / "runs.db")[0] is Status.Completed


def test_a_handler_that_was_set_over_ours_and_calls_it_is_left_and_leads_to_the_first(tmp_path):
    code, out, error = program(
        tmp_path,
        """
        seen = []
        signal.signal(signal.SIGTERM, lambda *_: seen.append("first"))
        client, trial = started("runs.db")
        ours = signal.getsignal(signal.SIGTERM)
        def over(number, frame):
            seen.append("over")
            ours(number, frame)
        signal.signal(signal.SIGTERM, over)
        trial.finish()
        assert signal.getsignal(signal.SIGTERM) is over
        os.kill(os.getpid(), signal.SIGTERM)
        again, other = started("other.db")
        os.kill(os.getpid(), signal.SIGTERM)
        print(seen, other.signalled)
        other.finish()
        assert signal.getsignal(signal.SIGTERM) is over
        """,
    )
    assert (code, error) == (0, "")
    assert out == "['over', 'first', 'over', 'first'] True\n"


# -- threads --------------------------------------------------------------------------------


def test_what_threads_log_at_once_is_all_kept(where):
    """Series without steps, aggregators, chronos: nothing is read and moved on in two steps."""
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with TrialClient(where) as client:
            trial = client.new_trial(version="1", parameters={})
            from traininglog.trials import StatAggregator

            def work(number):
                for _ in range(100):
                    trial.log_metrics(score=float(number), other=1.0)
                    trial.log_metrics(aggregator=StatAggregator.lazy(0), mean=2.0)
                    with trial.chrono("block"):
                        pass

            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(switch)
    (found,) = fetched(client, where)
    assert sorted(found.metrics["score"]) == sorted([0.0, 1.0, 2.0, 3.0] * 100)
    assert len(found.metrics["other"]) == 400
    assert (found.metrics["mean"]["count"], found.metrics["mean"]["avg"]) == (400, 2.0)
    assert found.chronos["block"]["count"] == 400


def test_a_signal_handler_that_logs_to_a_series_overwrites_nothing(tmp_path):
    code, out, error = program(
        tmp_path,
        """
        client, trial = started("memory:")
        signal.signal(signal.SIGALRM, lambda *_: trial.log_metrics(score=1.0))
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
        for _ in range(3000):
            trial.log_metrics(score=0.0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(trial.metrics["score"].count(0.0))
        """,
    )
    assert (code, out, error) == (0, "3000\n", "")


# -- output ---------------------------------------------------------------------------------


def test_output_is_kept_from_a_plain_call_on_until_the_trial_ends(where, capsys):
    before = sys.stdout, sys.stderr
    with TrialClient(where) as client:
        trial = client.new_trial(version="1", parameters={})
        with trial:
            capture = trial.capture_output(2)
            for word in ("one", "two", "three"):
                print(word)
            assert trial.log.status["output"] == ["two", "three"]
            assert capture.output() == "two\nthree"
            print("begun", end="")
        assert (sys.stdout, sys.stderr) == before
        print("after")
        assert capture.lines == ["three", "begun"]
        assert trial.log.status["output"] == ["three", "begun"]
    assert capsys.readouterr().out == "one\ntwo\nthree\nbegunafter\n"


def test_captures_end_in_any_order_and_leave_the_streams_of_others(capsys):
    with TrialClient("memory:").new_trial(parameters={}) as trial:
        before = sys.stdout
        first, second = trial.capture_output(), trial.capture_output()
        print("both")
        first.stop()
        print("second")
        second.stop()
        second.stop()
        assert sys.stdout is before
        third = trial.capture_output()
        theirs = contextlib.redirect_stdout(sys.stderr)
        theirs.__enter__()
        third.stop()
        assert sys.stdout is not before
        theirs.__exit__(None, None, None)
        print("none")
        assert (first.lines, second.lines, third.lines) == (["both"], ["both", "second"], [])
    assert capsys.readouterr().out == "both\nsecond\nnone\n"


def test_a_line_is_printed_though_it_cannot_be_kept(capsys):
    trial = TrialClient("memory:").new_trial(parameters={}).start()
    trial.capture_output()
    trial.log.close()
    print("one")
    trial.finish()
    assert capsys.readouterr().out == "one\n"
    assert os.getpid() == trial.pid
