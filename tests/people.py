"""Users of one machine, each a process of its own that does what a test asks of it.

By numbers alone: nobody has to be known to the system. Only root can become somebody else, so that
the tests of this skip where they do not run as root.
"""

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

GROUP = 54300

# One process that has imported everything and forks each person: what a person imported later could
# be out of reach for who it has become by then.
_SERVER = """
import ast, atexit, json, os, signal, socket, sys, tempfile, threading, warnings
from pathlib import Path
import encodings.ascii, encodings.idna, encodings.utf_8_sig, pwd, grp, shutil
from typer.testing import CliRunner
import traininglog, traininglog.sqlite.repair.repair, traininglog.trials
from traininglog import *
from traininglog.errors import *
from traininglog.cli.app import app
def command(*words):
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output
def warm(folder):
    path = folder + "/runs.db"
    with SQLiteLog(path) as log:
        log[1]["x"] = 1.0
    with Store(path) as store:
        store.runs(), store.to_dataframe(), store.check()
    for words in (["runs"], ["show"], ["tail"], ["export"], ["check"]):
        command(*words, "--store", path)
    with Store(path) as store:
        store.delete(log.uuid)
    from traininglog.jsonfile.document import Document
    from traininglog.jsonfile.log import FileLog
    with FileLog(Document(Path(folder, "report.json"))) as log:
        log[1]["x"] = 1.0
with tempfile.TemporaryDirectory() as folder:
    warm(folder)
def serve(connection):
    stream = connection.makefile("rw")
    uid, groups, umask, folder = json.loads(stream.readline())
    os.setgroups(groups); os.setgid(uid); os.setuid(uid); os.umask(umask); os.chdir(folder)
    names = globals()
    print(os.getpid(), file=stream, flush=True)
    for line in stream:
        try:
            *rest, last = ast.parse(json.loads(line)).body
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                exec(compile(ast.Module(rest, []), "asked", "exec"), names)
                if isinstance(last, ast.Expr):
                    value = eval(compile(ast.Expression(last.value), "asked", "eval"), names)
                else:
                    value = exec(compile(ast.Module([last], []), "asked", "exec"), names)
            answer = {"value": value}
        except BaseException as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        answer["warnings"] = [str(each.message) for each in caught]
        print(json.dumps(answer, default=repr), file=stream, flush=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        serve(connection)
        threading._shutdown(), atexit._run_exitfuncs()  # all of an end that others may notice
        os._exit(0)
    connection.close()
"""


@functools.cache
def _server():
    """Start the process that forks people; it ends with this one."""
    folder = tempfile.mkdtemp(prefix="people-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = f"{folder}/socket"
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env=os.environ | {"XDG_CONFIG_HOME": "/nonexistent"},
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process, address


class Refused(Exception):
    """What a person asked for raised an error; `kind` is the name of its class."""

    def __init__(self, kind, message):
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class Person:
    """A user, in a folder."""

    def __init__(self, folder, uid, groups=(GROUP,), umask=0o022):
        if os.geteuid() != 0:
            pytest.skip("needs root, to become somebody else")
        self.warnings = []
        _, address = _server()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._stream = self._socket.makefile("rw")
        self._tell([uid, list(groups), umask, str(folder)])
        self.pid = int(self._stream.readline())

    def _tell(self, what):
        print(json.dumps(what), file=self._stream, flush=True)

    def ask(self, code):
        """Run some code and return the value of its last expression, as far as JSON has it."""
        self._tell(code)
        answer = json.loads(self._stream.readline())
        self.warnings = answer["warnings"]
        if "error" in answer:
            raise Refused(answer["error"], answer["message"])
        return answer["value"]

    def refused(self, code):
        """Run some code that must raise; return the kind of error and its message."""
        try:
            value = self.ask(code)
        except Refused as error:
            return error.kind, str(error)
        raise AssertionError(f"{code} was not refused: {value!r}")

    def kill(self):
        """Kill the process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._ended()

    def leave(self):
        """End the process as it would end by itself."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._ended()

    def _ended(self):
        # Not only its first thread, which may be gone before the others and what they hold.
        while Path(f"/proc/{self.pid}").exists():
            time.sleep(0.005)
        with contextlib.suppress(OSError):
            self._stream.close()
        self._socket.close()


@contextlib.contextmanager
def commons(mode=0o2775, owner=0, group=GROUP):
    """Give a folder that everybody can reach: pytest's own are for the user alone."""
    with tempfile.TemporaryDirectory(prefix="commons-") as name:
        folder = Path(name)
        if os.geteuid() != 0:
            pytest.skip("needs root, to become somebody else")
        os.chown(folder, owner, group)
        folder.chmod(mode)
        yield folder


def around(folder):
    """Return what lies in a folder: by name, the owner, the group, the mode and the size."""
    found = {}
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            stat = path.lstat()
            found[str(path.relative_to(folder))] = (
                stat.st_uid, stat.st_gid, oct(stat.st_mode & 0o7777), stat.st_size,
            )  # fmt: skip
    return found


WRITE = """
with SQLiteLog("runs.db") as log:
    log[1]["loss"] = 1.0
len(Store("runs.db", readonly=True).runs())
"""
