"""What the README and the pages of docs/ say is so: code runs, commands exist, links lead on."""

import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from patience import GUARD

import traininglog
from traininglog import config, errors
from traininglog.cli.app import app
from traininglog.loop import errors as loop_errors
from traininglog.trials import trial_errors

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [README, *sorted((ROOT / "docs").rglob("*.md"))]
}

#: What pages hold: commands, Python that runs, programs that tests/loop/test_examples.py runs and
#: kills, SQL, settings, plain text, what tests/loop/test_existing_script.py compares.
KINDS = {"sh", "python", "py", "sql", "toml", "text", "diff"}

#: Directives of Sphinx that pages hold; `make docs` examines them.
DIRECTIVES = {"{toctree}", "{eval-rst}", "{commands}", "{include}"}

#: The README is to be read in five minutes.
MOST_LINES = 150


def blocks(text, language):
    found = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [body for name, body in found if name.split(" ")[0] == language]


def commands(text):
    """Give the lines of a page's shell blocks, without what is said behind them."""
    lines = "\n".join(blocks(text, "sh")).splitlines()
    return [line.partition("  #")[0].rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_code_is_of_a_kind_tested_here(page):
    found = re.findall(r"^```(\S+)", PAGES[page], flags=re.MULTILINE)
    assert set(found) <= KINDS | DIRECTIVES
    assert page.startswith("docs/") or set(found) <= KINDS  # the README is shown by others, too


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if "```python" in text])
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    """The Python from top to bottom in one folder, then SQL and commands on what it left."""
    monkeypatch.chdir(tmp_path)
    text = PAGES[page]
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(text, "python")), encoding="utf-8")
    subprocess.run([sys.executable, "-W", "error", script], check=True, timeout=GUARD)
    for query in blocks(text, "sql"):
        connection = sqlite3.connect("runs.db")
        assert len(connection.execute(query).fetchall()) == 5
        connection.close()
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    for command in commands(text):
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            environment[name] = value
        elif command.startswith("traininglog "):
            result = subprocess.run(
                ["/bin/sh", "-c", command], env=environment, capture_output=True, text=True,
                timeout=GUARD, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_the_shell_for_nothing_that_is_not_tried(page):
    """Commands of ours stand on a page whose Python makes what they look at."""
    kinds = {command.split(" ")[0] for command in commands(PAGES[page])}
    assert kinds <= {"make", "pip", "export", "traininglog"}
    assert "traininglog" not in kinds or blocks(PAGES[page], "python")


def test_make_targets_exist_and_are_told_of():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, flags=re.MULTILINE))
    told = set(re.findall(r'^\t@echo "make (\w+)', makefile, flags=re.MULTILINE))
    assert told == targets - {"help"}
    for text in PAGES.values():
        lines = "\n".join(blocks(text, "sh")).splitlines()
        used = {line.split()[1] for line in lines if line.startswith("make ")}
        used |= set(re.findall(r"`make (\w+)", text))
        assert used <= targets


def test_pip_asks_for_extras_that_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    for text in PAGES.values():
        for command in commands(text):
            if command.startswith("pip "):
                found = re.fullmatch(r"pip install (\.|'\.\[([\w,]+)\]')", command)
                assert found, command
                assert set(found[2].split(",") if found[2] else []) <= extras
    told = set(re.findall(r"`(\w+)`", _column(PAGES["docs/guide/installing.md"], "extra")))
    assert told == extras


def _column(text, heading):
    """Return the first column of the table that has this heading."""
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[-| ]+\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    return "\n".join(line.split("|")[1] for line in table.splitlines())


# -- the README -----------------------------------------------------------------------------


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= MOST_LINES


def test_the_two_commands_stand_at_the_top_after_one_sentence():
    text = PAGES["README.md"]
    assert [line.split("  ")[0] for line in blocks(text, "sh")[0].splitlines()] == [
        "make demo",
        "make test",
    ]
    heading, sentence, *_ = text.split("\n\n")
    assert heading == "# traininglog"
    assert sentence.count(".") == sentence.endswith(".")
    assert text.index("```sh") == len(heading) + len(sentence) + 4


def test_each_of_the_instruments_is_in_the_table_that_says_which_to_use():
    table = PAGES["README.md"].split("## Which of these do I use?")[1].split("\n## ")[0]
    for name in ("log", "monitor", "loop", "trial", "lens"):
        assert re.search(rf"\| an? \[{name}\]\(docs/guide/\w+\.md\)", table), name


# -- the pages ------------------------------------------------------------------------------


def test_settings_are_those_that_exist():
    text = PAGES["docs/guide/settings.md"]
    (settings,) = blocks(text, "toml")
    known = config._SETTINGS
    assert tomllib.loads(settings) == {
        name: default for name, (default, _) in known.items() if default is not None
    }
    assert set(re.findall(r"`(\w+)`", _column(text, "setting"))) == set(known)
    for name in known:
        assert f"TRAININGLOG_{name.upper()}" in text


@pytest.mark.parametrize("name", sorted(typer.main.get_command(app).commands))
def test_every_command_is_mentioned(name):
    assert f"traininglog {name}" in PAGES["docs/guide/command-line.md"]


def test_every_error_has_a_remedy():
    """The page of remedies names each error of the package, and no other."""
    text = PAGES["docs/troubleshooting.md"].split("## Warnings")[0]
    named = {
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    leaves = {
        name
        for module in (errors, loop_errors, trial_errors)
        for name, each in vars(module).items()
        if isinstance(each, type) and issubclass(each, errors.TrainingLogError)
    }
    assert named == leaves - {"TrainingLogError"}


def test_every_place_that_the_glossary_names_is_there():
    for line in PAGES["docs/glossary.md"].splitlines():
        if line.startswith("| ") and not line.startswith(("| word", "| ---")):
            *_, place, _ = (cell.strip() for cell in line.split("|"))
            named = re.findall(r"`([\w/.]+)`", place)
            assert named or place == "planned", line
            for path in named:
                package = Path(traininglog.__file__).parent
                assert (package / path).exists() or (ROOT / path).exists(), path


# -- links ----------------------------------------------------------------------------------


def anchors(text):
    """Return the anchors of a page's headings, as those who show Markdown make them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    folder = (ROOT / page).parent
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", PAGES[page]):
        if "://" in target:
            continue
        path = Path(os.path.normpath(folder / target)) if target else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(PAGES[path.relative_to(ROOT).as_posix()]), f"{target}#{anchor}"


def test_every_page_can_be_reached_from_the_readme():
    reached, todo = set(), ["README.md"]
    while todo:
        page = todo.pop()
        if page in PAGES and page not in reached:
            reached.add(page)
            folder = (ROOT / page).parent
            links = re.findall(r"\]\(([^)#\s]+)", PAGES[page])
            links += [
                f"{name}.md" for text in blocks(PAGES[page], "{toctree}") for name in text.split()
            ]
            todo += [
                Path(os.path.normpath(folder / target)).relative_to(ROOT).as_posix()
                for target in links
                if "://" not in target
            ]
    assert reached == set(PAGES)
