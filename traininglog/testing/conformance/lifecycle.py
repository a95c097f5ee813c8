"""The life of a log: flush, commit, close, use by threads."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from traininglog import InvalidTime, LogClosed, TrainingLogBase
from traininglog.testing.conformance.fixtures import LogFixtures, OpenLog


class LifecycleConformance(LogFixtures):
    """A log from its opening to its end."""

    def test_a_closed_log_can_be_read(self, log: TrainingLogBase) -> None:
        """All of it can be read: also objects that were taken before, and inherited rows."""
        log[1].update(x=1, y=[1, {"a": 2}])
        log[2]["x"] = 0.5
        log.status["note"] = "first"
        log.resume(at=1)
        log[3].update(x=3, z="late")
        log[3]["x"] = 2
        held, status, view = log[1], log.status, log[1:3]
        reading: dict[str, Callable[[], Any]] = {
            "a row": lambda: dict(log[1]),
            "a value": lambda: log[3]["x"],
            "an unwritten row": lambda: dict(log[7]),
            "a row that was taken before": lambda: (dict(held), held["x"], "y" in held, len(held)),
            "a row or": lambda: held | {"w": 1},
            "a slice": lambda: view["x"].to_dict(),
            "a slice that was taken before": lambda: {time: dict(view[time]) for time in view},
            "all rows": lambda: {time: dict(row) for time, row in log.items()},
            "a dict": lambda: log.to_dict(),
            "equality": lambda: log == log.to_dict(),
            "length": lambda: (len(log), len(view)),
            "times": lambda: (list(log), list(reversed(log)), 1 in log, 2 in log),
            "get": lambda: (dict(log.get(1) or {}), log.get(2)),
            "keys": lambda: log.keys_seen(),
            "last": lambda: (log.last("x"), log.best("x"), log.best("x", "max")),
            "a frame": lambda: log.to_dataframe().to_dict(),
            "a long frame": lambda: log.to_dataframe("x", layout="long").to_dict(),
            "a frame by wall time": lambda: log.to_dataframe(index="wall").to_dict("records"),
            "what it wrote itself": lambda: log.to_dataframe(lineage=False).to_dict(),
            "a table": lambda: log.to_arrow().to_pydict(),
            "the status": lambda: (dict(log.status), status["note"], "gone" in status),
            "the current row": lambda: dict(log.current_row),
            "lineage": lambda: log.lineage(),
            "identity": lambda: (log.uuid, log.h_uuid, log.h_uuid in repr(log)),
            "state": lambda: log.state_dict(),
        }  # fmt: skip
        # Compared as texts: a NaN is equal only if it is the same object.
        before = {name: repr(read()) for name, read in reading.items()}
        log.close()
        assert log.closed
        for _ in range(2):
            assert {name: repr(read()) for name, read in reading.items()} == before
        with pytest.raises(KeyError, match="has no key 'no'"):
            log.last("no")
        with pytest.raises(KeyError):
            log[1]["no"]
        with pytest.raises(InvalidTime):
            log[-1]

    def test_a_log_that_was_left_by_with_can_be_read(self, open_log: OpenLog) -> None:
        """This holds whatever ended the block: there people look at the log."""
        with open_log() as log:
            log[1]["x"] = 1
        assert log.to_dataframe()["x"].to_list() == [1]
        with suppress(ZeroDivisionError), open_log() as failing:
            failing[1]["x"] = 1 // (failing[1].setdefault("y", 1) - 1)
        assert failing[1] == {"y": 1}

    def test_a_closed_log_goes_on_in_a_copy_of_it(self, log: TrainingLogBase) -> None:
        """The copy is a child, as of any log. A database in memory cannot be opened elsewhere."""
        log[1]["x"] = 1
        log.close()
        try:
            pickled = pickle.dumps(log)
        except TypeError as error:
            assert "cannot be pickled" in str(error)  # noqa: PT017 - of one kind of store
            return
        child = pickle.loads(pickled)  # noqa: S301 - our own
        child[2]["x"] = 2
        assert child == {1: {"x": 1}, 2: {"x": 2}}
        assert log == {1: {"x": 1}}

    def test_a_closed_log_refuses_to_be_written(self, log: TrainingLogBase) -> None:
        log[1]["x"] = 1
        row, status = log[1], log.status
        empty = log[7]
        log.close()
        log.close()
        assert log.closed
        state = log.state_dict()
        for act in (
            lambda: log[2].__setitem__("x", 2),
            lambda: log[1].update(x=2),
            lambda: log[1].__delitem__("x"),
            lambda: log[1].setdefault("y", 2),
            lambda: log[1].pop("x"),
            lambda: log[1].clear(),
            lambda: log.clear(),
            lambda: log.popitem(),
            lambda: log.update({2: {"x": 2}}),
            lambda: log.setdefault(2, {"x": 2}),
            lambda: log.__setitem__(2, {"x": 2}),
            lambda: log.__delitem__(1),
            lambda: row.__setitem__("x", 2),
            lambda: empty.__setitem__("x", 2),
            lambda: row.update(x=2),
            lambda: row.pop("x"),
            lambda: status.__setitem__("x", 1),
            lambda: status.__delitem__("epochs_done"),
            lambda: log.status.update(x=1),
            lambda: log.flush(),
            lambda: log.commit(),
            lambda: log.resume(),
            lambda: log.resume(at=1),
            lambda: log.load_state_dict(state),
        ):
            with pytest.raises(LogClosed):
                act()
        assert log == {1: {"x": 1}}
        assert log.state_dict() == state

    @pytest.mark.parametrize("flushed", [True, False], ids=["flushed", "pending"])
    @pytest.mark.parametrize(
        "begin",
        [
            lambda log, state: log.resume(),
            lambda log, state: log.resume(at=5),
            lambda log, state: log.load_state_dict(state),
        ],
        ids=["resume", "resume at", "load_state_dict"],
    )
    def test_what_is_held_goes_on_with_the_log(
        self, log: TrainingLogBase, begin: Callable[[TrainingLogBase, Any], None], flushed: bool
    ) -> None:
        """A row, a slice and the status belong to the run that the log writes now."""
        log[1]["x"], log[5]["x"] = 1.0, 5.0
        log.status["note"] = "parent"
        state = log.state_dict()
        parent = log.uuid
        inherited, last, later = log[1], log[5], log[9]
        status, view = log.status, log[4:]
        later["x"] = 9.0
        log.resume(at=9)
        log.load_state_dict(state)  # whatever happened to the log before
        later["x"] = 9.5
        del later["x"]
        if flushed:
            log.flush()
        begin(log, state)
        assert inherited == {"x": 1.0}
        assert later == {}
        assert "x" not in later
        with pytest.raises(KeyError):
            later["x"]
        for number, row in enumerate((inherited, last, later)):
            row["x"] = number  # a new kind of value
            row["x"] = number + 0.5
            row.update(x=number + 0.25, y=number)
            row["z"] = float(number)
        del last["z"]
        status["note"] = "child"
        expected = {
            1: {"x": 0.25, "y": 0, "z": 0.0}, 5: {"x": 1.25, "y": 1},
            9: {"x": 2.25, "y": 2, "z": 2.0},
        }  # fmt: skip
        for _ in range(2):
            assert log == expected
            assert [inherited, last, later] == list(expected.values())
            assert list(view) == [5, 9]
            assert view["x"].to_list() == [1.25, 2.25]
            assert view.to_dataframe().index.to_list() == [5, 9]
            assert status["note"] == log.status["note"] == "child"
            assert status["resumed_from"] == log.lineage()[1].uuid.hex
            log.flush()
        log.load_state_dict(state | {"uuid": parent.hex})
        assert log == {1: {"x": 1.0}, 5: {"x": 5.0}}
        assert [inherited, last, later] == [{"x": 1.0}, {"x": 5.0}, {}]
        assert status["note"] == "parent"

    def test_what_is_held_of_a_closed_log_refuses_to_be_written(
        self, open_log: OpenLog, log: TrainingLogBase
    ) -> None:
        """They refuse, whichever log writes the run next, in this process or later."""
        log[1]["x"] = 1.0
        log.flush()
        other = open_log(log.uuid)
        rows, status = (log[1], log[2]), log.status
        other[1]["y"] = 2.0
        other.flush()
        log.close()
        other[1]["y"] = 3.0
        for row in rows:
            for key, value in (("x", 2.0), ("x", "text"), ("new", 2.0)):
                with pytest.raises(LogClosed):
                    row[key] = value
                with pytest.raises(LogClosed):
                    row.update({key: value})
        with pytest.raises(LogClosed):
            rows[0].__delitem__("x")
        with pytest.raises(LogClosed):
            rows[0].clear()
        for value in (1, "text"):
            with pytest.raises(LogClosed):
                status["iterations_done"] = value
        other[2]["x"] = 5.0
        assert other == {1: {"x": 1.0, "y": 3.0}, 2: {"x": 5.0}}
        assert other.status["iterations_done"] == 0

    def test_what_is_held_of_one_log_does_not_follow_another(
        self, open_log: OpenLog, log: TrainingLogBase
    ) -> None:
        log[1]["x"] = 1.0
        log.flush()
        other = open_log(log.uuid)
        mine, theirs = log[2], other[2]
        other.resume()
        theirs["x"] = 2.0
        mine["x"] = 3.0
        for _ in range(2):
            assert log == {1: {"x": 1.0}, 2: {"x": 3.0}}
            assert other == {1: {"x": 1.0}, 2: {"x": 2.0}}
            assert mine == {"x": 3.0}
            assert theirs == {"x": 2.0}
            log.flush()
            other.flush()

    def test_a_log_is_a_context(self, open_log: OpenLog) -> None:
        with open_log() as log:
            log[1]["x"] = 1
        assert log.closed
        failing = open_log()
        with pytest.raises(ZeroDivisionError), failing:
            failing[1]["x"] = 1 // 0
        assert failing.closed

    def test_flush_and_commit_change_nothing_that_is_seen(self, log: TrainingLogBase) -> None:
        log[1]["x"] = 1
        log.flush()
        log.flush()
        log.commit()
        log.commit()
        log[2]["x"] = 2
        log.commit()
        assert log == {1: {"x": 1}, 2: {"x": 2}}

    def test_many_values(self, log: TrainingLogBase, open_log: OpenLog) -> None:
        for time in range(3_000):
            row = log[time]
            for key in "abcdefgh":
                row[key] = time + ord(key) / 128
        log.close()
        frame = open_log(log.uuid).to_dataframe()
        assert frame.shape == (3_000, 8)
        assert frame["c"].to_list() == [time + ord("c") / 128 for time in range(3_000)]

    def test_several_threads_may_assign(self, log: TrainingLogBase) -> None:
        def work(key: str) -> None:
            for time in range(500):
                log[time][key] = time
                log.status[key] = time

        threads = [threading.Thread(target=work, args=(key,)) for key in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(log) == 500
        for key in "abcd":
            assert log[:][key].to_list() == list(range(500))
            assert log.status[key] == 499
