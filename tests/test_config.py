"""Settings: an argument, else the environment, else a TOML file, else the default."""

import json
import os
import subprocess
import sys

import pytest

from traininglog import ConfigurationError, SQLiteLog, Store, ValueTooLarge, open_log
from traininglog.config import setting
from traininglog.values import MAX_VALUE_BYTES


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Be in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def toml(text, path="traininglog.toml"):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)


SETTINGS = {
    # name: (default, in the file, in the environment, as an argument; each with what it means)
    "store": (
        "traininglog.db",
        ('"file.db"', "file.db"),
        ("env.db", "env.db"),
        ("arg.db", "arg.db"),
    ),
    "durability": ("process", ('"power"', "power"), ("buffered", "buffered"), ("power", "power")),
    "max_value_bytes": (MAX_VALUE_BYTES, ("100", 100), ("200", 200), (300, 300)),
    "max_pending_bytes": (2**28, ("100", 100), ("200", 200), (300, 300)),
    "on_full": ("raise", ('"drop"', "drop"), ("drop", "drop"), ("drop", "drop")),
    "allow_network": (False, ("true", True), ("0", False), (True, True)),
    "seal": (True, ("false", False), ("1", True), (False, False)),
    "record_command": (True, ("false", False), ("1", True), (False, False)),
    "trust_folder": (False, None, ("1", True), (True, True)),
    "project": (None, ('"p"', "p"), ("q", "q"), ("r", "r")),
    "group": (None, ('"p"', "p"), ("q", "q"), ("r", "r")),
    "trial": (None, ('"p"', "p"), ("q", "q"), ("r", "r")),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_first_place_that_has_a_setting_counts(name, monkeypatch):
    default, in_file, in_environment, argument = SETTINGS[name]
    assert setting(name) == default
    if in_file is not None:  # this one only counts where the user set it
        toml(f"{name} = {in_file[0]}\n")
        assert setting(name) == in_file[1]
    monkeypatch.setenv(f"TRAININGLOG_{name.upper()}", in_environment[0])
    assert setting(name) == in_environment[1]
    assert setting(name, argument[0]) == argument[1]
    assert default is None or type(setting(name)) is type(default)


def test_every_setting_is_tested_here():
    from traininglog.config import _SETTINGS

    assert set(SETTINGS) == set(_SETTINGS)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("store", ""), ("store", 3), ("durability", "always"), ("durability", ""),
        ("durability", 1), ("max_value_bytes", 0), ("max_value_bytes", -1),
        ("max_value_bytes", "many"), ("max_value_bytes", True), ("max_value_bytes", 1.5),
        ("max_value_bytes", ""), ("max_value_bytes", "1_000"), ("max_value_bytes", "-5"),
        ("allow_network", ""), ("allow_network", "perhaps"), ("allow_network", 1),
        ("seal", ""), ("seal", "later"), ("seal", 0),
    ],
)  # fmt: skip
def test_a_value_that_a_setting_cannot_take_is_refused_wherever_it_stands(name, wrong, monkeypatch):
    with pytest.raises(ConfigurationError, match=f"argument {name} must be") as caught:
        setting(name, wrong)
    assert repr(wrong) in str(caught.value)
    if isinstance(wrong, str):
        with monkeypatch.context() as patch:
            patch.setenv(f"TRAININGLOG_{name.upper()}", wrong)
            with pytest.raises(ConfigurationError, match=f"TRAININGLOG_{name.upper()} must be"):
                setting(name)
    toml(f"{name} = {str(wrong).lower() if isinstance(wrong, bool) else repr(wrong)}\n")
    with pytest.raises(ConfigurationError, match=f"{name} in traininglog.toml must be"):
        setting(name)


def test_a_setting_that_does_not_exist_is_an_error_that_names_it(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TRAININGLOG_DURABILTY", "power")
        with pytest.raises(
            ConfigurationError, match="TRAININGLOG_DURABILTY does not exist"
        ) as caught:
            SQLiteLog("runs.db")
        assert "durability" in str(caught.value)
    toml('durabilty = "power"\n')
    for act in (lambda: SQLiteLog("runs.db"), open_log, Store):
        with pytest.raises(ConfigurationError, match=r"'durabilty' in traininglog\.toml"):
            act()
    assert not os.path.exists("runs.db")  # noqa: PTH110


def test_a_file_that_is_not_toml_is_an_error_that_names_it():
    toml("store = \n")
    with pytest.raises(ConfigurationError, match=r"traininglog\.toml is not valid TOML"):
        setting("store")
    with open("traininglog.toml", "wb") as file:  # noqa: PTH123
        file.write(b'store = "\xff"\n')
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        setting("store")


def test_the_file_may_be_named_and_must_then_be_there(folder, monkeypatch):
    toml('store = "here.db"\n')
    toml('store = "named.db"\n', "elsewhere/any.toml")
    monkeypatch.setenv("TRAININGLOG_CONFIG", "elsewhere/any.toml")
    assert setting("store") == "named.db"
    for missing in ("elsewhere/none.toml", "elsewhere"):
        monkeypatch.setenv("TRAININGLOG_CONFIG", missing)
        with pytest.raises(ConfigurationError, match=missing):
            setting("store")


def test_the_users_own_file_counts_where_the_folder_has_none(folder, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "xdg"))
    toml('store = "user.db"\n', "xdg/traininglog/config.toml")
    assert setting("store") == "user.db"
    toml('durability = "power"\n')
    assert setting("store") == "traininglog.db"  # one file counts, never a mixture
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(folder / "home"))
    os.remove("traininglog.toml")  # noqa: PTH107
    toml('store = "home.db"\n', "home/.config/traininglog/config.toml")
    assert setting("store") == "home.db"


def test_a_user_without_a_home_or_with_one_that_is_closed_has_no_file(folder):
    """As in a container that runs under a number, or under `su`."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    closed = folder / "closed"
    toml('store = "secret.db"\n', str(closed / ".config/traininglog/config.toml"))
    closed.chmod(0o700)
    script = (
        "import os, sys; import traininglog.config as c; import encodings.idna, tomllib\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
        "os.environ.pop('XDG_CONFIG_HOME', None)\n"
        "os.environ['HOME'] = sys.argv[1]; print(c.setting('store'))\n"
        "del os.environ['HOME']; print(c.setting('store'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, closed], capture_output=True, text=True, cwd="/", check=False
    )
    assert (done.stdout, done.stderr) == ("traininglog.db\ntraininglog.db\n", "")


def test_the_settings_reach_logs_and_stores(folder, monkeypatch):
    monkeypatch.setenv("TRAININGLOG_STORE", str(folder / "configured.db"))
    monkeypatch.setenv("TRAININGLOG_MAX_VALUE_BYTES", "100")
    with SQLiteLog() as log:
        with pytest.raises(ValueTooLarge, match="100"):
            log[1]["text"] = "x" * 101
        log[1]["text"] = "x" * 100
    with open_log() as other, Store() as store:
        assert store.path == folder / "configured.db"
        assert set(store.runs()["uuid"]) == {log.h_uuid, other.h_uuid}
    with SQLiteLog(max_value_bytes=200) as log:
        log[1]["text"] = "x" * 200
    with pytest.raises(ConfigurationError, match="argument durability"):
        SQLiteLog(durability="process?")


# -- the file of a folder that may be anybody's ----------------------------------------------


@pytest.fixture
def told(caplog, monkeypatch):
    """What is told of settings, in this test."""
    monkeypatch.setattr("traininglog.config._KNOWN", set())

    def lines():
        return [record.getMessage() for record in caplog.records]

    return lines


ELSEWHERE = [
    ":memory:", "memory:", "MEMORY:", "memory://", "sqlite:///here.db", "sqlite:////tmp/x.db",
    "file:here.json", "https://example.org/runs", "postgresql://host/x", "/tmp/runs.db", "../x.db",
    "a/../../x.db", "~/x.db", "~root/x.db", "link/x.db", "dangling.db", "loop/x.db", "a\0b", "..",
]  # fmt: skip


@pytest.mark.parametrize("store", ELSEWHERE)
def test_the_file_of_the_folder_names_no_store_elsewhere(folder, store, monkeypatch, told):
    """Neither memory, nor a URL, nor where links lead: unless the user's own settings allow it."""
    (folder / "link").symlink_to("/tmp")
    (folder / "dangling.db").symlink_to("/tmp/not-there.db")
    (folder / "loop").symlink_to("loop")
    toml(f"store = {json.dumps(store)}\n")
    with pytest.raises(ConfigurationError, match="trust_folder = true in your own configuration"):
        setting("store")
    assert setting("store", "argument.db") == "argument.db"
    monkeypatch.setenv("TRAININGLOG_STORE", "mine.db")
    assert setting("store") == "mine.db"
    monkeypatch.delenv("TRAININGLOG_STORE")
    monkeypatch.setenv("TRAININGLOG_TRUST_FOLDER", "1")
    assert setting("store") == os.path.expanduser(store)  # noqa: PTH111
    monkeypatch.delenv("TRAININGLOG_TRUST_FOLDER")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "xdg"))
    toml("trust_folder = true\n", "xdg/traininglog/config.toml")
    assert setting("store") == os.path.expanduser(store)  # noqa: PTH111
    assert told() == []


@pytest.mark.parametrize("store", ["here.db", "a/b.db", "./here.db", "a/../b.db", "within/x.db"])
def test_the_file_of_the_folder_names_a_file_in_it_and_that_is_told_once(folder, store, told):
    (folder / "within").symlink_to("a")
    toml(f'store = "{store}"\ndurability = "buffered"\nseal = false\n')
    for _ in range(3):
        assert setting("store") == store
        assert setting("durability") == "buffered"
        assert setting("seal") is False
    assert told() == [
        f"{folder / 'traininglog.toml'} says: store = '{store}'",
        f"{folder / 'traininglog.toml'} says: durability = 'buffered'",
    ]


def test_nothing_is_told_of_what_the_user_chose(folder, monkeypatch, told):
    """Be it by an argument, the environment, or a file of the user's own."""
    toml('store = "here.db"\ndurability = "power"\n')
    assert setting("store", "other.db") == "other.db"
    monkeypatch.setenv("TRAININGLOG_DURABILITY", "process")
    assert setting("durability") == "process"
    toml('store = ":memory:"\n', "own.toml")
    monkeypatch.setenv("TRAININGLOG_CONFIG", "own.toml")
    assert setting("store") == ":memory:"
    assert told() == []


def test_a_folder_cannot_say_that_it_is_to_be_trusted():
    toml('store = "/tmp/runs.db"\ntrust_folder = true\n')
    with pytest.raises(ConfigurationError, match="no folder can say that it is to be trusted"):
        setting("store")


def test_in_the_command_line_it_is_one_line_on_stderr(folder):
    SQLiteLog(folder / "here.db").close()
    toml('store = "here.db"\n')
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "traininglog", "runs"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == f"{folder / 'traininglog.toml'} says: store = 'here.db'\n"
    assert done.stdout.startswith("RUN")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~/x.db", "{home}/x.db"),
        ("sqlite:///~/x.db", "sqlite:///{home}/x.db"),
        ("~", "{home}"),
        ("a~/x.db", "a~/x.db"),
        ("~nobody-of-this-name/x", "~nobody-of-this-name/x"),
    ],
)
def test_a_tilde_in_a_setting_is_the_home_folder(folder, monkeypatch, written, meant):
    """Wherever it is set; a shell has done the same to what is typed."""
    home = folder / "at home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TRAININGLOG_STORE", written)
    assert setting("store") == meant.format(home=home)
    monkeypatch.delenv("TRAININGLOG_STORE")
    toml(f'store = "{written}"\n', str(home / "own.toml"))
    monkeypatch.setenv("TRAININGLOG_CONFIG", "~/own.toml")
    assert setting("store") == meant.format(home=home)
    assert setting("store", written) == written


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "#" * 2**20 + "\n"])
def test_a_file_that_no_user_writes_is_an_error(text):
    toml(text)
    with pytest.raises(ConfigurationError, match=r"traininglog\.toml is "):
        setting("store")
