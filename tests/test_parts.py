"""Files that are being made: whole or not there, and swept when their makers were killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from command_line import run

from traininglog import SQLiteLog, Store, kept, parts
from traininglog.sqlite.repair.repair import repair

PATIENCE = 120  # seconds, for a process on a crowded machine


@pytest.fixture
def path(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "runs.db"


def names(folder):
    return sorted(found.name for found in folder.iterdir())


def parts_in(folder):
    return [name for name in names(folder) if ".part" in name]


# Does one thing, and is killed in the midst of it: when what it makes is there and not whole.
KILLED = """
import contextlib, os, signal, sqlite3, sys
from pathlib import Path
from traininglog import SQLiteLog, Store, kept, parts
from traininglog.cli.output.files import complete
from traininglog.sqlite.database import backup
from traininglog.sqlite.repair import repair

what, path, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if what == "backup":
    with Store(path) as store, store._database._raw_connection() as source:
        class Dying:
            def backup(self, made):
                source.backup(made, pages=1, progress=lambda _, left, __: left < 5 and die())
        backup.copy(Dying(), target, path)
if what == "backup, written but for its name":
    Path.rename = die
    with Store(path) as store:
        store.backup(target)
if what == "repair":
    repair._hand_over = die
    repair.repair(path, target)
if what == "keep":
    Path.replace = die
    kept.keep(kept.folder_of(path), path.with_name("notes.txt"))
if what == "export":
    with complete(target, force=False) as part:
        part.write_text("half")
        die()
if what == "upgrade":
    os.environ["X"] = "1"
    Path.rename = die
    Store(path)
"""


def killed(what, path, target):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, what, path, target],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture
def filled(path):
    with SQLiteLog(path) as log:
        log.update({n: {"x": n, "text": "y" * 200} for n in range(2000)})
    path.with_name("notes.txt").write_text("notes", encoding="utf-8")
    return path


@pytest.mark.parametrize("what", ["backup", "backup, written but for its name"])
def test_what_a_killed_backup_left_is_swept_by_the_next_in_its_folder(filled, tmp_path, what):
    before = names(filled.parent)
    killed(what, filled, tmp_path / "first.db")
    assert len(parts_in(tmp_path)) in (1, 2)  # SQLite may have a journal beside it
    assert not (tmp_path / "first.db").exists()
    with Store(filled) as store:
        store.backup(tmp_path / "second.db")
    assert names(tmp_path) == ["data", "second.db"]
    assert names(filled.parent) == before
    with Store(tmp_path / "second.db") as copy:
        assert copy.check().ok


def test_what_a_killed_backup_left_beside_the_store_is_swept_when_that_is_written(filled):
    killed("backup", filled, filled.with_name("copy.db"))
    assert parts_in(filled.parent)
    with Store(filled, readonly=True) as store:
        assert parts_in(filled.parent)  # to look changes nothing
        assert store.check().ok
    SQLiteLog(filled).close()
    assert parts_in(filled.parent) == []


def test_what_a_killed_repair_left_is_swept(filled):
    data = bytearray(filled.read_bytes())
    data[5000:9000] = bytes(4000)
    filled.write_bytes(data)
    killed("repair", filled, filled.with_name("mended.db"))
    assert len(parts_in(filled.parent)) == 1
    repair(filled, filled.with_name("mended.db"))
    assert parts_in(filled.parent) == []
    assert filled.with_name("mended.db").exists()


def test_what_was_left_of_a_kept_file_is_swept(filled):
    folder = kept.folder_of(filled)
    killed("keep", filled, filled)
    assert len(parts_in(folder)) == 1
    found = kept.keep(folder, filled.with_name("notes.txt"))
    assert parts_in(folder) == []
    assert kept.path_of(folder, found.sha256).read_text(encoding="utf-8") == "notes"


def test_what_a_killed_export_left_is_swept_by_the_next(filled, tmp_path):
    killed("export", filled, tmp_path / "x.csv")
    assert len(parts_in(tmp_path)) == 1
    run("export", "-s", filled, "-o", tmp_path / "y.csv")
    assert names(tmp_path) == ["data", "y.csv"]


def test_what_a_killed_upgrade_left_is_swept_by_the_one_that_succeeds(tmp_path):
    path = tmp_path / "old.db"
    dump = Path(__file__).with_name("schemas") / "0002.sql"
    with sqlite3.connect(path) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    connection.close()
    killed("upgrade", path, path)
    assert len(parts_in(tmp_path)) == 1
    with Store(path) as store:
        assert store.upgraded is not None
    assert parts_in(tmp_path) == []
    assert [name for name in names(tmp_path) if "backup" in name] == ["old.db.backup-0002"]


# -- those of the living --------------------------------------------------------------------------


def test_a_part_whose_maker_lives_stays(tmp_path):
    """In this process, in a thread of it, and in another one."""
    script = """
import sys
from pathlib import Path
from traininglog import parts
with parts.making(Path(sys.argv[1])) as part:
    print(part, flush=True)
    sys.stdin.readline()
    part.write_text("whole")
    part.rename(sys.argv[1])
"""
    with (
        subprocess.Popen(
            [sys.executable, "-c", script, tmp_path / "theirs"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as other,
        parts.making(tmp_path / "ours") as ours,
        parts.making_folder(tmp_path / "folder") as folder,
    ):  # fmt: skip
        theirs = Path(other.stdout.readline().strip())
        thread = threading.Thread(target=parts.sweep, args=[tmp_path / "any"])
        thread.start()
        thread.join()
        parts.sweep(tmp_path / "theirs")
        with parts.making(tmp_path / "another"):
            assert theirs.exists()
            assert ours.exists()
            assert folder.is_dir()
        other.communicate("\n", timeout=PATIENCE)
    assert names(tmp_path) == ["theirs"]


def test_a_forked_child_does_not_keep_the_part_of_its_killed_parent(tmp_path):
    script = """
import os, signal, sys, time
from pathlib import Path
from traininglog import parts
with parts.making(Path(sys.argv[1])) as part:
    if os.fork() == 0:
        print("forked", flush=True)
        time.sleep(600)
    signal.pause()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "x"],
        stdout=subprocess.PIPE, start_new_session=True, text=True,
    ) as process:  # fmt: skip
        try:
            process.stdout.readline()
            parts.sweep(tmp_path / "x")
            assert len(names(tmp_path)) == 1
            os.kill(process.pid, signal.SIGKILL)
            os.waitpid(process.pid, 0)
            parts.sweep(tmp_path / "x")
            assert names(tmp_path) == []
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_what_is_no_part_of_ours_stays(tmp_path):
    """Others call their files so, too: what a browser has not got yet, or tar."""
    hexed = "0123456789abcdef"
    others = [
        "x.part", "x.db.part", "x.db.part-1", ".part", "movie.mkv.part", ".x.part", ".x.4711.part",
        f"x.{hexed}.part", f".x.{hexed}.part.gz", f".x.{hexed[:-1]}.part", f".{hexed}.part",
        f".x.{hexed.upper()}.part",
    ]  # fmt: skip
    for name in others:
        (tmp_path / name).write_text("of somebody else", encoding="utf-8")
    os.mkfifo(tmp_path / f".fifo.{hexed}.part")
    (tmp_path / f".link.{hexed}.part").symlink_to(tmp_path / "x.part")
    before = names(tmp_path)
    with parts.making(tmp_path / "y"):
        parts.sweep(tmp_path / "x")
    assert names(tmp_path) == before
    SQLiteLog(tmp_path / "x.db").close()
    with Store(tmp_path / "x.db") as store:
        store.backup(tmp_path / "copy.db")
    assert set(before) < set(names(tmp_path))
    assert (tmp_path / "x.db.part").read_text(encoding="utf-8") == "of somebody else"


def test_parts_of_earlier_versions_are_swept_when_their_file_is_made(filled, tmp_path):
    """They bore no lock, so that only those go that are ours by their content, and in no use."""
    target = tmp_path / "copy.db"
    with Store(filled) as store:
        store.backup(tmp_path / "copy.db.part")
        (tmp_path / "copy.db.part-2").touch()
        (tmp_path / "copy.db.part-3").write_text("of somebody else", encoding="utf-8")
        store.backup(target)
    assert names(tmp_path) == ["copy.db", "copy.db.part-3", "data"]


def test_names_may_be_as_long_as_a_file_system_allows(tmp_path):
    target = tmp_path / ("ü" * 127)
    with parts.making(target) as part:
        part.write_text("whole", encoding="utf-8")
        part.replace(target)
    assert names(tmp_path) == [target.name]


def test_many_makers_and_sweepers_at_once_take_nothing_from_each_other(tmp_path):
    script = """
import sys
from pathlib import Path
from traininglog import parts
folder, mine = Path(sys.argv[1]), sys.argv[2]
for n in range(60):
    target = folder / f"{mine}-{n}"
    with parts.making(target) as part:
        part.write_text(target.name)
        part.rename(target)
"""
    makers = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path, str(n)], stderr=subprocess.PIPE)
        for n in range(4)
    ]
    for maker in makers:
        _, errors = maker.communicate(timeout=PATIENCE)
        assert maker.returncode == 0, errors
    assert len(names(tmp_path)) == 240
    for found in tmp_path.iterdir():
        assert found.read_text(encoding="utf-8") == found.name
