"""Lenses cost a training step at most 1.15x (loss, norms, update ratio), all of them at most 1.5x.

    python benchmarks/lenses.py [--quick] [--peer PYTHON]

A step with lenses, over the bare step right before it; the median of many such pairs. The networks
are a perceptron (784-512-512-10, batches of 128) and a small convolution net (two convolutions, two
linear layers, batches of 64 images), with Adam, on one thread of the CPU; a tick, which writes to a
log in memory, ends every 25 steps.

Beside it monitorch, on the lenses that both have, if `--peer` names the Python of an environment
that has it: python -m venv peer; peer/bin/pip install torch==2.13.0 monitorch
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from measure import Report, Table, run_script

STEPS = 25
CHEAP = ["LossMetrics", "OutputNorm", "ParameterNorm", "UpdateRatio"]
BOTH = [
    "LossMetrics", "OutputActivation", "OutputNorm", "OutputGradientGeometry",
    "ParameterGradientGeometry", "ParameterGradientActivation", "ParameterNorm",
    "ParameterUpdateGeometry",
]  # fmt: skip
OURS = [*BOTH, "ParameterCondition", "UpdateRatio", "Histogram", "FirstNonFinite", "Memory"]
LIMITS = {"loss, norms, update ratio": 1.15, "all": 1.5}


def measure(quick: bool) -> Report:
    pairs = 2 if quick else 15
    ours = child(sys.executable, "ours", pairs)
    peer = child(PEER[0], "monitorch", pairs) if PEER else {}
    report = Report("Loss, norm and update-ratio lenses cost 1.15x a step, all 1.5x.", [])
    for network, costs in ours.items():
        columns = ["lenses", "x the bare step", "ms a step", "monitorch, x its bare step"]
        table = Table(f"{network}, {STEPS} steps a tick", columns)
        for name, (ratio, seconds) in costs.items():
            theirs = peer.get(network, {}).get(name)
            table.add(name, ratio, seconds * 1e3, "" if theirs is None else theirs[0])
            if name in LIMITS:
                report.figures[f"x the bare step, {name}, {network}"] = ratio
        report.tables.append(table)
    return report


def child(python: str, whose: str, pairs: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Measure in a process of its own, which may be that of another environment."""
    command = [python, str(Path(__file__).resolve()), "--child", whose, str(pairs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def costs(whose: str, pairs: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Return, by network and lenses, the ratio to the bare step and the seconds of one."""
    import torch

    torch.set_num_threads(1)
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for network, make in (("perceptron", perceptron), ("convolution net", convolution)):
        found[network] = {}
        sets = {name: [name] for name in (OURS if whose == "ours" else BOTH)}
        if whose == "ours":
            sets |= {"loss, norms, update ratio": CHEAP, "all": OURS}
        sets["all that both have"] = BOTH
        for name, lenses in sets.items():
            bare, watched = run(*make(), None), run(*make(), inspected(whose, lenses))
            bare(), watched()
            ratios, times = [], []
            for _ in range(pairs):
                without, within = timed(bare), timed(watched)
                ratios.append(within / without)
                times.append(within / STEPS)
            found[network][name] = (median(ratios), median(times))
    return found


def perceptron() -> Any:
    """Return a model, and a batch."""
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    return model, torch.randn(128, 784), torch.randint(10, (128,))


def convolution() -> Any:
    """Return a model, and a batch."""
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    return model, torch.randn(64, 1, 28, 28), torch.randint(10, (64,))


def inspected(whose: str, names: list[str]) -> Callable[..., Any]:
    """Return a function that attaches lenses to a model, and gives the inspector."""

    def attach(model: Any, optimizer: Any) -> Any:
        if whose == "ours":
            from traininglog import TrainingLog, lenses

            made = [make(getattr(lenses, name), name, optimizer) for name in names]
            return lenses.TorchInspector(made, TrainingLog(), module=model)
        from monitorch import lens
        from monitorch.inspector import PyTorchInspector

        made = [make(getattr(lens, name), name, optimizer) for name in names]
        return PyTorchInspector(made, visualizer="dummy", module=model)

    return attach


def make(kind: Any, name: str, optimizer: Any) -> Any:
    """Make a lens as it is by default."""
    needs_optimizer = name in ("UpdateRatio", "ParameterUpdateGeometry")
    return kind(optimizer=optimizer) if needs_optimizer else kind()


def run(model: Any, inputs: Any, targets: Any, attach: Any) -> Callable[[], None]:
    """Return a function that trains for some steps, and ticks."""
    import torch

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    inspector = None if attach is None else attach(model, optimizer)
    loss_fn = torch.nn.CrossEntropyLoss()
    tick = None
    if inspector is not None:
        tick = inspector.tick if hasattr(inspector, "tick") else inspector.tick_epoch

    def steps() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), targets)
            loss.backward()
            optimizer.step()
            if inspector is not None:
                inspector.push_loss(loss_of(loss), train=True)
        if tick is not None:
            tick()

    def loss_of(loss: Any) -> Any:
        # monitorch takes numbers only.
        return loss.detach() if "traininglog" in sys.modules else loss.item()

    return steps


def timed(call: Callable[[], None]) -> float:
    """Return how long a call takes, in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


PEER: list[str] = []

if __name__ == "__main__":
    if "--child" in sys.argv:
        print(json.dumps(costs(sys.argv[2], int(sys.argv[3]))))
    else:
        if "--peer" in sys.argv:
            place = sys.argv.index("--peer")
            PEER.append(sys.argv[place + 1])
            del sys.argv[place : place + 2]
        run_script(measure)
