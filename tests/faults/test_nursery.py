"""What is forked from a nursery is what a fresh interpreter would be, up to its very end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faults import harness, nursery
from patience import GUARD

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

IMPORTS = "import numpy"  # which adds filters of warnings, and might start threads

BEGIN = """
import atexit, os, signal, sys, threading, time, warnings

def is_open(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True

print(sys.argv, sys.flags, sys.stdin.read())
print(warnings.filters)
print([place for place in range(1000) if is_open(place)], threading.active_count())
print([signal.getsignal(number) for number in sorted(signal.valid_signals())])
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), os.getcwd(), flush=True)

class Last:
    def __del__(self):
        print("what is left is finalized")

last = Last()
atexit.register(print, "exit handlers run")
threading.Thread(target=lambda: (time.sleep(0.02), print("threads are waited for"))).start()
"""

ENDINGS = {
    "return": "",
    "sys.exit": "sys.exit(3)",
    "an exception": "1 / 0",
    "a warning": "warnings.warn('an error here')",
    "an exit handler that fails": "atexit.register(lambda: 1 / 0)",
    "os._exit": "os._exit(4)",
    "os.abort": "os.abort()",
    "exec": "os.execv('/bin/sh', ['sh', '-c', 'exit 5'])",
    "SIGINT": "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL); time.sleep(60)",
}


def run(folder, script, *arguments, imports=IMPORTS):
    """Run a script in a child; return its status, what it printed, and its last complaint."""
    out, errors = folder / "out", folder / "errors"
    with out.open("wb") as one, errors.open("wb") as other:
        child = nursery.start(
            script, *arguments, imports=imports, stdout=one.fileno(), stderr=other.fileno()
        )
    return child.wait(), out.read_text(), errors.read_text().split("\n")[-2:]


@pytest.mark.parametrize("name", ENDINGS)
def test_a_child_is_as_a_fresh_interpreter_and_ends_as_one(tmp_path, name):
    script = BEGIN + ENDINGS[name]
    fresh = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{IMPORTS}\n{script}", "a", "b c"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=GUARD, check=False,
    )  # fmt: skip
    status, out, errors = run(tmp_path, script, "a", "b c")
    assert (status, out.split("\n")) == (fresh.returncode, fresh.stdout.split("\n"))
    assert errors == fresh.stderr.split("\n")[-2:]


def test_a_child_is_killed_and_its_status_told_though_others_live(tmp_path):
    with (tmp_path / "out").open("wb") as file:
        some = [
            nursery.start("import time; time.sleep(60)", imports=IMPORTS, stdout=file.fileno())
            for _ in range(3)
        ]
    assert [child.poll() for child in some] == [None] * 3
    for child, number in zip(some, (signal.SIGTERM, signal.SIGKILL, signal.SIGHUP), strict=True):
        child.send_signal(number)
        assert child.wait() == -number
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_nursery_holds_nothing_that_a_child_could_share(tmp_path):
    """No thread, and no file but its standard streams and its end of the channel."""
    _, out, _ = run(tmp_path, "import os; print(os.getppid())", imports=harness.IMPORTS)
    process = Path("/proc") / out.strip()
    assert len(list((process / "task").iterdir())) == 1
    assert len(list((process / "fd").iterdir())) == 4
