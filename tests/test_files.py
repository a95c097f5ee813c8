"""Files that are no training log, or cannot be used: refused, and left as they were."""

import hashlib
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from patience import GUARD

from traininglog import (
    NotATrainingLog,
    RunNotFound,
    SQLiteLog,
    Store,
    StoreNotFound,
    StoreUnwritable,
    TrainingLogError,
)
from traininglog.sqlite.file import header

UUID = "0123456789abcdef0123456789abcdef"

#: Every way to open a file.
DOORS = {
    "new run": SQLiteLog,
    "run": lambda path: SQLiteLog(path, UUID),
    "run, readonly": lambda path: SQLiteLog(path, UUID, readonly=True),
    "resume": lambda path: SQLiteLog(path, UUID, resume=True),
    "store": Store,
    "store, readonly": lambda path: Store(path, readonly=True),
    "store, create": lambda path: Store(path, create=True),
}


def state(folder):
    """Return all that is in a folder: names, contents and times of change."""
    return {
        path.relative_to(folder): (
            stat.S_IFMT(path.lstat().st_mode),
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).digest() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


def refused(path, error, doors=DOORS, folder=None):
    """Assert that each door refuses a path with this error, and that nothing changes."""
    before = state(folder or path.parent)
    for name in doors:
        with pytest.raises(error) as caught:
            DOORS[name](path)
        assert isinstance(caught.value, TrainingLogError)
        assert str(path) in str(caught.value).replace("\\n", "\n")
        assert state(folder or path.parent) == before, name


def test_a_jpeg_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + os.urandom(20_000))
    refused(path, NotATrainingLog)


@pytest.mark.parametrize(
    "content", [b"x", b"SQLite format 3\0", b"\0" * 5000, b"SQLite format 3\0" + b"\0" * 84]
)
def test_a_file_that_only_looks_a_little_like_ours_is_refused(tmp_path, content):
    path = tmp_path / "runs.db"
    path.write_bytes(content)
    refused(path, NotATrainingLog)


def test_a_folder_is_refused(tmp_path):
    path = tmp_path / "runs.db"
    path.mkdir()
    refused(path, NotATrainingLog)


def test_what_is_not_a_regular_file_is_refused(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    refused(path, NotATrainingLog)


def test_a_missing_folder_is_an_error_that_says_how_to_make_it(tmp_path):
    path = tmp_path / "no such folder" / "runs.db"
    refused(path, StoreNotFound, folder=tmp_path)
    with pytest.raises(StoreNotFound, match=r"mkdir -p '.*no such folder'"):
        SQLiteLog(path)
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file" / "runs.db", StoreNotFound, folder=tmp_path)


def test_a_missing_file_is_made_only_for_a_new_run(tmp_path):
    path = tmp_path / "runs.db"
    refused(
        path, StoreNotFound, [name for name in DOORS if name not in ("new run", "store, create")]
    )
    SQLiteLog(path).close()
    assert path.exists()


def test_an_empty_file_holds_nothing_to_read_and_takes_a_new_run(tmp_path):
    path = tmp_path / "runs.db"
    path.touch()
    refused(
        path, NotATrainingLog, [name for name in DOORS if name not in ("new run", "store, create")]
    )
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
    with SQLiteLog(path, log.uuid) as log:
        assert log[1] == {"x": 1}


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    for door in ("new run", "run", "store", "store, readonly"):
        with pytest.raises(StoreUnwritable, match="cannot be used"):
            DOORS[door](tmp_path / name)
    assert list(tmp_path.iterdir()) == []


# -- other programs' databases --------------------------------------------------------------


def make_foreign(path, journal="delete"):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("CREATE TABLE runs (id INTEGER, note TEXT)")
        connection.execute("INSERT INTO runs VALUES (1, 'theirs')")
        connection.commit()


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path, journal):
    path = tmp_path / "theirs.db"
    make_foreign(path, journal)
    refused(path, NotATrainingLog)


def test_a_database_with_another_application_id_is_refused(tmp_path):
    path = tmp_path / "theirs.db"
    make_foreign(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1937206885")
    refused(path, NotATrainingLog)


@contextmanager
def busy_process(path, statements):
    """Keep a transaction open on a file, in another process."""
    script = textwrap.dedent("""
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        for statement in sys.argv[2:]:
            connection.execute(statement).fetchall()
        print("ready", flush=True)
        sys.stdin.readline()
        connection.execute("COMMIT")
        print(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script, path, *statements],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    result = {}
    yield result
    result["out"] = process.communicate("\n", timeout=GUARD)[0]
    assert process.returncode == 0


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_database_in_the_middle_of_anothers_transaction_is_refused_soon(
    tmp_path, journal, monkeypatch
):
    monkeypatch.setattr("traininglog.sqlite.file.failures.PATIENCE", 2 * GUARD)
    monkeypatch.setattr("traininglog.sqlite.file.header.PATIENCE", 2 * GUARD)
    path = tmp_path / "theirs.db"
    make_foreign(path, journal)
    statements = ["PRAGMA cache_size = 1", "BEGIN IMMEDIATE"]
    statements += ["INSERT INTO runs VALUES (2, hex(randomblob(9000)))"] * 20
    with busy_process(path, statements) as result:
        if journal == "delete":
            assert path.with_name("theirs.db-journal").exists()
        start = time.monotonic()
        refused(path, NotATrainingLog, ["new run", "run", "store, readonly"])
        assert time.monotonic() - start < GUARD  # which is nothing to how long it could wait
    assert result["out"] == "21\n"


def test_a_database_that_crashed_in_a_transaction_is_not_repaired_by_us(tmp_path):
    path = tmp_path / "theirs.db"
    make_foreign(path)
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN')\n"
        "for _ in range(20): c.execute('INSERT INTO runs VALUES (2, hex(randomblob(9000)))')\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True)
    assert path.with_name("theirs.db-journal").exists()
    refused(path, NotATrainingLog, ["new run", "store, readonly"])


# -- files that cannot be written -----------------------------------------------------------


@pytest.fixture
def log_file():
    """A file with one run, in a folder of its own that others can reach.

    Which those of pytest are not, nor can they be made so: tests of another worker or of another
    session lock them again.
    """
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        path = Path(name) / "files" / "runs.db"
        path.parent.mkdir()
        with SQLiteLog(path) as log:
            log[1]["x"] = 1
            log.status["name"] = "one"
        yield path


def attribute(flag, *paths):
    return (
        subprocess.run(["chattr", flag, *paths], capture_output=True, check=False).returncode == 0
    )


@contextmanager
def immutable(*paths):
    """Make files read-only even for root."""
    if not attribute("+i", *paths):
        attribute("-i", *paths)
        pytest.skip("needs root and a file system with attributes: chattr +i failed")
    try:
        yield
    finally:
        attribute("-i", *paths)


def test_a_read_only_file_can_be_read_and_refuses_every_write(log_file):
    before = log_file.read_bytes()
    with immutable(log_file):
        with Store(log_file, readonly=True) as store:
            uuid = store.latest()
            assert store.runs("x")["x"].to_list() == [1]
            assert store.log(uuid, readonly=True)[1] == {"x": 1}
        with pytest.raises(StoreUnwritable, match="readonly=True"):
            SQLiteLog(log_file)
        with pytest.raises(StoreUnwritable, match="readonly=True"):
            SQLiteLog(log_file, uuid, resume=True)
        with SQLiteLog(log_file, uuid) as log:
            assert log[1] == {"x": 1}
            with pytest.raises(StoreUnwritable, match="readonly=True"):
                log[2]["x"] = 2
            assert log.to_dict() == {1: {"x": 1}}
        with Store(log_file) as store, pytest.raises(StoreUnwritable):
            store.delete(uuid)
    assert log_file.read_bytes() == before


def test_a_file_in_a_read_only_folder_can_be_read_without_leaving_anything(log_file):
    for name in ("runs.db-owners", "runs.db-wal", "runs.db-shm"):
        log_file.with_name(name).unlink(missing_ok=True)
    before = state(log_file.parent)
    with immutable(log_file, log_file.parent):
        with Store(log_file, readonly=True) as store:
            assert store.runs("x")["x"].to_list() == [1]
            assert store.runs(heads=False)["state"].to_list() == ["finished"]
            assert store.check().ok
        with pytest.raises(StoreUnwritable):
            SQLiteLog(log_file)
    assert state(log_file.parent) == before


def as_nobody(script, *arguments):
    """Run a script without privileges; return what it printed."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    code = textwrap.dedent("""
        import os, sys
        from traininglog import *
        import traininglog.sqlite.store, traininglog.sqlite.log, traininglog.frames
        import encodings.idna
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        path = sys.argv[1]
        def attempt(act):
            try:
                return act()
            except Exception as error:
                return f"{type(error).__name__}: {error}"
    """)
    done = subprocess.run(
        [sys.executable, "-c", code + textwrap.dedent(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=GUARD, check=False, cwd="/",
        env=os.environ | {"XDG_CONFIG_HOME": "/nonexistent"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def open_folder(log_file):
    """The folder of the file."""
    return log_file.parent


def test_another_user_who_may_only_read_reads_and_is_refused_to_write(log_file, open_folder):
    open_folder.chmod(0o755)
    log_file.chmod(0o644)
    for name in ("runs.db-owners", "runs.db-wal", "runs.db-shm"):
        if log_file.with_name(name).exists():
            log_file.with_name(name).chmod(0o644)
    before = state(open_folder)
    lines = as_nobody(
        """
        with Store(path, readonly=True) as store:
            print(store.runs("x")["x"].to_list(), store.runs(heads=False)["state"].to_list())
            print(store.log(store.latest(), readonly=True).to_dict())
        print(attempt(lambda: SQLiteLog(path)))
        print(attempt(lambda: Store(os.path.dirname(path) + "/new.db", create=True)))
        """,
        log_file,
    )
    assert lines[:2] == ["[1] ['finished']", "{1: {'x': 1}}"]
    assert lines[2].startswith("StoreUnwritable")
    assert lines[3].startswith("StoreUnwritable")
    assert state(open_folder) == before


def test_another_user_sees_that_a_run_is_running(log_file, open_folder):
    open_folder.chmod(0o755)
    with SQLiteLog(log_file) as log:
        log[1]["x"] = 2
        log.flush()
        for name in ("runs.db", "runs.db-owners", "runs.db-wal", "runs.db-shm"):
            log_file.with_name(name).chmod(0o644)
        lines = as_nobody(
            "store = Store(path, readonly=True); print(store.runs(heads=False)['state'].to_list())",
            log_file,
        )
    assert lines == ["['finished', 'running']"]


def test_a_file_that_may_not_be_read_is_not_called_a_stranger(log_file, open_folder):
    open_folder.chmod(0o777)
    log_file.chmod(0o600)
    lines = as_nobody(
        "print(attempt(lambda: Store(path, readonly=True)))\n"
        "print(attempt(lambda: SQLiteLog(path)))",
        log_file,
    )
    assert [line.split(":")[0] for line in lines] == ["StoreUnwritable"] * 2
    open_folder.chmod(0o700)
    lines = as_nobody("print(attempt(lambda: Store(path)))", log_file)
    assert [line.split(":")[0] for line in lines] == ["StoreUnwritable"]


# -- names and links ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["what?.db", "a#b.db", "100%.db", "%41.db", "with space.db", "it's \"q\".db", "new\nline.db",
     "-dash.db", "?mode=ro", "file:x.db", "é\u202e.db", "a&b=c;d.db", "back\\slash.db"],
)  # fmt: skip
def test_any_name_that_a_file_can_have_is_a_name_for_a_store(tmp_path, name):
    path = tmp_path / name
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
        log.flush()
        with Store(str(path)) as store:
            assert store.state(log.uuid) == "running"
        log.resume()
    with Store(path, readonly=True) as store:
        assert len(store.runs(heads=False)) == 2
        assert store.check().ok
        store.backup(tmp_path / ("copy of " + name))
    names = {entry.name for entry in tmp_path.iterdir()}
    assert {name, "copy of " + name} <= names
    assert all(entry.startswith((name, "copy of " + name)) for entry in names)


def test_a_name_of_bytes_that_are_no_text_works_too(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.db")
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
    with Store(path) as store:
        assert store.latest() == log.uuid


def test_a_relative_path_stays_where_it_was_when_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = SQLiteLog("runs.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    log[1]["x"] = 1
    log.close()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    with SQLiteLog(tmp_path / "runs.db", log.uuid) as log:
        assert log[1] == {"x": 1}


def test_a_file_that_was_removed_and_begun_anew_knows_its_own_runs(tmp_path):
    path = tmp_path / "runs.db"
    store = None
    for _ in range(2):
        log = SQLiteLog(path)
        store = Store(path)
        assert store.state(log.uuid) == "running"
        with_other_eyes = "import sys; from traininglog import Store\n"
        with_other_eyes += "s = Store(sys.argv[1]); print(s.state(s.latest()))"
        seen = subprocess.run(
            [sys.executable, "-c", with_other_eyes, path],
            capture_output=True,
            text=True,
            check=True,
        )
        assert seen.stdout == "running\n"
        log.close()
        for leftover in tmp_path.iterdir():
            leftover.unlink()
    store.close()


def test_a_file_whose_maker_was_killed_half_way_is_made_by_the_next(tmp_path):
    """The kernel keeps the pages of a killed process; SQLite undoes them; then it is blank."""
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1953263463")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("DROP TABLE t")
        connection.commit()
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
    with Store(path) as store:
        assert store.check().ok
        assert store.latest() == log.uuid


def test_a_file_into_which_a_wal_is_being_copied_is_known_for_ours(tmp_path):
    """Its first page, copied first, tells of pages that are yet to come."""
    whole, path = tmp_path / "whole.db", tmp_path / "runs.db"
    with SQLiteLog(whole) as log:
        log[1]["blob"] = os.urandom(100_000)
    path.write_bytes(whole.read_bytes()[:8192])
    assert header.is_ours(path)
    path.write_bytes(whole.read_bytes())
    with SQLiteLog(path, log.uuid) as copied:
        assert len(copied[1]["blob"]) == 100_000


def test_opening_waits_for_no_one_who_only_reads(log_file, monkeypatch):
    """A reader in another thread, in the midst of its transaction, hinders nobody."""
    monkeypatch.setattr("traininglog.sqlite.file.failures.PATIENCE", 2 * GUARD)
    with closing(sqlite3.connect(log_file, check_same_thread=False)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM runs").fetchall()
        done = threading.Event()

        def work():
            with SQLiteLog(log_file) as log:
                log[1]["x"] = 1
            done.set()

        threading.Thread(target=work, daemon=True).start()
        assert done.wait(GUARD)


def test_a_uuid_is_looked_for_before_anything_is_written(log_file):
    before = log_file.read_bytes()
    with pytest.raises(RunNotFound, match=UUID):
        SQLiteLog(log_file, UUID.upper())
    with pytest.raises(RunNotFound):
        SQLiteLog(log_file, UUID, resume=True)
    assert log_file.read_bytes() == before


def test_another_user_who_may_only_read_is_told_of_a_journal_that_waits(log_file, open_folder):
    """It cannot be put back by a user without the right to write; what is in the file is shown."""
    open_folder.chmod(0o755)
    script = (
        "import os, sys; from traininglog import SQLiteLog; log = SQLiteLog(sys.argv[1]);"
        "log[1]['x'] = 2; log.flush(); log[2]['x'] = 3; os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, log_file], check=True)
    for name in log_file.parent.iterdir():
        name.chmod(0o644)
    lines = as_nobody(
        """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            store = Store(path, readonly=True)
        print(["will be put back" in str(warning.message) for warning in caught])
        print(store.runs()["state"].to_list(), store.log(store.latest(), readonly=True).to_dict())
        """.replace("store.log", "warnings.simplefilter('ignore') or store.log"),
        log_file,
    )
    assert lines == ["[True]", "['finished', 'lost'] {1: {'x': 2}}"]
    with Store(log_file) as store, store.log(store.latest()) as log:
        assert log == {1: {"x": 2}, 2: {"x": 3}}
