"""Ranks of a training decide together: none goes on where another has ended, and none hangs.

The trainings are those of `ranked_trainings.py`, in two processes over gloo. Each rank's network
waits for the other in each step, so that whoever ends alone would leave the other waiting.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import GUARD

from traininglog import TrainingLog
from traininglog.loop import LoopMisuse, TrainLoop
from traininglog.loop.checkpoint.folder import find
from traininglog.loop.states.packed_trees import packed, unpacked

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("ranked_trainings.py")


def trained(folder, *names):
    """Run the trainings in two ranks; return what each has to tell of them."""
    ranks = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(rank), str(folder), *names],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        said = [rank.communicate(timeout=GUARD)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(said)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Return what each rank has to tell, by training, and the folder."""
    pytest.importorskip("torch.distributed")
    folder = tmp_path_factory.mktemp("ranks")
    names = "own_metric", "left_by_one", "resumed", "own_logs", "by_name", "alone", "raised"
    names = "workers_lost", *names
    first = trained(folder, *names)
    second = trained(folder, "restarted")
    return [one | two for one, two in zip(first, second, strict=True)] + [folder]


def same(first, second):
    """Tell whether two ranks ended alike, with the same parameters."""
    return all(first[key] == second[key] for key in ("reason", "step", "epoch", "params"))


def test_a_signal_to_any_rank_ends_all_after_the_same_step(torch, tmp_path):
    """SIGTERM or SIGINT, to one rank or both, at twenty times: no hang, and the same end."""
    first, second = (told["signals"] for told in trained(tmp_path, "signals"))
    assert len(first) == 20
    for one, other in zip(first, second, strict=True):
        assert one["reason"] == one["number"]
        assert same(one, other)


def test_a_rank_whose_workers_are_gone_ends_all_in_good_order(ranks):
    """The signal came to its group: the data of that rank ends, and so does the training."""
    one, other = (told["workers_lost"] for told in ranks[:2])
    assert same(one, other)
    assert one["reason"] == "SIGTERM"
    now = find(ranks[2] / "workers_lost").trees["now"]
    assert now["loop"]["step"] == now["ranks"]["1"]["loop"]["step"] == one["step"] < 16


def test_the_first_ranks_metric_decides_when_it_is_enough_and_what_is_best(ranks):
    one, other = (told["own_metric"] for told in ranks[:2])
    assert same(one, other)
    assert (one["reason"], one["epoch"], one["best"], other["best"]) == ("early stopping", 5, 1, 1)
    assert one["params"] == other["params"] == one["params_then"]


def test_who_leaves_takes_the_others_along(ranks):
    one, other = (told["left_by_one"] for told in ranks[:2])
    assert all(same(one[what], other[what]) for what in one)
    assert one["steps"]["step"] == 4 + 6 + 6  # the first epoch had less, for both
    assert (one["epochs"]["reason"], one["epochs"]["epoch"]) == ("break", 1)
    assert (one["request"]["reason"], one["request"]["epoch"]) == ("enough", 1)


def test_data_that_ends_for_one_ends_for_all(ranks):
    one = ranks[0]["left_by_one"]
    assert one["uneven"]["step"] == 3 * 5
    assert one["endless"]["step"] == 5


def test_a_training_that_is_gone_on_with_is_as_if_undisturbed_in_each_rank(ranks):
    """Each draws its own random numbers, those that it would have drawn."""
    for told in ranks[:2]:
        whole, part, rest = (told["resumed"][name] for name in ("whole", "part", "rest"))
        assert part["reason"] == "SIGTERM"
        assert part["drawn"] + rest["drawn"] == whole["drawn"]
        assert rest["params"] == whole["params"]
    first, second = (told["resumed"]["whole"]["drawn"] for told in ranks[:2])
    assert not set(map(tuple, first)) & set(map(tuple, second))


def test_a_restart_needs_no_log_of_the_other_ranks(ranks):
    """Its log was in memory, and so is gone; it counts on in a new one."""
    one, other = (told["restarted"] for told in ranks[:2])
    assert same(one, other)
    assert one["times"] == list(range(1, 25))
    assert other["times"] == list(range(19, 25))
    assert other["status"]["iterations_done"] == 24
    assert other["status"]["_epoch_ends"] == [6, 12, 18, 24]


def test_the_logs_of_two_ranks_are_two_lineages(ranks):
    lineages = [told["own_logs"]["lineages"] for told in ranks[:2]]
    for first, second in lineages:
        assert second[1:] == first
    assert not set(itertools.chain(*lineages[0])) & set(itertools.chain(*lineages[1]))
    assert all(told["own_logs"]["times"] == list(range(1, 9)) for told in ranks[:2])


def test_a_checkpoint_that_one_rank_asks_for_has_what_is_the_others_own(ranks):
    folder = ranks[2] / "by_name"
    first, last = sorted(folder.iterdir())
    for path, step in ((first, 2), (last, 6)):
        now = find(path).trees["now"]
        assert now["loop"]["step"] == now["ranks"]["1"]["loop"]["step"] == step
        assert now["ranks"]["1"]["random"]["python"] != now["random"]["python"]


def test_the_first_rank_prints(ranks):
    for scene in ("own_metric", "by_name", "restarted"):
        assert ranks[0][scene]["lines"] > 0
        assert ranks[1][scene]["lines"] == 0


def test_a_rank_that_fails_is_told_of_to_the_others(ranks):
    assert ranks[1]["raised"] == "ValueError: in rank 1"
    assert ranks[0]["raised"] == (
        "RankLost: rank 1 left its loop by ValueError, and so rank 0 ends, too"
    )


def test_a_loop_of_one_rank_waits_for_nobody(ranks):
    assert ranks[0]["alone"] == 2


def test_without_ranks_none_are_waited_for():
    with pytest.raises(LoopMisuse, match="init_process_group"):
        TrainLoop(log=TrainingLog(), distributed=True)


def test_what_ranks_send_each_other_comes_as_it_was():
    import numpy as np

    tree = {"random": (3, (1, 2), None), "array": np.arange(3.0), "text": "naïve", "nan": [1.5]}
    again = unpacked(packed(tree))
    assert again.pop("array").tolist() == tree.pop("array").tolist()
    assert again == tree
