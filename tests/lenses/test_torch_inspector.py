"""TorchInspector: what it observes, what it never does, and what becomes of bad input."""

import copy
import gc
import io
import math
import warnings
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch
from lenses.torch_networks import batches, every_lens, hooks, network, train
from torch import nn

from traininglog import SQLiteLog, TrainingLog
from traininglog.errors import InvalidKey
from traininglog.lenses import (
    FirstNonFinite,
    Histogram,
    LossMetrics,
    NonFiniteFound,
    OutputActivation,
    OutputGradientGeometry,
    OutputNorm,
    ParameterGradientGeometry,
    ParameterNorm,
    ParameterUpdateGeometry,
    TorchInspector,
    UpdateRatio,
    tags_of,
)
from traininglog.lenses.torch.digits import train as train_on_digits
from traininglog.lenses.torch.inspector import NotAttached


def layers(log, tag):
    return tags_of(log)[tag].layers


# -- nothing is changed ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["perceptron", "convolution", "transformer"])
def test_values_and_gradients_are_the_same_to_the_bit(name):
    """With every lens on, a training goes as it goes without, random numbers included."""

    def go(watched):
        model = network(name)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        inspector = None
        if watched:
            inspector = TorchInspector(every_lens(optimizer), TrainingLog(), module=model)
        torch.manual_seed(5)
        losses = []
        for _ in range(3):
            train(model, batches(name), optimizer, losses.append)
            if inspector is not None:
                inspector.push_loss(losses[-1])
                inspector.tick()
        return (
            losses,
            [p.detach() for p in model.parameters()],
            [p.grad for p in model.parameters()],
        )

    for bare, watched in zip(go(False), go(True), strict=True):
        assert len(bare) == len(watched)
        assert all(torch.equal(one, other) for one, other in zip(bare, watched, strict=True))


def test_detach_removes_every_hook_and_keeps_nothing_alive():
    model = network("perceptron")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inspector = TorchInspector(every_lens(optimizer), TrainingLog(), module=model)
    assert hooks(model) > 0
    assert optimizer._optimizer_step_pre_hooks
    train(model, batches("perceptron"), optimizer, inspector.push_loss)
    inspector.tick()
    train(model, batches("perceptron"), optimizer, inspector.push_loss)
    inspector.detach()
    assert hooks(model) == 0
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    gone = [weakref.ref(model), *(weakref.ref(p) for p in model.parameters())]
    del model, optimizer
    gc.collect()
    # A lens that was given the optimizer has it, and so its parameters.
    inspector.lenses.clear()
    gc.collect()
    assert [reference() for reference in gone] == [None] * len(gone)


class Token:
    """Something that a graph holds."""


class Holding(torch.autograd.Function):
    """The identity, whose graph holds a token."""

    @staticmethod
    def forward(ctx, x, token):
        ctx.token = token
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def test_no_graph_is_kept():
    model = nn.Linear(2, 2)
    inspector = TorchInspector(
        [LossMetrics(), OutputNorm(), OutputGradientGeometry(), FirstNonFinite()], module=model
    )
    token = Token()
    output = model(Holding.apply(torch.ones(1, 2, requires_grad=True), token))
    loss = output.sum()
    inspector.push_loss(loss)
    inspector.push_metric("m", loss * 2)
    loss.backward(retain_graph=True)
    held = weakref.ref(token)
    del token
    assert held() is not None
    del output, loss
    gc.collect()
    assert held() is None


def test_a_loss_that_the_program_goes_on_with_is_the_one_that_was_pushed():
    log = TrainingLog()
    inspector = TorchInspector([LossMetrics()], log, module=nn.Linear(1, 1))
    loss = torch.tensor(3.0)
    inspector.push_loss(loss)
    loss.mul_(100)
    inspector.push_loss(torch.tensor([5.0], dtype=torch.bfloat16))
    inspector.push_loss(torch.tensor(4))
    inspector.push_loss(4)
    inspector.tick()
    assert log[1]["loss/train/mean"] == 4.0


def test_everything_crosses_from_the_device_at_once(monkeypatch):
    """One transfer at a tick, for all lenses and steps together; none in between.

    Here it is the processor, which says that it is none.
    """
    crossed = []
    original = torch.Tensor.to

    def to(tensor, *arguments, **options):
        if arguments[:1] == ("cpu",):
            crossed.append(tensor.numel())
        return original(tensor, *arguments, **options)

    model = network("perceptron")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lenses = [lens for lens in every_lens(optimizer) if not isinstance(lens, FirstNonFinite)]
    inspector = TorchInspector(lenses, TrainingLog(), module=model)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "item", None)
    train(model, batches("perceptron"), optimizer, inspector.push_loss)
    assert crossed == []
    inspector.tick()
    assert len(crossed) == 1


def test_very_many_numbers_are_packed_and_cross_early(monkeypatch):
    from traininglog.lenses.torch.pool import DevicePool

    monkeypatch.setattr(DevicePool, "_NUMBERS", 4)
    monkeypatch.setattr(DevicePool, "_MOST", 10)
    log = TrainingLog()
    inspector = TorchInspector([LossMetrics()], log, module=nn.Linear(1, 1))
    for number in range(1001):
        inspector.push_loss(torch.tensor(float(number)))
    inspector.tick()
    assert log[1]["loss/train/mean"] == 500.0
    assert log[1]["loss/train/std"] == pytest.approx(math.sqrt(1001**2 / 12), rel=1e-3)


@pytest.mark.parametrize(
    "limits",
    [
        {"_NUMBERS": 1, "_TOGETHER": 1, "_TOTALS": 1},
        {"_NUMBERS": 7, "_TOGETHER": 3, "_TO_SUM": 100},
        {"_MOST": 1},
    ],
)
def test_it_makes_no_difference_when_numbers_are_packed(monkeypatch, limits):
    from traininglog.lenses.torch.pool import DevicePool

    found = []
    for some in ({}, limits):
        for name, value in some.items():
            monkeypatch.setattr(DevicePool, name, value)
        model = network("perceptron")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        log = TrainingLog()
        inspector = TorchInspector(every_lens(optimizer), log, module=model)
        for tick in range(2):
            for _ in range(5):
                train(model, batches("perceptron"), optimizer, inspector.push_loss)
            inspector.tick(tick)
        found.append(log.to_dict())
    for time, row in found[0].items():
        assert list(row) == list(found[1][time])
        wanted = {key: value for key, value in row.items() if isinstance(value, float)}
        assert {key: found[1][time][key] for key in wanted} == pytest.approx(wanted, rel=1e-5)


def test_a_copied_or_saved_model_is_not_observed_and_the_log_is_left_alone(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        model = network("perceptron")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        inspector = TorchInspector(every_lens(optimizer), log, module=model)
        uuid = log.uuid
        twin = copy.deepcopy(model)
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        loaded = torch.load(buffer, weights_only=False)
        for other in (twin, loaded):
            other(batches("perceptron")[0][0]).sum().backward()
        inspector.tick()
        assert log.uuid == uuid
        assert not [key for key in log.keys_seen() if key.startswith("output norm/")]


# -- which modules --------------------------------------------------------------------------------


class Uneven(nn.Module):
    """One branch is three levels deep, the other one."""

    def __init__(self):
        super().__init__()
        self.shallow = nn.Linear(2, 2)
        self.deep = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2))

    def forward(self, x):
        return self.deep(self.shallow(x))


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (-1, ["shallow", "deep/0/0", "deep/0/1", "deep/1"]),
        (3, ["shallow", "deep/0/0", "deep/0/1", "deep/1"]),
        (9, ["shallow", "deep/0/0", "deep/0/1", "deep/1"]),
        (2, ["shallow", "deep/0", "deep/1"]),
        (1, ["shallow", "deep"]),
        (0, ["Uneven"]),
    ],
)
def test_a_branch_shallower_than_the_depth_keeps_its_leaves(depth, expected, log):
    model = Uneven()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inspector = TorchInspector(
        [OutputNorm(), ParameterNorm(), ParameterGradientGeometry(), UpdateRatio(optimizer)],
        log, module=model, depth=depth, separator="/",
    )  # fmt: skip
    for _ in range(2):
        model(torch.randn(3, 2)).sum().backward()
        optimizer.step()
        inspector.tick()
    assert layers(log, "output norm") == expected
    assert next(iter(log[2])).startswith(f"output norm/{expected[0]}/")
    holders = [layer for layer in expected if layer != "deep/0/1"]
    assert layers(log, "update ratio") == holders
    norms = [log[2][f"weight norm/{layer}/mean"] for layer in holders]
    joint = math.sqrt(
        sum(
            float(p.detach().norm()) ** 2
            for n, p in model.named_parameters()
            if n.endswith("weight")
        )
    )
    assert math.hypot(*norms) == pytest.approx(joint, rel=1e-5)
    gradients = [log[2][f"weight gradient norm/{layer}/max"] for layer in holders]
    joint = math.sqrt(
        sum(float(p.grad.norm()) ** 2 for n, p in model.named_parameters() if n.endswith("weight"))
    )
    assert math.hypot(*gradients) == pytest.approx(joint, rel=1e-5)


def test_a_shared_module_goes_by_its_first_name(log):
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    inspector = TorchInspector([OutputNorm(), ParameterNorm()], log, module=model)
    model(torch.ones(1, 2))
    inspector.tick()
    assert layers(log, "output norm") == ["0", "1"]
    assert tags_of(log)["output norm"].aliases == {"0": ["2"]}
    assert layers(log, "weight norm") == ["0"]


def test_the_order_is_that_of_the_module_at_every_tick(log):
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    inspector = TorchInspector([OutputNorm()], log, module=model)
    for _ in range(3):
        model(torch.ones(1, 2))
        inspector.tick()
    names = [str(number) for number in range(12)]
    assert layers(log, "output norm") == names
    for row in log.values():
        told = dict.fromkeys(key.split("/")[1] for key in row if key.startswith("output norm/"))
        assert list(told) == names


def test_what_wraps_a_module_is_looked_into(log):
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    compiled = torch.compile(nn.DataParallel(inner), backend="eager")
    inspector = TorchInspector([OutputNorm(), ParameterGradientGeometry()], log, module=compiled)
    inner(torch.ones(1, 2)).sum().backward()
    inspector.tick()
    assert layers(log, "output norm") == ["0", "1"]


# Dynamo's own, wherever it goes on after a part of a graph.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_module_is_observed_and_computes_the_same(log):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    inputs = torch.randn(3, 4)
    bare = model(inputs)
    bare.sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    compiled = torch.compile(model, backend="eager")
    inspector = TorchInspector([OutputNorm(), OutputGradientGeometry()], log, module=compiled)
    output = compiled(inputs)
    output.sum().backward()
    inspector.tick()
    assert torch.equal(output, bare)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
    norm = float(bare.detach().norm(dim=1).mean())
    assert log[1]["output norm/2/mean"] == pytest.approx(norm, rel=1e-5)
    assert log[1]["output gradient norm/2/mean"] == pytest.approx(math.sqrt(3))
    inspector.detach()
    assert torch.equal(compiled(inputs), bare)


# -- bad input ------------------------------------------------------------------------------------


def test_an_inspector_that_is_not_attached_says_so():
    inspector = TorchInspector([LossMetrics()])
    for call in (inspector.tick, inspector.inspect_update, lambda: inspector.push_loss(1.0)):
        with pytest.raises(NotAttached, match=r"call inspector.attach\(module\) first"):
            call()
    inspector.detach()  # which does nothing
    with pytest.raises(TypeError, match=r"attach a torch\.nn\.Module, not a str"):
        inspector.attach("model")
    with pytest.raises(ValueError, match="depth is 0 or more"):
        TorchInspector([LossMetrics()], depth=-2)


def test_attaching_again_moves_to_the_new_module(log):
    one, other = nn.Sequential(nn.Linear(1, 1)), nn.Sequential(nn.ReLU(), nn.Linear(1, 1))
    inspector = TorchInspector([OutputNorm(), LossMetrics()], log, module=one)
    one(torch.ones(1, 1))
    inspector.push_loss(1.0)
    inspector.attach(other)
    assert hooks(one) == 0
    one(torch.ones(1, 1))
    other(torch.ones(1, 1))
    inspector.tick()
    assert "output norm/0/mean" in log[1]
    assert "output norm/1/mean" in log[1]
    assert "loss/train/mean" not in log[1]
    inspector.attach(other)
    other(torch.ones(1, 1))
    inspector.tick()
    assert log[2]["output norm/0/min"] == log[2]["output norm/0/max"] == 1.0


def test_a_name_that_no_key_can_have_is_refused_before_anything_is_observed():
    model = nn.ModuleDict({"x" * 600: nn.Linear(1, 1)})
    with pytest.raises(InvalidKey):
        TorchInspector([OutputNorm()], module=model)
    assert hooks(model) == 0


class Odd(nn.Module):
    """Gives and takes what it is told to."""

    def __init__(self, give):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.odd = Inner(give)

    def forward(self, *, x):
        return self.odd(x=self.inner(x))


class Inner(nn.Module):
    def __init__(self, give):
        super().__init__()
        self.give = give
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, *, x):
        return self.give(x * self.weight)


@pytest.mark.parametrize(
    ("give", "told"),
    [
        (lambda x: (x, x * 9), True),
        (lambda x: {"length": 3, "out": [None, x]}, True),
        (lambda x: (torch.arange(3), x), True),
        (lambda x: x.long(), False),
        (lambda x: x[:0], False),
        (lambda x: None, False),
        (lambda x: "text", False),
        (lambda x: x.half(), True),
        (lambda x: x.bfloat16(), True),
        (lambda x: x.double(), True),
        (lambda x: x.sum(), True),
        (lambda x: x.to(torch.complex64), True),
    ],
)
def test_whatever_a_module_gives_the_first_array_of_floats_counts(give, told, log):
    """Tuples, dicts, keywords only, half precision, integers, an empty batch: no crash."""
    model = Odd(give)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lenses = [*every_lens(optimizer), OutputActivation(include=[Inner])]
    inspector = TorchInspector(lenses, log, module=model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model(x=torch.ones(2, 2))
        tensors = [t for t in _tensors(found) if t.requires_grad and t.numel()]
        if tensors:
            total = tensors[0].sum()
            (total.real if total.is_complex() else total).backward()
            optimizer.step()
        inspector.tick()
    assert "output norm/inner/mean" in log[1]
    assert ("output norm/odd/mean" in log[1]) == told
    assert ("activation/odd/mean" in log[1]) == told


def _tensors(thing):
    if isinstance(thing, torch.Tensor):
        return [thing]
    if isinstance(thing, dict):
        thing = list(thing.values())
    return [t for one in thing for t in _tensors(one)] if isinstance(thing, (list, tuple)) else []


def test_half_precision_does_not_overflow(log):
    model = nn.Linear(64, 64).half()
    with torch.no_grad():
        model.weight.fill_(100.0)
        model.bias.zero_()
    inspector = TorchInspector([OutputNorm(), ParameterNorm(), Histogram()], log, module=model)
    model(torch.ones(2, 64, dtype=torch.float16) * 8)
    inspector.tick()
    assert log[1]["weight norm/Linear/mean"] == 6400.0
    assert log[1]["output norm/Linear/mean"] == pytest.approx(51200 * 8, rel=1e-3)


def test_modules_that_were_not_called_are_not_told(log):
    model = nn.ModuleDict({"used": nn.ReLU(), "unused": nn.ReLU()})
    inspector = TorchInspector([OutputActivation(), OutputNorm()], log, module=model)
    model["used"](torch.ones(1, 2))
    inspector.tick()
    assert "activation/used/mean" in log[1]
    assert not [key for key in log[1] if "unused" in key]
    inspector.tick()  # nothing at all was called
    assert 2 not in log


def test_a_frozen_parameter_and_one_without_gradient_are_left_out(log):
    model = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("trained", "frozen", "unused")})
    model["frozen"].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inspector = TorchInspector(every_lens(optimizer), log, module=model)
    for _ in range(2):
        model["trained"](model["frozen"](torch.ones(1, 2))).sum().backward()
        optimizer.step()
    inspector.tick()
    row = log[1]
    assert "weight gradient norm/trained/mean" in row
    about = {key.split("/")[1] for key in row if "gradient" in key and "memory" not in key}
    assert about == {"trained"}
    assert "weight norm/frozen/mean" in row
    assert row["update ratio/unused/mean"] == 0.0
    assert "update ratio/frozen/mean" not in row


def test_two_backward_passes_into_one_gradient_are_two_looks(log):
    model = nn.Linear(1, 1, bias=False)
    inspector = TorchInspector([ParameterGradientGeometry()], log, module=model)
    for _ in range(2):
        model(torch.ones(1, 1)).sum().backward()
    inspector.tick()
    assert log[1]["weight gradient norm/Linear/min"] == 1.0
    assert log[1]["weight gradient norm/Linear/max"] == 2.0
    assert log[1]["weight gradient correlation/Linear/mean"] == 1.0


def test_sparse_gradients_and_uneven_lengths(log):
    model = nn.Embedding(10, 3, sparse=True)
    inspector = TorchInspector(
        [ParameterGradientGeometry(), OutputGradientGeometry()], log, module=model
    )
    for length in (4, 2):
        model(torch.arange(length)[None]).sum().backward()
        model.weight.grad = None
    inspector.tick()
    assert log[1]["weight gradient norm/Embedding/max"] == pytest.approx(math.sqrt(12))
    assert "output gradient correlation/Embedding/mean" not in log[1]


def test_evaluation_is_told_apart(log):
    model = nn.Sequential(nn.ReLU())
    lenses = [OutputNorm(record_eval=False), OutputActivation(evaluation_from_grad=True)]
    inspector = TorchInspector(lenses, log, module=model)
    with torch.no_grad():
        model(torch.ones(1, 1))
    model.eval()(-torch.ones(1, 1))
    inspector.tick()
    assert log[1]["output norm/0/mean"] == 1.0  # in training mode, though without a graph
    assert log[1]["activation/0/mean"] == 0.0  # with a graph, though in evaluation mode


def test_a_loss_module_tells_training_from_validation(log):
    loss_fn = nn.MSELoss()
    model = nn.Linear(1, 1)
    loss_fn(torch.ones(1), torch.ones(1))  # before there is an inspector
    inspector = TorchInspector([LossMetrics(loss_fn=loss_fn)], log, module=model)
    loss_fn(model(torch.ones(1, 1)), torch.ones(1, 1)).backward()
    with torch.no_grad():
        loss_fn(torch.zeros(1), torch.full((1,), 3.0))
    inspector.tick()
    assert log[1]["loss/validation/mean"] == 9.0
    assert log[1]["loss/train/mean"] >= 0
    inspector.detach()
    assert hooks(loss_fn) == 0


NUMBERS = {
    "float": 0.0, "fraction": Fraction(0), "NumPy's": np.float32(0), "an array": np.zeros(()),
    "of one": np.zeros(1), "of one, twice": np.zeros((1, 1), np.float32),
    "a tensor": torch.zeros(()), "of one element": torch.zeros(1, 1, dtype=torch.float16),
}  # fmt: skip


@pytest.mark.parametrize("loss", NUMBERS.values(), ids=NUMBERS)
def test_a_loss_may_be_a_number_of_any_library_which_goes_on_with_it(loss, log):
    """Also in an array of one, that is added to in its place."""
    loss = copy.deepcopy(loss)
    inspector = TorchInspector([LossMetrics(), FirstNonFinite()], log, module=nn.Linear(1, 1))
    for _ in range(3):
        loss += 1
        inspector.push_loss(loss)
        inspector.push_metric("score", loss)
    inspector.tick()
    assert log[1]["loss/train/mean"] == log[1]["metrics/score/mean"] == 2.0
    loss += math.nan
    inspector.push_loss(loss)
    assert log.status["first_non_finite"]["kind"] == "loss"


def test_a_loss_that_is_no_scalar_is_refused_and_from_a_module_left_out(log):
    model = nn.Linear(1, 1)
    loss_fn = nn.MSELoss(reduction="none")
    inspector = TorchInspector([LossMetrics(loss_fn=loss_fn)], log, module=model)
    with pytest.raises(ValueError, match=r"not of shape \(2, 1\): use .mean\(\)"):
        inspector.push_loss(torch.ones(2, 1))
    with pytest.warns(match="LossMetrics could not take layer 'loss'.*ValueError"):
        loss_fn(torch.ones(2), torch.ones(2))
    inspector.push_loss(1.0)
    inspector.tick()
    assert log[1]["loss/train/mean"] == 1.0


def test_nothing_of_an_inactive_stretch_is_in_the_next(log):
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    inspector = TorchInspector(
        [OutputNorm(), ParameterUpdateGeometry(optimizer), ParameterGradientGeometry()],
        log, module=model, every=2,
    )  # fmt: skip
    for size in (100.0, 1.0):
        optimizer.zero_grad()
        model(torch.full((1, 1), size)).sum().backward()
        optimizer.step()
        inspector.tick()
    assert list(log) == [2]
    assert log[2]["weight update norm/Linear/mean"] == 1.0
    assert log[2]["weight gradient norm/Linear/mean"] == 1.0
    assert "weight gradient correlation/Linear/mean" not in log[2]
    assert log[2]["output norm/Linear/mean"] == 99.0


def test_inference_mode_and_autocast(log):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    inspector = TorchInspector(every_lens(None), log, module=model)
    with torch.inference_mode():
        model(torch.ones(2, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(torch.ones(2, 4)).float().sum().backward()
    inspector.tick()
    assert math.isfinite(log[1]["output norm/0/mean"])


# -- the first NaN --------------------------------------------------------------------------------


class Planted(nn.Module):
    """Gives a NaN, or has a NaN for a gradient, from a step on."""

    def __init__(self, where):
        super().__init__()
        self.where, self.step = where, 0

    def forward(self, x):
        self.step += 1
        if self.step < 3:
            return x
        if self.where == "output":
            return x * math.nan
        return Exploding.apply(x) if self.where == "gradient" else x


class Exploding(torch.autograd.Function):
    """The identity, with a gradient that is not finite."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 0.0


def planted(where, log, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), Planted(where), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lens = FirstNonFinite(**options)
    inspector = TorchInspector([lens], log, module=model)
    for step in range(1, 5):
        inputs = torch.randn(4, 3)
        if where == "input" and step == 3:
            inputs[1, 1] = math.inf
        loss = model(inputs).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if where == "parameter" and step == 3:
            with torch.no_grad():
                model[3].bias.fill_(math.nan)
        inspector.tick()
    return lens


@pytest.mark.parametrize(
    ("where", "layer", "kind", "value"),
    [
        ("output", "2", "output", "nan"),
        ("gradient", "1", "output gradient", "inf"),
        ("parameter", "3", "parameter bias", "nan"),
        ("input", "Sequential", "input", "inf"),
    ],
)
def test_a_planted_nan_is_named_where_it_first_comes_up(where, layer, kind, value, log):
    lens = planted(where, log)
    found = log.status["first_non_finite"]
    assert (found["layer"], found["kind"], found["value"]) == (layer, kind, value)
    assert found["step"] == 3
    assert found["after_time"] == 2
    assert math.isfinite(found["last_finite"]["norm"])
    assert found["last_finite"]["step"] == 2
    assert lens.found == found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.complex64])
def test_what_is_finite_is_not_told_however_large(dtype, log):
    """Not even where its norm is beyond the greatest number."""
    largest = torch.finfo(dtype).max
    model = nn.Sequential(nn.Identity(), nn.Identity())
    lens = FirstNonFinite()
    inspector = TorchInspector([lens, OutputNorm()], log, module=model)
    model(torch.full((3, 2), -largest, dtype=dtype))
    inspector.tick()
    assert lens.found is None
    model(torch.tensor([[1.0, largest * 2]], dtype=dtype))
    inspector.tick()
    assert lens.found["value"] == "inf"
    assert lens.found["last_finite"]["norm"] >= largest * 0.99


@pytest.mark.parametrize("where", ["output", "gradient"])
def test_it_stops_where_it_is_told_to_and_the_status_has_it_by_then(where, log):
    with pytest.raises(NonFiniteFound, match="at step 3"):
        planted(where, log, stop=True)
    assert log.status["first_non_finite"]["step"] == 3


# -- the example ----------------------------------------------------------------------------------


def test_the_example_learns_digits_with_six_lenses_on(log):
    train_on_digits(log, epochs=3)
    assert list(log) == [1, 2, 3]
    assert log[3]["loss/train/mean"] < log[1]["loss/train/mean"]
    assert log[3]["metrics/accuracy/mean"] > 0.7
    assert {"loss", "metrics", "activation", "output norm", "weight gradient norm", "update ratio",
            "parameter distribution"} <= set(tags_of(log))  # fmt: skip
    assert layers(log, "update ratio") == ["first", "second", "head"]
