"""What a resumed run shows is told from the totals of whole runs, where that is true."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from traininglog import SQLiteLog, Store
from traininglog.sql.runs import listing

#: One run of a lineage: how many rows it logs, how far back it begins, what it logs, and whether it
#: deletes something that it inherits.
parts = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(0, 3),
        st.lists(st.sampled_from(["x", "y", "z"]), max_size=3, unique=True),
        st.sampled_from([False, False, False, True]),
    ),
    min_size=1, max_size=4,
)  # fmt: skip
values = st.sampled_from([1, 2.5, -3.0, float("nan"), None, "text"])


def write(path, lineage, data):
    """Write a lineage, and return the UUID of its last run."""
    at, uuid = 0, None
    for rows, back, keys, deletes in lineage:
        with SQLiteLog(path, uuid=uuid) as log:
            if uuid is not None:
                at = max(0, at - back)
                log.resume(at=at)
            if deletes and uuid is not None:
                for time in list(log)[:1]:
                    for key in list(log[time])[:1]:
                        del log[time][key]
            for _ in range(rows):
                at += 1
                for key in keys:
                    log[at][key] = data.draw(values)
            uuid = log.uuid
    return uuid


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parts, st.data())
def test_a_list_says_of_a_resumed_run_what_its_log_shows(lineage, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        uuid = write(path, lineage, data)
        with Store(path) as store:
            keys = store.keys_seen()
            (least,) = store.iter_runs(keys, best=keys)
            (greatest,) = store.iter_runs(best=dict.fromkeys(keys, "max"))
            with store.log(uuid, readonly=True) as log:
                columns = {column.key: column for column in log.columns()}
        times = sorted({time for column in columns.values() for time in column.times})
        assert least.uuid == uuid
        assert (least.rows, least.values) == (len(times), sum(map(len, columns.values())))
        assert (least.first_time, least.last_time) == (
            (times[0], times[-1]) if times else (None, None)
        )
        assert repr(least.last) == repr({key: columns[key].last for key in keys if key in columns})
        for info, mode in ((least, "min"), (greatest, "max")):
            bests = {key: column.best(mode) for key, column in columns.items()}
            assert info.best == {key: best.value for key, best in bests.items() if best is not None}


@pytest.fixture
def unread(monkeypatch):
    """Let a list fail if it reads the values of a run."""
    for where, name in (
        (listing, "_count_of_history"), (listing.Ends, "_read_last"), (listing.Ends, "_read_best"),
    ):  # fmt: skip
        monkeypatch.setattr(where, name, lambda *_: pytest.fail("it read the values"))


def test_runs_that_go_on_at_the_end_are_listed_without_reading_them(tmp_path, unread):
    uuid = None
    for part in range(4):
        with SQLiteLog(tmp_path / "runs.db", uuid=uuid) as log:
            if uuid is not None:
                log.resume()
            for time in range(10 * part, 10 * part + 10):
                log[time]["x"] = time
            log[10 * part][f"only {part}"] = -part
            uuid = log.uuid
    with Store(tmp_path / "runs.db", readonly=True) as store:
        (info,) = store.iter_runs("*", best={"x": "min", "only 2": "max"})
    assert (info.resumes, info.rows, info.values) == (3, 40, 44)
    assert (info.first_time, info.last_time) == (0, 39)
    assert info.last["x"] == (39, 39)
    assert info.last["only 0"] == (0, 0)
    assert info.best == {"x": 0, "only 2": -2}
