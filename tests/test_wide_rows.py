"""Rows of many keys: what anything costs grows with the number of keys, not with its square.

What is measured is the processor time that this process used, for some keys and for four times as
many. Work that is linear takes about four times as long, quadratic work sixteen times.
"""

import contextlib
import gc
import time

import pytest
from typer.testing import CliRunner

from traininglog import SQLiteLog, Store, TrainingLog
from traininglog.cli.app import app
from traininglog.monitors import LogMonitor
from traininglog.trials import TrialClient

FEW = 1000
TIMES = 4
MOST = 8  # times as long, at the most; and what is too short to be measured does not count
SHORT = 0.01


def names(count):
    return [f"layer/{number}/norm" for number in range(count)]


def memory(folder, keys):
    return TrainingLog()


def sqlite(folder, keys):
    return SQLiteLog(folder / f"{len(keys)}.db")


def document(folder, keys):
    return TrialClient(f"file:{folder}/{len(keys)}.json").new_trial(parameters={}).log


STORES = {"memory": memory, "sqlite": sqlite, "document": document}


def used(act):
    """Return the processor time that something takes: of a few times the least."""
    found = []
    for _ in range(2):
        gc.disable()  # a collection of all that other tests have left takes longer than the act
        start = time.process_time()
        try:
            act()
        finally:
            found.append(time.process_time() - start)
            gc.enable()
    return min(found)


def assert_linear(prepare, acts):
    """Assert of each act, called with what `prepare` returns for some keys, that it is linear."""
    small, large = (prepare(names(count)) for count in (FEW, FEW * TIMES))
    for what, act in acts.items():
        for last in (False, False, True):  # what else the machine does may disturb one measurement
            few, many = used(lambda: act(*small)), used(lambda: act(*large))  # noqa: B023 - at once
            if many <= MOST * few + SHORT:
                break
            if last:
                pytest.fail(f"{what}: {FEW} keys took {few:.4f} s, {TIMES}x as many {many:.4f} s")


def misspelt(act):
    def ask(log, keys):
        with pytest.raises(KeyError, match="has no key 'los'"):
            act(log)

    return ask


READ = {
    "a row": lambda log, keys: dict(log[1].items()),
    "a row as a dict": lambda log, keys: dict(log[1]),
    "each value of a row": lambda log, keys: [log[1][key] for key in keys],
    "all rows": lambda log, keys: log.to_dict(),
    "a frame of chosen keys": lambda log, keys: log.to_dataframe(keys),
    "a long frame of chosen keys": lambda log, keys: log.to_dataframe(keys, layout="long"),
    "a table of chosen keys": lambda log, keys: log.to_arrow(keys),
    "a frame of globs": lambda log, keys: log.to_dataframe(["layer/*", "*/norm"]),
    "the keys": lambda log, keys: log.keys_seen(),
    "a misspelt key": misspelt(lambda log: log.to_dataframe("los")),
    "the last of a misspelt key": misspelt(lambda log: log.last("los")),
    "the curve of a misspelt key": misspelt(lambda log: log[:]["los"]),
    "the status": lambda log, keys: dict(log.status),
    "the items of the status": lambda log, keys: dict(log.status.items()),
}


def filled(log, keys, state):
    log[1].update(dict.fromkeys(keys, 0.5))
    log[2].update({key: number for number, key in enumerate(keys)})
    log.status.update(dict.fromkeys(keys, 0.5))
    if state != "pending":
        log.flush()
    if state == "child":
        log.resume()
        log[3][keys[-1]] = 1.0
        del log[1][keys[0]]
        log[1][keys[0]] = 0.5
    return log, keys


@pytest.fixture
def no_flush_unasked(monkeypatch):
    """Nothing is flushed but where a test asks for it: reading from the store has another cost."""
    monkeypatch.setattr("traininglog.writer.writer.INTERVAL", 1e9)


@pytest.mark.usefixtures("no_flush_unasked")
@pytest.mark.parametrize("state", ["pending", "flushed", "child"])
@pytest.mark.parametrize("store", STORES)
def test_reading_is_linear_in_the_number_of_keys(tmp_path, store, state):
    assert_linear(lambda keys: filled(STORES[store](tmp_path, keys), keys, state), READ)


def test_reading_a_closed_run_is_linear_in_the_number_of_keys(tmp_path):
    """Its numbers are in segments."""

    def reopened(keys):
        with sqlite(tmp_path, keys) as log:
            filled(log, keys, "flushed")
        return SQLiteLog(tmp_path / f"{len(keys)}.db", log.uuid, readonly=True), keys

    assert_linear(reopened, READ)


def key_by_key(log, keys):
    row = log[1]
    for key in keys:
        row[key] = 0.5


def row_by_row(log, keys):
    for number, key in enumerate(keys):
        log[number][key] = 0.5


def by_monitor(log, keys):
    monitor = LogMonitor(log)
    for step in range(3):
        monitor.write({"a": {"b": dict.fromkeys(keys, 0.5)}}, step)


@pytest.mark.parametrize("write", [key_by_key, row_by_row, by_monitor])
@pytest.mark.parametrize("store", STORES)
def test_writing_is_linear_in_the_number_of_keys(tmp_path, store, write):
    def act(keys):
        with STORES[store](tmp_path, keys) as log:
            write(log, keys)

    assert_linear(lambda keys: (keys,), {write.__name__: act})


MANY_RUNS = {
    "a long frame": lambda store, keys: store.to_dataframe(),
    "a long frame of chosen keys": lambda store, keys: store.to_dataframe(keys=keys),
    "a wide frame of chosen keys": lambda store, keys: store.to_dataframe(keys=keys, layout="wide"),
    "a list with last values": lambda store, keys: store.runs(keys),
    "a list with best values": lambda store, keys: store.runs(best=keys),
}


@pytest.mark.usefixtures("no_flush_unasked")
def test_a_store_is_linear_in_the_number_of_keys(tmp_path):
    """Its runs are of all kinds: closed ones, a child, and one that is being written."""

    def prepare(keys):
        path = tmp_path / f"{len(keys)}.db"
        for _ in range(8):
            with SQLiteLog(path) as log:
                filled(log, keys, "flushed")
        with SQLiteLog(path) as log:
            filled(log, keys, "child")
        live = SQLiteLog(path)
        filled(live, keys, "flushed")
        stack.callback(live.close)
        return stack.enter_context(Store(path, readonly=True)), keys

    with contextlib.ExitStack() as stack:
        assert_linear(prepare, MANY_RUNS)


def test_more_names_than_a_statement_takes_can_be_asked_for(tmp_path):
    keys = names(40_000)
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1].update(dict.fromkeys(keys, 0.5))
    with Store(tmp_path / "runs.db") as store:
        assert store.to_dataframe(keys=keys, layout="wide").shape == (1, 40_000)
        assert store.runs(keys).shape[0] == 1


COMMANDS = {
    "runs": ["runs", "--keys", "*1/norm"],
    "show": ["show"],
    "tail": ["tail", "--keys", "layer/*"],
    "export": ["export", "--output", "-"],
    "a misspelt key": ["tail", "--keys", "los"],
}


def test_a_command_is_linear_in_the_number_of_keys(tmp_path):
    def prepare(keys):
        path = tmp_path / f"{len(keys)}.db"
        with SQLiteLog(path) as log:
            filled(log, keys, "flushed")
        return path, keys

    def command(what):
        def act(path, keys):
            many = [argument for key in keys[:-1] for argument in ("--keys", key)]
            more = many if what == "export" else []
            result = CliRunner().invoke(app, [*COMMANDS[what], *more, "--store", str(path)])
            assert result.exit_code == (what == "a misspelt key"), result.output[-300:]

        return act

    assert_linear(prepare, {what: command(what) for what in COMMANDS})
