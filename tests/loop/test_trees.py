"""Trees of plain data go to JSON and arrays and come back, to the bit; nothing else goes."""

from __future__ import annotations

import json
import math
import pickle
import uuid
from collections import Counter, OrderedDict, namedtuple
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog.loop.errors import CheckpointUnusable, NotPlain
from traininglog.loop.states.trees import NamedFields, Serializer, copied, from_json, to_json

Point = namedtuple("Point", "x y")  # as optimizers of JAX have them


def through(tree, serializer=None):
    arrays = []
    text = json.dumps(to_json(tree, arrays, serializer), allow_nan=False)
    return from_json(json.loads(text), arrays, serializer)


def same(a, b):
    """Tell whether two trees are equal in value and type, NaN and signs of zero included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    return a == b


KEYS = st.text(max_size=5) | st.integers() | st.just("$dict") | st.tuples(st.integers())
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.complex_numbers(allow_nan=False), st.sets(st.integers()), st.frozensets(st.text()),
    st.sampled_from([
        np.arange(6.0).reshape(2, 3), np.array(3), np.zeros((0, 2), np.float16), np.float32(0.1),
        np.array(["a", "bc"]), np.asfortranarray(np.eye(3)), np.bool_(1),
        np.datetime64("2024-01-01"),
    ]),
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4).map(OrderedDict),
        st.dictionaries(KEYS, st.integers(), max_size=4).map(Counter),
    ),
)


@given(TREES)
def test_a_tree_comes_back_as_it_was(tree):
    assert same(through(tree), tree)


def test_what_a_log_s_status_may_have_comes_back():
    tree = {"when": datetime(2024, 1, 2, tzinfo=UTC), "who": uuid.uuid4(), "where": Path("a/b")}
    assert through(tree) == tree


def test_a_named_tuple_comes_back_with_its_fields_and_name():
    assert through(Point(1, [2.5])) == NamedFields("Point", {"x": 1, "y": [2.5]})


@pytest.mark.parametrize(
    "value", [object(), len, np.array([object()], dtype=object), (1).__class__, print], ids=type
)
def test_anything_else_is_refused_with_its_place_and_a_remedy(value):
    with pytest.raises(NotPlain, match=r"at /layers/1 cannot be saved.*leave it out") as caught:
        through({"layers": [0, value]})
    assert isinstance(caught.value, TypeError)


def test_a_serializer_takes_what_is_not_plain_and_is_asked_for_again():
    serializer, arrays = Serializer(pickle.dumps, pickle.loads), []
    found = to_json({"range": range(3)}, arrays, serializer)
    assert from_json(found, arrays, serializer) == {"range": range(3)}
    with pytest.raises(CheckpointUnusable, match="has a range that a serializer of yours saved"):
        from_json(found, arrays)


def test_torch_tensors_of_all_kinds_come_back(torch):
    tensors = {
        "float": torch.randn(2, 3), "half": torch.randn(4).half(),
        "brain": torch.randn(5).bfloat16(),
        "empty": torch.zeros(0, 3, dtype=torch.bfloat16), "scalar": torch.tensor(2.5),
        "bool": torch.tensor([True, False]), "int": torch.arange(3),
        "strided": torch.arange(6.0).reshape(2, 3).T,
        "complex": torch.randn(2, dtype=torch.complex64),
        "conjugated": torch.randn(2, dtype=torch.complex64).conj(),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "eighth": torch.randn(3).to(torch.float8_e4m3fn),
    }  # fmt: skip
    for name, found in through(tensors).items():
        assert found.dtype == tensors[name].dtype, name
        assert found.shape == tensors[name].shape, name
        assert not found.requires_grad
        assert torch.equal(found.float() if name == "eighth" else found, (
            tensors[name].float() if name == "eighth" else tensors[name].detach()
        ).resolve_conj()), name  # fmt: skip


def test_sparse_tensors_are_refused_with_a_remedy(torch):
    with pytest.raises(NotPlain, match="to_dense"):
        through(torch.eye(3).to_sparse())


def test_the_versions_of_modules_travel_with_their_state(torch):
    state = torch.nn.BatchNorm1d(3).state_dict()
    assert through(state)._metadata == state._metadata
    assert copied(state)._metadata == state._metadata


def test_a_copy_shares_nothing(torch):
    array, tensor = np.zeros(3), torch.zeros(3, requires_grad=True)
    tree = {"a": [array], "t": (tensor,), "p": Point(array, 1)}
    copy = copied(tree)
    with torch.no_grad():
        tensor += 1
    array += 1
    assert copy["a"][0].sum() == copy["t"][0].sum() == copy["p"].x.sum() == 0
    assert isinstance(copy["p"], Point)
