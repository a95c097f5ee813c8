"""Nothing that lenses do ends a training: each way in from PyTorch is guarded, and counts."""

import warnings

import pytest
import torch
from lenses.torch_networks import every_lens, hooks
from torch import nn

from traininglog import SQLiteLog, TrainingLog
from traininglog.errors import TrainingLogWarning
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
    TorchInspector,
    UpdateRatio,
    tags_of,
)
from traininglog.lenses.torch import hooks as torch_hooks
from traininglog.lenses.torch.pool import DevicePool
from traininglog.lenses.torch.state import TorchState
from traininglog.lenses.torch.tensors import TorchArrays
from traininglog.lenses.torch.updates import OptimizerHook, Updates


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def step(model, optimizer, inspector):
    optimizer.zero_grad()
    loss = (model(torch.ones(5, 4)) ** 2).mean()
    loss.backward()
    optimizer.step()
    inspector.push_loss(loss)
    inspector.tick()


#: Every way in from PyTorch, and every step that numbers take from there to the log.
WAYS = [
    *((one, "look") for one in (
        torch_hooks.ForwardHook, torch_hooks.BeginHook, torch_hooks.GradientHook,
        torch_hooks._OutputGradient, torch_hooks.NetworkHook, OptimizerHook,
    )),
    (Updates, "remember"), (Updates, "compare"), (torch_hooks.GradientGroup, "arrived"),
    *((TorchArrays, name) for name in (
        "norm", "each_norm", "sample_norms", "batch_mean", "dot", "activity", "unit_activity",
        "magnitude", "extremes", "sample", "bytes", "count", "copy", "share", "floats",
    )),
    *((DevicePool, name) for name in ("put", "put_together", "put_total", "put_vector", "drain")),
    *((TorchState, name) for name in (
        "parameters", "trainable", "role", "forward", "backward", "begin", "update",
        "parameter_gradient", "per_tick", "gradient_bytes", "device_peak", "unscaled",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("owner", "name"), WAYS, ids=lambda one: getattr(one, "__name__", one))
def test_whatever_raises_on_a_way_in_the_training_goes_on_as_it_would(owner, name, monkeypatch):
    bare, watched = network(), network()
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in (bare, watched)]
    raised = []

    def fails(*arguments, **named):
        raised.append(name)
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(owner, name, fails)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        inspector = TorchInspector(every_lens(optimizers[1]), TrainingLog(), module=watched)
        for _ in range(3):
            optimizers[0].zero_grad()
            (bare(torch.ones(5, 4)) ** 2).mean().backward()
            optimizers[0].step()
            step(watched, optimizers[1], inspector)
        counted = inspector.passed_over
        inspector.detach()
        assert raised, f"nobody calls {name}"
    assert counted
    assert all(issubclass(one.category, TrainingLogWarning) for one in told)
    for one, other in zip(bare.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)
    assert hooks(watched) == 0


def test_every_hook_goes_through_the_guard():
    """A way in that is added to the hooks is one that the guard of `Hook` has."""
    found = [*torch_hooks.Hook.__subclasses__()]
    assert {one for one, name in WAYS if name == "look"} == set(found)
    assert not [one for one in found if "__call__" in vars(one) or "see" in vars(one)]


def test_a_stop_that_was_asked_for_goes_through_every_guard():
    model = network()
    inspector = TorchInspector([OutputNorm(), FirstNonFinite(stop=True)], module=model)
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    with pytest.raises(NonFiniteFound):
        model(torch.ones(1, 4))
    inspector.detach()
    assert hooks(model) == 0


@pytest.mark.parametrize("smaller", [False, True])
def test_parameters_may_be_resized_in_place(smaller):
    """As token embeddings are; the first step after it is compared with what was before it."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    log = TrainingLog()
    inspector = TorchInspector(every_lens(optimizer), log, module=model)
    step(model, optimizer, inspector)
    width = 1 if smaller else 16
    model[0].weight.data = torch.randn(width, 4)
    model[0].bias.data, model[2].weight.data = torch.randn(width), torch.randn(1, width)
    before = model[0].weight.detach().clone()
    bias = model[0].bias.detach().clone()
    step(model, optimizer, inspector)
    moved = torch.cat([(model[0].weight - before).flatten(), model[0].bias - bias]).detach().norm()
    ratio = moved / torch.cat([before.flatten(), bias]).norm()
    assert log[2]["update ratio/0/mean"] == pytest.approx(float(ratio), rel=1e-4)
    assert not inspector.passed_over


def test_another_precision_and_another_shape_of_as_many_elements():
    model = nn.Sequential(nn.Linear(4, 2, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    log = TrainingLog()
    lenses = [one for one in every_lens(optimizer) if not isinstance(one, OutputActivation)]
    inspector = TorchInspector(lenses, log, module=model)
    for shape, dtype in (((2, 4), torch.float32), ((4, 2), torch.float32), ((4, 2), torch.float64)):
        model[0].weight.data = torch.ones(shape, dtype=dtype)
        model[0].weight.grad = None
        (model(torch.ones(3, shape[1], dtype=dtype)) ** 2).mean().backward()
        before = model[0].weight.detach().clone()
        optimizer.step()
        inspector.tick()
        moved = float((model[0].weight.detach() - before).norm() / before.norm())
        assert log[inspector.last_time]["update ratio/0/mean"] == pytest.approx(moved, rel=1e-4)
    assert not inspector.passed_over


# PyTorch's own, in its rules for these transforms.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_transforms_of_functions_are_passed_over_and_counted():
    """Per-sample gradients: the tensors in there stand for many, and have no numbers to tell."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    log = TrainingLog()
    inspector = TorchInspector(every_lens(optimizer), log, module=model)

    def loss(parameters, x):
        return torch.func.functional_call(model, parameters, (x,)).sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))
    with pytest.warns(match="could not take layer.*vmap or grad"):
        gradients = each(dict(model.named_parameters()), torch.ones(5, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingLogWarning)  # the first of each kind is told
        torch.func.hessian(lambda x: model(x).sum())(torch.ones(4))
    assert gradients["0.weight"].shape == (5, 8, 4)
    step(model, optimizer, inspector)
    assert log[1]["output norm/0/mean"] == pytest.approx(log[1]["output norm/0/max"])
    assert inspector.passed_over["outputs: 0"] >= 1
    assert log[1]["output norm/2/mean"] > 0


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_fully_sharded_parameters_in_one_process_are_seen(tmp_path):
    distributed = pytest.importorskip("torch.distributed")
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("this PyTorch has no fully_shard")
    model = network()
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    try:
        fsdp.fully_shard(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        log = TrainingLog()
        lenses = [UpdateRatio(optimizer), ParameterNorm(), OutputNorm(), Histogram()]
        inspector = TorchInspector(lenses, log, module=model)
        before = [p.detach().to_local().clone() for p in model.parameters()]
        step(model, optimizer, inspector)
        after = [p.detach().to_local() for p in model.parameters()]
    finally:
        distributed.destroy_process_group()
    moved = torch.cat([(a - b).flatten() for a, b in zip(after[:2], before[:2], strict=True)])
    size = torch.cat([b.flatten() for b in before[:2]])
    assert log[1]["update ratio/0/mean"] == pytest.approx(
        float(moved.norm() / size.norm()), rel=1e-4
    )
    assert log[1]["weight norm/0/mean"] == pytest.approx(float(after[0].norm()), rel=1e-4)
    assert "output norm/2/mean" in log[1]


def test_numbers_that_cannot_be_stacked_do_not_lose_the_others():
    refused = []
    pool = DevicePool(refused.append)
    seen = {"good": [], "bad": []}

    class Target:
        def __init__(self, name):
            self.name = name

        def add(self, numbers):
            seen[self.name] += [float(number) for number in numbers]

    good, bad = Target("good"), Target("bad")
    for _ in range(3):
        pool.put(good, torch.tensor(2.0), times=2.0)
        pool.put(bad, torch.empty((), device="meta"))
        pool.put_total(good, torch.ones(3), 1.0, 0.0, nonzero=True)
        pool.put_total(bad, torch.empty(3, device="meta"), 1.0, 0.0, nonzero=False)
    pool.put_together(bad, [torch.tensor(1.0), torch.empty((), device="meta")])
    pool.drain()
    assert sorted(seen["good"]) == [3.0] * 3 + [4.0] * 3
    assert seen["bad"] == []
    assert len(refused) >= 2


def test_a_network_on_meta_is_passed_over():
    model = nn.Sequential(nn.Linear(4, 4, device="meta"))
    log = TrainingLog()
    inspector = TorchInspector([ParameterNorm(), LossMetrics()], log)
    with pytest.warns(match="on the device meta"):
        inspector.attach(model)
    inspector.push_loss(1.0)
    inspector.tick()
    assert log[1]["loss/train/mean"] == 1.0


class Lora(nn.Module):
    def __init__(self):
        super().__init__()
        self.base_layer = nn.Linear(2, 2)
        self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(0.0)})
        self.lora_A = nn.ModuleDict({"default": nn.Linear(2, 1)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(1, 2)})

    def forward(self, x):
        inner = self.lora_A["default"](self.lora_dropout["default"](x))
        return self.base_layer(x) + self.lora_B["default"](inner)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_thousands_of_layers_with_every_lens(store, tmp_path):
    """The names of all layers, in every tag, are more than a log takes as one value."""
    log = TrainingLog() if store == "memory" else SQLiteLog(tmp_path / "runs.db")
    name = "base_model_with_a_long_name_of_its_own"
    model = nn.Sequential()
    inner = nn.Sequential(*(Lora() for _ in range(560)))
    model.add_module(name, inner)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inspector = TorchInspector(every_lens(optimizer), log, module=model)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    inspector.tick()
    leaves = [n for n, m in model.named_modules() if not list(m.children())]
    assert len(leaves) == 2240
    with log:
        assert tags_of(log)["output norm"].layers == leaves
        assert tags_of(log)["update ratio"].layers == [n for n in leaves if "dropout" not in n]
        assert log[1][f"output norm/{name}.3.base_layer/mean"] > 0
    assert not inspector.passed_over


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_what_is_traced_or_exported_is_the_network_alone():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    log = TrainingLog()
    inspector = TorchInspector(every_lens(optimizer), log, module=model)
    traced = torch.jit.trace(model, torch.ones(2, 4))
    assert not [node for node in traced.graph.nodes() if "norm" in node.kind()]
    symbolic = torch.fx.symbolic_trace(model)
    exported = torch.export.export(model, (torch.ones(2, 4),)).module()
    for made in (traced, symbolic, exported):
        assert torch.equal(made(torch.ones(2, 4)), model(torch.ones(2, 4)))
    step(model, optimizer, inspector)
    assert log[1]["weight gradient norm/0/mean"] > 0
    assert not inspector.passed_over


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_scripted_module_says_what_cannot_be_seen_of_it():
    model = torch.jit.script(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    log = TrainingLog()
    lenses = [ParameterNorm(), ParameterGradientGeometry(), UpdateRatio(optimizer), OutputNorm()]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        inspector = TorchInspector(lenses, log, module=model)
        step(model, optimizer, inspector)
    messages = [str(one.message) for one in told]
    assert any("attach the module that it was made of" in text for text in messages)
    for tag in ("weight norm", "weight gradient norm", "update ratio"):
        assert f"{tag}/2/mean" in log[1]


def test_an_attach_that_fails_leaves_no_hook_and_can_be_done_again():
    class Failing(OutputNorm):
        def register_foreign_preprocessor(self, preprocessor, state):
            raise KeyboardInterrupt

    model = network()
    inspector = TorchInspector([OutputGradientGeometry(), Failing()])
    with pytest.raises(KeyboardInterrupt):
        inspector.attach(model)
    assert hooks(model) == 0


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_scripting_an_observed_module_says_what_to_do():
    model = network()
    inspector = TorchInspector([OutputNorm(), ParameterGradientGeometry()], module=model)
    with pytest.raises(AttributeError, match=r"call inspector.detach\(\) before"):
        torch.jit.script(model)
    inspector.detach()
    torch.jit.script(model)(torch.ones(1, 4))
    inspector.attach(model)
    assert hooks(model) > 0
