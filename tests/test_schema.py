"""The schema: one description, revisions that lead to it, what opening a file of another does."""

import ast
import hashlib
import importlib.util
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from patience import GUARD
from sqlalchemy import create_engine, text

import traininglog
from traininglog import CorruptLog, SchemaTooNew, SchemaTooOld, SQLiteLog, Store
from traininglog.sql.tables import READER_VERSION, REVISION, REVISIONS, VERSION_TABLE, metadata
from traininglog.sqlite.file import migrations, revisions
from traininglog.trials import Trial, TrialClient

SCHEMAS = Path(__file__).with_name("schemas")
FOLDER = migrations.schema_folder()


def described(path):
    """Return all that SQLite tells of a file's schema, white space and comments aside."""
    with closing(sqlite3.connect(path)) as connection:

        def rows(statement):
            return connection.execute(statement).fetchall()

        found = {
            (kind, name): re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", sql or "")).strip()
            for kind, name, sql in rows("SELECT type, name, sql FROM sqlite_master")
        }
        tables = [name for kind, name in found if kind in ("table", "view")]
        for name in tables:
            found["columns", name] = rows(f'PRAGMA table_xinfo("{name}")')
            found["indexes", name] = sorted(row[1:] for row in rows(f'PRAGMA index_list("{name}")'))
            found["foreign keys", name] = rows(f'PRAGMA foreign_key_list("{name}")')
        for name in ("application_id", "user_version"):
            found["header", name] = rows(f"PRAGMA {name}")
        found["revision", ""] = rows(f"SELECT * FROM {VERSION_TABLE}")
    return found


def comments(path):
    with closing(sqlite3.connect(path)) as connection:
        sql = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    return [re.findall(r"--\s*([^\n]*)", text or "") for (text,) in sql]


def migrated(path, revision="head"):
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrations.upgrade(connection, revision)
    engine.dispose()


def test_a_fresh_file_and_one_that_was_migrated_from_nothing_have_the_same_schema(tmp_path):
    SQLiteLog(tmp_path / "fresh.db").close()
    migrated(tmp_path / "migrated.db")
    fresh, other = described(tmp_path / "fresh.db"), described(tmp_path / "migrated.db")
    assert fresh == other
    assert fresh["header", "application_id"] == [(revisions.APPLICATION_ID,)]
    assert fresh["revision", ""] == [(REVISION,)]
    assert comments(tmp_path / "fresh.db") == comments(tmp_path / "migrated.db")


def test_alembic_sees_no_difference_between_a_file_and_the_tables(tmp_path, capsys):
    for make in (migrated, lambda path: SQLiteLog(path).close()):
        path = tmp_path / f"{make.__name__}.db"
        make(path)
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            migrations.check(connection)
        engine.dispose()


def test_alembic_sees_a_difference_where_there_is_one(tmp_path):
    from alembic.util import CommandError

    migrated(tmp_path / "a.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE runs ADD COLUMN extra INTEGER"))
        with pytest.raises(CommandError):
            migrations.check(connection)
    engine.dispose()


def test_the_package_knows_the_revisions_without_asking_alembic():
    assert list(REVISIONS) == migrations.revisions()
    assert REVISIONS[-1] == REVISION


def test_a_revision_imports_nothing_from_the_package():
    files = sorted((FOLDER / "versions").glob("*.py"))
    assert [file.name[:4] for file in files] == list(REVISIONS)
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                modules = [node.module]
            assert all(module.split(".")[0] in ("sqlalchemy", "alembic") for module in modules)


def test_the_schema_reads_well_in_the_shell_of_sqlite(tmp_path):
    """Every table says what it is for; nothing there is of another's making."""
    path = tmp_path / "runs.db"
    SQLiteLog(path).close()
    with closing(sqlite3.connect(path)) as connection:
        tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL"))
    assert set(tables) == {
        *metadata.tables,
        VERSION_TABLE,
        "log",
        "sqlite_sequence",
        *(index.name for table in metadata.tables.values() for index in table.indexes),
    }
    for name in metadata.tables:
        assert re.match(rf"CREATE TABLE {name} \( -- \w+", tables[name])


def test_the_view_gives_run_time_key_and_value_in_plain_sql(tmp_path):
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        log[1].update(loss=0.5, n=None, nan=float("nan"), name="x")
        log[2]["loss"] = 1.0
        del log[2]["loss"]
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT run, time, key, value, type FROM log").fetchall()
    assert rows == [
        (log.h_uuid, 1, "loss", 0.5, "float"),
        (log.h_uuid, 1, "n", None, "none"),
        (log.h_uuid, 1, "nan", "NaN", "float"),
        (log.h_uuid, 1, "name", "x", "text"),
    ]


# -- where the migrations are ---------------------------------------------------------------


@pytest.mark.parametrize("layout", ["installed", "checkout"])
def test_the_migrations_are_found_in_both_layouts(tmp_path, monkeypatch, layout):
    package = tmp_path / "with space %" / "traininglog"
    package.mkdir(parents=True)
    folder = (package if layout == "installed" else package.parent) / "schema"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(traininglog, "__file__", str(package / "__init__.py"))
    assert migrations.schema_folder() == folder
    assert migrations.revisions() == list(REVISIONS)
    migrated(tmp_path / "runs.db")


def test_another_package_called_schema_is_not_taken_for_the_migrations(tmp_path, monkeypatch):
    package = tmp_path / "traininglog"
    package.mkdir()
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "__init__.py").touch()
    monkeypatch.setattr(traininglog, "__file__", str(package / "__init__.py"))
    with pytest.raises(FileNotFoundError, match="reinstall"):
        migrations.schema_folder()


# -- dumps of old files ---------------------------------------------------------------------


def dumper():
    spec = importlib.util.spec_from_file_location("dump", SCHEMAS / "dump.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_file_of_each_revision_opens_reads_and_can_be_written(tmp_path, revision):
    dump = dumper()
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((SCHEMAS / f"{revision}.sql").read_text(encoding="utf-8"))
    with Store(path) as store:
        assert store.revision == REVISION
        assert store.check().problems == []
        child = store.latest()
        with store.log(child) as log:
            rows = log.to_dict()
            array = rows[3].pop("array")
            assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
            assert array.dtype == "int16"
            assert rows == dump.ROWS
            assert {k: type(v) for k, v in rows[1].items()} == {"loss": float, "step": int}
            assert log.status == dump.STATUS
            assert [run for run, _ in log.lineage()] == [child, dump.PARENT]
            log[4]["loss"] = 0.125
            log.resume()
        parent = store.log(dump.PARENT, readonly=True)
        assert parent[9] == {"loss": 9.0}
        if revision > "0001":
            assert parent[:]["curve"].to_dict() == dump.CURVE
    if revision > "0002":
        with TrialClient(path) as client:
            (trial,) = client.fetch_trials({"project_id": "dumped", "tags.tag": 1})
            assert trial.parameters == dump.PARAMETERS
            assert trial.metrics == {"loss": {3: 0.5}, "accuracy": [0.75]}
            # Up to revision 0003 a trial was in one group; none that it is in gets lost.
            groups = ["group"] if revision == "0003" else ["group", "other"]
            assert [client.store.get_trial_group(uid).name for uid in trial.groups] == groups
            for name in groups:
                (group,) = client.fetch_groups({"name": name})
                assert group.trials == [trial]
            assert (
                trial.hash == Trial("trial", None, None, None, dump.PARAMETERS, "1", "dumped").hash
            )
    expected = tmp_path / "today.db"
    SQLiteLog(expected).close()
    assert described(path) == described(expected)


# -- upgrading ------------------------------------------------------------------------------

#: The revision that comes after the last one.
COMING = f"{int(REVISION) + 1:04}"

NEXT = """
from alembic import op
import sqlalchemy as sa

revision = "{coming}"
down_revision = "{last}"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("runs", sa.Column("extra", sa.Text))
    with op.batch_alter_table("marks") as batch:
        batch.add_column(sa.Column("note", sa.Text))
    {more}
"""


def future(folder, more=""):
    """Make a schema folder with one more revision than there is."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = NEXT.format(coming=COMING, last=REVISION, more=more)
    (folder / "versions" / f"{COMING}_next.py").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def next_version(tmp_path, monkeypatch):
    """Let this process be the next version of the package; call it again to make that one fail."""

    def become(more=""):
        folder = future(tmp_path / f"schema{len(list(tmp_path.iterdir()))}", more)
        monkeypatch.setattr(migrations, "schema_folder", lambda: folder)
        monkeypatch.setattr(revisions, "REVISIONS", (*REVISIONS, COMING))
        monkeypatch.setattr(revisions, "REVISION", COMING)

    return become


@pytest.fixture
def old(tmp_path):
    """A file of the first revision, in a folder of its own."""
    path = tmp_path / "files" / "runs.db"
    path.parent.mkdir()
    with SQLiteLog(path) as log:
        for t in range(1, 4):
            log[t]["loss"] = 1 / t
    return path


def listing(path):
    return sorted(file.name for file in path.parent.iterdir() if not file.name.endswith("-owners"))


def dumped(path):
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_an_old_file_is_upgraded_on_opening_after_a_backup_beside_it(old, next_version):
    before = dumped(old)
    next_version()
    with Store(old) as store:
        assert store.revision == COMING
        assert store.upgraded == (REVISION, old.with_name(f"runs.db.backup-{REVISION}"))
        assert store.log(store.latest())[3]["loss"] == 1 / 3
        assert store.check().ok
    assert listing(old) == ["runs.db", f"runs.db.backup-{REVISION}"]
    assert dumped(old.with_name(f"runs.db.backup-{REVISION}")) == before
    found = described(old)
    assert found["revision", ""] == [(COMING,)]
    assert "extra" in [column[1] for column in found["columns", "runs"]]
    assert "note" in [column[1] for column in found["columns", "marks"]]
    with Store(old) as store:  # once is enough
        assert store.upgraded is None
    assert listing(old) == ["runs.db", f"runs.db.backup-{REVISION}"]


def test_writing_to_an_old_file_upgrades_it_too(old, next_version):
    next_version()
    with SQLiteLog(old) as log:
        log[1]["loss"] = 1.0
    assert described(old)["revision", ""] == [(COMING,)]


def test_a_revision_that_fails_leaves_the_file_as_it_was(old, next_version):
    before = dumped(old)
    next_version("raise RuntimeError('half way')")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="half way"):
            Store(old)
        assert dumped(old) == before
        assert listing(old) == ["runs.db"]
    next_version()
    with Store(old) as store:
        assert store.revision == COMING


def test_many_processes_that_open_an_old_file_upgrade_it_once(old, tmp_path):
    folder = future(tmp_path / "schema")
    script = textwrap.dedent("""
        import pathlib, sys
        from traininglog import Store
        from traininglog.sqlite.file import migrations, revisions
        migrations.schema_folder = lambda: pathlib.Path(sys.argv[2])
        revisions.REVISIONS, revisions.REVISION = (*revisions.REVISIONS, sys.argv[3]), sys.argv[3]
        print("ready", flush=True)
        sys.stdin.readline()
        with Store(sys.argv[1]) as store:
            print(store.revision, store.upgraded is not None, len(store.runs(heads=False)))
    """)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, old, folder, COMING],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(8)
    ]  # fmt: skip
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    results = [child.communicate(timeout=GUARD) for child in children]
    assert [errors for _, errors in results] == [""] * 8
    assert sorted(out for out, _ in results) == [f"{COMING} False 1\n"] * 7 + [f"{COMING} True 1\n"]
    assert listing(old) == ["runs.db", f"runs.db.backup-{REVISION}"]


def test_an_old_file_is_not_upgraded_for_a_reader(old, next_version):
    before = old.read_bytes()
    next_version()
    with pytest.raises(SchemaTooOld, match="traininglog upgrade") as caught:
        Store(old, readonly=True)
    assert REVISION in str(caught.value)
    assert COMING in str(caught.value)
    assert old.read_bytes() == before


def make_newer(path, revision=COMING, reader=None):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", (revision,))
        if reader is not None:
            connection.execute(f"PRAGMA user_version = {reader}")
        connection.commit()


def digest(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.mark.parametrize("journal", ["wal", "delete", "killed"])
def test_a_newer_file_is_refused_and_not_a_byte_is_written(old, journal):
    if journal == "killed":  # what was written last is still in the WAL
        script = (
            "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
            f"c.execute(\"UPDATE {VERSION_TABLE} SET version_num = '{COMING}'\"); c.commit(); "
            "os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", script, old], check=True)
        assert old.with_name("runs.db-wal").stat().st_size > 0
        old.with_name("runs.db-shm").unlink()
    else:
        make_newer(old)
        with closing(sqlite3.connect(old)) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
    before = digest(old.parent)
    uuid = "0" * 32
    for act in (lambda: SQLiteLog(old), lambda: SQLiteLog(old, uuid), lambda: Store(old)):
        with pytest.raises(SchemaTooNew) as caught:
            act()
        assert REVISION in str(caught.value)
        assert COMING in str(caught.value)
        assert "readonly=True" in str(caught.value)
    after = digest(old.parent)
    if journal == "killed":
        after.pop("runs.db-shm", None)  # an index over the WAL, which every reader needs
    assert after == before


def test_a_newer_file_whose_data_can_be_read_opens_readonly(old):
    make_newer(old)
    with Store(old, readonly=True) as store:
        assert store.revision == COMING
        assert store.runs("loss")["loss"].to_list() == [1 / 3]
        with store.log(store.latest(), readonly=True) as log:
            assert log[2]["loss"] == 0.5


def test_a_newer_file_whose_data_cannot_be_read_is_refused_to_readers_too(old):
    make_newer(old, "0007", reader=READER_VERSION + 1)
    before = digest(old.parent)
    with pytest.raises(SchemaTooNew) as caught:
        Store(old, readonly=True)
    assert "0007" in str(caught.value)
    assert "readonly=True" not in str(caught.value)
    assert digest(old.parent) == before


def test_a_file_that_does_not_tell_its_schema_is_damaged(old):
    with closing(sqlite3.connect(old)) as connection:
        connection.execute(f"DELETE FROM {VERSION_TABLE}")
        connection.commit()
    with pytest.raises(CorruptLog, match="schema"):
        Store(old)
    with closing(sqlite3.connect(old)) as connection:
        connection.execute(f"DROP TABLE {VERSION_TABLE}")
        connection.commit()
    with pytest.raises(CorruptLog, match="schema"):
        SQLiteLog(old)


def test_alembic_works_from_the_command_line_on_a_named_file(tmp_path):
    """People who write revisions use Alembic itself, on the same environment."""
    (tmp_path / "alembic.ini").write_text(
        f"[alembic]\nscript_location = {FOLDER}\npath_separator = os\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "alembic", "-x", f"store={tmp_path / 'runs.db'}"]
    subprocess.run([*command, "upgrade", "head"], cwd=tmp_path, check=True, capture_output=True)
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1]["x"] = 1
    done = subprocess.run(
        [*command, "current"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert f"{REVISION} (head)" in done.stdout
    nameless = subprocess.run(
        [sys.executable, "-m", "alembic", "current"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert nameless.returncode == 1
    assert "name the file" in nameless.stderr
