"""An example: a small network learns handwritten digits, and six lenses observe it.

    python -m traininglog.lenses.torch.digits [PICTURE]

It writes a log to memory, and draws the picture from the log. It needs scikit-learn (the extra
`demo`).
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

from traininglog import TrainingLogBase, open_log
from traininglog.lenses import (
    Histogram,
    LossMetrics,
    MatplotlibVisualizer,
    OutputActivation,
    OutputNorm,
    ParameterGradientGeometry,
    TorchInspector,
    UpdateRatio,
    replay,
)


def train(log: TrainingLogBase, epochs: int = 30) -> nn.Module:
    """Train a network under the lenses, and return it."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    layers = {
        "first": nn.Linear(64, 64), "first relu": nn.ReLU(),
        "second": nn.Linear(64, 32), "second relu": nn.ReLU(),
        "head": nn.Linear(32, 10),
    }  # fmt: skip
    model = nn.Sequential(OrderedDict(layers))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = nn.CrossEntropyLoss()
    lenses = [
        LossMetrics(),
        OutputActivation(warning_plot=False),
        OutputNorm(exclude=[nn.ReLU]),
        ParameterGradientGeometry("weight", correlation=False, log_scale=True),
        UpdateRatio(optimizer),
        Histogram(),
    ]
    inspector = TorchInspector(lenses, log, module=model)
    for _ in inspector.range(1, epochs + 1):
        for batch in torch.randperm(1500).split(64):
            loss = loss_fn(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            inspector.push_loss(loss, train=True)
        model.eval()
        with torch.no_grad():
            output = model(images[1500:])
        model.train()
        inspector.push_loss(loss_fn(output, labels[1500:]), train=False)
        right = output.argmax(1) == labels[1500:]
        inspector.push_metric("accuracy", right.float().mean())
    inspector.detach()
    return model


def main() -> None:
    """Train and draw."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "digits.png")
    log = open_log("memory:")
    train(log)
    visualizer = MatplotlibVisualizer(columns=3, live=False)
    replay(log, visualizer)
    for page in visualizer.save(path, dpi=76):
        sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
