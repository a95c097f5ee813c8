"""What is done to the files of a live store, by others and by the training process itself.

A trial is a process that writes runs to a store, and is killed; while it writes, it does with its
own files what training scripts do (copies, hashes), and others look at the store, delete its empty
lock file, or merge and back it up. All that the process had acknowledged must be there afterwards,
and nobody may have called its run lost while it lived.
"""

from __future__ import annotations

import json
import random
import signal
import struct
import time
from pathlib import Path
from typing import Any

from faults import nursery
from patience import GUARD

from traininglog import SQLiteLog, Store

IMPORTS = """
import hashlib, json, mmap, os, random, shutil, signal, struct, sys, threading, time, warnings
from pathlib import Path
import numpy, pandas
import traininglog.frames, traininglog.sqlite.check, traininglog.sqlite.sink.compaction
from traininglog import SQLiteLog, Store, TrainingLogWarning

def copy_folder(target):
    try:
        shutil.copytree(path.parent, target, dirs_exist_ok=True)
    except shutil.Error as error:  # others may delete a file that was there when it was listed
        assert all("No such file" in why for _, _, why in error.args[0]), error
"""

#: What a training process does with the files of its own store; each with `path` and `n`.
OWN = {
    "copy": "shutil.copy(path, f'{path}.copy-{n}')",
    "hash": "hashlib.sha256(path.read_bytes())",
    "open and close": "open(path, 'rb').close()",
    "copy the folder": "copy_folder(f'{path.parent}-copy-{n}')",
    "hash all": "[hashlib.sha256(each.read_bytes()) for each in path.parent.iterdir()]",
    "touch the shared memory": "open(f'{path}-shm', 'rb').close()",
    "touch the owners": "open(f'{path}-owners', 'rb').close()",
    "look, itself": "Store(path).close()",
    "look by another name": "Store(path.parent / '..' / path.parent.name / path.name).close()",
}

#: What others do meanwhile, each in a process of its own.
OTHERS = {
    "look": "Store(path, readonly=True).runs(heads=False)",
    "look to write": "Store(path).runs(heads=False)",
    "read": "s = Store(path, readonly=True); s.log(s.latest(), readonly=True).to_dict()",
    "check": "c = Store(path).check(); assert c.ok, c.problems",
    "back up": "Store(path).backup(f'{path.parent}-backup-{os.getpid()}.db')",
    "merge": "SQLiteLog(f'{path.parent}-merged-{os.getpid()}.db').close(); "
    "Store(f'{path.parent}-merged-{os.getpid()}.db').merge(path)",
    "write": "log = SQLiteLog(path); log[1]['x'] = 1.0; log.close()",
    "delete the owners": "Path(f'{path}-owners').unlink(missing_ok=True)",
    "copy the folder": "copy_folder(f'{path.parent}-other-{os.getpid()}')",
}

_COUNT = struct.Struct("Q")

# Acknowledges by a memory that outlives the process; one store, so that no kill cuts it in two.
_WRITER = """
path, shared, own, seed = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
warnings.simplefilter("always")
chance = random.Random(seed)
with open(shared, "r+b") as file:
    memory = mmap.mmap(file.fileno(), 4096)
counts = memoryview(memory).cast("Q")
log = SQLiteLog(path)
memory[16:48] = log.h_uuid.encode()
def elsewhere():
    n = 0
    while True:
        time.sleep(chance.uniform(0, 0.02))
        for act in own:
            n += 1
            try:
                exec(act)
            except FileNotFoundError:
                pass  # a file that was there when the folder was listed
threading.Thread(target=elsewhere, daemon=True).start()
t = 0
while True:
    log[t]["loss"] = t * 0.5
    t += 1
    counts[0] = t
    if t % 50 == 0:
        how = chance.random()
        if how < 0.3:
            log.flush()
        elif how < 0.4:
            log.commit()
        time.sleep(0.002)
"""

_OTHER = """
path = Path(sys.argv[1])
warnings.simplefilter("ignore")
exec(sys.argv[2])
"""

# Nobody may call a run lost whose process lives: asked again and again while it does.
_WITNESS = """
path, uuid = Path(sys.argv[1]), sys.argv[2]
warnings.simplefilter("ignore")
with Store(path, readonly=True) as store:
    print(store.state(uuid))
"""


class Process:
    """A process of a trial, with what it printed."""

    def __init__(self, folder: Path, script: str, *arguments: object) -> None:
        folder.mkdir(exist_ok=True)
        self._output = folder / f"output-{time.monotonic_ns()}"
        with self._output.open("wb") as file:
            self.child = nursery.start(script, *arguments, imports=IMPORTS, stdout=file.fileno())

    def end(self) -> str:
        """Wait for its end, which must be a good one; return what it printed."""
        status = self.child.wait(GUARD)
        assert status == 0, (status, self.output)
        return self.output

    @property
    def output(self) -> str:
        """What it printed."""
        return self._output.read_text(errors="replace")[-3000:]


def trial(folder: Path, seed: int, own: list[str], others: list[str]) -> dict[str, Any]:
    """Let a process write beside others, and kill it; return what was acknowledged and is there.

    Args:
        folder: An empty one.
        seed: Of the moments.
        own: Keys of `OWN`.
        others: Keys of `OTHERS`.

    """
    chance = random.Random(seed)
    store = folder / "store"
    store.mkdir(parents=True)
    path, shared = store / "runs.db", folder / "shared"
    shared.write_bytes(bytes(4096))
    acts = json.dumps([OWN[name] for name in own])
    writer = Process(folder / "writer", _WRITER, path, shared, acts, seed)
    told = []
    try:
        _wait(writer, lambda: _count(shared) > 0)
        uuid = shared.read_bytes()[16:48].decode()
        for _ in range(chance.randint(1, 3)):
            chosen = [Process(folder / "other", _OTHER, path, OTHERS[name]) for name in others]
            chosen.append(witness := Process(folder / "witness", _WITNESS, path, uuid))
            for process in chosen:
                process.end()
            told.append(witness.output.strip())
            before = _count(shared)
            _wait(writer, lambda before=before: _count(shared) > before + chance.randint(0, 400))
        assert writer.child.poll() is None, writer.output
    finally:
        writer.child.send_signal(signal.SIGKILL)
        writer.child.wait()
    acknowledged = _count(shared)
    with Store(path) as opened:
        assert opened.check().ok
        state = opened.state(uuid)
    with SQLiteLog(path, uuid, readonly=True) as log:
        column = log.to_dataframe()["loss"]
    return {
        "acknowledged": acknowledged,
        "lost": sorted(set(range(acknowledged)) - set(column.index)),
        "wrong": [t for t, value in column.items() if value != t * 0.5],
        "told": told,
        "state": state,
        "said": writer.output,
    }


def _count(shared: Path) -> int:
    with shared.open("rb") as file:
        return int(_COUNT.unpack(file.read(_COUNT.size))[0])


def _wait(writer: Process, reached: Any) -> None:
    deadline = time.monotonic() + GUARD
    while not reached():
        assert writer.child.poll() is None, writer.output
        assert time.monotonic() < deadline, writer.output
        time.sleep(0.001)
