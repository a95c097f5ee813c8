"""Looking changes nothing for others, and what is seen is how the file is at each look."""

import os
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest
from people import GROUP, WRITE, Person, around, commons

from traininglog import SQLiteLog, Store
from traininglog.errors import RunNotFound, StoreNotFound
from traininglog.sql.tables import VERSION_TABLE
from traininglog.sqlite.database import looker

OWNER, MEMBER, STRANGER = 54301, 54302, 54303


@pytest.fixture
def people():
    """Give what makes people in a folder; they leave in the end."""
    made = []

    def make(*args, **options):
        made.append(Person(*args, **options))
        return made[-1]

    yield make
    for person in made:
        person.leave()


LOOKS = """
seen = []
for readonly in (True, False):
    with Store("runs.db", readonly=readonly) as store:
        seen.append([len(store.runs()), len(store.to_dataframe()), store.check().ok])
        seen.append(store.log(store.latest(), readonly=readonly).to_dict() != {})
        store.find(store.latest()), store.size(), store.origin(store.latest())
    SQLiteLog("runs.db", latest, readonly=readonly).close()
with traininglog.open_store("runs.db", readonly=True) as store:
    store.backup(f"{os.environ.get('TMPDIR', '/tmp')}/looked-{os.getpid()}.db")
    os.unlink(f"{os.environ.get('TMPDIR', '/tmp')}/looked-{os.getpid()}.db")
for words in (["runs"], ["show"], ["tail"], ["export"], ["check"]):
    code, output = command(*words, "--store", "runs.db")
    assert code == 0, (words, output)
seen
"""

SEEN = [[1, 1, True], True, [1, 1, True], True]


# A sticky folder is like /tmp or /scratch; the others are a group's and a private one.
@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o755])
@pytest.mark.parametrize("left", ["nothing", "closed", "open", "killed", "killed, no shm"])
def test_who_may_not_write_the_file_leaves_nothing_and_sees_everything(people, mode, left):
    with commons(mode=mode, owner=OWNER, group=OWNER) as folder:
        owner = people(folder, OWNER, groups=())
        if left in ("closed", "nothing"):
            owner.ask(WRITE)
            owner.ask("for name in os.listdir():\n    'owners' in name and os.unlink(name)\n1"
                      if left == "nothing" else "1")  # fmt: skip
        else:
            owner.ask("log = SQLiteLog('runs.db'); log[1]['loss'] = 1.0; log.commit()")
        latest = owner.ask("with Store('runs.db') as s: latest = s.latest().hex\nlatest")
        if left.startswith("killed"):
            owner.kill()
            owner = people(folder, OWNER, groups=())
        if left.endswith("no shm"):
            (folder / "runs.db-shm").unlink()
        before = around(folder)
        reader = people(folder, STRANGER, groups=())
        reader.ask(f"latest = {latest!r}")
        assert reader.ask(LOOKS) == SEEN
        assert around(folder) == before
        if left == "open":
            owner.ask("log[2]['loss'] = 2.0; log.close()")
        assert owner.ask(WRITE) == 2


def test_a_member_of_the_group_who_only_looks_leaves_nothing_either(people):
    """The owner of the file need not be of the group that may write it."""
    with commons(mode=0o777) as folder:
        owner = people(folder, OWNER, groups=())
        owner.ask(WRITE)
        os.chown(folder / "runs.db", OWNER, GROUP)
        (folder / "runs.db").chmod(0o664)
        before = around(folder)
        member = people(folder, MEMBER)
        assert member.ask("with Store('runs.db', readonly=True) as s: n = len(s.runs())\nn") == 1
        assert around(folder) == before
        assert owner.ask(WRITE) == 2


def test_an_open_store_shows_a_reader_what_others_write_from_then_on(people):
    """The folder cannot be written by the reader, as with a mount that is for reading only."""
    with commons(mode=0o755, owner=OWNER, group=OWNER) as folder:
        owner = people(folder, OWNER, groups=())
        owner.ask("""
def write(count, at):
    for k in range(count):
        with SQLiteLog('runs.db') as log:
            for i in range(3000):
                log[i]['loss'] = float((at + k) * 1000 + (i * 7919 % 1000) / 997)
write(4, 0)
""")
        reader = people(folder, STRANGER, groups=())
        look = """
[len(s.runs()), len(s.to_dataframe(keys='loss')), s.check().ok]
"""
        reader.ask("s = Store('runs.db', readonly=True); log = s.log(s.latest(), readonly=True)")
        assert reader.ask(look) == [4, 12000, True]
        owner.ask("""
with Store('runs.db') as s:
    for uuid in s.runs().uuid.tolist()[:3]:
        s.delete(uuid)
write(3, 10)
""")
        assert reader.ask(look) == [4, 12000, True]
        assert reader.ask("log[2999]['loss']") == 3000 + (2999 * 7919 % 1000) / 997
        owner.ask("log = SQLiteLog('runs.db'); log[1]['loss'] = 5.0; log.flush()")
        assert reader.ask(look) == [5, 12001, True]
        assert reader.ask("s.runs()['state'].tolist()[-1]") == "running"
        owner.ask("log[2]['loss'] = 6.0; log.close()")
        assert reader.ask(look) == [5, 12002, True]
        assert reader.ask("s.runs()['state'].tolist()[-1]") == "finished"
        before = around(folder)
        reader.ask("s.close(); log.close()")
        assert around(folder) == before


def test_who_may_write_by_now_writes_and_who_may_not_any_more_is_told_so(people):
    with commons(mode=0o777, owner=OWNER, group=OWNER) as folder:
        people(folder, OWNER, groups=()).ask(WRITE)
        other = people(folder, STRANGER, groups=())
        other.ask("s = Store('runs.db'); uuid = s.latest()")
        kind, message = other.refused("s.delete(uuid)")
        assert kind == "StoreUnwritable"
        assert "runs.db belongs to" in message
        for path in folder.iterdir():
            path.chmod(0o666)
        assert other.ask("len(s.delete(uuid))") == 1
        assert other.ask("len(s.runs())") == 0


def test_each_refusal_names_the_file_that_is_in_the_way(people):
    with commons(mode=0o1777, owner=0, group=0) as folder:
        owner = people(folder, OWNER, groups=())
        owner.ask(WRITE)
        for name in ("runs.db-owners", "runs.db-wal", "runs.db-shm"):
            side = folder / name
            side.unlink(missing_ok=True)
            side.touch()
            os.chown(side, STRANGER, STRANGER)
            side.chmod(0o644)
            kind, message = owner.refused(WRITE)
            assert kind == "StoreUnwritable"
            assert f"{name} belongs to user {STRANGER} (mode 644)" in message
            assert "chown --reference=" in message
            side.unlink()
            assert owner.ask(WRITE) >= 2


def test_a_group_shares_a_store_under_umask_002_whoever_wrote_first(people):
    with commons(mode=0o2775, owner=OWNER) as folder:
        everybody = [people(folder, uid, umask=0o002) for uid in (OWNER, MEMBER, 0)]
        for count, person in enumerate([*everybody, *everybody[::-1], *everybody], 1):
            assert person.ask(WRITE) == count
        # A killed writer leaves all there is to leave.
        everybody[1].ask("log = SQLiteLog('runs.db'); log[1]['loss'] = 2.0; log.flush()")
        everybody[1].ask("log[2]['loss'] = 3.0")
        everybody[1].kill()
        assert {mode for _, _, mode, _ in around(folder).values()} == {"0o664"}
        assert {group for _, group, _, _ in around(folder).values()} == {GROUP}
        assert everybody[0].ask(WRITE) == 11
        assert everybody[0].warnings == []
        assert not [name for name in around(folder) if "-tail-" in name]


def test_a_group_shares_a_store_that_its_owner_opened_to_it_later(people):
    """With umask 022 all that was beside the file is the owner's alone."""
    with commons(mode=0o2775, owner=OWNER) as folder:
        owner, member = (people(folder, uid) for uid in (OWNER, MEMBER))
        owner.ask(WRITE)
        (folder / "runs.db").chmod(0o664)
        assert member.ask(WRITE) == 2
        owner.ask("log = SQLiteLog('runs.db'); log[1]['loss'] = 2.0; log.flush()")
        owner.kill()
        for path in folder.glob("runs.db-*"):
            if "-tail-" not in path.name:
                path.chmod(0o644)
        assert "runs.db-wal" in around(folder)
        assert member.ask(WRITE) == 4
        assert people(folder, OWNER).ask(WRITE) == 5


def test_root_writes_and_leaves_everything_to_the_owner(people):
    with commons(mode=0o755, owner=OWNER, group=OWNER) as folder:
        owner, root = people(folder, OWNER, groups=()), people(folder, 0, groups=())
        owner.ask(WRITE)
        for path in folder.glob("runs.db-*"):
            path.unlink()
        root.ask("log = SQLiteLog('runs.db'); log[1]['loss'] = 1.0; log.flush()")
        root.ask("with Store('runs.db', readonly=True) as s: s.runs()")
        root.ask("s = traininglog.open_store('runs.db'); s.backup('copy.db'); s.close()")
        assert {(uid, gid) for uid, gid, _, _ in around(folder).values()} == {(OWNER, OWNER)}
        root.kill()
        assert owner.ask(WRITE) == 3


# -- as anybody ------------------------------------------------------------------------------


@pytest.fixture
def looks_only(monkeypatch):
    """Have this process take itself for one that may not write, whoever runs the tests."""
    monkeypatch.setattr(looker, "makes_for_others", lambda path, found: False)


def fill(path, runs=3):
    uuids = []
    for _ in range(runs):
        with SQLiteLog(path) as log:
            for i in range(50):
                log[i]["loss"] = float(i)
        uuids.append(log.uuid)
    return uuids


def test_a_file_that_changes_while_it_is_looked_at_is_looked_at_again(
    tmp_path, looks_only, monkeypatch
):
    path = tmp_path / "runs.db"
    fill(path)
    store = Store(path, readonly=True)
    real, changes = looker.stamp, []

    def changing(what):
        if what == path and len(changes) < 2:
            changes.append(fill(path, runs=1))
        return real(what)

    monkeypatch.setattr(looker, "stamp", changing)
    assert len(store.runs()) == 5
    assert len(changes) == 2
    store.close()


def test_damage_that_is_due_to_a_change_is_no_damage(tmp_path, looks_only):
    """What was read of a file into which a WAL is being copied may fit together in no way."""
    path = tmp_path / "runs.db"
    fill(path)
    with closing(Store(path, readonly=True)) as store:
        looked = []

        def look():
            with store._database.read() as connection:
                rows = connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one()
                looked.append(rows)
                if len(looked) == 1:
                    fill(path, runs=1)
                    raise ValueError("torn")
                return rows

        assert store._database.steadily(look) == 4
        assert looked == [3, 4]


def test_a_real_error_is_not_repeated(tmp_path, looks_only):
    path = tmp_path / "runs.db"
    fill(path)
    with closing(Store(path, readonly=True)) as store:
        looked = []

        def look():
            with store._database.read():
                looked.append(1)
                raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            store._database.steadily(look)
        assert looked == [1]


def test_a_file_that_changes_all_the_time_is_seen_by_a_copy(tmp_path, looks_only):
    path = tmp_path / "runs.db"
    fill(path, runs=1)
    over = threading.Event()

    def write():
        while not over.is_set():
            fill(path, runs=1)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = []
        for _ in range(20):
            with Store(path, readonly=True) as store:
                frame = store.to_dataframe()
                counts = frame.groupby("run", observed=True)["value"].agg(["count", "sum"])
                assert (counts["sum"] == 1225.0).all() or counts["count"].min() < 50
                seen.append(len(counts))
        assert seen == sorted(seen)
    finally:
        over.set()
        thread.join()


def test_what_is_exported_bit_by_bit_is_one_state_of_the_file(tmp_path, looks_only):
    from traininglog.sqlite.stream import streaming

    path = tmp_path / "runs.db"
    fill(path)
    with closing(Store(path, readonly=True)) as store, streaming(store, most=10) as stream:
        seen = 0
        for part in stream.parts():
            seen += len(part.times) if hasattr(part, "times") else 1
            fill(path, runs=1)
            if seen > 30:
                break


def test_a_hot_journal_is_undone_in_a_copy(tmp_path, looks_only, monkeypatch):
    """A transaction of before the WAL was cut short, and a looker may not undo it in place."""
    path, torn = tmp_path / "runs.db", tmp_path / "torn.db"
    fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA cache_size = 1")  # so that pages are written before the end
        connection.execute("BEGIN")
        connection.execute("DELETE FROM segments")
        connection.execute("DELETE FROM runs")
        connection.execute("CREATE TABLE filler AS SELECT randomblob(100000) AS x")
        shutil.copyfile(path, torn)
        shutil.copyfile(f"{path}-journal", f"{torn}-journal")
        connection.execute("ROLLBACK")
    monkeypatch.setattr("traininglog.sqlite.file.header.undo_half_done", lambda path: False)
    before = torn.read_bytes()
    with closing(Store(torn, readonly=True)) as store:
        assert len(store.runs()) == 3
        assert store.check().ok
    assert torn.read_bytes() == before


@pytest.mark.parametrize("readonly", [True, False])
def test_a_reader_follows_the_name_to_another_file(tmp_path, readonly):
    path, other = tmp_path / "runs.db", tmp_path / "other.db"
    uuids = fill(path)
    fill(other, runs=5)
    with closing(Store(path, readonly=readonly)) as store:
        log = store.log(uuids[0], readonly=True)
        assert len(store.runs()) == 3
        assert log[1] == {"loss": 1.0}
        with Store(other) as opened:
            opened.merge(path)
        other.replace(path)
        assert len(store.runs()) == 8
        if not readonly:
            store.delete(store.latest())
            assert len(store.runs()) == 7
        assert log[1] == {"loss": 1.0}
        fill(other, runs=1)
        other.replace(path)
        with pytest.raises(RunNotFound):
            log[1].get("loss")
        path.unlink()
        with pytest.raises(StoreNotFound, match="there is no"):
            store.runs()


def test_a_schema_that_becomes_newer_is_seen_by_who_has_the_file_open(tmp_path):
    from traininglog.errors import SchemaTooNew

    path = tmp_path / "runs.db"
    (uuid,) = fill(path, runs=1)
    with closing(Store(path, readonly=True)) as store, SQLiteLog(path, uuid) as log:
        assert len(store.runs()) == 1
        assert log[1] == {"loss": 1.0}
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE mine (x)")  # the user's own change is none
        assert len(store.runs()) == 1
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
            connection.execute("PRAGMA user_version = 99")
            connection.execute("ALTER TABLE runs ADD COLUMN more")
        with pytest.raises(SchemaTooNew, match="9999"):
            store.runs()
        with pytest.raises(SchemaTooNew, match="9999"):
            log[2]["loss"] = 1.0


def test_two_changes_within_a_tick_of_the_clock_are_told_apart(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"1" * 10)
    for turn in range(20):
        before = looker._stamp(looker._settled(path))
        path.write_bytes(bytes([65 + turn]) * 10)
        assert looker.stamp(path) != before


# -- what else is made for a store -----------------------------------------------------------


def test_backups_and_repaired_files_are_as_open_as_the_store(tmp_path):
    path = tmp_path / "runs.db"
    fill(path, runs=1)
    for mode in (0o600, 0o640, 0o664):
        path.chmod(mode)
        with Store(path) as store:
            store.backup(tmp_path / f"copy-{mode}.db")
        damaged = tmp_path / f"damaged-{mode}.db"
        shutil.copy(path, damaged)
        with damaged.open("r+b") as file:
            file.truncate(path.stat().st_size - 4096)
        Store.repair(damaged)
        for made in (f"copy-{mode}.db", f"damaged-{mode}.db.repaired"):
            assert (tmp_path / made).stat().st_mode & 0o777 == mode


KEEP = """
from traininglog import kept
Path("kept-{0}").write_text("{0}")
kept.keep(kept.folder_of(Path("runs.db")), Path("kept-{0}")).size
"""


def test_a_group_shares_the_files_that_are_kept_beside_a_store(people):
    with commons(mode=0o2775, owner=OWNER) as folder:
        everybody = [people(folder, uid, umask=0o002) for uid in (OWNER, MEMBER, 0)]
        everybody[0].ask(WRITE)
        for number in range(60):  # so that some get into folders that others have made
            assert everybody[number % 3].ask(KEEP.format(100 + number)) == 3
        found = around(folder / "runs.db-artifacts")
        assert {group for _, group, _, _ in found.values()} == {GROUP}
        assert {mode for _, _, mode, _ in found.values()} == {"0o2775", "0o664"}
        (folder / "kept-x").write_text("x")
        kind, message = people(folder, STRANGER, groups=()).refused(
            KEEP.format("x")
            .replace("Path('kept-x').write", "str")
            .replace('Path("kept-x").write_text("x")', "1")
        )
        assert kind == "StoreUnwritable", message
        assert around(folder / "runs.db-artifacts") == found


def test_a_json_document_is_shared_likewise_and_looking_leaves_nothing(people):
    write = """
from traininglog.jsonfile.document import Document
from traininglog.jsonfile.log import FileLog
log = FileLog(Document(Path("report.json").absolute()))
log[1]["x"] = 1.0
log.flush()
log[2]["x"] = 2.0
globals().setdefault("kept", []).append(log)
uuid = log.h_uuid
uuid
"""
    look = """
from traininglog.jsonfile.document import Document
from traininglog.jsonfile.log import FileLog
FileLog(Document(Path("report.json").absolute(), readonly=True), "{0}", readonly=True).to_dict()
"""
    with commons(mode=0o2775, owner=OWNER) as folder:
        owner, member, root = (people(folder, uid, umask=0o002) for uid in (OWNER, MEMBER, 0))
        uuids = [person.ask(write) for person in (owner, member, root, member, owner)]
        assert {mode for _, _, mode, _ in around(folder).values()} == {"0o664"}
        stranger = people(folder, STRANGER, groups=())
        before = owned(folder)
        for uuid in uuids:
            assert stranger.ask(look.format(uuid)) == {"1": {"x": 1.0}, "2": {"x": 2.0}}
        assert stranger.refused(write)[0] == "StoreUnwritable"
        assert owned(folder) == before


def owned(folder):
    """Return what lies in a folder, its group and its mode, whatever writers do to it meanwhile."""
    return {
        name: found[1:3] for name, found in around(folder).items() if not name.endswith(".part")
    }


def test_a_folder_that_may_not_be_listed_costs_a_warning(people):
    """Journals in it cannot be found; the file itself can be read."""
    with commons(mode=0o711, owner=OWNER, group=OWNER) as folder:
        people(folder, OWNER, groups=()).ask(WRITE)
        stranger = people(folder, STRANGER, groups=())
        assert stranger.ask("s = Store('runs.db', readonly=True); len(s.runs())") == 1
        assert len(stranger.warnings) == 1
        assert "may not be listed" in stranger.warnings[0]
        assert stranger.ask("s.check().ok") is True
        write = """
from traininglog.jsonfile.document import Document
from traininglog.jsonfile.log import FileLog
with FileLog(Document(Path("report.json").absolute())) as log:
    log[1]["x"] = 1.0
log.h_uuid
"""
        uuid = people(folder, OWNER, groups=()).ask(write)
        look = """
FileLog(Document(Path("report.json").absolute(), readonly=True), "{0}", readonly=True).to_dict()
"""
        stranger.ask("from traininglog.jsonfile.document import Document; 1")
        stranger.ask("from traininglog.jsonfile.log import FileLog; 1")
        assert stranger.ask(look.format(uuid)) == {"1": {"x": 1.0}}
