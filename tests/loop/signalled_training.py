"""A training with workers that tells where it is, for tests that send it signals.

signalled_training.py WORKERS PLACE TRIAL: WORKERS is "no", "fork", "spawn", "forkserver" or
"persistent"; a signal is to come in PLACE, "data" or "step"; TRIAL is "none", "outside", "inside".
"""

import contextlib
import sys
import time

import torch
from torch.utils.data import DataLoader, Dataset

from traininglog.loop import TrainLoop
from traininglog.trials import TrialClient

BATCHES = 12


class Data(Dataset):
    def __init__(self, seconds):
        self.seconds = seconds

    def __len__(self):
        return 2 * BATCHES

    def __getitem__(self, place):
        time.sleep(self.seconds)
        return torch.full((4,), float(place))


def loader(workers, place):
    data = Data(0.1 if place == "data" else 0.01)
    if workers == "no":
        return DataLoader(data, batch_size=2, shuffle=True)
    return DataLoader(
        data, batch_size=2, shuffle=True, num_workers=2,
        multiprocessing_context="fork" if workers == "persistent" else workers,
        persistent_workers=workers == "persistent",
    )  # fmt: skip


def main(workers, place, around):
    torch.manual_seed(0)
    # Whole numbers: how often each half of a step was done.
    params = {"first": torch.zeros(1), "second": torch.zeros(1)}
    client = TrialClient("trials.db") if around != "none" else None
    trial = None if client is None else client.new_trial(parameters={"lr": 1}, version="1")
    outside = trial if around == "outside" else contextlib.nullcontext()
    inside = trial if around == "inside" else contextlib.nullcontext()
    data = loader(workers, place)
    with outside:
        log = trial.log if around == "outside" else None
        with TrainLoop(params, log=log, max_epoch=3, checkpoint_dir="checkpoints") as loop, inside:
            for _ in loop.iter_epochs():
                for step, batch in loop.iter_steps(data):
                    params["first"] += 1
                    if step == 3:
                        print("HERE", flush=True)
                    if place == "step":
                        for _ in range(60 if step == 3 else 2):
                            time.sleep(0.01)
                    params["second"] += 1
                    loop.collect_metrics(loss=float(batch.mean()))
    done = int(params["first"]), int(params["second"])
    print("END", loop.stop_reason, loop.step, *done, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
