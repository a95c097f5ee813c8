"""Several processes that train together: real ones, over gloo."""

import math

import numpy as np
import pytest
import torch
import torch.multiprocessing as processes
from torch import nn

from traininglog import SQLiteLog
from traininglog.lenses import (
    FirstNonFinite,
    Histogram,
    Lens,
    LossMetrics,
    Memory,
    OutputActivation,
    OutputNorm,
    ParameterNorm,
    TorchInspector,
)


class Unsaid(Lens):
    """Returns what cannot travel; that is its own loss, and keeps no other process waiting."""

    def register_leaf_module(self, module, name, state):
        pass

    def start_sync(self):
        return object()


def work(rank, folder, running):
    """Be one of two processes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    model = nn.ModuleDict({"both": nn.Linear(2, 2), "one": nn.ReLU()})
    model = nn.parallel.DistributedDataParallel(model)
    log = SQLiteLog(f"{folder}/rank{rank}.db")
    inspector = TorchInspector(
        [
            LossMetrics(running=running), OutputNorm(running=running), OutputActivation(),
            ParameterNorm(), Histogram(), Histogram("output"), FirstNonFinite(), Memory(),
            Unsaid(),
        ],
        log, module=model, is_active=lambda number: number != 2 or rank == 0,
    )  # fmt: skip
    inside = model.module
    for tick in range(3):
        for number in range(3 + rank):
            inspector.push_loss(float(10 * rank + number + 100 * tick))
            inside["both"](torch.full((1, 2), float(rank)))
        if rank == 1:  # what the master never sees
            inspector.push_metric("only here", 5.0)
            inside["one"](torch.tensor([[1.0, -1.0, math.nan if tick == 2 else 1.0]]))
        inspector.tick()
    log.close()
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("running", [True, False])
def test_statistics_are_merged_and_only_the_master_writes(running, tmp_path):
    """Also with keys that one rank alone has, and a tick at which one alone is active."""
    processes.spawn(work, (str(tmp_path), running), nprocs=2)
    logs = {}
    for rank in (0, 1):
        path = tmp_path / f"rank{rank}.db"
        from traininglog import Store

        with Store(path) as store:
            (uuid,) = store.runs()["uuid"]
            logs[rank] = store.log(uuid)
            if rank == 1:
                assert len(logs[1]) == 0
            else:
                rows = logs[0].to_dict()
                found = logs[0].status["first_non_finite"]
    losses = np.array([0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 13.0])
    assert rows[1]["loss/train/mean"] == pytest.approx(losses.mean())
    assert rows[1]["loss/train/std"] == pytest.approx(losses.std())
    assert rows[2]["loss/train/mean"] == 101.0  # rank 1 was not active
    assert rows[3]["loss/train/mean"] == pytest.approx(200 + losses.mean())
    assert rows[1]["metrics/only here/mean"] == 5.0
    assert rows[1]["activation/one/mean"] == pytest.approx(2 / 3)
    assert "activation/one/mean" not in rows[2]
    assert rows[1]["weight norm/both/mean"] > 0
    assert rows[1]["parameter distribution/both/q50"] == pytest.approx(
        rows[3]["parameter distribution/both/q50"]
    )
    assert "memory/parameters/MiB" in rows[1]
    assert (found["layer"], found["kind"], found["rank"]) == ("one", "output", 1)
    torch.manual_seed(0)
    layer = nn.Linear(2, 2)
    norms = [float(layer(torch.full((1, 2), float(rank))).detach().norm()) for rank in (0, 1)]
    assert rows[1]["output norm/both/max"] == pytest.approx(max(norms), rel=1e-5)
    assert rows[1]["output norm/both/mean"] == pytest.approx(
        (3 * norms[0] + 4 * norms[1]) / 7, rel=1e-5
    )
