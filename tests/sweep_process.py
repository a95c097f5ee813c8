"""One process of the sweep in tests/test_sweep.py: trains a little, logs, and may come to its end.

Beside the log, it writes each value to a text file, from which the test computes by hand.
"""

import math
import os
import signal
import sys
from pathlib import Path

from traininglog import SQLiteLog, Store

STEPS = 12


def train(path, raw, lr, seed, part, fate):
    """Log one part of a run, from the checkpoint of the part before; `fate` is how it ends."""
    name = f"lr{lr}-seed{seed}"
    uuid = None
    if part:
        with Store(path, readonly=True) as store:
            (uuid,) = (info.uuid for info in store.iter_runs(name=name))
    with SQLiteLog(path, uuid) as log, raw.open("a", encoding="utf-8") as lines:
        start = 0
        if part:
            start = 3 * part  # the last checkpoint, from which it goes on
            log.resume(at=start)
            print("resume", start, file=lines, flush=True)
        else:
            log.status["name"] = name
            log.status["config"] = {"optim": {"lr": lr}, "seed": seed}
            log.status["goals"] = {"acc": "max"}
        for step in range(start + 1, STEPS + 1):
            acc = 1 - math.exp(-step * (0.1 + lr)) - seed / 100 + part / 1000
            log[step]["acc"] = acc
            print(step, repr(acc), file=lines, flush=True)
            if step == start + 5:  # two steps past the next checkpoint
                if fate == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                if fate == "crashed":
                    raise RuntimeError("the loss is not a number")
                if fate == "running":
                    log.flush()
                    print("ready", flush=True)
                    sys.stdin.readline()


if __name__ == "__main__":
    path, raw, lr, seed, part, fate = sys.argv[1:]
    train(Path(path), Path(raw), float(lr), int(seed), int(part), fate)
