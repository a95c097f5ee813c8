"""A run that was resumed many times is read in a few statements, and as it would be by many."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from traininglog import SQLiteLog, TrainingLog
from traininglog.sql import lineage_chain

KEYS = ("a", "b", "c")
values = st.one_of(st.floats(-9, 9), st.integers(-9, 9), st.booleans(), st.just("text"))

#: What a run does: assigns, deletes (None), and is sealed, before the next one resumes it.
stretches = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 12), st.sampled_from(KEYS), values | st.none())),
        st.booleans(),
        st.integers(0, 14),
    ),
    min_size=9,
    max_size=14,
)


def live(log, stretch):
    """Do to a log what a stretch says, and resume it."""
    changes, seals, at = stretch
    log[at]["step"] = at
    for time, key, value in changes:
        if value is not None:
            log[time][key] = value
        elif key in log[time]:
            del log[time][key]
    log.flush()
    if seals and isinstance(log, SQLiteLog):
        log.seal()
    times = list(log)
    log.resume(at=times[at % len(times)])


@pytest.mark.parametrize("most", [lineage_chain._MOST_TIMES, 0], ids=["together", "one by one"])
@settings(max_examples=25)
@given(whole=stretches)
def test_a_long_lineage_reads_as_the_same_one_in_memory(tmp_path_factory, most, whole):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lineage_chain, "_MOST_TIMES", most)
        compare(tmp_path_factory, whole)


def compare(tmp_path_factory, whole):
    memory = TrainingLog()
    path = tmp_path_factory.mktemp("long") / "a.db"
    with SQLiteLog(path) as log:
        for stretch in whole:
            live(memory, stretch)
            live(log, stretch)
        log[13]["d"] = memory[13]["d"] = 1.0
        log.flush()
        with SQLiteLog(path, log.uuid, readonly=True) as fresh:
            for read in (log, fresh):
                assert read.to_dict() == memory.to_dict()
                assert read.keys_seen() == memory.keys_seen()
                assert len(read) == len(memory)
                seen = memory.keys_seen()
                for bounds in (slice(None), slice(3, 9), slice(12, None)):
                    part, other = read[bounds], memory[bounds]
                    assert list(part) == list(other)
                    for keys in ([], seen[:1], seen[-1:], seen[::2]):
                        mine, theirs = part.to_dataframe(keys), other.to_dataframe(keys)
                        assert_frame_equal(mine, theirs, check_dtype=False)


def test_a_run_is_resumed_and_closed_without_going_through_its_lineage(tmp_path, monkeypatch):
    """Else ten thousand resumes would take the time of fifty million."""
    log = SQLiteLog(tmp_path / "runs.db")
    log[0]["x"] = 0.0
    log.resume()
    whole = []
    original = lineage_chain._CHAIN.run
    monkeypatch.setattr(
        lineage_chain._CHAIN,
        "run",
        lambda *args, **named: whole.append(args) or original(*args, **named),
    )
    for time in range(1, 20):
        log[time]["x"] = float(time)
        log.resume()
    log[20]["x"] = 20.0
    log.close()
    assert whole == []


@pytest.mark.parametrize("way", ["deleted", "hidden", "written before", "nothing"])
def test_the_last_time_of_a_resumed_run_is_the_last_that_it_sees(tmp_path, way):
    """Whether its own run has it, or one that it was resumed from."""
    for log in (SQLiteLog(tmp_path / "runs.db"), TrainingLog()):
        log[5]["x"] = 5.0
        log.resume()
        if way == "deleted":
            log[9]["x"] = 9.0
            del log[9]["x"]
        elif way == "hidden":
            log[7]["x"] = 7.0
            log.flush()
            del log[5]["x"]
            del log[7]
        elif way == "written before":
            log[3]["x"] = 3.0
        log.resume()
        last = -1 if way == "hidden" else 5
        assert log.lineage()[0].resumed_at == last, type(log)
        log.close()
