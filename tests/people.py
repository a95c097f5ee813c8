"""Users of one machine, each a process of its own that does what a test asks of it.

By numbers alone: nobody has to be known to the system. Only root can become somebody else, so that
the tests of this skip where they do not run as root.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

GROUP = 54300

# What is imported later could be out of reach for who it has become by then.
_SERVER = """
import ast, json, os, sys, tempfile, warnings
from pathlib import Path
import encodings.idna, pwd, grp, tempfile, shutil
import traininglog
from traininglog import *
import traininglog.sqlite.repairing, traininglog.cli.app, traininglog.opening, traininglog.trials
from traininglog.errors import *
with tempfile.TemporaryDirectory() as folder:  # warm
    with SQLiteLog(folder + "/runs.db") as log:
        log[1]["x"] = 1.0
    with Store(folder + "/runs.db") as store:
        store.runs(), store.to_dataframe(), store.check()
        store.delete(log.uuid)
uid, gid, groups, umask, folder = json.loads(sys.stdin.readline())
os.setgroups(groups); os.setgid(gid); os.setuid(uid); os.umask(umask); os.chdir(folder)
names = dict(globals())
print("ready", flush=True)
for line in sys.stdin:
    said = []
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
    print(json.dumps(answer, default=repr), flush=True)
"""


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
        self.uid = uid
        self.warnings = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=os.environ | {"XDG_CONFIG_HOME": "/nonexistent"},
        )  # fmt: skip
        self._tell([uid, uid, list(groups), umask, str(folder)])
        assert self._process.stdout.readline() == "ready\n"

    def _tell(self, what):
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def ask(self, code):
        """Run some code and return the value of its last expression, as far as JSON has it."""
        self._tell(code)
        answer = json.loads(self._process.stdout.readline())
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
        self._process.kill()
        self._process.wait()

    def leave(self):
        """End the process as it would end by itself."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


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
