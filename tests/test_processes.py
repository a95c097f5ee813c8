"""Logs and the processes that hold them: forks, pickles, and pools of workers."""

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap

import pytest
from patience import GUARD

from traininglog import ForkedLog, SQLiteLog, Store, TrainingLog

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def in_fork(act):
    """Run a function in a forked child; return the repr of its result, or of its exception."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            result = act()
        except BaseException as error:  # noqa: BLE001 - it is reported to the parent
            result = f"{type(error).__name__}: {error}"
        os.write(writer, str(result).encode())
        gc.collect()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        text = stream.read().decode()
    assert os.waitpid(pid, 0)[1] == 0
    return text


USES = {
    "write": lambda log, store: log[2].update(x=2),
    "read a flushed value": lambda log, store: log[1]["x"],
    "read a pending value": lambda log, store: log[3]["x"],
    "len": lambda log, store: len(log),
    "status": lambda log, store: log.status["iterations_done"],
    "set status": lambda log, store: log.status.update(iterations_done=5),
    "flush": lambda log, store: log.flush(),
    "commit": lambda log, store: log.commit(),
    "resume": lambda log, store: log.resume(),
    "lineage": lambda log, store: log.lineage(),
    "to_dataframe": lambda log, store: log.to_dataframe(),
    "state_dict": lambda log, store: log.state_dict(),
    "pickle": lambda log, store: pickle.dumps(log),
    "store.runs": lambda log, store: store.runs(heads=False),
    "store.check": lambda log, store: store.check(),
    "store.backup": lambda log, store: store.backup("/nonexistent/x"),
    "store.delete": lambda log, store: store.delete(log.uuid),
}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_whatever_a_forked_child_does_with_its_parents_log_is_refused(path):
    """A connection that is carried over a fork loses data silently; so it is never used."""
    log = SQLiteLog(path)
    store = Store(path)
    log[1]["x"] = 1
    log.flush()
    log[3]["x"] = 3
    for name, use in USES.items():
        assert in_fork(lambda use=use: use(log, store)).startswith("ForkedLog: "), name
    log[2]["x"] = 2
    log.close()
    store.close()
    with SQLiteLog(path, log.uuid) as again:
        assert again.to_dict() == {1: {"x": 1}, 2: {"x": 2}, 3: {"x": 3}}
    with Store(path) as store:
        assert store.runs(heads=False)["state"].to_list() == ["finished"]
        assert store.check().ok


def test_a_forked_child_may_let_go_of_its_parents_log(path):
    """Closing it, leaving its `with` and dropping it do nothing there: the run is the parent's."""
    log = SQLiteLog(path)
    log[1]["x"] = 1

    def close():
        log.close()
        return "closed"

    def leave():
        with log:
            return "left"

    assert in_fork(close) == "closed"
    assert in_fork(leave) == "left"
    log[2]["x"] = 2
    log.flush()
    with Store(path) as store:
        assert store.state(log.uuid) == "running"
        assert len(store.log(log.uuid, readonly=True)) == 2
    log.close()


def test_a_forked_child_opens_the_run_or_one_of_its_own_anew(path):
    log = SQLiteLog(path)
    log[1]["x"] = 1
    log.flush()

    def own():
        with Store(path) as store:
            states = store.runs(heads=False)["state"].to_list()
        with SQLiteLog(path, log.uuid, readonly=True) as parents:
            seen = parents[1]["x"]
        with SQLiteLog(path) as mine:
            mine[1]["x"] = "child"
            return f"{mine.h_uuid} {states} {seen}"

    uuid, _, rest = in_fork(own).partition(" ")
    assert rest == "['running'] 1"
    log[2]["x"] = 2
    log.close()
    with Store(path) as store:
        assert store.log(uuid, readonly=True)[1] == {"x": "child"}
        assert store.log(log.uuid, readonly=True).to_dict() == {1: {"x": 1}, 2: {"x": 2}}
        assert store.runs(heads=False)["state"].to_list() == ["finished", "finished"]
        assert store.check().ok


def test_many_forks_of_a_writing_process_do_no_harm(path):
    log = SQLiteLog(path)
    for t in range(20):
        log[t]["x"] = t
        log.flush()
        pid = os.fork()
        if pid == 0:
            del log
            gc.collect()
            os._exit(0)
        os.waitpid(pid, 0)
        assert log[t]["x"] == t
    log.close()
    with Store(path) as store:
        assert store.check().ok
        assert store.runs(heads=False)["rows"].to_list() == [20]


def test_a_log_in_memory_is_copied_by_a_fork_like_any_object():
    log = TrainingLog()
    log[1]["x"] = 1

    def use():
        log[2]["x"] = 2
        return log.to_dict()

    assert in_fork(use) == "{1: {'x': 1}, 2: {'x': 2}}"
    assert log.to_dict() == {1: {"x": 1}}


SCRIPT = """
import multiprocessing, sys
from traininglog import SQLiteLog, Store

def work(log):
    for t in range(10, 15):
        log[t]["x"] = t
    return log.h_uuid

def own(path):
    log = SQLiteLog(path)
    log[1]["x"] = 1
    return log.h_uuid

if __name__ == "__main__":
    path, method = sys.argv[1:]
    log = SQLiteLog(path)
    log[1]["x"] = 1
    with multiprocessing.get_context(method).Pool(2) as pool:
        children = pool.map(work, [log, log])
        owners = pool.map(own, [path, path])
        pool.close()
        pool.join()
    log[2]["x"] = 2
    log.close()
    store = Store(path)
    for uuid in children:
        child = store.log(uuid, readonly=True)
        assert child.to_dict() == {t: {"x": t} for t in (1, *range(10, 15))}, child.to_dict()
        assert [run.hex for run, _ in child.lineage()] == [uuid, log.h_uuid]
    assert log.h_uuid not in children and len(set(children + owners)) == 4
    assert store.log(log.uuid, readonly=True).to_dict() == {1: {"x": 1}, 2: {"x": 2}}
    states = store.runs(heads=False)["state"]
    assert sorted(states) == ["finished"] * 5, states
    assert store.check().ok
    print("well")
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_are_given_a_log_write_children_of_it(tmp_path, path, method):
    """A pickled log resumes at its point in the worker; nobody touches the parent's run."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script, path, method],
        capture_output=True, text=True, timeout=GUARD, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("well\n", "")


def test_looking_at_an_unpickled_log_leaves_no_run_behind(path):
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
        copy = pickle.loads(pickle.dumps(log))
        assert copy.to_dict() == {1: {"x": 1}}
        copy.close()
    with Store(path) as store:
        assert len(store.runs(heads=False)) == 1


def test_an_error_of_a_forked_log_says_what_to_do(path):
    with SQLiteLog(path) as log:
        text = in_fork(lambda: log[1]["x"])
        assert "anew" in text
        assert str(path) in text
    assert issubclass(ForkedLog, Exception)


LEFT = {
    "by a thread that has ended": """
        thread = threading.Thread(target=make, daemon=True)
        thread.start()
        thread.join()
    """,
    "to the collector, in a thread that the end cuts short": """
        # It is in the midst of closing the log when the program ends.
        from traininglog.writer.writer import Writer

        closing, save_all = threading.Event(), Writer._save_all

        def slow(*args, **options):
            closing.set()
            time.sleep(1.0)
            return save_all(*args, **options)

        def work():
            make()
            gc.collect()

        Writer._save_all = slow
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        closing.wait()
    """,
    "to the collector, in a thread that is busy and ends so": """
        from traininglog.forks import in_use

        def work():
            with in_use():
                make()
                gc.collect()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join()
    """,
    "by a thread that still holds it": """
        made = threading.Event()

        def work():
            log = SQLiteLog(path)
            log[1]["x"] = 1.5
            made.set()
            time.sleep(60)

        threading.Thread(target=work, daemon=True).start()
        made.wait()
    """,
    "by a thread that opens more, and more, until it is stopped": """
        made = threading.Event()

        def work():
            while True:
                make()
                made.set()

        threading.excepthook = lambda *_: None  # it is told when it was too late
        threading.Thread(target=work, daemon=True).start()
        made.wait()
        time.sleep(0.2)
    """,
}


@pytest.mark.parametrize("way", LEFT)
def test_a_log_that_a_daemon_thread_leaves_open_is_closed_at_the_end(tmp_path, path, way):
    """It is finished, not lost, whatever that thread was doing."""
    start = f"""
        import gc, threading, time
        from traininglog import SQLiteLog

        path = {str(path)!r}

        def make():
            log = SQLiteLog(path)
            log[1]["x"] = 1.5

    """
    script = tmp_path / "script.py"
    text = textwrap.dedent(start) + textwrap.dedent(LEFT[way])
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=GUARD, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    with Store(path) as store:
        runs = store.runs(heads=False)
        assert set(runs["state"]) == {"finished"}
        for uuid in runs["uuid"][runs["values"] > 0]:
            assert store.log(uuid, readonly=True) == {1: {"x": 1.5}}
        assert (runs["values"] > 0).any()
