"""Every lens on PyTorch networks, against what autograd and closed forms give by themselves."""

import math

import numpy as np
import pytest
import torch
from lenses.torch_networks import batches, network, train
from torch import nn
from torch.nn import functional

from traininglog.lenses import (
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
    TorchInspector,
    UpdateRatio,
)

NAMES = ["perceptron", "convolution", "transformer"]


def cosine(one, other):
    return float(
        functional.cosine_similarity(one.flatten().double(), other.flatten().double(), dim=0)
    )


def expected(name):
    """Train with torch.autograd.grad alone; return by key the values of the steps."""
    model, data = network(name), batches(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(2)
    found = {}
    before = {}

    def note(key, value):
        value = value.detach() if isinstance(value, torch.Tensor) else value
        found.setdefault(key, []).append(float(value))

    def geometry(tag, layer, value, direction=None):
        note(f"{tag} norm/{layer}", value.double().norm())
        direction = value if direction is None else direction
        if (tag, layer) in before:
            note(f"{tag} correlation/{layer}", cosine(direction, before[tag, layer]))
        before[tag, layer] = direction.clone()

    for inputs, targets in data:
        outputs = {}
        leaves = {
            n: m
            for n, m in model.named_modules()
            if isinstance(m, nn.MultiheadAttention)
            or (not list(m.children()) and not n.endswith("self_attn.out_proj"))
        }
        handles = []
        for layer, module in leaves.items():

            def keep(module, arguments, output, layer=layer, outputs=outputs):
                # What comes after may change it in place; autograd needs the tensor itself.
                output, *rest = output if isinstance(output, tuple) else [output]
                outputs[layer] = (output.view_as(output), output.detach().clone())
                if not output.requires_grad:
                    return None
                return (outputs[layer][0], *rest) if rest else outputs[layer][0]

            handles.append(module.register_forward_hook(keep))
        loss = functional.cross_entropy(model(inputs), targets)
        for handle in handles:
            handle.remove()
        note("loss/train", loss)
        named = list(model.named_parameters())
        gradients = torch.autograd.grad(loss, [p for _, p in named], retain_graph=True)
        inplace = name == "convolution"
        for layer, (tensor, values) in outputs.items():
            samples = values.flatten(1).double()
            note(f"output norm/{layer}", samples.norm(dim=1).mean())
            if isinstance(leaves[layer], (nn.ReLU, nn.GELU, nn.Dropout)):
                active = (values.abs() > 1e-8).double().transpose(0, 1).flatten(1)
                note(f"activation/{layer}", active.mean())
                note(f"death/{layer}", (active.mean(1) == 0).double().mean())
            if not inplace and not isinstance(leaves[layer], (nn.ReLU, nn.GELU, nn.Dropout)):
                (gradient,) = torch.autograd.grad(loss, tensor, retain_graph=True)
                geometry("output gradient", layer, gradient, gradient.mean(0))
        for (full, _), gradient in zip(named, gradients, strict=True):
            layer, _, parameter = full.rpartition(".")
            if parameter not in ("weight", "bias"):
                continue
            geometry(f"{parameter} gradient", layer, gradient)
            rows = (
                (gradient != 0).double().flatten(1) if gradient.ndim > 1 else gradient[:, None] != 0
            )
            note(f"{parameter} gradient activation/{layer}", (gradient != 0).double().mean())
            note(f"{parameter} gradient death/{layer}", (~rows.bool().any(1)).double().mean())
        optimizer.zero_grad()
        for (_, parameter), gradient in zip(named, gradients, strict=True):
            parameter.grad = gradient.clone()
        old = {full: parameter.detach().clone() for full, parameter in named}
        optimizer.step()
        squares = {}
        for full, parameter in named:
            layer, _, short = full.rpartition(".")
            delta = parameter.detach() - old[full]
            if short in ("weight", "bias"):
                geometry(f"{short} update", layer, delta)
            sums = squares.setdefault(layer, [0.0, 0.0])
            sums[0] += float(delta.double().norm()) ** 2
            sums[1] += float(old[full].double().norm()) ** 2
        for layer, (over, under) in squares.items():
            note(f"update ratio/{layer}", math.sqrt(over / under) if under else math.inf)
    for full, parameter in model.named_parameters():
        layer, _, short = full.rpartition(".")
        if short in ("weight", "bias"):
            note(f"{short} norm/{layer}", parameter.double().norm())
        if short == "weight" and parameter.ndim > 1:
            values = np.linalg.svd(parameter.detach().double().flatten(1).numpy(), compute_uv=False)
            note(f"weight condition/{layer}", values[0] / values[-1])
    return found


def lenses(optimizer, running):
    points = {"running": running}
    if not running:
        points |= {"line": "median", "ranges": ["Q1-Q3", "min-max"]}
    return [
        LossMetrics(running=running, loss_line=points.get("line", "mean")),
        OutputNorm(**points),
        OutputActivation(**points),
        OutputGradientGeometry(**points),
        ParameterGradientGeometry(**points),
        ParameterGradientActivation(**points),
        ParameterNorm(running=running),
        ParameterUpdateGeometry(optimizer, **points),
        ParameterCondition(),
        UpdateRatio(optimizer, **points),
    ]


POINTS = {
    "mean": np.mean, "std": np.std, "min": np.min, "max": np.max, "median": np.median,
    "Q1": lambda a: np.quantile(a, 0.25), "Q3": lambda a: np.quantile(a, 0.75),
}  # fmt: skip


@pytest.mark.parametrize("running", [True, False], ids=["running", "list"])
@pytest.mark.parametrize("name", NAMES)
def test_every_lens_tells_what_autograd_and_closed_forms_give(name, running, log):
    """On steps with momentum, dropout, an in-place activation, and a smaller last batch."""
    model = network(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    inspector = TorchInspector(lenses(optimizer, running), log, module=model)
    torch.manual_seed(2)
    train(model, batches(name), optimizer, inspector.push_loss)
    inspector.tick()
    wanted = expected(name)
    told = {key: value for key, value in log[1].items() if not key.endswith("/share")}
    checked = set()
    for key, value in told.items():
        place, _, point = key.rpartition("/")
        if name == "convolution" and place.startswith("output gradient"):
            continue  # its ReLU changes the tensor that autograd would be asked for: see below
        if place.startswith("activation warning"):
            continue
        assert place in wanted, key
        number = POINTS[point](wanted[place])
        assert value == pytest.approx(number, rel=2e-4, abs=3e-5), key
        checked.add(place)
    left = {place for place in set(wanted) - checked if "self_attn" not in place}
    assert left == set()


def test_gradients_of_outputs_around_an_in_place_activation_are_right():
    """Where a hook of full_backward kind would make the training fail."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    changed = nn.Sequential(plain[0], nn.ReLU(inplace=True), plain[2])
    found = []
    for model in (plain, changed):
        log = {}
        inspector = TorchInspector(
            [OutputGradientGeometry(skip_activation=False)], log_of := _log(), module=model
        )
        model(torch.ones(2, 4)).sum().backward()
        inspector.tick()
        inspector.detach()
        log = log_of[1].copy()
        found.append(log)
    assert found[0] == found[1]
    assert found[0]["output gradient norm/2/mean"] == pytest.approx(math.sqrt(2))


def _log():
    from traininglog import TrainingLog

    return TrainingLog()


def test_norms_by_size_and_shares(log):
    model = nn.Sequential(nn.Linear(4, 9), nn.Linear(9, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inspector = TorchInspector(
        [
            OutputNorm(normalize_by_size=True),
            OutputGradientGeometry(normalize_by_size=True),
            ParameterNorm(normalize_by_size=True),
            ParameterGradientGeometry(normalize_by_size=True),
            ParameterUpdateGeometry(optimizer, normalize_by_size=True),
        ],
        log,
        module=model,
    )
    inputs = torch.randn(5, 4)
    hidden = model[0](inputs).detach()
    inspector.detach()
    inspector.attach(model)
    output = model(inputs)
    output.sum().backward()
    optimizer.step()
    inspector.tick()
    row = log[1]
    rms = hidden.square().mean(1).sqrt().mean()
    assert row["output norm/0/mean"] == pytest.approx(float(rms), rel=1e-5)
    assert row["output gradient norm/1/mean"] == pytest.approx(1.0)
    weight = model[0].weight
    assert row["weight norm/0/mean"] == pytest.approx(float(weight.detach().square().mean().sqrt()))
    gradient = float(weight.grad.square().mean().sqrt())
    assert row["weight gradient norm/0/mean"] == pytest.approx(gradient, rel=1e-5)
    assert row["weight update norm/0/mean"] == pytest.approx(0.1 * gradient, rel=1e-3)
    for tag in ("output norm", "weight norm"):
        norms = [row[f"{tag}/{layer}/mean"] for layer in "01"]
        shares = [row[f"{tag} shares/{layer}/share"] for layer in "01"]
        assert shares == pytest.approx([norm / sum(norms) for norm in norms])


def test_inspect_update_compares_with_the_call_before(log):
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 4.0]]))
    inspector = TorchInspector(
        [ParameterUpdateGeometry(), UpdateRatio()], log, module=model,
        is_active=lambda number: number != 2,
    )  # fmt: skip
    for number in range(1, 4):
        for change in (1.0, -2.0):
            with torch.no_grad():
                model.weight += torch.tensor([[change, 0.0]])
            inspector.inspect_update()
        inspector.tick()
        if number == 2:  # what was changed in the inactive stretch is in none of the next
            assert number not in log
    assert log[1]["weight update norm/Linear/min"] == 1.0
    assert log[1]["weight update norm/Linear/max"] == 2.0
    assert log[1]["update ratio/Linear/max"] == pytest.approx(2 / math.hypot(4, 4))
    assert log[3]["weight update norm/Linear/max"] == 2.0
    assert log[3]["weight update correlation/Linear/mean"] == -1.0


def test_the_warning_has_the_worst_of_all_layers(log):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    with torch.no_grad():
        model[2].weight.zero_()
        model[2].bias.copy_(torch.tensor([-1.0, -1.0, 1.0, 1.0]))
    inspector = TorchInspector([OutputActivation()], log, module=model)
    model(torch.randn(8, 4))
    inspector.tick()
    assert log[1]["activation/3/mean"] == 0.5
    assert log[1]["death/3/mean"] == 0.5
    assert log[1]["activation warning/death/mean"] == 0.5
    assert log[1]["activation warning/activation/mean"] <= 0.5


@pytest.mark.parametrize("of", ["parameter", "gradient", "output"])
def test_a_histograms_quantiles_are_numpys(of, log):
    torch.manual_seed(0)
    model = nn.Linear(20, 10)
    inspector = TorchInspector([Histogram(of)], log, module=model)
    output = model(torch.randn(6, 20))
    output.square().sum().backward()
    inspector.tick()
    values = {"parameter": model.weight, "gradient": model.weight.grad, "output": output}[of]
    values = values.detach().double().numpy().reshape(-1)
    for name, share in (("q00", 0), ("q10", 0.1), ("q50", 0.5), ("q100", 1)):
        told = log[1][f"{of} distribution/Linear/{name}"]
        spread = float(values.max() - values.min())
        assert told == pytest.approx(np.quantile(values, share), abs=0.03 * spread)
    assert log[1][f"{of} distribution/Linear/q100"] == values.max()


def test_memory_counts_bytes(log):
    model = nn.Sequential(nn.Linear(256, 512, bias=False), nn.ReLU())
    inspector = TorchInspector([Memory()], log, module=model)
    model(torch.randn(4, 256))
    model(torch.randn(1, 256)).sum().backward()
    inspector.tick()
    mebibyte = 2.0**20
    assert log[1]["memory/parameters/MiB"] == 256 * 512 * 4 / mebibyte
    assert log[1]["memory/gradients/MiB"] == 256 * 512 * 4 / mebibyte
    assert log[1]["memory/activations/MiB"] == 2 * 4 * 512 * 4 / mebibyte
    assert "memory/device peak/MiB" not in log[1]


@pytest.mark.parametrize("shape", [(64, 64), (300, 64), (64, 300)])
def test_a_large_weight_is_estimated(shape):
    log = _log()
    torch.manual_seed(0)
    model = nn.Linear(*shape)
    exact, estimate = ParameterCondition(exact_up_to=64), ParameterCondition(exact_up_to=16)
    found = []
    state = torch.get_rng_state()
    for time, lens in enumerate((exact, estimate)):
        inspector = TorchInspector([lens], log, module=model)
        inspector.tick(time)
        found.append(log[time]["weight condition/Linear/mean"])
    assert torch.equal(torch.get_rng_state(), state)
    values = np.linalg.svd(model.weight.detach().double().numpy(), compute_uv=False)
    assert found[0] == pytest.approx(values[0] / values[-1], rel=1e-4)
    assert 0.5 * min(found[0], 10) < found[1] <= found[0] * 1.0001


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5000, 3), (3, 5000), (4, 3, 900), (2, 3, 4, 5), (70_000,)])
def test_active_elements_are_counted_in_any_shape_precision_and_order_of_memory(shape, dtype):
    """Also where half precision could not count so far, and right after something larger."""
    torch.manual_seed(0)
    log = _log()
    lens = OutputActivation(include=[nn.Identity], channel_last=len(shape) == 3)
    model = nn.Sequential(nn.Identity())
    inspector = TorchInspector([lens], log, module=model)
    for order in ("as it is", "turned"):
        output = torch.relu(torch.randn(shape)).to(dtype)
        if len(shape) > 1:
            output.movedim(-1 if len(shape) == 3 else 1, 0)[1] = 0
            output = output if order == "as it is" else output.mT.contiguous().mT
        model(torch.ones(100, 1000))
        inspector.attach(model)
        model(output)
        inspector.tick()
        row = log[log.to_dataframe().index[-1]]
        active = (output.double().abs() > 1e-8).double()
        assert row["activation/0/mean"] == pytest.approx(float(active.mean()), rel=1e-6)
        axis = None if len(shape) == 1 else -1 if len(shape) == 3 else 1
        channels = active[None] if axis is None else active.movedim(axis, 0)
        dead = (channels.flatten(1).sum(1) == 0).double().mean()
        assert row["death/0/mean"] == pytest.approx(float(dead))


@pytest.mark.parametrize("size", [2, 64])  # where vectors of the processor are at work, and not
def test_of_what_has_a_nan_no_lens_can_tell_how_much_is_active(size):
    """NaN, and not "all is dead" from one lens and "all is alive" from another."""
    log = _log()
    model = nn.Sequential(nn.ReLU(), nn.Linear(size, 1, bias=False))
    inspector = TorchInspector(
        [OutputActivation(), ParameterGradientActivation()], log, module=model
    )
    inputs = torch.zeros(2, size)
    inputs[:, : size // 2] = math.nan
    inputs[0, size // 2] = 1.0
    model(inputs).sum().backward()
    inspector.tick()
    for key in ("activation/0", "death/0", "activation warning/activation",
                "activation warning/death", "weight gradient activation/1",
                "weight gradient death/1"):  # fmt: skip
        assert math.isnan(log[1][f"{key}/mean"]), key
