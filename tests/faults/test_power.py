"""Whatever a power cut leaves of a file can be used, is a prefix, and has all that was committed.

The power is cut in a simulation: see power.py, images.py and workloads.py. `TESTS_IMAGES`
says how many images are looked at for each level of durability; 100 unless it is set.
"""

import functools
import os
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from faults import images, power, workloads

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs locks of POSIX"),
    pytest.mark.skipif(bool(power.why_not()), reason=power.why_not() or "nothing is in the way"),
    pytest.mark.xdist_group("power"),  # the recordings take long to make
]

# Read here, as settings from outside are kept out of the tests themselves.
IMAGES = int(os.environ.get("TESTS_IMAGES", "100"))


@pytest.fixture(scope="module")
def pool():
    """Two processes beside this one."""
    # Not forked: this process may have threads, and logs that are open.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="module")
def recordings(pool, tmp_path_factory):
    """What returns the recordings of a level of durability, each made once."""
    made = {}

    def recordings(durability):
        if durability not in made:
            root = tmp_path_factory.mktemp(durability)
            # Without journals there is less to go wrong.
            chosen = workloads.WORKLOADS[2 if durability == "buffered" else 0 :]
            some = [
                workloads.Recorded(root / workload.name, durability, workload)
                for workload in chosen
            ]
            made[durability] = list(pool.map(workloads.record, some))
        return made[durability]

    yield recordings
    for recorded in (one for some in made.values() for one in some):
        if not list(recorded.folder.glob("image *")):  # else somebody will want to look at it
            shutil.rmtree(recorded.folder)


def cut_the_power(pool, recordings, number, **options):
    """Do so at this many moments, spread over some recordings; return what became of the logs."""
    trial = functools.partial(workloads.trial, **options)
    spread = [recordings[seed * len(recordings) // number] for seed in range(number)]
    return list(pool.map(trial, spread, range(number), chunksize=max(1, number // 12)))


def all_well(verdicts):
    wrong = [str(verdict) for verdict in verdicts if verdict.problem]
    count = f"{len(wrong)} of {len(verdicts)} images are wrong:"
    assert not wrong, "\n\n".join([count, *wrong[:3]])
    return True


@pytest.mark.parametrize(
    ("durability", "number"), [("process", IMAGES), ("power", IMAGES), ("buffered", IMAGES // 4)]
)
def test_a_power_cut_leaves_a_prefix_with_all_that_was_committed(
    pool, recordings, durability, number
):
    """And a file that is whole, can be opened in any way, gone on with, and opened again."""
    verdicts = cut_the_power(pool, recordings(durability), number)
    assert all_well(verdicts)
    # Else there would have been nothing to lose, and nothing to keep.
    there = [verdict for verdict in verdicts if verdict.found is not None]
    assert any(verdict.found < verdict.most for verdict in there)
    assert any(verdict.least for verdict in there)


def test_a_power_cut_while_a_file_is_made_leaves_none_or_one_that_can_be_used(pool, recordings):
    verdicts = cut_the_power(pool, recordings("process"), IMAGES // 5, moment="creation")
    assert all_well(verdicts)


@pytest.mark.parametrize(
    ("durability", "options", "found"),
    [
        ("power", {"ignored": workloads.WAL}, "Lost"),
        ("power", {"ignored": workloads.DATABASE}, "damaged"),
        ("process", {"promise": "flushed"}, "Lost"),
    ],
    ids=["no sync of the WAL", "no sync of the database", "a flush taken for a commit"],
)
def test_a_sync_that_is_missing_is_found_out(pool, recordings, durability, options, found):
    """So these tests are able to fail, and each sync is there for a reason."""
    verdicts = cut_the_power(pool, recordings(durability), 30, **options)
    for verdict in verdicts:
        shutil.rmtree(verdict.folder, ignore_errors=True)  # these are no surprise
    assert any(found in verdict.problem for verdict in verdicts)


def test_a_recording_has_all_that_was_done(recordings):
    """What is made of it, if nothing is lost, is what there was at the end."""
    begun = Counter()
    for recorded in recordings("process"):
        recording = images.Recording(recorded.path, workloads.DATABASE)
        made = recording.image(len(recording.events), None)
        there = {path.name: path for path in (recorded.folder / "end").iterdir()}
        assert set(there) - set(made) <= {"runs.db-shm", "runs.db-owners"}
        assert {workloads.DATABASE, workloads.WAL} <= set(made)
        for name, content in made.items():
            assert there[name].read_bytes() == content, name
        events = recording.events
        wals = {event.file for event in events if bytes(event.data) == workloads.WAL.encode()}
        begun.update(
            (recorded, event.file)
            for event in events
            if event.kind == power.WRITTEN and event.file in wals and event.at == 0
        )
    # A WAL was copied into the database, and written anew from its beginning.
    assert max(begun.values()) > 1
