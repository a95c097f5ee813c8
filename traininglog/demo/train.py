"""Teach a small network to read handwritten digits, log it, and survive being killed.

Run it, kill it, run it again: it goes on from its last checkpoint, and so does the log::

    python -m traininglog.demo.train FOLDER

What makes it resumable are the lines of `train` that have to do with the checkpoint: the position
of the log lies in the same file as the network, so the two cannot disagree.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traininglog import SQLiteLog

STEPS = 1000
CHECKPOINT_EVERY = 200
EVALUATE_EVERY = 20

BATCH = 256
HIDDEN = 1024
DROPOUT = 0.5
NOISE = 0.1
MOMENTUM = 0.9
PEAK_RATE = 0.02
WARMUP = 100

Array = NDArray[Any]


def train(folder: Path, steps: int = STEPS) -> None:
    """Train up to iteration `steps`, from the last checkpoint in `folder` if there is one."""
    images, labels, unseen_images, unseen_labels = digits()
    network = Network()
    checkpoint = folder / "checkpoint.npz"

    with SQLiteLog(folder / "runs.db") as log:
        if checkpoint.exists():
            log.load_state_dict(load(checkpoint, network))
        log.status["name"] = "digits"
        rng = np.random.default_rng(log.uuid.int)  # each run draws different batches

        for i in range(log.status["iterations_done"] + 1, steps + 1):
            batch = rng.choice(len(images), BATCH)
            rate = learning_rate(i, steps)
            loss = network.step(images[batch], labels[batch], rate, rng)

            log[i]["loss"] = loss
            log[i]["learning_rate"] = rate
            if i % EVALUATE_EVERY == 0:
                log[i]["accuracy"] = network.accuracy(unseen_images, unseen_labels)
            log.status["iterations_done"] = i

            if i % EVALUATE_EVERY == 0:
                log.flush()  # makes the values visible to other processes
            if i % CHECKPOINT_EVERY == 0:
                save(checkpoint, network, log)


def save(checkpoint: Path, network: Network, log: SQLiteLog) -> None:
    """Write the network and the log's position to one file, atomically."""
    partial = checkpoint.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, log=json.dumps(log.state_dict()), **network.arrays())
    partial.replace(checkpoint)


def load(checkpoint: Path, network: Network) -> dict[str, Any]:
    """Restore the network, and return the state of the log from the same checkpoint."""
    with np.load(checkpoint, allow_pickle=False) as saved:
        for name, array in network.arrays().items():
            array[...] = saved[name]
    return log_state(checkpoint)


def log_state(checkpoint: Path) -> dict[str, Any]:
    """Return the state of the log in a checkpoint."""
    with np.load(checkpoint, allow_pickle=False) as saved:
        state: dict[str, object] = json.loads(saved["log"].item())
    return state


def learning_rate(i: int, steps: int) -> float:
    """Return the learning rate of an iteration: a linear warm-up, then a cosine decay."""
    if i <= WARMUP:
        return PEAK_RATE * i / WARMUP
    return PEAK_RATE * 0.5 * (1 + float(np.cos(np.pi * (i - WARMUP) / (steps - WARMUP))))


def digits() -> tuple[Array, Array, Array, Array]:
    """Return images and labels for training, and images and labels for evaluation."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order] / 16 - 0.5, labels[order]
    return images[360:], labels[360:], images[:360], labels[:360]


class Network:
    """A network of 64 inputs, one hidden layer with ReLU and dropout, and 10 outputs."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weights: dict[str, Array] = {
            "w1": rng.normal(0, (2 / 64) ** 0.5, (64, HIDDEN)),
            "b1": np.zeros(HIDDEN),
            "w2": rng.normal(0, (2 / HIDDEN) ** 0.5, (HIDDEN, 10)),
            "b2": np.zeros(10),
        }
        self.velocity = {name: np.zeros_like(array) for name, array in self.weights.items()}

    def arrays(self) -> dict[str, Any]:
        """Return the arrays of a checkpoint by name, not copied."""
        return self.weights | {f"{name}_velocity": array for name, array in self.velocity.items()}

    def step(self, images: Array, labels: Array, rate: float, rng: np.random.Generator) -> float:
        """Take one step of gradient descent with momentum, and return the loss before it."""
        w = self.weights
        images = images + NOISE * rng.standard_normal(images.shape)
        kept = (rng.random((len(images), HIDDEN)) >= DROPOUT) / (1 - DROPOUT)
        before = images @ w["w1"] + w["b1"]
        hidden = np.maximum(before, 0) * kept
        chances = softmax(hidden @ w["w2"] + w["b2"])
        rows = np.arange(len(labels))
        loss = -float(np.log(chances[rows, labels] + 1e-12).mean())

        to_scores = chances
        to_scores[rows, labels] -= 1
        to_scores /= len(labels)
        to_before = (to_scores @ w["w2"].T) * kept * (before > 0)
        gradients = {
            "w1": images.T @ to_before,
            "b1": to_before.sum(axis=0),
            "w2": hidden.T @ to_scores,
            "b2": to_scores.sum(axis=0),
        }
        for name, gradient in gradients.items():
            self.velocity[name] *= MOMENTUM
            self.velocity[name] -= rate * gradient
            w[name] += self.velocity[name]
        return loss

    def accuracy(self, images: Array, labels: Array) -> float:
        """Return the share of correctly classified images."""
        w = self.weights
        scores = np.maximum(images @ w["w1"] + w["b1"], 0) @ w["w2"] + w["b2"]
        return float((scores.argmax(axis=1) == labels).mean())


def softmax(scores: Array) -> Array:
    """Return the probabilities of scores, by row."""
    powers: Array = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, and train."""
    parser = argparse.ArgumentParser(prog="python -m traininglog.demo.train", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(arguments)
    train(options.folder, options.steps)


if __name__ == "__main__":
    main()
