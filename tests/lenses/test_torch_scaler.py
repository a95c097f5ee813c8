"""Under a `GradScaler`: gradients in their own units, and an overflow is what it is."""

import math

import pytest
import torch
from torch import nn

from traininglog import TrainingLog
from traininglog.errors import TrainingLogWarning
from traininglog.lenses import (
    FirstNonFinite,
    Histogram,
    NonFiniteFound,
    OutputGradientGeometry,
    OutputNorm,
    ParameterGradientActivation,
    ParameterGradientGeometry,
    TorchInspector,
)

try:
    from torch.amp import GradScaler
except ImportError:  # before PyTorch 2.3
    GradScaler = None

pytestmark = pytest.mark.skipif(GradScaler is None, reason="no GradScaler for the CPU")


def lenses(stop=False):
    return [
        OutputNorm(), OutputGradientGeometry(), ParameterGradientGeometry(),
        ParameterGradientActivation(warning_plot=True), Histogram("gradient"),
        FirstNonFinite(stop=stop),
    ]  # fmt: skip


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def train(model, scaler, inspector, losses):
    """Train by steps whose losses are these times what the network gives."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for times in losses:
        optimizer.zero_grad()
        loss = model(torch.ones(5, 4)).square().mean() * times
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()


def gradients(row):
    return {key: value for key, value in row.items() if "gradient" in key}


def test_gradients_are_told_as_they_are_without_the_scale():
    rows = []
    for scaler in (None, GradScaler("cpu", init_scale=2.0**13), GradScaler("cpu", enabled=False)):
        model, log = network(), TrainingLog()
        inspector = TorchInspector(lenses(), log, module=model, scaler=scaler)
        train(model, scaler, inspector, [1.0, 2.0, 3.0])
        inspector.tick()
        rows.append(gradients(log[1]))
        assert not inspector.passed_over
    assert rows[1] == pytest.approx(rows[0], rel=1e-5)
    assert rows[2] == rows[0]
    assert rows[0]["weight gradient norm/0/mean"] > 0


def test_an_overflow_that_the_scaler_skips_is_counted_and_no_find():
    """`stop=True` does not end a healthy run, and no mean has an infinity of a skipped step."""
    scaler = GradScaler("cpu", init_scale=2.0**127)
    model, log = network(), TrainingLog()
    found = lenses(stop=True)
    inspector = TorchInspector(found, log, module=model, scaler=scaler)
    before = model[0].weight.detach().clone()
    train(model, scaler, inspector, [1e3])
    assert torch.equal(model[0].weight, before)  # skipped
    assert scaler.get_scale() == 2.0**126
    train(model, scaler, inspector, [1e-3] * 3)
    inspector.tick()
    assert found[-1].found is None
    assert found[-1].overflows == 1
    assert "first_non_finite" not in log.status
    assert all(map(math.isfinite, gradients(log[1]).values())), gradients(log[1])
    assert not torch.equal(model[0].weight, before)


@pytest.mark.parametrize("stop", [False, True])
def test_a_gradient_that_is_never_finite_is_found_when_the_scale_has_come_down(stop):
    scaler = GradScaler("cpu", init_scale=2.0**4)
    model, log = network(), TrainingLog()
    found = lenses(stop)
    inspector = TorchInspector(found, log, module=model, scaler=scaler)
    if stop:
        with pytest.raises(NonFiniteFound, match="gradient of"):
            train(model, scaler, inspector, [math.nan] * 9)
    else:
        train(model, scaler, inspector, [math.nan] * 9)
        inspector.tick()
        assert math.isnan(log[1]["weight gradient norm/2/mean"])
    assert "gradient" in log.status["first_non_finite"]["kind"]
    assert found[-1].overflows == 5  # at scales 16, 8, 4, 2 and 1


def test_a_network_that_is_not_finite_is_found_at_once_whatever_the_scale():
    scaler = GradScaler("cpu")
    model, log = network(), TrainingLog()
    inspector = TorchInspector(lenses(), log, module=model, scaler=scaler)
    with torch.no_grad():
        model[2].weight.fill_(math.nan)
    train(model, scaler, inspector, [1.0])
    inspector.tick()
    assert log.status["first_non_finite"]["kind"] == "output"


def test_what_is_no_scaler_is_refused():
    with pytest.raises(TypeError, match=r"scaler is a torch.amp.GradScaler, not a float"):
        TorchInspector([OutputNorm()], scaler=65536.0)


def test_half_precision_without_a_scaler_is_told_once():
    model, log = network(), TrainingLog()
    inspector = TorchInspector([OutputNorm(), ParameterGradientGeometry()], log, module=model)
    with torch.autocast("cpu", dtype=torch.float16):
        with pytest.warns(TrainingLogWarning, match=r"TorchInspector\(..., scaler=scaler\)"):
            model(torch.ones(5, 4))
        inspector.tick()
        model(torch.ones(5, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inspector = TorchInspector([OutputNorm()], log, module=network())
        network()(torch.ones(5, 4))
