"""Values that we never wrote: `check` names their column, and reading them is an error of ours."""

import math
import os
import shutil
import signal
import sqlite3
import stat
import tracemalloc
from contextlib import closing, nullcontext, suppress

import pytest

from traininglog import (
    CorruptLog,
    SQLiteLog,
    Store,
    StoreUnwritable,
    TrainingLogError,
    TrainingLogWarning,
)
from traininglog.encoding import decode
from traininglog.kept import damage, folder_of, keep, path_of
from traininglog.packing import BLOCK, Block, BlockHead, room_for, unpack
from traininglog.sql import sound
from traininglog.trials.surroundings import artifacts


@pytest.fixture
def path(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        for at in range(600):
            log[at]["loss"] = at / 2
        log[7]["note"] = "text"
    return tmp_path / "runs.db"


def change(path, statement, *values):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement, values)


COLUMNS = [(table, column) for table, columns in sound._COLUMNS.items() for column in columns]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_check_names_the_column_that_holds_what_was_never_written_there(path, table, column):
    """And a list of the runs comes all the same, or says that the store is damaged."""
    with SQLiteLog(path, Store(path).latest()) as log:
        log.resume()
    wrong = -5 if (table, column) in (("runs", "id"), ("status", "id")) else b"\xff wrong"
    if column in ("times", "data"):
        wrong = 5
    change(path, f'UPDATE OR IGNORE {table} SET "{column}" = ?', wrong)
    with Store(path, readonly=True) as store:
        check = store.check()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("warnings.warn", lambda *_, **__: None)
                store.runs(heads=False)
                store.runs()
        except CorruptLog:
            pass
    assert any(f"table {table}," in problem and column in problem for problem in check.problems)


def test_a_damaged_line_hides_no_other_run(path):
    with SQLiteLog(path) as log:
        log[1]["loss"] = 1.0
    change(path, "UPDATE runs SET created = 'x', host = x'ff', epoch = 1e300 WHERE id = 1")
    store = Store(path, readonly=True)
    with store, pytest.warns(TrainingLogWarning, match="1 of 2 lines"):
        frame = store.runs(heads=False)
    assert sorted(frame["values"]) == [1, 601]
    assert frame["created"].isna().sum() == 1


def test_a_lineage_in_a_circle_ends_where_it_closes(path):
    change(path, "UPDATE runs SET resumed_from = uuid, resumed_at = 5")
    with Store(path, readonly=True) as store:
        with pytest.raises(CorruptLog, match="among its own ancestors"):
            store.log(store.latest(), readonly=True).to_dict()
        assert len(store.runs(heads=False)) == 1
        assert any("circle" in problem for problem in store.check().problems)


@pytest.mark.parametrize(
    "claims",
    [
        {"size": 2**24, "last": 2**24 - 1},
        {"size": BLOCK + 1, "last": BLOCK},
        {"size": 2**62, "last": 2**62},
        {"size": 0}, {"size": -1}, {"size": 1.0}, {"size": "1"}, {"size": None},
        {"size": 5, "last": 3}, {"first": -1, "last": 4}, {"step": -1}, {"last": 2**63},
    ],
)  # fmt: skip
def test_a_segment_claims_no_more_than_a_block_has(claims):
    """Nineteen bytes may say any number: no memory is taken for it."""
    made = {"first": 0, "last": 0, "step": 1, "size": 1, "kind": 4, "codec": 1, "times": None}
    made |= claims
    tracemalloc.start()
    try:
        with pytest.raises(CorruptLog):
            unpack(Block(**made, data=bytes(19)))
        head = {name: made[name] for name in BlockHead._fields}
        with pytest.raises(CorruptLog):
            room_for([BlockHead(**head)] * 100)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_an_array_claims_no_more_than_its_bytes():
    header = "{'descr': '%s', 'fortran_order': False, 'shape': (%d,), }"
    for dtype, count in (("<f8", 10**12), ("V0", 10**15), ("<f8", 1), ("<i2", -1)):
        text = (header % (dtype, count)).encode()
        stored = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
        with pytest.raises(CorruptLog):
            decode(8, stored)


@pytest.mark.parametrize(
    "dtype", ["'<U1'", "'>U1'", "[('a', '<U1', (1,))]", "[('a', [('b', '<U1')])]"]
)
def test_an_array_of_texts_holds_no_more_than_there_are_characters(dtype):
    """NumPy reads it, and fails as an element is looked at."""
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': (1,), }}".encode()
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(CorruptLog):
        decode(8, start + b"\xff" * 4)
    text = "y".encode("utf-32-be" if ">" in dtype else "utf-32-le")
    assert "y" in str(decode(8, start + text))


# -- what others would be given of it, or what would be written over it -------------------------

ODD = (
    None, "", "x", "5", b"", b"\xff" * 9, -1, 0, 1, 7, 1.5, -1e300, 1e300, math.inf, 2**33, 2**62,
    2**63 - 1, -(2**63), "\xff" * 33,
)  # fmt: skip


@pytest.fixture
def ending():
    """A test that goes round and round ends here: no loop has to."""

    def end(*_):
        raise AssertionError("no end is in sight")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, 120.0)  # of the processor
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize("column", sound.RUN_FORM)
def test_of_a_line_of_a_run_all_who_read_it_think_the_same(path, column):
    """What `check` names is refused by whoever goes on with the run, and nothing else is."""
    for wrong in ODD:
        try:
            change(path, f'UPDATE runs SET "{column}" = ? WHERE id > 0', wrong)
        except sqlite3.IntegrityError:
            continue
        with Store(path, readonly=True) as store, store._database.read() as connection:
            named = any("table runs" in problem for problem in sound.problems(connection))
            row = connection.exec_driver_sql("SELECT * FROM runs").one()
        with nullcontext() if not named else pytest.raises(CorruptLog, match="table of runs"):
            sound.require_run(row)


def write_on(path):
    with closing(sqlite3.connect(path)) as connection:
        ((uuid,),) = connection.execute("SELECT uuid FROM runs ORDER BY id LIMIT 1")
    with SQLiteLog(path, uuid) as log:
        log[10**6]["loss"] = 0.5
        log[10**6]["another"] = 1


def seal(path):
    with Store(path) as store:
        store.seal()


def merge(path):
    with Store(path.with_name("new.db"), create=True) as store:
        store.merge(path)


def merge_again(path):
    """With a copy that is sound, and knows less, and with one that knows more."""
    for other in ("less.db", "more.db"):
        with Store(path.with_name(other)) as store:
            store.merge(path)


@pytest.fixture
def copies(path):
    """The copies of a run that has rows, segments, a status and marks, at two moments."""
    with SQLiteLog(path, Store(path, readonly=True).latest(), seal=False) as log:
        for at in range(600, 640):
            log[at]["loss"] = at / 2
        log.status["name"] = "a"
    for name in ("less.db", "more.db"):
        shutil.copy(path, path.with_name(name))
    for each in (path, path.with_name("more.db")):
        with SQLiteLog(each, Store(each, readonly=True).latest(), seal=False) as log:
            log[641]["loss"] = 0.5
    with SQLiteLog(path.with_name("more.db"), Store(path, readonly=True).latest()) as log:
        log[642]["loss"] = 0.5
    return path


@pytest.mark.parametrize("act", [seal, merge, merge_again, write_on])
@pytest.mark.parametrize("table", sound._COLUMNS)
@pytest.mark.usefixtures("ending")
@pytest.mark.filterwarnings("ignore::traininglog.TrainingLogWarning")  # as it is damaged
@pytest.mark.parametrize("most", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_what_was_never_written_is_passed_on_by_nobody(copies, tmp_path, table, act, most):
    """Whoever seals, merges or writes on says so, or does it, and what comes of it is sound."""
    for place, column in enumerate(sound._COLUMNS[table]):
        for number in range(most):
            wrong = ODD[(place + 5 * number) % len(ODD)]
            folder = tmp_path / f"{column} {number}"
            folder.mkdir()
            for each in tmp_path.glob("*.db"):
                shutil.copy(each, folder)
            path = folder / copies.name
            try:
                change(path, f'UPDATE OR IGNORE {table} SET "{column}" = ?', wrong)
            except sqlite3.IntegrityError:
                continue
            with suppress(TrainingLogError):
                act(path)
            for made in {*folder.glob("*.db")} - {path}:
                with Store(made, readonly=True) as store:
                    problems = store.check().problems
                # How much a run logged is copied as lists believe it, too; `check` counts again.
                problems = [each for each in problems if "what is noted" not in each]
                assert not problems, (column, wrong)
            shutil.rmtree(folder)


@pytest.mark.parametrize("wrong", [math.inf, 1e300, 600.5, "x", b"x"])
@pytest.mark.usefixtures("ending")
def test_sealing_ends_where_a_time_has_no_next_one(copies, wrong):
    change(copies, "UPDATE entries SET time = ? WHERE time = 620", wrong)
    with Store(copies) as store, pytest.raises(CorruptLog, match="is no time"):
        store.seal()


@pytest.mark.parametrize("wrong", ["epoch = 536870911", "high_water = 9223372036854775807"])
def test_a_number_that_nobody_can_count_on_from_ends_in_one_message(copies, wrong):
    change(copies, f"UPDATE runs SET {wrong}")
    with pytest.raises(CorruptLog, match="see `traininglog check`"):
        write_on(copies)


def test_a_file_that_has_used_up_its_numbers_takes_no_more_runs(path):
    """One past them would be there, and listed by nobody."""
    change(path, "UPDATE sqlite_sequence SET seq = 4294967295 WHERE name = 'runs'")
    with pytest.raises(CorruptLog, match="no run can be added"):
        SQLiteLog(path)
    with Store(path, readonly=True) as store:
        assert any("none can be added" in problem for problem in store.check().problems)
        assert len(store.runs(heads=False)) == 1


# -- files that are kept with trials ------------------------------------------------------------


@pytest.fixture
def kept(path, tmp_path):
    """The folder of the files of a store, and what a record says of one."""
    (tmp_path / "file").write_text("kept")
    found = keep(folder_of(path), tmp_path / "file")
    record = {"name": "a/file", "sha256": found.sha256, "size": found.size, "kind": "file"}
    return folder_of(path), record | {"mode": 0o644}


def test_restoring_sets_no_bit_that_lets_others_act(kept, tmp_path):
    folder, record = kept
    (made,) = artifacts.restore(folder, [record | {"mode": 0o107755}], tmp_path / "new")
    assert stat.S_IMODE(made.stat().st_mode) == 0o755
    assert made.read_text() == "kept"


def test_restoring_follows_no_link_out_of_the_folder(kept, tmp_path):
    folder, record = kept
    (tmp_path / "new").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "new" / "a").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreUnwritable, match=r"leads .* out of"):
        artifacts.restore(folder, [record], tmp_path / "new")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs names of POSIX")
@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.mkdir(),
        lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**40),
    ],
)
def test_a_kept_file_that_is_none_is_said_to_be_damaged(kept, make):
    """It is not waited for, nor read to an end that it does not have."""
    folder, record = kept
    place = path_of(folder, record["sha256"])
    place.unlink()
    make(place)
    assert damage(folder, record["sha256"]) is not None
    assert damage(folder, record["sha256"], record["size"]) is not None
    with pytest.raises(CorruptLog):
        artifacts.restore(folder, [record], folder.parent / "new")
