"""What lenses cost a training step: the networks, and the clock. Needs PyTorch, and no peer.

    python monitorch_peer.py QUICK

A program that watches networks calls `main`, which prints one line of JSON: by network and lenses,
how many times the bare step a watched one takes, and how many seconds a tick, each measured more
than once.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

#: How many steps there are from tick to tick: its time is shared among them.
STEPS = 100

#: How often one lens is measured, and several together, each time on a new network.
ROUNDS_OF_ONE, ROUNDS = 3, 5


class Watch(NamedTuple):
    """How a program watches a network."""

    push_loss: Callable[[Tensor], None]
    tick: Callable[[], None]


#: Watches a model that an optimizer trains by the lenses that are named.
Attach = Callable[[Sequence[str], nn.Module, Any], Watch]


def perceptron() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a model, and a batch: of 128 images like MNIST's."""
    model = nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    return model, torch.randn(128, 784), torch.randint(10, (128,))


def convolution() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a model, and a batch: of 64 images like CIFAR's."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2304, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    return model, torch.randn(64, 3, 32, 32), torch.randint(10, (64,))


NETWORKS = {"perceptron": perceptron, "convolution net": convolution}


class Training:
    """A model, and the steps of its training with Adam, watched or bare."""

    def __init__(self, network: str, lenses: Sequence[str], attach: Attach | None) -> None:
        torch.manual_seed(0)
        self.model, self.inputs, self.targets = NETWORKS[network]()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        self.loss_fn = nn.CrossEntropyLoss()
        self.watch = attach(lenses, self.model, self.optimizer) if attach is not None else None

    def step(self) -> None:
        """Train on the batch."""
        self.optimizer.zero_grad()
        loss = self.loss_fn(self.model(self.inputs), self.targets)
        loss.backward()
        self.optimizer.step()
        if self.watch is not None:
            self.watch.push_loss(loss)


def cost(network: str, lenses: Sequence[str], attach: Attach, quick: bool) -> tuple[float, float]:
    """Return how many times the bare step a watched one takes, and the seconds of a tick.

    In the time of the processor, by the median of steps that take turns: others may use the machine
    at the time.
    """
    bare, watched = Training(network, (), None), Training(network, lenses, attach)
    assert watched.watch is not None
    for training in (bare, watched):
        training.step(), training.step()
    watched.watch.tick()
    seconds: dict[Training, list[float]] = {bare: [], watched: []}
    for _ in range(2 if quick else STEPS):
        for training, taken in seconds.items():
            taken.append(clocked(training.step))
    tick = clocked(watched.watch.tick)
    return (median(seconds[watched]) + tick / STEPS) / median(seconds[bare]), tick


def clocked(call: Callable[[], None]) -> float:
    """Return how long the processor is at work in a call, in seconds."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main(version: str, attach: Attach, sets: Mapping[str, Sequence[str]]) -> None:
    """Measure each set of lenses on each network, and print it."""
    torch.set_num_threads(1)
    quick = sys.argv[-1] == "quick"
    costs = {
        network: {
            name: [
                cost(network, lenses, attach, quick)
                for _ in range(1 if quick else ROUNDS_OF_ONE if len(lenses) == 1 else ROUNDS)
            ]
            for name, lenses in sets.items()
        }
        for network in NETWORKS
    }
    print(json.dumps({"version": version, "torch": torch.__version__, "costs": costs}))
