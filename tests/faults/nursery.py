"""Processes that begin at once, as they are forked from one that has imported everything.

That one, a nursery, does nothing but import, and then fork when it is asked to: it has no log, no
connection, no thread, and no file but its end of a channel, which no child keeps. So what it forks
is what a fresh interpreter would be: with the descriptors that it is given and no others, killed by
signals as any process is, its warnings errors, and with the end that a script comes to.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from patience import GUARD

# The script is run where that of `python -c` is, so that what it leaves there lives as long.
_NURSERY = """
import sys
folder, channel, imports = sys.argv[1:]
sys.path[0] = folder
exec(imports)
from faults.nursery import _serve
exec(_serve(int(channel)))
"""


class Child:
    """A process that was forked from a nursery, with what one needs of `subprocess.Popen`."""

    def __init__(self, nursery: _Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask(self.pid)
        return self.returncode

    def wait(self, timeout: float = GUARD) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} has not ended")
            time.sleep(0.0005)
        return status

    def send_signal(self, number: int) -> None:
        # The number is its own until its status is known: it is asked for here, and only here.
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    script: str, *arguments: object, imports: str, stdout: int, stderr: int | None = None
) -> Child:
    """Run a script as ``python -W error -c`` does, with nothing on its standard input.

    The environment and the folder are those in which the first of its nursery was started.

    Args:
        script: What is run.
        arguments: `sys.argv[1:]` there.
        imports: What the nursery runs once, for all that are started with the same text.
        stdout: A descriptor for what is printed.
        stderr: And one for complaints; the same, unless it is given.

    """
    descriptors = [stdout, stdout if stderr is None else stderr]
    nursery = _nursery(imports)
    return Child(nursery, nursery.ask([script, *map(str, arguments)], descriptors))


@functools.cache
def _nursery(imports: str) -> _Nursery:
    return _Nursery(imports)


class _Nursery:
    """The process, seen from outside. It answers one question after the other."""

    def __init__(self, imports: str) -> None:
        self._channel, theirs = socket.socketpair()
        folder, number = str(Path(__file__).parents[1]), str(theirs.fileno())
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", _NURSERY, folder, number, imports],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # NumPy has no thread of its own
                process_group=0,  # who interrupts the tests does not interrupt it
            )
        atexit.register(self._end, process)

    def ask(self, what: list[str] | int, descriptors: tuple[int, ...] | list[int] = ()) -> Any:
        """Have a script and its arguments run, or ask for the status of a process by its number."""
        socket.send_fds(self._channel, [json.dumps(what).encode() + b"\n"], descriptors)
        answer = self._channel.recv(100)
        if not answer:
            raise EOFError("the nursery is gone")
        return json.loads(answer)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        self._channel.close()


# -- the nursery, seen from inside ------------------------------------------------------------


def _serve(number: int) -> Any:
    """Fork whenever that is asked for. Returns in the children only: the script of each."""
    # No gc.freeze() before: what is frozen is not finalized as an interpreter ends.
    with socket.socket(fileno=number) as channel:
        while True:
            asked, descriptors = _receive(channel)
            if isinstance(asked, int):
                pid, status = os.waitpid(asked, os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if pid else None
            elif answer := os.fork():
                for descriptor in descriptors:
                    os.close(descriptor)
            else:
                break
            channel.sendall(json.dumps(answer).encode())
    for place, descriptor in enumerate(descriptors, 1):
        os.dup2(descriptor, place)
        os.close(descriptor)
    sys.argv[1:] = asked[1:]
    return asked[0]


def _receive(channel: socket.socket) -> tuple[Any, list[int]]:
    text, descriptors = b"", []
    while not text.endswith(b"\n"):
        piece, more, *_ = socket.recv_fds(channel, 65536, 2)
        if not piece:  # whoever asked is gone
            sys.exit()
        text += piece
        descriptors += more
    return json.loads(text), descriptors
