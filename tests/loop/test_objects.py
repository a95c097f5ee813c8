"""How the state of an object is taken and put back."""

from __future__ import annotations

import random
from collections import namedtuple

import numpy as np
import pytest

from traininglog.loop import CheckpointUnusable, Holder, NotPlain
from traininglog.loop.states.objects import checked, is_random, put, take

Layer = namedtuple("Layer", "w b")  # as trees of JAX have them


class WithState:
    """Has both protocols; the first one is used."""

    def __init__(self):
        self.state = {"n": np.zeros(2)}
        self.asked = []

    def get_state(self):
        self.asked.append("get_state")
        return self.state

    def set_state(self, state):
        self.state = state

    def state_dict(self):
        raise AssertionError

    def load_state_dict(self, state):
        raise AssertionError


def test_get_state_comes_before_state_dict_and_what_it_gives_is_copied():
    thing = WithState()
    state = take(checked(thing, "thing"))
    thing.state["n"] += 1
    assert state["n"].tolist() == [0, 0]
    put(thing, state, "thing")
    thing.state["n"] += 1
    assert state["n"].tolist() == [0, 0]


def test_a_pair_of_functions():
    kept = {"value": 1}
    pair = checked((lambda: kept["value"], lambda state: kept.update(value=state)), "pair")
    state = take(pair)
    kept["value"] = 2
    put(pair, state, "pair")
    assert kept == {"value": 1}


def test_arrays_lists_and_mappings_are_filled_in_place():
    array, inner = np.zeros(3), [np.ones(2), {"deep": np.ones(1)}]
    params = {"array": array, "inner": inner, "count": 3}
    state = take(checked(params, "params"))
    array += 5
    inner[0] += 5
    inner[1]["deep"] += 5
    params["count"], params["new"] = 4, "gone again"
    put(params, state, "params")
    assert params["array"] is array
    assert params["inner"] is inner
    assert array.tolist() == [0, 0, 0]
    assert (inner[0].tolist(), inner[1]["deep"].tolist()) == ([1, 1], [1])
    assert (params["count"], set(params)) == (3, {"array", "inner", "count"})


def test_objects_in_a_mapping_are_asked_themselves(torch):
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    both = checked({"first": first, "second": second}, "params")
    state = take(both)
    before = first.weight.detach().clone()
    weight = first.weight
    with torch.no_grad():
        first.weight += 1
    put(both, state, "params")
    assert first.weight is weight
    assert torch.equal(first.weight, before)


def test_the_parameters_that_a_model_gives_may_be_handed_on_as_they_come(torch):
    model = torch.nn.Linear(2, 1)
    params = checked(model.parameters(), "params")
    state = take(params)
    with torch.no_grad():
        model.weight.zero_()
    put(params, state, "params")
    assert model.weight.abs().sum() > 0


def test_a_holder_puts_back_trees_that_cannot_be_changed():
    frozen = np.arange(3.0)
    frozen.flags.writeable = False
    holder = checked(Holder((Layer(frozen, 1.0), {"step": 5})), "params")
    state = take(holder)
    holder.value = (Layer(frozen * 2, 2.0), {"step": 6})
    holder.value[0].w.flags.writeable = False
    put(holder, state, "params")
    layer, rest = holder.value
    assert isinstance(layer, Layer)
    assert layer.w.tolist() == [0, 1, 2]
    assert (layer.b, rest) == (1.0, {"step": 5})


@pytest.mark.parametrize(
    "generator",
    [random.Random(1), np.random.default_rng(1), np.random.RandomState(1)],
    ids=lambda generator: type(generator).__name__,
)
def test_random_generators(generator):
    def draw():
        return [generator.random() for _ in range(3)]

    assert is_random(generator)
    draw()
    state = take(checked(generator, "rng"))
    first = draw()
    assert draw() != first
    put(generator, state, "rng")
    assert draw() == first


KINDS = ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"]


def broken(state):
    """Yield the state with each of its values in turn gone, of another type, or out of bounds."""
    for name, value in state.items():
        yield {key: other for key, other in state.items() if key != name}
        yield state | {name: None}
        if isinstance(value, dict):
            for inner in broken(value):
                yield state | {name: inner}
        if name in ("pos", "buffer_pos", "has_uint32", "has_gauss"):
            for wrong in (-1, 625, 2**40, True, float(value)):
                yield state | {name: wrong}
        if isinstance(value, np.ndarray):
            yield state | {name: value[:-1]}
            yield state | {name: value.astype(np.int16)}


@pytest.mark.parametrize("kind", KINDS)
def test_states_that_numpy_would_believe_are_refused_and_leave_the_generator(kind):
    generator = np.random.Generator(getattr(np.random, kind)(1))
    saved = take(generator)
    first = generator.random(3).tolist()
    for state in broken(saved):
        put(generator, saved, "rng")
        with pytest.raises(CheckpointUnusable, match=r"^rng cannot be put back"):
            put(generator, state, "rng")
        assert generator.random(3).tolist() == first


@pytest.mark.parametrize("position", [-1, 625, 2.0, None])
def test_a_tuple_is_a_state_of_a_random_state_if_it_fits(position):
    generator = np.random.RandomState(1)
    name, key, *_ = state = take(generator)
    first = generator.random()
    for wrong in (
        (name, key, position), (name, key[:-1], 5), (name, key), (*state, 1), ("PCG64", key, 5),
        (name, key, 5, 2, 0.0),
    ):  # fmt: skip
        with pytest.raises(CheckpointUnusable, match=r"^rng cannot be put back"):
            put(generator, wrong, "rng")
    put(generator, state[:3], "rng")
    assert generator.random() == first


def test_a_generator_does_not_take_the_state_of_another_kind():
    generator = np.random.Generator(np.random.PCG64(1))
    with pytest.raises(CheckpointUnusable, match="of a 'SFC64' of NumPy's, the generator a PCG64"):
        put(generator, take(np.random.Generator(np.random.SFC64(1))), "rng")


def test_torch_s_random_generator(torch):
    generator = torch.Generator().manual_seed(3)
    assert is_random(generator)
    state = take(checked(generator, "rng"))
    first = torch.rand(3, generator=generator)
    put(generator, state, "rng")
    assert torch.equal(torch.rand(3, generator=generator), first)


@pytest.mark.parametrize("thing", [1.5, "text", None, (1, 2), object(), len, {"f": len}], ids=type)
def test_what_cannot_be_put_back_is_refused_at_once(thing):
    with pytest.raises(NotPlain, match=r"state_dict\(\) and load_state_dict\(\)"):
        checked(thing, "params")


@pytest.mark.parametrize(
    ("has", "saved", "message"),
    [
        ({"w": np.zeros(3)}, {"w": np.zeros(4)}, r"params/w has the shape \(3,\)"),
        ({"w": np.zeros(3)}, {"w": np.zeros(3, np.float32)}, "the dtype float64"),
        ({"w": np.zeros(3)}, {"v": np.zeros(3)}, "params/w is not in the checkpoint"),
        ([np.zeros(3)], [], "params has 1 items"),
        ([np.zeros(3)], {}, "params has a list"),
        ({}, [], "params has a mapping"),
    ],
)
def test_another_model_s_state_is_refused(has, saved, message):
    with pytest.raises(CheckpointUnusable, match=message):
        put(has, saved, "params")
