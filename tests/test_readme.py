"""What the README says is so: its code runs, its commands exist, its links lead somewhere."""

import re
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from patience import GUARD

from traininglog.cli.app import app
from traininglog.config import _SETTINGS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


def test_every_block_of_code_is_of_a_kind_tested_here():
    assert {name for name, _ in BLOCKS} == {"sh", "python", "py", "sql", "toml", "text"}


def test_the_code_runs(tmp_path, monkeypatch):
    """The Python from top to bottom in one folder, then SQL and commands on what it left."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks("python")), encoding="utf-8")
    subprocess.run([sys.executable, "-W", "error", script], check=True, timeout=GUARD)
    assert Path("runs.db").is_file()
    connection = sqlite3.connect("runs.db")
    for query in blocks("sql"):
        assert len(connection.execute(query).fetchall()) == 5
    connection.close()
    lines = [line for text in blocks("sh") for line in text.splitlines() if line]
    commands = [line for line in lines if line.startswith("traininglog ")]
    assert commands
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    for line in lines:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            environment[name] = value
    for command in commands:
        result = subprocess.run(
            ["/bin/sh", "-c", command], env=environment, capture_output=True, text=True,
            timeout=GUARD, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"


def test_make_targets_exist():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for line in "\n".join(blocks("sh")).splitlines():
        if line.startswith("make "):
            assert line.split()[1] in targets
    for target in re.findall(r"`make (\w+)", README):
        assert target in targets


def test_the_two_commands_stand_at_the_top():
    assert [line.split("  ")[0] for line in blocks("sh")[0].splitlines()] == [
        "make demo",
        "make test",
    ]


def test_settings_are_those_that_exist():
    (text,) = blocks("toml")
    defaults = {name: default for name, (default, _) in _SETTINGS.items() if default is not None}
    assert tomllib.loads(text) == defaults
    for name in _SETTINGS:
        assert f"TRAININGLOG_{name.upper()}" in README


@pytest.mark.parametrize("name", sorted(typer.main.get_command(app).commands))
def test_every_command_is_mentioned(name):
    assert f"traininglog {name}" in README


def test_every_extra_is_mentioned_and_no_other():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in project["optional-dependencies"]:
        assert f"`{extra}`" in README or extra == "lint"


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
