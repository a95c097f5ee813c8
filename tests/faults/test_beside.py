"""The files of a live store may be copied, hashed, listed and looked at by anyone.

A fourth of what `TESTS_TRIALS` says, or ten, is how many processes are killed beside that.
"""

import os
import random

import pytest
from faults import beside

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals of POSIX")

# Read here, as settings from outside are kept out of the tests themselves.
TRIALS = int(os.environ.get("TESTS_TRIALS", "40")) // 4

_AT_ONCE = 5  # trials a test, so that the tests can be spread over processes


def require_all(found):
    assert found["lost"] == [], found
    assert found["wrong"] == [], found
    assert set(found["told"]) == {"running"}, found
    assert found["state"] == "lost", found
    assert "Warning" not in found["said"], found["said"]


@pytest.mark.parametrize("own", beside.OWN)
def test_what_a_process_does_with_its_own_files_costs_nothing(tmp_path, own):
    """Any close of a file drops the record locks of its process; ours must not be among them."""
    require_all(beside.trial(tmp_path / "trial", 1, [own], ["look to write", "write"]))


@pytest.mark.parametrize("other", beside.OTHERS)
def test_what_others_do_with_the_files_of_a_live_store_costs_nothing(tmp_path, other):
    require_all(beside.trial(tmp_path / "trial", 2, ["copy the folder"], [other, "look to write"]))


@pytest.mark.parametrize("first", range(0, TRIALS, _AT_ONCE))
def test_nothing_is_lost_by_a_kill_whatever_is_done_beside_it(tmp_path, first):
    for seed in range(first, min(first + _AT_ONCE, TRIALS)):
        chance = random.Random(seed)
        own = chance.sample(list(beside.OWN), chance.randint(1, 4))
        others = chance.sample(list(beside.OTHERS), chance.randint(1, 3))
        require_all(beside.trial(tmp_path / str(seed), seed, own, others))
