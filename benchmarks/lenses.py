"""Lenses cost a training step at most 1.15x (loss, norms, update ratio), all of them at most 1.5x.

    python benchmarks/lenses.py [--quick] [--no-peers]

How many times the time of a bare training step one takes with lenses as they are by default, on one
thread of the processor, with Adam, and a tick every 100 steps into a log in memory. The perceptron
has 784-512-512-10 units and batches of 128, the convolution net two convolutions (32 and 64 kernels
of 3 x 3), two linear layers, and batches of 64 images of 3 x 32 x 32. Beside it monitorch, on the
lenses that both have, with a visualizer that does nothing. Its OutputNorm looks at activation
functions only, where ours looks at all layers; so ours is measured on these alone, too. One lens is
measured three times, several together five, and the median counts. Needs PyTorch.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from contenders import Contenders
from environments import PEERS, Unavailable, python_of, surroundings
from measure import Report, Table, folder, run_script, spread

HERE = Path(__file__).resolve()
PEER = "monitorch"
BOTH = [
    "LossMetrics", "OutputActivation", "OutputNorm", "OutputGradientGeometry",
    "ParameterGradientGeometry", "ParameterGradientActivation", "ParameterNorm",
    "ParameterUpdateGeometry",
]  # fmt: skip
ACTIVATIONS = "OutputNorm, of activation functions"
OURS = [*BOTH, "ParameterCondition", "UpdateRatio", "Histogram", "FirstNonFinite", "Memory"]
SETS = {name: [name] for name in [*OURS, ACTIVATIONS]} | {
    "loss, norms, update ratio": ["LossMetrics", "OutputNorm", "ParameterNorm", "UpdateRatio"],
    "all": OURS,
    "all that both have": BOTH,
}
LIMITS = {"loss, norms, update ratio": 1.15, "all": 1.5}


def measure(quick: bool, contenders: Contenders) -> Report:
    report = Report(
        "Lenses are to cost 1.15x a bare step (losses, norms, update ratios), and 1.5x (all)."
    )
    if importlib.util.find_spec("torch") is None:
        report.notes.append('Not measured: PyTorch is not here: pip install "traininglog[lenses]".')
        return report
    ours = child(sys.executable, HERE, quick)
    theirs = peer(report, quick, contenders)
    for network, costs in ours["costs"].items():
        columns = ["lenses", "x the bare step", "at most", "ms a tick", f"{PEER}, x the bare step"]
        table = Table(network, columns)
        for name, found in costs.items():
            ratios, ticks = zip(*found, strict=True)
            asked = {"OutputNorm": None, ACTIVATIONS: "OutputNorm"}.get(name, name)
            peers = [ratio for ratio, _ in theirs.get(network, {}).get(asked, ())]
            limit = LIMITS.get(name)
            tick = median(ticks) * 1e3
            table.add(name, spread(ratios), limit, tick, spread(peers) if peers else None)
            if limit is not None:
                report.figures[f"x the bare step, {name}, {network}"] = median(ratios)
        report.tables.append(table)
    report.notes.append(f"With PyTorch {ours['torch']}, in the time of the processor.")
    return report


def peer(report: Report, quick: bool, contenders: Contenders) -> dict[str, Any]:
    """Measure the peer, if it is wanted and can be had; return its costs."""
    if contenders.plain or (contenders.named and PEER not in contenders.named):
        return {}
    try:
        python = python_of(PEER)
    except Unavailable as error:
        report.peers[PEERS[PEER].name] = f"not measured: {error}"
        return {}
    with folder() as place:
        script = HERE.parent / "peers" / f"{PEER}_peer.py"
        found = child(python, script, quick, surroundings(PEER, place))
    report.peers[PEERS[PEER].name] = found["version"]
    return found["costs"]


def child(
    python: str | Path, script: Path, quick: bool, variables: dict[str, str] | None = None
) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [str(python), str(script), "child", "quick" if quick else "long"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=variables)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def attach(names: Sequence[str], model: Any, optimizer: Any) -> Any:
    """Watch a model by lenses as they are by default."""
    from peers.watching import Watch
    from torch import nn

    from traininglog import TrainingLog, lenses

    def made(name: str) -> Any:
        if name == ACTIVATIONS:
            return lenses.OutputNorm(include=[nn.ReLU])
        return getattr(lenses, name)(**({"optimizer": optimizer} if "Update" in name else {}))

    inspector = lenses.TorchInspector([made(name) for name in names], TrainingLog(), module=model)
    return Watch(inspector.push_loss, inspector.tick)


if __name__ == "__main__":
    if "child" in sys.argv:
        from peers.watching import main

        main("", attach, SETS)
    else:
        run_script(measure)
