"""The command as a process: start-up, pipes, signals, and a real terminal."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest
from patience import GUARD

from traininglog import SQLiteLog, Store

COMMANDS = [
    "runs", "show", "tail", "plot", "export", "diff", "merge", "backup", "check", "seal",
    "delete", "upgrade", "demo", "trials",
]  # fmt: skip

WRITER = """
import sys, time
from traininglog import SQLiteLog
log = SQLiteLog(sys.argv[1])
for i in range(1, int(sys.argv[2]) + 1):
    log[i]["loss"] = 1 / i
    log.flush()
    time.sleep(0.02)
    log[i]["late"] = i
    log.flush()
    print(i, flush=True)
    time.sleep(0.1)
how = sys.argv[3]
if how == "close":
    log.close()
elif how == "wait":
    time.sleep(60)
else:
    import os
    os._exit(1)
"""


def command(*arguments):
    return [sys.executable, "-m", "traininglog", *map(str, arguments)]


def finished(*arguments, **options):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=GUARD, check=False, **options
    )


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A store of one run."""
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        log.status["name"] = "[red]x[/red]\x1b[2J"
        for number in range(1, 2001):
            log[number]["loss"] = 1 / number
    monkeypatch.setenv("TRAININGLOG_STORE", str(path))
    return path


@pytest.fixture
def writer(tmp_path):
    """Start a process that writes a run; gives a function of (rows, how it ends)."""
    started = []

    def start(path, rows, how):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(rows), how],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        process.stdout.readline()  # the first row is written
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def terminal(*arguments, **options):
    words = command(*arguments)
    child = pexpect.spawn(
        words[0],
        words[1:],
        env=os.environ | {"TERM": "xterm-256color"},
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=GUARD,
        **options,
    )
    child.delaybeforesend = None
    return child


def ended(child):
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


# -- start-up and pipes ---------------------------------------------------------------------


def test_help_imports_neither_pandas_nor_sqlalchemy():
    script = (
        "import sys\n"
        "from traininglog.cli import main\n"
        "sys.argv = ['traininglog', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "for name in ('pandas', 'numpy', 'sqlalchemy', 'matplotlib', 'plotille', 'pyarrow'):\n"
        "    assert name not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_every_command_has_help_with_an_example():
    from typer.testing import CliRunner

    from traininglog.cli.app import app

    overview = CliRunner().invoke(app, ["--help"]).stdout
    assert "..." not in overview.split("Commands:")[1]
    for name in COMMANDS:
        assert f"\n  {name} " in overview
        text = CliRunner().invoke(app, [name, "--help"]).stdout
        assert f"Example: traininglog {name}" in text, name


def test_version_is_that_of_the_package():
    import traininglog

    assert finished("--version").stdout == f"traininglog {traininglog.__version__}\n"


def test_a_reader_that_goes_away_ends_it_quietly(path):
    words = command("export", "--layout", "long", "--format", "jsonl")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_mistake_is_one_line_and_status_1(path):
    result = finished("export", "-k", "\x1b[2J\n")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("traininglog: ")
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr


def test_output_in_a_poor_locale(path):
    with SQLiteLog(path) as log:
        log.status["name"] = "漢"
        log[1]["ä"] = "漢"
    poor = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    assert r"\u6f22" in finished("runs", env=poor).stdout
    result = subprocess.run(command("export"), env=poor, capture_output=True, check=True)
    assert result.stdout.decode() == "time,ä\n1,漢\n"  # a file is UTF-8 everywhere


def test_reading_leaves_no_trace_in_a_folder_that_cannot_be_written(path, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    try:
        assert finished("runs").returncode == 0
    finally:
        tmp_path.chmod(0o700)


# -- tail -f --------------------------------------------------------------------------------


def test_following_shows_rows_as_they_come_and_ends_with_the_run(path, writer):
    writer(path, 15, "close")
    result = finished("tail", "-f", "--interval", "0.1", "-n", "1")
    assert result.returncode == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    shown = {int(row[0]): row for row in rows if row[0] != "time"}
    assert list(shown) == list(range(min(shown), 16))
    assert all(row[2] == row[0] for row in shown.values())  # complete, in the end
    assert result.stderr.endswith(" is finished\n")


def test_following_tells_of_a_process_that_is_gone(path, writer):
    writer(path, 3, "exit")
    result = finished("tail", "-f", "--interval", "0.1", "--json")
    assert result.stderr.endswith(" is lost\n")
    assert '"time": 3' in result.stdout.splitlines()[-1]


def test_ctrl_c_ends_following_quietly(path, writer):
    writer(path, 2, "wait")
    child = terminal("tail", "--follow", "--interval", "0.1")
    child.expect("loss")
    child.expect("0.5")
    child.sendintr()
    assert ended(child) == 130
    assert "Traceback" not in child.before
    assert "Abort" not in child.before


def test_an_interrupted_export_leaves_no_file(path, tmp_path):
    target = tmp_path / "out.csv"
    script = (
        "import os, signal, sys\n"
        "from traininglog.cli import main\n"
        "from traininglog.cli.commands import export\n"
        "export.ExportedRun = lambda *a: os.kill(os.getpid(), signal.SIGINT)\n"
        f"sys.argv = ['traininglog', 'export', '-o', {str(target)!r}]\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 128 + signal.SIGINT
    assert result.stderr == ""
    assert [file for file in tmp_path.iterdir() if "csv" in file.name] == []


# -- a terminal -----------------------------------------------------------------------------


def test_on_a_terminal_runs_are_coloured_and_fit(path):
    with SQLiteLog(path) as log:
        log.status["name"] = "n" * 200
    child = terminal("runs")
    assert ended(child) == 0
    text = child.before
    assert "\x1b[32m" in text
    assert "\x1b[2J" not in text
    assert r"[red]x[/red]\x1b[2J" in text
    assert "nnn…" in text
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == 3


def test_export_to_a_terminal_is_escaped(path):
    with SQLiteLog(path) as log:
        log[1]["\x1b[2J"] = "\u202e"
    child = terminal("export")
    assert ended(child) == 0
    assert "\x1b[2J" not in child.before
    assert r"\u202e" in child.before


def test_delete_asks_on_a_terminal(path):
    with Store(path) as store:
        run = store.latest().hex
    child = terminal("delete", run[:8])
    child.expect(r"Delete 1 run for good\? \[y/N\]")
    child.sendline("n")
    assert ended(child) == 1
    assert "nothing was deleted" in child.before
    child = terminal("delete", run[:8])
    child.expect(r"\[y/N\]")
    child.sendline("y")
    assert ended(child) == 0
    assert "1 run deleted" in child.before


def test_ctrl_c_at_the_question_deletes_nothing(path):
    child = terminal("delete", Store(path).latest().hex)
    child.expect(r"\[y/N\]")
    child.sendintr()
    assert ended(child) in (1, 130)
    assert "Traceback" not in child.before
    with Store(path) as store:
        assert len(store.runs()) == 1


def test_a_plot_fits_the_terminal_and_is_coloured(path):
    pytest.importorskip("plotille")
    child = terminal("plot", "-k", "loss")
    assert ended(child) == 0
    assert "\x1b[94m" in child.before
    lines = re.sub(r"\x1b\[[0-9;]*m", "", child.before).splitlines()
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "arguments",
    [
        ["merge", "{other}"],
        ["export", "--all", "-o", "{out}"],
        ["export", "--all", "--format", "parquet", "-o", "{out}"],
        ["seal"],
    ],
    ids=" ".join,
)
def test_progress_is_shown_on_a_terminal_and_nowhere_else(path, tmp_path, arguments):
    with SQLiteLog(tmp_path / "other.db") as log:
        log[1]["x"] = 1
    script = (
        "from traininglog.cli import main\n"
        "from traininglog.cli.output import terminal\n"
        "terminal.PATIENCE = 0\n"
        "main()\n"
    )
    places = {"other": tmp_path / "other.db", "out": tmp_path / "out.csv"}
    words = [word.format(**places) for word in arguments]
    child = pexpect.spawn(
        sys.executable,
        ["-c", script, *words],
        env=os.environ | {"TERM": "xterm-256color"},
        encoding="utf-8",
        timeout=GUARD,
    )
    assert ended(child) == 0
    assert "━" in child.before
    assert "1/1" in child.before
    (tmp_path / "out.csv").unlink(missing_ok=True)
    quiet = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    assert "━" not in quiet.stdout + quiet.stderr


def test_a_run_shows_up_while_it_is_written(path, writer):
    writer(path, 1, "wait")
    deadline = time.monotonic() + GUARD
    while "running" not in (text := finished("runs", "-n", "1").stdout):
        assert time.monotonic() < deadline, text


def test_the_script_and_the_module_are_the_same(path):
    script = Path(sys.executable).parent / "traininglog"
    if not script.exists():
        pytest.skip("the package is not installed here")
    result = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == finished("--version").stdout
