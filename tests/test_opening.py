"""`open_log`, `open_store` and `register`: which store a URL means."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from traininglog import (
    RunNotFound,
    SQLiteLog,
    Store,
    StoreNotFound,
    StoreUnwritable,
    TrainingLog,
    UnknownScheme,
    open_log,
    open_store,
    register,
    stores,
)
from traininglog.trials import TrialClient


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Be in an empty folder, with no more schemes than the package brings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stores.LOGS, "factories", dict(stores.LOGS.factories))
    return tmp_path


@pytest.mark.parametrize("where", ["memory:", "memory://", "MEMORY:"])
def test_memory_is_a_log_in_memory(where, folder):
    with open_log(where) as log:
        assert isinstance(log, TrainingLog)
        with open_log(where, log.uuid) as again:
            log[1]["x"] = 1
            assert again[1] == {"x": 1}
    assert list(folder.iterdir()) == []


def test_a_log_in_memory_has_no_name():
    for where in ("memory:runs", "memory://runs"):
        with pytest.raises(UnknownScheme, match="'memory:'"):
            open_log(where)


@pytest.mark.parametrize(
    ("where", "file"),
    [
        ("runs.db", "runs.db"),
        ("./runs.db", "runs.db"),
        (Path("runs.db"), "runs.db"),
        ("sqlite:///runs.db", "runs.db"),
        ("SQLite:///runs.db", "runs.db"),
        ("sqlite:///a%20b%3F%23%25.db", "a b?#%.db"),
        ("sqlite:///%2541.db", "%41.db"),
        ("runs%20.db", "runs%20.db"),
        ("what?.db", "what?.db"),
        ("a:b.db", "a:b.db"),
        ("./exp:1.db", "exp:1.db"),
        ("2024-05-01T10:30.db", "2024-05-01T10:30.db"),
        ("first try: 1.db", "first try: 1.db"),
        ("C:runs.db", "C:runs.db"),
        ("C:\\runs.db", "C:\\runs.db"),
        (Path("exp:1.db"), "exp:1.db"),
        (Path("sqlite:x.db"), "sqlite:x.db"),
        (Path("memory:"), "memory:"),
        (":memory:.db", ":memory:.db"),
    ],
)
def test_a_path_or_a_sqlite_url_is_a_file(where, file, folder):
    with open_log(where) as log:
        assert isinstance(log, SQLiteLog)
        log[1]["x"] = 1
    assert (folder / file).is_file()
    with open_log(where, log.uuid, readonly=True) as again:
        assert again[1] == {"x": 1}
    with open_store(where) as store:
        assert store.path == folder / file
        assert store.latest() == log.uuid


def test_an_absolute_path_in_a_url_has_four_slashes(folder):
    with open_log(f"sqlite:///{folder}/deep.db") as log:
        assert (folder / "deep.db").is_file()
    with Store(f"sqlite:///{folder}/deep.db") as store:
        assert store.latest() == log.uuid


@pytest.mark.parametrize("where", [":memory:", "sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_sqlite_database_in_memory_has_one_log_and_is_no_store(where, folder):
    if where == "sqlite://":
        with pytest.raises(UnknownScheme):
            open_log(where)
        return
    with open_log(where) as log:
        assert isinstance(log, SQLiteLog)
        log[1]["x"] = 1
        assert log.to_dict() == {1: {"x": 1}}
    with pytest.raises(ValueError, match="memory"):
        open_store(where)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("letter", ["x", "\u00e9"])
def test_a_name_that_leaves_no_room_for_its_journals_is_refused_at_opening(folder, letter):
    """SQLite would take it, and the first assignment fail. A name is measured in bytes."""
    size = len(letter.encode())
    for count in (255 // size, 240 // size, 200 // size):
        for act in (SQLiteLog, open_log, lambda name: TrialClient(name).new_trial(parameters={})):
            with pytest.raises(StoreUnwritable, match=r"too long a name.* 181 leave"):
                act(letter * count)
    with pytest.raises(StoreUnwritable, match="too long a name"):
        TrialClient("file:" + letter * (230 // size)).new_trial(parameters={})
    assert list(folder.iterdir()) == []
    with SQLiteLog(letter * (181 // size)) as log:
        log[1]["x"] = 1


def test_a_store_whose_name_was_taken_before_stays_in_use(folder):
    """Its journals fit, if nothing unusual happens to them."""
    with SQLiteLog("runs.db") as log:
        log[1]["x"] = 1
    for size in (200, 240):
        name = "x" * size
        (folder / name).write_bytes((folder / "runs.db").read_bytes())
        with SQLiteLog(name, log.uuid, readonly=True) as again:
            assert again[1] == {"x": 1}
    with SQLiteLog("x" * 200, log.uuid) as again:
        again[2]["x"] = 2
    with pytest.raises(StoreUnwritable, match="rename it"):
        SQLiteLog("x" * 240, log.uuid)


@pytest.mark.parametrize("where", ["sqlite:runs.db", "sqlite:/runs.db", "sqlite://runs.db",
                                   "sqlite:///runs.db?mode=ro"])  # fmt: skip
def test_a_sqlite_url_that_is_not_quite_one_is_an_error_that_shows_how(where, folder):
    for act in (open_log, open_store, Store):
        with pytest.raises(UnknownScheme, match="sqlite:///relative/path"):
            act(where)
    assert list(folder.iterdir()) == []


NOT_STORES = [
    "postgresql://host/db", "https://host/x", "s3://bucket/runs.db", "postgresql:runs",
    "socket:localhost:8123", "ephemeral:", "cometml:workspace", "localhost:8123", "s3:runs.db",
    "exp:1.db", "redis+ssl:runs", "my_store:runs", "PostgreSQL:runs", "runs.db:1", "file:runs.db",
]  # fmt: skip


@pytest.mark.parametrize("where", NOT_STORES)
def test_an_unknown_scheme_is_an_error_that_lists_the_known_ones(where, folder):
    with pytest.raises(UnknownScheme) as caught:
        open_log(where)
    scheme, _, rest = where.partition(":")
    for known in ("memory:", "sqlite:", "a path", f"{scheme.lower()}:"):
        assert known in str(caught.value)
    assert (f"./{where}" in str(caught.value)) == (rest != "" and not rest.startswith("//"))
    acts = [open_store, Store, SQLiteLog, Store.repair]
    if scheme != "file":  # which means a JSON document to trials
        acts.append(TrialClient)
    for act in acts:
        with pytest.raises(UnknownScheme, match=re.escape(f"{scheme.lower()}:")):
            act(where)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("where", NOT_STORES)
def test_a_configured_store_of_an_unknown_scheme_is_an_error(where, folder, monkeypatch):
    monkeypatch.setenv("TRAININGLOG_STORE", where)
    for act in (open_log, open_store, SQLiteLog):
        with pytest.raises(UnknownScheme):
            act()
    assert list(folder.iterdir()) == []


def test_a_store_of_many_runs_is_a_file():
    with pytest.raises(UnknownScheme, match="memory"):
        open_store("memory:")


def test_the_configured_store_is_opened_by_default(folder, monkeypatch):
    with open_log() as log:
        pass
    assert (folder / "traininglog.db").is_file()
    with open_store() as store:
        assert store.latest() == log.uuid
    monkeypatch.setenv("TRAININGLOG_STORE", "memory:")
    assert isinstance(open_log(), TrainingLog)
    with pytest.raises(UnknownScheme):
        open_store()


def test_options_and_errors_are_those_of_the_store():
    with pytest.raises(StoreNotFound):
        open_log("missing.db", "0" * 32)
    with pytest.raises(RunNotFound):
        open_log("memory:", "0" * 32)
    with pytest.raises(TypeError, match="colour"):
        open_log("memory:", colour="red")
    with pytest.raises(TypeError, match="colour"):
        open_log("runs.db", colour="red")
    with (
        open_log("runs.db", max_value_bytes=10) as log,
        pytest.raises(ValueError, match="10 bytes"),
    ):
        log[1]["x"] = "x" * 11


def test_a_registered_scheme_gets_the_whole_url_the_uuid_and_the_options():
    calls = []

    def factory(where, uuid, **options):
        calls.append((where, uuid, options))
        return TrainingLog()

    register("x-my.store+1", factory)
    open_log("x-my.store+1://host/%20", colour="red").close()
    open_log("X-MY.STORE+1:rest", "0" * 32).close()
    assert calls == [
        ("x-my.store+1://host/%20", None, {"colour": "red"}),
        ("X-MY.STORE+1:rest", "0" * 32, {}),
    ]
    with pytest.raises(UnknownScheme, match=r"x-my\.store\+1"):
        open_log("other://x")


@pytest.mark.parametrize("scheme", ["", "c", "a b", "a/b", "a:b", "://"])
def test_misuse_fails_when_a_scheme_is_registered(scheme):
    with pytest.raises(ValueError, match="scheme"):
        register(scheme, TrainingLog)


def test_an_installed_package_brings_a_scheme_without_being_imported(folder):
    package = folder / "site"
    info = package / "thirdparty-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[traininglog.stores]\nthird = thirdparty:make\n")
    (package / "thirdparty.py").write_text(
        textwrap.dedent("""
        from traininglog import TrainingLog
        def make(where, uuid, **options):
            log = TrainingLog()
            log.status.update(where=where, **options)
            return log
        """)
    )
    script = textwrap.dedent("""
        import sys
        from traininglog import UnknownScheme, open_log
        open_log("memory:")
        assert "thirdparty" not in sys.modules
        log = open_log("third://host/db", colour="red")
        print(log.status["where"], log.status["colour"])
        try:
            open_log("fourth://host")
        except UnknownScheme as error:
            print(error)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(package)},
    )  # fmt: skip
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == "third://host/db red"
    assert "third" in second
    assert "fourth" in second
