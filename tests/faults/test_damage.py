"""Of damaged files nothing wrong is read: what was assigned, or nothing, or it is said.

`TESTS_FLIPS` says how many bits are flipped or files cut; 150 unless it is set.
"""

import os
import random
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import pytest
from faults import damage

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals of POSIX"),
    pytest.mark.xdist_group("damage"),  # what is damaged takes long to prepare
]

# Read here, as settings from outside are kept out of the tests themselves.
FLIPS = int(os.environ.get("TESTS_FLIPS", "150"))


def in_processes(act, *arguments):
    """Call a function in two processes beside this one; return what it returns, in order."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(act, *arguments, chunksize=5))


@pytest.fixture(scope="module", autouse=True)
def _no_settings_from_outside_in_processes():
    """Keep them out of what is shared by the tests here, too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TRAININGLOG_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What killed processes left: with a WAL, and with what was in it in the database."""
    with_wal = tmp_path_factory.mktemp("damage") / "wal"
    without = with_wal.with_name("no wal")
    history = damage.prepare(with_wal)
    damage.prepare_without_wal(with_wal, without)
    for folder in (with_wal, without):
        damage.survey(folder, history)
    return with_wal, without


@pytest.fixture(scope="module")
def outcomes(folders):
    """What came of each damage."""
    try:
        return in_processes(
            damage.trial, [folders[seed % 2] for seed in range(FLIPS)], range(FLIPS)
        )
    except BrokenProcessPool:
        stood = [file.read_text() for file in folders[0].parent.glob("hang *")]
        pytest.fail("a process crashed, or took too long:\n" + "\n".join(stood))


def test_undamaged_everything_is_there(folders):
    """So that what is found below comes from the damage."""
    (history, intact, journaled), without = map(damage.recall, folders)
    assert without.intact == intact
    for (run, place), value in intact.items():
        assert value in history[run][place]
    missing = [
        place for run, places in history.items() for place in places if (run, place) not in intact
    ]
    assert {(at % 37, key) for at, key in missing} == {(0, "count")}  # which were deleted
    assert len(journaled) > 300


def test_no_damage_makes_a_reader_hang_or_fail_in_a_way_that_is_not_ours(outcomes):
    """Every error is a `TrainingLogError`; none comes bare from SQLite, or from a surprise."""
    errors = [f"{one.seed}: {one.damage}\n{one.error[-1500:]}" for one in outcomes if one.error]
    assert not errors, f"{len(errors)} of {len(outcomes)}:\n\n" + "\n".join(errors[:5])
    assert max(one.took for one in outcomes) < damage.LIMIT


def test_no_value_is_read_that_was_not_assigned_there(outcomes):
    """But for what no checksum covers in this revision; see `damage.UNCOVERED`."""
    wrong = [one for one in outcomes if one.wrong and not one.known]
    assert not wrong, f"{len(wrong)} of {len(outcomes)}: {wrong[:5]}"


def test_a_damaged_journal_is_said_and_kept(outcomes):
    """Unless the damage lost nothing. And whatever is damaged, no journal is lost in silence."""
    unsaid = [one for one in outcomes if one.unsaid]
    assert not unsaid, f"{len(unsaid)} of {len(outcomes)}: {unsaid[:5]}"


@pytest.mark.parametrize("file", [damage.NAME, f"{damage.NAME}-wal", f"{damage.NAME}-tail-"])
def test_damage_of_each_file_is_noticed(outcomes, file):
    """Often: so these trials are able to fail."""
    here = [
        one
        for one in outcomes
        if one.damage.file == file or (file.endswith("-") and one.damage.file.startswith(file))
    ]
    assert len(here) > len(outcomes) / 20
    assert sum(one.said for one in here) > len(here) / 10


def test_no_flipped_bit_of_a_segment_goes_unnoticed(folders):
    """Be it of a number, or of what says which it is: all is covered by a checksum."""
    damages = damage.damages_of(folders[1], "segments.", 60)
    hit = {one.column.partition(".")[2] for one in damages}
    assert hit >= {"header", "last", "size", "checksum", "times", "data"}
    found = in_processes(damage.trial, [folders[1]] * 60, range(2_000_000, 2_000_060), damages)
    for one in found:
        assert one.said, one
        assert not one.wrong, one
        assert not one.error, one


def test_what_no_checksum_covers(folders):
    """A bit of a number among the entries goes unnoticed, and only in its own row.

    Once this fails, as it is noticed, `damage.UNCOVERED` can be shortened.
    """
    database = folders[1] / damage.NAME
    places = [
        at for at, spot in damage.layout_of(database).items() if spot.column in damage.UNCOVERED
    ]
    chance = random.Random(0)
    damages = [
        damage.damage_at(database, chance.choice(places), chance.randrange(8)) for _ in range(10)
    ]
    seeds = range(1_000_000, 1_000_010)
    found = in_processes(damage.trial, [folders[1]] * 10, seeds, damages)
    assert any(one.wrong for one in found)
    assert all(one.known for one in found), found
