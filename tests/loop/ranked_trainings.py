"""Trainings of two ranks over gloo, one after another, for tests of what the ranks agree upon.

ranked_trainings.py RANK FOLDER NAME...: writes what each of the trainings that are named came to
into FOLDER/RANK.json.
"""

import datetime
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from traininglog import SQLiteLog, TrainingLog
from traininglog.loop import RankLost, TrainLoop


class Training:
    """A network, an optimizer and lines that were printed: what each training begins with."""

    def __init__(self, rank, folder):
        torch.manual_seed(0)
        self.rank, self.folder, self.lines = rank, folder, []
        self.net = torch.nn.Linear(4, 1)
        self.ddp = DistributedDataParallel(self.net)
        self.optimizer = torch.optim.SGD(self.ddp.parameters(), 0.01)
        torch.manual_seed(100 + rank)
        random.seed(100 + rank)
        self.drawn = []

    def loop(self, **options):
        options = {"print_func": self.lines.append, "max_epoch": 3} | options
        if "log" not in options:
            options["log"] = TrainingLog()
        return TrainLoop(self.net, **options)

    def step(self):
        """Take a step in which the ranks wait for each other."""
        self.drawn.append((random.random(), float(torch.rand(1))))
        loss = (self.ddp(torch.rand(2, 4)) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def run(self, loop, data=range(6), each=None, after=None):
        """Train; `each` is called in each step, `after` at the end of each epoch."""
        with loop:
            for _ in loop.iter_epochs():
                for _ in loop.iter_steps(data):
                    loop.collect_metrics(loss=self.step())
                    if each is not None and each(loop) == "break":
                        break
                if after is not None and after(loop) == "break":
                    break
                loop.print_logs()
        return self.ended(loop)

    def ended(self, loop):
        """Return how a training ended, as plain data."""
        return {
            "reason": loop.stop_reason, "step": loop.step, "epoch": loop.epoch,
            "lines": len(self.lines), "params": self.net.weight.tolist(), "drawn": self.drawn,
        }  # fmt: skip


def signals(rank, folder):
    """SIGTERM, or SIGINT, to one rank or to both, at any time."""
    results = []
    for attempt in range(20):
        training = Training(rank, folder)
        number = signal.SIGINT if attempt % 4 == 3 else signal.SIGTERM
        if attempt % 3 in (rank, 2):
            delay = random.Random(attempt * 2 + rank).uniform(0.0, 0.1)
            timer = threading.Timer(0.1 + delay, os.kill, (os.getpid(), number))
            timer.start()
        else:
            timer = None

        def slowly(loop):
            time.sleep(0.002 * (1 + 2 * rank))

        loop = training.loop(max_epoch=10**6, progress=False)
        results.append(training.run(loop, each=slowly) | {"number": number.name})
        if timer is not None:
            timer.join()
    return results


def workers_lost(rank, folder):
    """SIGTERM to the second rank and its workers, as to a process group."""
    training = Training(rank, folder)
    data = DataLoader(list(range(64)), batch_size=4, num_workers=2)

    def each(loop):
        time.sleep(0.02)
        if rank == 1 and loop.step == 3:
            group = [worker.pid for worker in multiprocessing.active_children()] + [os.getpid()]
            subprocess.run(["kill", "-TERM", *map(str, group)], check=True)

    loop = training.loop(checkpoint_dir=folder / "workers_lost")
    return training.run(loop, data=data, each=each)


def own_metric(rank, folder):
    """Early stopping, where each rank's own metric would end at another epoch."""
    training = Training(rank, folder)
    values = [[3, 2, 1, 2, 2, 2, 2, 2, 2, 2], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]][rank]
    loop = training.loop(max_epoch=10, early_stopping=True, patience=2)
    best = []

    def validate(loop):
        if loop.epoch == 3:
            best.extend(training.net.weight.tolist())
        loop.collect_metrics(valid_loss=float(values[loop.epoch - 1]))

    found = training.run(loop, after=validate)
    return found | {"best": loop.best_valid_metric, "params_then": best}


def left_by_one(rank, folder):
    """One rank breaks out of its steps, or its epochs, or asks to stop; data differs in length."""
    results = {}
    for what in ("steps", "epochs", "request"):
        training = Training(rank, folder)

        def each(loop, what=what):
            if rank == 1 and loop.step == 4:
                if what == "steps":
                    return "break"
                if what == "request":
                    loop.request_stop("enough")
            return None

        def after(loop, what=what):
            return "break" if rank == 1 and what == "epochs" else None

        results[what] = training.run(training.loop(), each=each, after=after)
    training = Training(rank, folder)
    results["uneven"] = training.run(training.loop(), data=range(6 - rank))
    training = Training(rank, folder)
    results["endless"] = training.run(
        training.loop(max_epoch=1), data=lambda: iter(range(5 + rank))
    )
    return results


def resumed(rank, folder):
    """A training that is stopped in the middle of an epoch, and gone on with."""
    undisturbed = Training(rank, folder)
    whole = undisturbed.run(undisturbed.loop())
    training, checkpoints = Training(rank, folder), folder / "resumed"

    def stop(loop):
        if loop.step == 9 and rank == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    # The usual advice: a log on disk for one rank, in memory for the others.
    log = SQLiteLog(folder / "resumed.db") if rank == 0 else TrainingLog()
    part = training.run(training.loop(log=log, checkpoint_dir=checkpoints), each=stop)
    log.close()
    again = Training(rank, folder)
    log = SQLiteLog(folder / "resumed.db") if rank == 0 else TrainingLog()
    loop = again.loop(log=log, checkpoint_dir=checkpoints)
    rest = again.run(loop)
    found = {
        "whole": whole, "part": part, "rest": rest, "status": dict(log.status),
        "files": sorted(path.name for path in checkpoints.iterdir()), "lineage": len(log.lineage()),
    }  # fmt: skip
    log.close()
    return found


def restarted(rank, folder):
    """The same training, gone on with by other processes, in which no memory is left."""
    training = Training(rank, folder)
    with SQLiteLog(folder / "resumed.db") if rank == 0 else TrainingLog() as log:
        loop = training.loop(log=log, checkpoint_dir=folder / "resumed", max_epoch=4)
        ended = training.run(loop)
        return ended | {"status": dict(log.status), "times": list(log)}


def own_logs(rank, folder):
    """Each rank has a log of its own on disk, and goes on in that."""
    uuids = []
    for limit in (4, 8):
        training = Training(rank, folder)
        with SQLiteLog(folder / "own.db") as log:
            training.run(training.loop(log=log, max_step=limit, checkpoint_dir=folder / "own"))
            uuids.append([entry.uuid.hex for entry in log.lineage()])
            times = list(log)
    return {"lineages": uuids, "times": times}


def by_name(rank, folder):
    """Only the first rank asks for a checkpoint."""
    training = Training(rank, folder)

    def each(loop):
        if loop.step == 2 and rank == 0:
            loop.make_checkpoint()

    loop = training.loop(max_epoch=1, checkpoint_dir=folder / "by_name")
    return training.run(loop, each=each)


def alone(rank, folder):
    """A loop that only one rank has."""
    if rank == 0:
        with TrainLoop(log=TrainingLog(), max_epoch=1, distributed=False, print_func=str) as loop:
            for _ in loop.iter_epochs():
                for _ in loop.iter_steps("ab"):
                    pass
        return loop.step
    return None


def raised(rank, folder):
    """One rank fails in its last step of an epoch, and lives on."""
    training = Training(rank, folder)

    def after(loop):
        if rank == 1:
            raise ValueError("in rank 1")

    try:
        training.run(training.loop(), after=after)
    except (RankLost, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


SCENES = {
    scene.__name__: scene
    for scene in (
        signals, workers_lost, own_metric, left_by_one, resumed, restarted, own_logs, by_name,
        alone, raised,
    )
}  # fmt: skip


def main(rank, folder, *names):
    for number in (signal.SIGINT, signal.SIGTERM):  # one that comes when its training has ended
        signal.signal(number, lambda *_: None)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store-{''.join(names)}", rank=rank, world_size=2,
        timeout=datetime.timedelta(seconds=300),
    )  # fmt: skip
    results = {name: SCENES[name](rank, folder) for name in names}
    (folder / f"{rank}.json").write_text(json.dumps(results))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
