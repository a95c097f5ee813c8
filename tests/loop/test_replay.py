"""A training that goes on amid an epoch sees the data that it would have seen, or is told.

Over the kinds of data that programs have: what is seen is right, or refused, or told as random; it
is never other data in silence.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import time
import warnings

import numpy as np
import pytest

from traininglog import SQLiteLog, TrainingLogWarning
from traininglog.loop import DataDiffers, TrainLoop
from traininglog.loop.passes.fingerprints import Prints, fingerprint
from traininglog.loop.passes.generators import generators_in, states_of

SIZE = 24


class Killed(BaseException):
    """The process would be dead now."""


def in_fours(order):
    order = list(order)
    return [order[at : at + 4] for at in range(0, len(order), 4)]


# -- plain data -----------------------------------------------------------------------------


def a_list():
    return in_fours(range(SIZE))


def a_function_that_shuffles():
    def data():
        order = list(range(SIZE))
        random.shuffle(order)
        return in_fours(order)

    return data


def a_generator_expression():
    return lambda: (batch for batch in in_fours(np.random.permutation(SIZE).tolist()))


def zipped():
    return lambda: zip(*[iter(np.random.permutation(SIZE).tolist())] * 4, strict=True)


def a_generator():
    def data():
        yield from in_fours(np.random.permutation(SIZE).tolist())

    return data


def a_closed_over_generator():
    rng = np.random.default_rng(0)
    return lambda: in_fours(rng.permutation(SIZE).tolist())


def a_partial_with_a_generator():
    def data(rng, size):
        return in_fours(rng.sample(range(size), size))

    return functools.partial(data, random.Random(0), size=SIZE)


GLOBAL = np.random.RandomState(0)


def a_generator_of_the_module():
    GLOBAL.seed(0)  # as the module would, when it is imported

    def data():
        yield from in_fours(GLOBAL.permutation(SIZE).tolist())

    return data


class Shuffled:
    """An object with a generator of its own, drawn from at each batch."""

    def __init__(self):
        self.rng = random.Random(0)

    def __iter__(self):
        left = list(range(SIZE))
        while left:
            yield [left.pop(self.rng.randrange(len(left))) for _ in range(4)]


class Slotted(Shuffled):
    __slots__ = ("hidden",)

    def __init__(self):
        super().__init__()
        self.hidden = {"deep": [self.rng]}
        del self.rng

    def __iter__(self):
        order = list(range(SIZE))
        self.hidden["deep"][0].shuffle(order)
        return iter(in_fours(order))


class AStream:
    """An iterator that goes on over epochs, of six batches each."""

    epoch_size = 6

    def __init__(self):
        self.rng = random.Random(0)

    def __iter__(self):
        return self

    def __next__(self):
        return self.rng.sample(range(100), 4)


def a_stream_of_itertools():
    return itertools.cycle(in_fours(range(28)))  # seven batches


def a_stream_by_a_generator():
    def endless():
        rng = random.Random(0)
        while True:
            yield rng.sample(range(100), 4)

    return endless()


# -- PyTorch's ------------------------------------------------------------------------------


def loaders():
    """Return functions that make data; they need torch."""
    import torch
    from torch.utils.data import (
        DataLoader,
        Dataset,
        IterableDataset,
        RandomSampler,
        Sampler,
        WeightedRandomSampler,
    )

    class Numbers(Dataset):
        def __len__(self):
            return SIZE

        def __getitem__(self, at):
            return at

    class Noisy(Numbers):
        def __getitem__(self, at):
            return at + 0 * int(torch.rand(()) * 10)

    class Augmented(Numbers):
        def __getitem__(self, at):
            return at, torch.rand(3)

    class Iterated(IterableDataset):
        def __init__(self):
            self.rng = random.Random(0)

        def __iter__(self):
            order = list(range(SIZE))
            self.rng.shuffle(order)
            return iter(order)

    class Own(Sampler):
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def __len__(self):
            return SIZE

        def __iter__(self):
            return iter(self.rng.permutation(SIZE).tolist())

    class OwnBatches(Own):
        def __len__(self):
            return SIZE // 4

        def __iter__(self):
            return iter(in_fours(self.rng.permutation(SIZE).tolist()))

    class ByEpoch(Own):
        epoch = 0

        def __iter__(self):
            return iter(np.random.default_rng(self.epoch).permutation(SIZE).tolist())

    def seeded():
        return torch.Generator().manual_seed(0)

    load = functools.partial(DataLoader, Numbers(), batch_size=4)
    return {
        "shuffled": lambda: load(shuffle=True),
        "workers": lambda: load(shuffle=True, num_workers=2),
        "persistent workers": lambda: load(shuffle=True, num_workers=2, persistent_workers=True),
        "a loader's generator": lambda: load(shuffle=True, generator=seeded()),
        "a generator and workers": lambda: load(shuffle=True, generator=seeded(), num_workers=2),
        "a sampler's generator": lambda: load(sampler=RandomSampler(Numbers(), generator=seeded())),
        "weights": lambda: load(sampler=WeightedRandomSampler(torch.ones(SIZE), SIZE)),
        "a sampler of one's own": lambda: load(sampler=Own()),
        "batches of one's own": lambda: DataLoader(Numbers(), batch_sampler=OwnBatches()),
        "no batches": lambda: DataLoader(Numbers(), batch_size=None, shuffle=True),
        "told the epoch": lambda: load(sampler=ByEpoch()),
        "noise in the program": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True),
        "augmented": lambda: DataLoader(Augmented(), batch_size=4, shuffle=True),
        "iterated": lambda: DataLoader(Iterated(), batch_size=4),
        "iterated by workers": lambda: DataLoader(Iterated(), batch_size=4, num_workers=1),
    }


PLAIN = {
    made.__name__: made
    for made in (
        a_list, a_function_that_shuffles, a_generator_expression, zipped, a_generator,
        a_closed_over_generator, a_partial_with_a_generator, a_generator_of_the_module,
        Shuffled, Slotted, AStream, a_stream_of_itertools, a_stream_by_a_generator,
    )
}  # fmt: skip
LOADERS = [
    "shuffled", "workers", "persistent workers", "a loader's generator", "a generator and workers",
    "a sampler's generator", "weights", "a sampler of one's own", "batches of one's own",
    "no batches", "told the epoch", "noise in the program", "augmented", "iterated",
    "iterated by workers",
]  # fmt: skip


def told(batch):
    """Return what was seen: the numbers of the examples."""
    if isinstance(batch, (list, tuple)) and hasattr(batch[0], "tolist"):
        batch = batch[0]  # and its noise
    return batch.tolist() if hasattr(batch, "tolist") else batch


def train(make, folder, stop=None, seen=None, *, before=None, size=None, **options):
    """Train as a program would that is started anew; return what it saw, by step."""
    random.seed(1)
    np.random.seed(1)
    if "torch" in os.environ.get("REPLAY", "torch"):
        import sys

        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(1)
    data, seen = make(), {} if seen is None else seen
    size = getattr(data, "epoch_size", size)
    endless = size is not None
    with SQLiteLog(folder / "runs.db") as log, TrainLoop(
        {"w": np.zeros(1)}, log=log, max_epoch=3, checkpoint_dir=folder / "c", print_func=str,
        **options,
    ) as loop:  # fmt: skip
        for epoch in loop.iter_epochs():
            if hasattr(getattr(data, "sampler", None), "epoch"):
                data.sampler.epoch = epoch
            given = data if before is None else before(data)
            for step, batch in loop.iter_steps(given):
                seen[step] = told(batch)
                random.random()  # as dropout would
                np.random.rand()
                if step == stop:
                    loop.make_checkpoint()
                    raise Killed
                if endless and step % size == 0:
                    break
    return seen


def compare(make, tmp_path, stop, **options):
    """Train at once, and with a kill; return both."""
    whole = train(make, tmp_path / "whole", **options)
    seen = {}
    with pytest.raises(Killed):
        train(make, tmp_path / "cut", stop, seen, **options)
    train(make, tmp_path / "cut", None, seen, **options)
    return whole, seen


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()


@pytest.mark.parametrize("stop", [3, 6, 9])
@pytest.mark.parametrize("kind", PLAIN)
def test_plain_data_goes_on_as_it_was(kind, stop, tmp_path):
    size = 6 if "stream" in kind else None
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingLogWarning)
        whole, seen = compare(PLAIN[kind], tmp_path, stop, size=size)
    assert len(whole) == 18
    # Amid the epoch that a program leaves by a break, it is longer by what was done before.
    assert {step: seen[step] for step in whole} == whole


@pytest.mark.parametrize("stop", [3, 9])
@pytest.mark.parametrize("kind", LOADERS)
def test_loaders_go_on_as_they_were(kind, stop, torch, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingLogWarning)
        whole, seen = compare(loaders()[kind], tmp_path, stop)
    assert len(whole) in (18, 72)
    assert seen == whole


@pytest.mark.parametrize("kind", ["a loader's generator", "persistent workers", "iterated"])
def test_between_two_epochs_too(kind, torch, tmp_path):
    make = loaders()[kind]
    whole = train(make, tmp_path / "whole")
    seen = {}
    for limit in (6, 12, None):
        seen |= train(make, tmp_path / "cut", max_step=limit)
    assert seen == whole


def test_what_the_body_draws_before_it_asks_for_data(tmp_path):
    """It is drawn again as it was drawn at the epoch's begin."""
    whole, seen = compare(
        lambda: None, tmp_path, 9, before=lambda _: in_fours(np.random.permutation(SIZE).tolist())
    )
    assert seen == whole


# -- what cannot be gone on with ------------------------------------------------------------


class Counting:
    """Its order comes from a counter, which nobody saves."""

    def __init__(self):
        self.epoch = 0

    def __iter__(self):
        self.epoch += 1
        return iter(in_fours(np.random.default_rng(self.epoch).permutation(SIZE).tolist()))


def shuffled_in_place():
    data = in_fours(range(SIZE))

    def again():
        random.shuffle(data)
        return data

    return again


def shuffled_once():
    """By a generator that nobody can see."""
    return in_fours(random.Random(time.perf_counter_ns()).sample(range(SIZE), SIZE))


@pytest.mark.parametrize("make", [Counting, shuffled_in_place, shuffled_once])
def test_data_that_cannot_be_had_again_is_refused(make, tmp_path):
    with pytest.raises(DataDiffers, match=r"batch \d of this pass is another.*Save it: as a gen"):
        compare(make, tmp_path, 15)
    # It is on purpose, one may say.
    seen = train(make, tmp_path / "cut", replay="trust")
    assert sorted(seen) == [16, 17, 18]


def test_data_that_is_right_when_it_is_asked_twice(tmp_path):
    """In its second pass it counts two, as it had."""
    whole, seen = compare(Counting, tmp_path, 9)
    assert seen == whole


def test_data_that_is_random_is_told_as_random_and_gone_on_with(tmp_path):
    def make():
        return lambda: [os.urandom(4) for _ in range(6)]

    with pytest.warns(TrainingLogWarning, match="the data is random: batch 1 came otherwise twice"):
        whole, seen = compare(make, tmp_path, 9)
    assert len(seen) == len(whole) == 18
    (tmp_path / "trusted").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingLogWarning)
        with pytest.raises(Killed):
            train(make, tmp_path / "trusted", 9)
        assert len(train(make, tmp_path / "trusted", replay="trust")) == 9


def test_replay_is_check_or_trust():
    with pytest.raises(ValueError, match="replay must be 'check' or 'trust', not 'no'"):
        TrainLoop(replay="no")


# -- fingerprints and generators ------------------------------------------------------------


def images(seed):
    """Return images with a wide black border."""
    batch = np.zeros((16, 3, 64, 64), np.float32)
    batch[:, :, 16:48, 16:48] = np.random.default_rng(seed).random((16, 3, 32, 32))
    return batch


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n, float, str, lambda n: [n, n + 1], lambda n: {"x": n}, lambda n: (None, n),
        lambda n: np.arange(n, n + 10), lambda n: np.arange(n, n + 10**6), images,
        lambda n: images(n)[:, :, ::2, ::2], lambda n: {"x": images(n), "y": np.arange(5)},
        lambda n: np.array([f"text {n}"]), lambda n: np.array([object, n], object),
        lambda n: type("Batch", (), {"__init__": lambda self: vars(self).update(x=n)})(),
        lambda n: str(n).encode() * 500,
    ],
)  # fmt: skip
def test_batches_are_told_apart(make):
    found = [fingerprint(make(n)) for n in (1, 2, 3, 1)]
    assert found[0] == found[3]
    assert len(set(found)) == 3


def test_tensors_are_told_apart_and_nothing_is_fetched_from_a_device(torch):
    def made(seed):
        return torch.from_numpy(images(seed))

    for change in (
        lambda t: t, lambda t: t.half(), lambda t: t.bfloat16(), lambda t: t.transpose(1, 3),
        lambda t: t.requires_grad_(), lambda t: [t, t.sum()], lambda t: t > 0.5,
        lambda t: t.to(torch.complex64),
    ):  # fmt: skip
        found = [fingerprint(change(made(seed))) for seed in (1, 2, 1)]
        assert found[0] == found[2] != found[1]
    meta = torch.empty(3, 5, device="meta")
    assert fingerprint(meta) == fingerprint(meta) != fingerprint(torch.empty(3, 6, device="meta"))


def test_fingerprints_take_a_hundredth_of_the_time_and_of_the_space():
    """Of steps that take no time only some are looked at; of a long pass ever fewer."""
    prints = Prints()
    for number in range(1, 50_001):
        prints.add(number, number, None)
    assert 2 <= len(prints.kept) <= 129
    assert prints.kept[0][0] == 1
    began, spent = time.perf_counter(), prints._spent
    assert spent <= 0.02 * (began - prints._began) + 0.05


def test_generators_are_found_where_data_keeps_them(torch):
    loader = loaders()["a sampler's generator"]()
    assert list(generators_in(loader)) == ["data.sampler.generator"]
    assert list(generators_in(a_partial_with_a_generator())) == ["data.args[0]"]
    assert list(generators_in(Slotted())) == ["data.hidden['deep'][0]"]
    assert list(generators_in(a_closed_over_generator())) == ["data.rng"]
    assert not generators_in(random.shuffle)  # everybody's
    assert not states_of({"data": random.SystemRandom()})
    circle = []
    circle.append(circle)
    assert not generators_in(circle)
