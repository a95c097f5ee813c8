"""Files that hold more than data: nothing that somebody else wrote into one ever runs."""

import random
import sqlite3
import sys
from contextlib import closing, suppress

import pytest

from traininglog import CorruptLog, SQLiteLog, Store, StoreUnwritable, TrainingLogError
from traininglog.sql.tables import VERSION_TABLE, metadata
from traininglog.sqlite.file import shape
from traininglog.sqlite.file.connections import connect

TABLES = [*metadata.tables, VERSION_TABLE]

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


@pytest.fixture
def path(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1].update(loss=0.5, note="text")
        log.status["name"] = "first"
    return tmp_path / "runs.db"


def change(path, *statements):
    """Change a file as anybody can who has SQLite; white space and all else stays as it is."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def rewrite(path, name, old, new):
    """Change the statement by which something in a file was made."""
    change(path, "PRAGMA writable_schema = ON")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        ((sql,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,))
        assert old in sql
        with connection:
            connection.execute(
                "UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql.replace(old, new), name)
            )


def seen(path):
    with Store(path, readonly=True) as store:
        uuid = store.latest()
        with store.log(uuid, readonly=True) as log:
            return store.runs("loss")["loss"].tolist(), dict(log[1]), log.status["name"]


UNWRITABLE = {
    "a trigger": lambda path: change(
        path, "CREATE TRIGGER evil AFTER INSERT ON entries BEGIN DELETE FROM runs; END"
    ),
    "a trigger on a table of the user's": lambda path: change(
        path,
        "CREATE TABLE mine (x)",
        "CREATE TRIGGER evil AFTER INSERT ON mine BEGIN DELETE FROM runs; END",
    ),
    "a trigger on the view": lambda path: change(
        path, "CREATE TRIGGER evil INSTEAD OF INSERT ON log BEGIN SELECT 1; END"
    ),
    "a unique index": lambda path: change(
        path, "CREATE UNIQUE INDEX evil ON entries (time, key_id)"
    ),
    "one more column": lambda path: change(path, "ALTER TABLE runs ADD COLUMN evil TEXT"),
    "a constraint": lambda path: rewrite(
        path, "keys", "name TEXT NOT NULL", "name TEXT NOT NULL CHECK (length(name) < 9)"
    ),
    "another collation": lambda path: rewrite(
        path, "status", '"key" TEXT NOT NULL', '"key" TEXT COLLATE NOCASE NOT NULL'
    ),
    "another answer to what is there already": lambda path: rewrite(
        path, "runs", "UNIQUE (uuid)", "UNIQUE (uuid) ON CONFLICT REPLACE"
    ),
    "a table in the place of the view": lambda path: change(
        path, "DROP VIEW log", "CREATE TABLE log (x)"
    ),
    "an index of that name elsewhere": lambda path: change(
        path, "DROP INDEX runs_by_parent", "CREATE INDEX runs_by_parent ON runs (host)"
    ),
    "an endless view in the place of the view": lambda path: change(
        path, "DROP VIEW log", f"CREATE VIEW log AS {ENDLESS}"
    ),
}


@pytest.mark.parametrize("kind", UNWRITABLE)
def test_what_would_act_on_an_assignment_refuses_writing_and_may_be_looked_at(path, kind):
    """The error says what it is and what to do; `check` tells of it, repairing leaves it out."""
    before = seen(path)
    UNWRITABLE[kind](path)
    content = path.read_bytes()
    for act in (SQLiteLog, Store):
        with pytest.raises(StoreUnwritable, match=r"is not written: .*readonly=True.*--repair"):
            act(path)
    assert path.read_bytes() == content
    assert seen(path) == before
    with Store(path, readonly=True) as store:
        check = store.check()
    assert not check.ok
    assert any("was not made by traininglog" in problem for problem in check.problems)
    repaired = Store.repair(path).target
    with Store(repaired) as store:
        assert store.check().ok
    assert seen(repaired) == before


@pytest.mark.parametrize("name", TABLES)
def test_an_endless_view_in_the_place_of_a_table_is_never_asked(path, name):
    """Neither by who reads nor by who writes, nor in the look whether the file is ours."""
    view = f"CREATE VIEW {name.upper()} AS {ENDLESS}"
    change(path, f"ALTER TABLE {name} RENAME TO {name}_old", "DROP VIEW IF EXISTS log", view)
    for options in ({}, {"readonly": True}):
        with pytest.raises(CorruptLog, match="check --repair"):
            Store(path, **options)


@pytest.mark.parametrize("name", ["runs", "keys", "entries"])
def test_a_column_that_has_to_be_computed_is_never_asked(path, name):
    column = "evil GENERATED ALWAYS AS (zeroblob(1000000000)) VIRTUAL"
    change(path, f"ALTER TABLE {name} ADD COLUMN {column}")
    with pytest.raises(CorruptLog, match=f"the table '{name}' is not the table"):
        Store(path, readonly=True)


def test_what_is_the_users_own_is_left_alone(path):
    """Tables, views over ours, and indexes that only help to find what is there."""
    change(
        path,
        "CREATE TABLE mine (id INTEGER PRIMARY KEY, run TEXT UNIQUE, FOREIGN KEY (run) "
        "REFERENCES runs (uuid) ON DELETE CASCADE)",
        "CREATE UNIQUE INDEX mine_by_run ON mine (run)",
        "CREATE VIEW best AS SELECT run, min(value) FROM log GROUP BY run",
        "CREATE INDEX my_entries ON entries (key_id, value)",
        "CREATE VIRTUAL TABLE words USING fts5 (word)",
        "ANALYZE",
    )
    with SQLiteLog(path) as log:
        log[1]["loss"] = 0.25
    with Store(path) as store:
        assert store.check().ok
        assert store.runs("loss")["loss"].tolist() == [0.5, 0.25]


def test_a_view_or_an_index_that_somebody_dropped_is_no_matter(path):
    change(path, "DROP VIEW log", "DROP INDEX runs_by_parent")
    with SQLiteLog(path) as log:
        log[1]["loss"] = 0.25


def test_what_is_put_into_a_file_while_it_is_written_refuses_the_next_writing(path):
    """It is no fact of opening. What was assigned waits, and is there once the trigger is gone."""
    log = SQLiteLog(path)
    log[1]["loss"] = 1.0
    log.flush()
    UNWRITABLE["a trigger"](path)
    log[2]["loss"] = 2.0
    with pytest.raises(StoreUnwritable, match="trigger 'evil'"):
        log.flush()
    change(path, "DROP TRIGGER evil")
    log.flush()
    log.close()
    with SQLiteLog(path, log.uuid, readonly=True) as log:
        assert log[:]["loss"].to_dict() == {1: 1.0, 2: 2.0}


def test_the_list_of_a_file_may_be_anything(path):
    """Whatever types and texts are in it, looking at it ends with an answer."""
    made = shape._made()
    pieces = [None, 5, b"\xff", "", "table", "index", "trigger", "CREATE TABLE runs (x)", *made]
    draw = random.Random(0)
    for _ in range(3000):
        listed = [tuple(draw.choices(pieces, k=4)) for _ in range(draw.randrange(5))]
        found = shape.shape_of(listed)
        assert all(isinstance(text, str) for flaws in found for text in flaws)


def test_connections_trust_no_schema(path):
    """A function that is not known to be harmless is not called from a view; from 3.12 on, SQLite
    is in its defensive mode and runs no trigger at all."""
    with closing(connect(path.as_uri(), 1.0)) as connection:
        assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
        if sys.version_info >= (3, 12):
            assert connection.getconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE)
            assert not connection.getconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER)


@pytest.mark.parametrize("place", range(0, 100, 4))
def test_no_byte_of_the_header_costs_more_than_one_message_of_ours(path, tmp_path, place):
    """Of four bytes each: SQLite calls some of what they then say a mistake of the statement."""
    with Store(path, readonly=True) as store:
        uuid = store.latest()
    content = path.read_bytes()
    for at in range(place, place + 4):
        for wrong in {0, 5, 255, content[at] ^ 1} - {content[at]}:
            changed = tmp_path / f"{at} {wrong}.db"
            changed.write_bytes(content[:at] + bytes([wrong]) + content[at + 1 :])
            with suppress(TrainingLogError), Store(changed, readonly=True) as store:
                store.check()
                store.runs()
            with suppress(TrainingLogError), SQLiteLog(changed, uuid) as log:
                log[2]["loss"] = 0.5
