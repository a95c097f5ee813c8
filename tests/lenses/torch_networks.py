"""Small networks, batches for them, and training; no test by itself."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from traininglog.lenses import (
    FirstNonFinite,
    Histogram,
    LossMetrics,
    Memory,
    OutputActivation,
    OutputGradientGeometry,
    OutputNorm,
    ParameterCondition,
    ParameterGradientActivation,
    ParameterGradientGeometry,
    ParameterNorm,
    ParameterUpdateGeometry,
    UpdateRatio,
)


def perceptron():
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.25), nn.Linear(8, 5), nn.GELU(), nn.Linear(5, 3)
    )


def convolution():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )


class Transformer(nn.Module):
    """An embedding, one encoder layer, and a head that shares nothing."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens)).mean(1))


NETWORKS = {"perceptron": perceptron, "convolution": convolution, "transformer": Transformer}


def batches(name, sizes=(7, 7, 4)):
    """Return (inputs, targets), the last batch smaller."""
    chance = torch.Generator().manual_seed(1)
    found = []
    for size in sizes:
        if name == "perceptron":
            inputs = torch.randn(size, 6, generator=chance)
        elif name == "convolution":
            inputs = torch.randn(size, 1, 8, 8, generator=chance)
        else:
            inputs = torch.randint(11, (size, 5), generator=chance)
        found.append((inputs, torch.randint(3, (size,), generator=chance)))
    return found


def network(name):
    torch.manual_seed(0)
    return NETWORKS[name]()


def train(model, data, optimizer, after=lambda loss: None):
    """Train on batches once."""
    for inputs, targets in data:
        loss = functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after(loss)


def every_lens(optimizer):
    return [
        LossMetrics(), OutputNorm(), OutputActivation(), OutputGradientGeometry(),
        ParameterNorm(), ParameterGradientGeometry(), ParameterGradientActivation(),
        ParameterUpdateGeometry(optimizer), ParameterCondition(), UpdateRatio(optimizer),
        Histogram(), Histogram("gradient"), Histogram("output"), FirstNonFinite(), Memory(),
    ]  # fmt: skip


def hooks(model):
    """Return how many hooks there are anywhere in a model."""
    count = 0
    for module in model.modules():
        count += len(module._forward_hooks) + len(module._forward_pre_hooks)
        count += len(module._backward_hooks)
    for parameter in model.parameters():
        count += len(parameter._post_accumulate_grad_hooks or ())
        count += len(parameter._backward_hooks or ())
    return count
