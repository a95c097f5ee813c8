"""Writes checkpoints in children that are killed, each a line of code later than the one before.

    python killed_writer.py FOLDER

Prints a line of JSON for each child: at which line it was killed, and what its folder then gave.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import warnings
from pathlib import Path

import numpy as np

from traininglog.loop.checkpoint import folder as checkpoints

FILE = checkpoints.__file__


def trees(number):
    return {"now": {"n": number, "w": np.full(1000, number)}, "best": {"w": np.full(10, number)}}


def kill_at(countdown):
    """Kill this process before the n-th line of the module is run."""

    def trace(frame, event, argument):
        nonlocal countdown
        if frame.f_code.co_filename != FILE:
            return None
        if event == "line":
            countdown -= 1
            if countdown == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def main(folder):
    at = 0
    while True:
        at += 1
        place = folder / "checkpoints"
        shutil.rmtree(place, ignore_errors=True)
        written = checkpoints.CheckpointFolder(place, keep=2)
        for number in (1, 2):
            written.write("training", number, {}, trees(number))
        child = os.fork()
        if child == 0:
            kill_at(at)
            written.write("training", 3, {}, trees(3))
            sys.settrace(None)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = written.newest()
        names = written.names()
        # Whoever writes next removes what the killed one left.
        written.write("training", 4, {}, trees(4))
        print(json.dumps({
            "at": at, "killed": os.WIFSIGNALED(status), "found": int(found.trees["now"]["n"]),
            "whole": all((array == found.trees["now"]["n"]).all() for array in (
                found.trees["now"]["w"], found.trees["best"]["w"]
            )),
            "warned": len(warned), "names": names,
            "after": sorted(file.name for file in place.iterdir()),
        }), flush=True)  # fmt: skip
        if not os.WIFSIGNALED(status):
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
