"""What lenses were told to look at is found again where the network changes, or told once."""

import gc
import weakref

import pytest
import torch
from lenses.torch_networks import every_lens, hooks
from torch import nn
from torch.nn.utils import prune

from traininglog import TrainingLog
from traininglog.errors import TrainingLogWarning
from traininglog.lenses import (
    FirstNonFinite,
    Histogram,
    LossMetrics,
    Memory,
    OutputActivation,
    OutputGradientGeometry,
    OutputNorm,
    ParameterGradientActivation,
    ParameterGradientGeometry,
    ParameterNorm,
    TorchInspector,
    UpdateRatio,
    tags_of,
)
from traininglog.lenses.torch import inspector as torch_inspector


def layers(row, tag):
    return list(dict.fromkeys(key.split("/")[1] for key in row if key.startswith(f"{tag}/")))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))


def step(model, optimizer, inspector, inputs=None):
    optimizer.zero_grad()
    loss = (model(torch.ones(5, 4) if inputs is None else inputs) ** 2).mean()
    loss.backward()
    optimizer.step()
    inspector.push_loss(loss)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("how", ["torch.compile(model)", "model.compile()", "a part of it"])
def test_what_is_compiled_after_it_was_attached_is_seen(how):
    torch._dynamo.reset()
    model, log = network(), TrainingLog()
    inspector = TorchInspector([OutputNorm(), OutputGradientGeometry()], log, module=model)
    bare = network()(torch.ones(5, 4)).detach()
    call = model
    if how.startswith("torch"):
        call = torch.compile(model, backend="eager")
    elif how.startswith("model"):
        model.compile(backend="eager")
    else:
        model[2] = torch.compile(model[2], backend="eager")
    for _ in range(2):
        output = call(torch.ones(5, 4))
        output.sum().backward()
        inspector.tick()
    assert torch.equal(output, bare)
    assert layers(log[2], "output norm") == ["0", "1", "2"]
    assert layers(log[2], "output gradient norm") == ["0", "2"]
    assert not inspector.passed_over


def test_a_graph_that_must_stay_whole_stays_whole_and_it_is_told():
    torch._dynamo.reset()
    model, log = network(), TrainingLog()
    inspector = TorchInspector([OutputNorm(), ParameterNorm()], log, module=model)
    call = torch.compile(model, backend="eager", fullgraph=True)
    call(torch.ones(5, 4))
    with pytest.warns(TrainingLogWarning, match="fullgraph=True.*Compile without fullgraph"):
        inspector.tick()
    assert layers(log[1], "weight norm") == ["0", "2"]
    call(torch.ones(5, 4))
    inspector.tick()  # told once


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.att = nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return self.fc(self.att(x, x, x, need_weights=False)[0])


def test_attention_is_seen_by_every_lens_on_outputs():
    model, log = Attending(), TrainingLog()
    lenses = [OutputNorm(), OutputGradientGeometry(), Histogram("output"), Memory()]
    inspector = TorchInspector([*lenses, FirstNonFinite()], log, module=model)
    inputs = torch.randn(2, 3, 8)
    model(inputs).sum().backward()
    inspector.tick()
    given = model.att(inputs, inputs, inputs)[0].detach()
    assert log[1]["output norm/att/mean"] == pytest.approx(
        float(given.flatten(1).norm(dim=1).mean())
    )
    assert layers(log[1], "output gradient norm") == ["att", "fc"]
    assert layers(log[1], "output distribution") == ["att", "fc"]
    assert log[1]["memory/activations/MiB"] == 2 * 2 * 3 * 8 * 4 / 2**20
    for _ in range(3):  # its projection is never called, and nobody is told to see it
        model(inputs)
        inspector.tick()


@pytest.mark.parametrize("include", [["att"], [nn.MultiheadAttention], ["Attending"], [Attending]])
@pytest.mark.parametrize("lens", [OutputNorm, OutputActivation, OutputGradientGeometry])
def test_a_module_with_children_is_seen_where_it_is_named(lens, include):
    model, log = Attending(), TrainingLog()
    inspector = TorchInspector([lens(include=include)], log, module=model)
    model(torch.randn(2, 3, 8)).sum().backward()
    inspector.tick()
    assert len(log[1]) > 0
    assert {key.split("/")[1] for key in log[1]} <= {"att", "Attending", "activation", "death"}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"include": ["attt"]}, r"'attt' \(did you mean 'att'\?\)"),
        ({"exclude": ["fcc"]}, r"exclude=.*'fcc' \(did you mean 'fc'\?\)"),
        ({"include": [nn.Conv2d]}, "Conv2d.*Its layers are: 'Attending', 'att'"),
        ({"include": [nn.Module]}, r"a class is matched exactly; of heirs"),
    ],
)
@pytest.mark.parametrize(
    "lens", [OutputNorm, OutputActivation, ParameterNorm, Histogram, UpdateRatio]
)
def test_a_name_that_no_layer_has_is_told_when_it_is_attached(lens, options, match):
    with pytest.warns(TrainingLogWarning, match=match):
        TorchInspector([lens(**options), LossMetrics()], module=Attending())


class Functional(nn.Module):
    """Uses the parameters of a module that it does not call, as own attention modules do."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(4, 4)
        self.out = nn.Linear(4, 4)

    def forward(self, x):
        return self.out(nn.functional.linear(x, self.query.weight))


def test_a_layer_that_was_asked_for_and_never_called_is_told_at_once_with_who_may_call_it():
    model = nn.Sequential(Functional(), nn.ReLU())
    log = TrainingLog()
    inspector = TorchInspector([OutputNorm(include=["0.query"]), OutputNorm()], log, module=model)
    model(torch.ones(1, 4))
    with pytest.warns(TrainingLogWarning, match=r"'0.query'.*include=\['0'\]"):
        inspector.tick()
    model(torch.ones(1, 4))
    inspector.tick()


def test_a_layer_that_is_never_called_is_told_after_some_ticks_once():
    model = nn.Sequential(Functional(), nn.ReLU())
    inspector = TorchInspector([OutputNorm()], TrainingLog(), module=model)
    for _ in range(2):
        model(torch.ones(1, 4))
        inspector.tick()
    model(torch.ones(1, 4))
    with pytest.warns(TrainingLogWarning, match="'0.query', which no forward pass has called"):
        inspector.tick()
    model(torch.ones(1, 4))
    inspector.tick()


def test_a_copy_that_is_trained_in_its_place_is_told():
    model, other = network(), network()
    inspector = TorchInspector([OutputNorm(), LossMetrics()], TrainingLog(), module=model)
    for number in range(3):
        inspector.push_loss(other(torch.ones(5, 4)).sum())
        if number < 2:
            inspector.tick()
    with pytest.warns(TrainingLogWarning, match="no output of any layer.*Attach the module that"):
        inspector.tick()


def test_gradients_that_autograd_does_not_tell_of_are_told():
    model = network()
    inspector = TorchInspector([ParameterGradientGeometry(), LossMetrics()], module=model)
    inspector.push_loss(1.0)
    inspector.tick()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    inspector.push_loss(1.0)
    with pytest.warns(TrainingLogWarning, match="gradients that autograd has not told of"):
        inspector.tick()


def test_lenses_that_have_nothing_to_look_at_say_so():
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.warns(TrainingLogWarning, match=r"OutputActivation has nothing.*include=\['fc1'\]"):
        TorchInspector([OutputActivation()], module=model)
    model.requires_grad_(False)
    with pytest.warns(TrainingLogWarning, match="ParameterGradientActivation has nothing"):
        TorchInspector([ParameterGradientActivation()], module=model)


# -- the network changes ----------------------------------------------------------------------


def unfreeze(model, optimizer):
    model[0].requires_grad_(True)


def by_optimizer(model, optimizer):
    optimizer.add_param_group({"params": [*model[2].parameters()]})


def add(model, optimizer):
    model.append(nn.Linear(4, 4))


def replace(model, optimizer):
    model[2] = nn.Linear(8, 4)


def unwrap(model, optimizer):
    model[1] = nn.Sequential(nn.Linear(8, 8), nn.ReLU())


@pytest.mark.parametrize(
    ("change", "tag", "gone", "seen"),
    [
        (unfreeze, "weight gradient norm", ["2"], ["0", "2"]),
        (unfreeze, "bias gradient activation", ["2"], ["0", "2"]),
        (by_optimizer, "update ratio", [], ["2"]),
        (add, "output norm", ["0", "1", "2"], ["0", "1", "2", "3"]),
        (add, "weight norm", ["0", "2"], ["0", "2", "3"]),
        (add, "weight condition", ["0", "2"], ["0", "2", "3"]),
        (add, "parameter distribution", ["0", "2"], ["0", "2", "3"]),
        (replace, "output norm", ["0", "1", "2"], ["0", "1", "2"]),
        (replace, "weight gradient norm", ["2"], ["2"]),
        (unwrap, "output norm", ["0", "1", "2"], ["0", "1.0", "1.1", "2"]),
        (unwrap, "activation", ["1"], ["1.1"]),
    ],
)
def test_a_changed_network_is_seen_from_its_first_call_on(change, tag, gone, seen):
    model = network()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    log = TrainingLog()
    inspector = TorchInspector(every_lens(optimizer), log, module=model)
    step(model, optimizer, inspector)
    inspector.tick()
    assert sorted(layers(log[1], tag)) == gone
    change(model, optimizer)
    for _ in range(2):
        step(model, optimizer, inspector)
    inspector.tick()
    assert sorted(layers(log[2], tag)) == seen
    assert tags_of(log)[tag].layers[: len(seen)] == seen
    norm = model[-1].weight.detach().norm()
    assert log[2][f"weight norm/{len(model) - 1}/mean"] == pytest.approx(float(norm))
    assert not inspector.passed_over
    inspector.detach()
    assert hooks(model) == 0


def test_a_network_that_is_not_called_as_a_whole_is_looked_at_at_the_tick():
    model, log = network(), TrainingLog()
    inspector = TorchInspector([OutputNorm(exclude=[nn.ReLU, "2"])], log, module=model)
    model[0](torch.ones(1, 4))
    inspector.tick()
    model[0] = nn.Linear(4, 8)
    model[0](torch.ones(1, 4))
    inspector.tick()
    model[0](torch.ones(1, 4))
    inspector.tick()
    assert [layers(log[time], "output norm") for time in (1, 2, 3)] == [["0"], [], ["0"]]


def test_what_was_pushed_and_counted_before_a_change_stays():
    """A change in the middle costs no number: neither those before it, nor the steps."""
    model, log = network(), TrainingLog()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lens = FirstNonFinite()
    inspector = TorchInspector([LossMetrics(), OutputNorm(), lens], log, module=model)
    step(model, optimizer, inspector)
    inspector.tick()
    inspector.push_metric("lr", 0.1)
    inspector.push_loss(7.0)
    model.append(nn.Linear(4, 4))
    model(torch.full((1, 4), float("inf")))
    model(torch.ones(1, 4))
    inspector.tick()
    assert log[2]["metrics/lr/mean"] == 0.1
    assert log[2]["loss/train/mean"] == 7.0
    assert (lens.found["kind"], lens.found["layer"], lens.found["step"]) == (
        "input",
        "Sequential",
        2,
    )


def test_lazy_modules_are_seen_when_they_are_made():
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(4))
    log = TrainingLog()
    lenses = [ParameterGradientGeometry(), ParameterNorm(), OutputNorm(include=[nn.Linear])]
    with pytest.warns(TrainingLogWarning):  # of classes that are not there yet
        inspector = TorchInspector(lenses, log, module=model)
    for _ in range(2):
        model(torch.ones(5, 4)).sum().backward()
        inspector.tick()
    assert layers(log[2], "weight gradient norm") == ["0", "2"]
    assert layers(log[2], "weight norm") == ["0", "2"]
    assert layers(log[2], "output norm") == ["0", "2"]


def test_parameters_that_are_borrowed_for_a_call_are_no_change():
    """As `functional_call` does for fast weights: those of the module go on to be observed."""
    model, log = network(), TrainingLog()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inspector = TorchInspector(every_lens(optimizer), log, module=model)
    for _ in range(3):
        fast = {name: p.detach() * 2 for name, p in model.named_parameters()}
        torch.func.functional_call(model, fast, (torch.ones(2, 4),))
        step(model, optimizer, inspector)
        inspector.tick()
    assert sorted(layers(log[3], "weight gradient norm")) == ["0", "2"]
    assert log[3]["weight gradient correlation/0/mean"]  # with the one before the tick
    assert not inspector.passed_over


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
@pytest.mark.parametrize("how", ["pruned", "length and direction"])
def test_what_stands_for_a_weight_goes_by_its_name(how):
    model, log = network(), TrainingLog()
    if how == "pruned":
        prune.random_unstructured(model[0], "weight", 0.5)
    else:
        nn.utils.weight_norm(model[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lenses = [ParameterGradientGeometry(), ParameterNorm(), UpdateRatio(optimizer)]
    inspector = TorchInspector(lenses, log, module=model)
    step(model, optimizer, inspector)
    inspector.tick()
    for tag in ("weight gradient norm", "weight norm", "update ratio"):
        assert sorted(layers(log[1], tag)) == ["0", "2"]


def test_parametrized_modules_go_by_their_own_name():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    nn.utils.parametrizations.weight_norm(model[0])
    log = TrainingLog()
    inspector = TorchInspector([OutputNorm(), ParameterGradientGeometry()], log, module=model)
    model(torch.ones(5, 4)).sum().backward()
    inspector.tick()
    assert layers(log[1], "output norm") == ["0", "1"]
    both = [p.grad.norm() for n, p in model.named_parameters() if "original" in n]
    assert log[1]["weight gradient norm/0/mean"] == pytest.approx(float(torch.stack(both).norm()))


# -- an inspector goes ------------------------------------------------------------------------


def test_an_inspector_that_nobody_has_any_more_takes_its_hooks_along():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    counts = []
    for _ in range(3):
        inspector = TorchInspector(every_lens(optimizer), TrainingLog(), module=model)
        step(model, optimizer, inspector)
        inspector.tick()
        counts.append(hooks(model))
    assert len(set(counts)) == 1
    gone = weakref.ref(inspector)
    del inspector
    gc.collect()
    assert gone() is None
    assert hooks(model) == 0
    assert not optimizer._optimizer_step_pre_hooks


def test_in_a_notebook_one_that_is_made_again_takes_the_place_of_the_old_one(monkeypatch):
    """Though a traceback, or what the notebook keeps of its output, still has the old one."""
    model = network()
    old = TorchInspector([OutputNorm(), LossMetrics()], module=model)
    count = hooks(model)
    other = TorchInspector([OutputNorm()], module=model)
    both = hooks(model)
    monkeypatch.setattr(torch_inspector, "in_notebook", lambda: True)
    with pytest.warns(TrainingLogWarning, match="attached to this module, and is detached now"):
        new = TorchInspector([OutputNorm(), LossMetrics()], module=model)
    assert hooks(model) == both > count
    old.detach()
    assert hooks(model) == both
    other.detach()
    assert hooks(model) == count
    new.detach()
    assert hooks(model) == 0


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_network_that_changes_is_seen_as_before():
    """What Dynamo compiled calls the hooks that were there: these must go on to look."""
    torch._dynamo.reset()
    model, log = network(), TrainingLog()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lens = FirstNonFinite()
    lenses = [OutputNorm(), ParameterGradientGeometry(), Memory(), lens]
    inspector = TorchInspector(lenses, log, module=model)
    call = torch.compile(model, backend="eager")
    for at in range(1, 5):
        if at == 3:
            model[0].requires_grad_(True)
        optimizer.zero_grad()
        call(torch.ones(5, 4)).square().mean().backward()
        optimizer.step()
        inspector.tick()
        assert sorted(layers(log[at], "output norm")) == ["0", "1", "2"]
        assert log[at]["memory/activations/MiB"] == 5 * (8 + 8 + 4) * 4 / 2**20
        assert lens._step == at
    assert sorted(layers(log[4], "weight gradient norm")) == ["0", "2"]
    inspector.detach()
    assert hooks(model) == 0
