"""A state machine that does the same to several stores and a model, and compares at each step.

The model implements the contract in the plainest code: dicts, and a walk up the parents.
"""

from __future__ import annotations

import copy
import importlib.util
import math
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from traininglog import LogClosed, TrainingLogBase
from traininglog.lineage import new_status
from traininglog.testing.samples import same

#: Opens a log. Its arguments are a folder of the store's own, and the UUID of a run or None for a
#: new one.
Open = Callable[[Path, UUID | None], TrainingLogBase]

_GONE: Any = object()

TIMES = st.integers(0, 7)
KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.one_of(
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.lists(st.one_of(st.none(), st.floats(), st.booleans()), max_size=2),
    st.dictionaries(st.text(max_size=2), st.binary(max_size=2), max_size=2),
)
ROWS = st.dictionaries(KEYS, VALUES, max_size=3)


class _ModelRun:
    """One run, as the contract describes it."""

    def __init__(self, parent: _ModelRun | None, at: int, status: dict[str, Any]) -> None:
        self.parent = parent
        self.at = at
        self.status = status
        self.own: dict[int, dict[str, Any]] = {}
        self.keys: list[str] = []

    def lineage(self) -> list[_ModelRun]:
        return [self, *(self.parent.lineage() if self.parent else [])]

    def seen(self, time: int) -> dict[str, Any]:
        inherited = self.parent.seen(time) if self.parent and time <= self.at else {}
        merged = inherited | self.own.get(time, {})
        kept = {key: value for key, value in merged.items() if value is not _GONE}
        return {key: kept[key] for key in self.order() if key in kept}

    def order(self) -> list[str]:
        known = self.parent.order() if self.parent else []
        return known + [key for key in self.keys if key not in known]

    def rows(self) -> dict[int, dict[str, Any]]:
        times = sorted({time for run in self.lineage() for time in run.own})
        return {time: row for time in times if (row := self.seen(time))}

    def set(self, time: int, changes: Mapping[str, Any]) -> None:
        self.own.setdefault(time, {}).update(changes)
        self.keys += [
            key for key, value in changes.items() if key not in self.keys and value is not _GONE
        ]

    def replace(self, time: int, row: Mapping[str, Any]) -> None:
        self.set(time, dict.fromkeys(self.seen(time), _GONE) | dict(row))


class _Held(NamedTuple):
    """A log, and objects of it that a program may keep."""

    log: TrainingLogBase
    row: MutableMapping[str, Any]
    rows: Mapping[int, Any]
    status: MutableMapping[str, Any]


def _same_rows(found: Mapping[int, Mapping[str, Any]], expected: Mapping[int, Any]) -> bool:
    return same({time: dict(row) for time, row in found.items()}, dict(expected))


def look_at_tables(
    log: TrainingLogBase, rows: Mapping[int, Mapping[str, Any]], cells: Mapping[Any, Any]
) -> None:
    """Compare a log's Arrow tables with its rows, and with its values by time and key."""
    table = log.to_arrow(layout="long").to_pydict()
    places = zip(table["time"], table["key"], strict=True)
    numbers = zip(table["value"], table["type"], strict=True)
    found = dict(zip(places, numbers, strict=True))
    assert found.keys() == cells.keys()
    for place, value in cells.items():
        number, kind = found[place]
        assert (kind == "none") == (value is None)
        if isinstance(value, float):
            assert kind == "float"
            assert same(number, value)
        else:
            assert (number is None) == (not isinstance(value, (int, bool)))
    wide = log.to_arrow()
    assert wide["time"].to_pylist() == list(rows)
    for key in wide.column_names[1:]:
        there = [row.get(key) is not None for row in rows.values()]
        assert wide[key].is_valid().to_pylist() == there, key


def log_machine(
    stores: Mapping[str, Open], *, reopened: Collection[str] = ()
) -> type[RuleBasedStateMachine]:
    """Return a state machine class over several stores; run its ``TestCase`` with pytest.

    Args:
        stores: The functions that open a log of each store, by name.
        reopened: The names of stores whose log is closed and opened again after every step.

    """

    class LogMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = Path(tempfile.mkdtemp(prefix="log-machine-"))
            self.logs: dict[str, TrainingLogBase] = {}
            self.runs: list[_ModelRun] = []
            self.uuids: dict[str, list[UUID]] = {name: [] for name in stores}
            self.kept: list[TrainingLogBase] = []  # a run in memory lives as long as a log of it
            self.states: list[tuple[int, int | None, dict[str, Any], dict[str, Any]]] = []
            self.current = 0
            #: By time and store, a log, and a row, a slice and the status that were taken from it.
            self.held: dict[int, dict[str, _Held]] = {}

        @property
        def model(self) -> _ModelRun:
            return self.runs[self.current]

        def open(self, name: str, uuid: UUID | None) -> None:
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            self.logs[name] = stores[name](folder, uuid)
            self.kept.append(self.logs[name])

        def begin(self, run: _ModelRun) -> None:
            """Record that every log has become a new run."""
            self.runs.append(run)
            self.current = len(self.runs) - 1
            for name, log in self.logs.items():
                self.uuids[name].append(log.uuid)

        @initialize()
        def start(self) -> None:
            for name in stores:
                self.open(name, None)
            self.begin(_ModelRun(None, -1, dict(new_status())))

        # -- the steps ----------------------------------------------------------------------

        @rule(time=TIMES, key=KEYS, value=VALUES)
        def assign(self, time: int, key: str, value: Any) -> None:
            self.model.set(time, {key: value})
            for log in self.logs.values():
                log[time][key] = value

        @rule(time=TIMES, row=ROWS)
        def update_row(self, time: int, row: dict[str, Any]) -> None:
            self.model.set(time, row)
            for log in self.logs.values():
                log[time].update(row)

        @rule(time=TIMES, row=ROWS)
        def replace_row(self, time: int, row: dict[str, Any]) -> None:
            self.model.replace(time, row)
            for log in self.logs.values():
                log[time] = row

        @rule(rows=st.dictionaries(TIMES, ROWS, max_size=3))
        def update_log(self, rows: dict[int, dict[str, Any]]) -> None:
            for time, row in rows.items():
                self.model.replace(time, row)
            for log in self.logs.values():
                log.update(rows)

        @rule(time=TIMES, key=KEYS)
        def delete_value(self, time: int, key: str) -> None:
            there = key in self.model.seen(time)
            if there:
                self.model.set(time, {key: _GONE})
            for log in self.logs.values():
                self.expect(there, log[time].__delitem__, key)

        @rule(time=TIMES)
        def delete_row(self, time: int) -> None:
            there = bool(self.model.seen(time))
            if there:
                self.model.replace(time, {})
            for log in self.logs.values():
                self.expect(there, log.__delitem__, time)

        @rule(time=TIMES, key=KEYS, value=VALUES, first=st.sampled_from(["delete", "read"]))
        def use_a_held_row(self, time: int, key: str, value: Any, first: str) -> None:
            for log in self.logs.values():
                row = log[time]
                if first == "delete":
                    row.clear()
                row.setdefault(key, value)
                assert same(log[time].get(key), row[key])
            if first == "delete":
                self.model.replace(time, {})
            if key not in self.model.seen(time):
                self.model.set(time, {key: value})

        @rule(time=TIMES)
        def hold(self, time: int) -> None:
            self.held[time] = {
                name: _Held(log, log[time], log[time:], log.status)
                for name, log in self.logs.items()
            }

        def now(self, time: int) -> Iterator[_Held]:
            """Yield the held objects of every log; check that those of a closed log refuse."""
            for name, log in self.logs.items():
                held = self.held[time][name]
                if held.log.closed or held.log is not log:
                    if held.log.closed:
                        for write in (held.row.__setitem__, held.status.__setitem__):
                            try:
                                write("a", 0.5)
                            except LogClosed:
                                continue
                            raise AssertionError(f"{name}: what was held of a closed log wrote")
                    held = _Held(log, log[time], log[time:], log.status)
                yield held

        @precondition(lambda self: self.held)
        @rule(data=st.data(), key=KEYS, value=VALUES, row=ROWS)
        def write_what_is_held(
            self, data: st.DataObject, key: str, value: Any, row: dict[str, Any]
        ) -> None:
            """Write to held objects, which after a resume or a loaded state write the new run."""
            time = data.draw(st.sampled_from(sorted(self.held)))
            act = data.draw(st.sampled_from(["assign", "update", "delete", "status"]))
            there = key in self.model.seen(time)
            for held in self.now(time):
                if act == "assign":
                    held.row[key] = value
                elif act == "update":
                    held.row.update(row)
                elif act == "delete":
                    self.expect(there, held.row.__delitem__, key)
                else:
                    held.status["note"] = value
            if act == "status":
                self.model.status["note"] = value
            elif act != "delete":
                self.model.set(time, {key: value} if act == "assign" else row)
            elif there:
                self.model.set(time, {key: _GONE})

        @precondition(lambda self: self.held)
        @rule(data=st.data(), key=KEYS)
        def read_what_is_held(self, data: st.DataObject, key: str) -> None:
            time = data.draw(st.sampled_from(sorted(self.held)))
            rows = self.model.rows()
            row = rows.get(time, {})
            for held in self.now(time):
                assert same(dict(held.row), row)
                assert list(held.row) == list(row)
                assert len(held.row) == len(row)
                assert bool(held.row) == bool(row)
                assert (key in held.row) == (key in row)
                assert same(held.row.get(key, "absent"), row.get(key, "absent"))
                assert list(held.rows) == [at for at in rows if at >= time]
                assert same(held.status.get("note"), self.model.status.get("note"))

        @rule()
        def clear(self) -> None:
            for time in self.model.rows():
                self.model.replace(time, {})
            for log in self.logs.values():
                log.clear()

        @rule(key=st.sampled_from(["note", "epochs_done"]), value=VALUES)
        def assign_status(self, key: str, value: Any) -> None:
            self.model.status[key] = value
            for log in self.logs.values():
                log.status[key] = value

        @rule(done=TIMES, ends=st.lists(TIMES, max_size=3))
        def count(self, done: int, ends: list[int]) -> None:
            counters = {"iterations_done": done, "_epoch_ends": ends, "epochs_done": len(ends)}
            self.model.status.update(counters)
            for log in self.logs.values():
                log.status.update(counters)

        @rule()
        def delete_status(self) -> None:
            there = self.model.status.pop("note", _GONE) is not _GONE
            for log in self.logs.values():
                self.expect(there, log.status.__delitem__, "note")

        @rule(durable=st.booleans())
        def flush(self, *, durable: bool) -> None:
            for log in self.logs.values():
                log.commit() if durable else log.flush()

        @rule(at=st.one_of(st.none(), TIMES))
        def resume(self, at: int | None) -> None:
            status = copy.deepcopy(self.model.status)
            point = max(self.model.rows(), default=-1) if at is None else at
            if at is not None:
                self.cut(status, at)
            for log in self.logs.values():
                log.resume(at=at)
            self.begin(_ModelRun(self.model, point, status))
            self.link()

        @staticmethod
        def cut(status: dict[str, Any], at: int) -> None:
            ends, epochs = status["_epoch_ends"], status["epochs_done"]
            status["iterations_done"] = min(status["iterations_done"], at)
            status["_epoch_ends"] = [end for end in ends if end <= at]
            if isinstance(epochs, int):
                status["epochs_done"] = max(0, epochs - sum(end > at for end in ends))

        def link(self) -> None:
            """Record the parent of the new run by number: its UUID differs in every store."""
            self.model.status["resumed_from"] = self.runs.index(self.model.parent)  # type: ignore[arg-type]

        @rule()
        def take_state(self) -> None:
            rows = self.model.rows()
            states = {name: log.state_dict() for name, log in self.logs.items()}
            status = copy.deepcopy(self.model.status)
            self.states.append((self.current, max(rows, default=None), status, states))

        @precondition(lambda self: self.states)
        @rule(data=st.data())
        def load_state(self, data: st.DataObject) -> None:
            number, time, status, states = data.draw(st.sampled_from(self.states))
            self.assign_status("note", "left")  # a new log without a write leaves no run behind
            for name, log in list(self.logs.items()):
                left = log.uuid
                self.open(name, left)  # a store in memory drops a run that no log refers to
                self.logs[name] = log
                log.load_state_dict(states[name])
            point = -1 if time is None else time
            self.begin(_ModelRun(self.runs[number], point, copy.deepcopy(status)))
            self.link()

        @rule()
        def go_on_with_a_copy(self) -> None:
            for name, log in list(self.logs.items()):
                self.logs[name] = copy.deepcopy(log)
                self.kept.append(self.logs[name])
                log.close()
                self.logs[name].status["note"] = "copy"
            point = max(self.model.rows(), default=-1)
            status = copy.deepcopy(self.model.status)
            self.begin(_ModelRun(self.model, point, status))
            self.link()
            self.model.status["note"] = "copy"

        @rule(data=st.data())
        def open_another_run(self, data: st.DataObject) -> None:
            self.current = data.draw(st.sampled_from(range(len(self.runs))))
            for name, log in list(self.logs.items()):
                log.close()
                self.open(name, self.uuids[name][self.current])

        @rule(time=TIMES, key=KEYS, stop=TIMES)
        def look(self, time: int, key: str, stop: int) -> None:
            rows = self.model.rows()
            row = rows.get(time, {})
            series = {at: r[key] for at, r in rows.items() if key in r}
            between = {at: r for at, r in rows.items() if time <= at < stop}
            own = {
                at: r for at, r in self.model.own.items() if any(v is not _GONE for v in r.values())
            }
            for log in self.logs.values():
                assert (time in log) == bool(row)
                assert (key in log[time]) == (key in row)
                assert same(log[time].get(key, "absent"), row.get(key, "absent"))
                assert same(log[time].copy(), row)
                assert list(log[time]) == list(row)
                assert _same_rows(log[time:stop], between)
                if series:
                    last = max(series)
                    assert same(list(log.last(key)), [last, series[last]])
                    numbers = [v for v in series.values() if isinstance(v, (int, float))]
                    numbers = [v for v in numbers if not math.isnan(v)]
                    if numbers:
                        assert log.best(key).value == min(numbers)
                        assert log.best(key, mode="max").value == max(numbers)
                long = log.to_dataframe(layout="long")
                cells = {(at, k): v for at, r in rows.items() for k, v in r.items()}
                found = {(at, k): v for at, k, v in long.itertuples(index=False)}
                assert found.keys() == cells.keys()
                assert log.to_dataframe().index.to_list() == list(rows)
                walls = log.to_dataframe(index="wall").index
                assert len(walls) == len(rows)
                assert not walls.isna().any()
                if importlib.util.find_spec("pyarrow") is not None:
                    look_at_tables(log, rows, cells)
                assert log.to_dataframe(lineage=False).index.to_list() == sorted(own)

        # -- the invariant ------------------------------------------------------------------

        @invariant()
        def every_store_agrees_with_the_model(self) -> None:
            if not self.runs:
                return
            for name, log in list(self.logs.items()):
                if name in reopened:
                    log.close()
                    self.open(name, self.uuids[name][self.current])
            rows = self.model.rows()
            status = dict(self.model.status)
            parent = status["resumed_from"]
            for name, log in self.logs.items():
                uuids = self.uuids[name]
                assert _same_rows(log.to_dict(), rows), name
                assert list(log) == list(rows), name
                assert len(log) == len(rows), name
                assert log.keys_seen() == [
                    key for key in self.model.order() if any(key in row for row in rows.values())
                ], name
                status["resumed_from"] = None if parent is None else uuids[parent].hex
                assert same(log.status.copy(), status), name
                assert log.lineage() == [
                    (uuids[self.runs.index(run)], run.at if run.parent else None)
                    for run in self.model.lineage()
                ], name

        def expect(self, there: bool, act: Callable[..., object], *arguments: Any) -> None:
            try:
                act(*arguments)
            except KeyError:
                assert not there
            else:
                assert there

        def teardown(self) -> None:
            for log in [*self.logs.values(), *self.kept]:
                log.close()
            shutil.rmtree(self.folder)

    return LogMachine
