"""Of what somebody has made up, beside a store or inside it, no command hangs, grows or breaks.

Each case is one of `crafted.cases`: a kind and a number. `TESTS_CRAFTED` says how many are tried,
in that order; 24 unless it is set: one of each kind, and each with a few of the commands.
"""

import os
import shutil
from pathlib import Path

import pytest
from faults import crafted, nursery

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs names of POSIX"),
    pytest.mark.xdist_group("crafted"),  # they share a process from which others are forked
]

# Read here, as settings from outside are kept out of the tests themselves.
CASES = crafted.cases()[: int(os.environ.get("TESTS_CRAFTED", "24"))]

# How many of the commands are tried on each.
EVERY = len(crafted.commands(Path()))
MOST = 6 if "TESTS_CRAFTED" not in os.environ else EVERY

# What a case may take at the most, on a machine that has other things to do; in seconds.
WALL = 900.0


@pytest.fixture(scope="module", autouse=True)
def _no_settings_from_outside_in_processes():
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TRAININGLOG_")]:
            patch.delenv(name)
        yield


def in_a_process(script, *arguments, errors):
    with errors.open("wb") as file:
        child = nursery.start(
            script, *arguments, imports=crafted.IMPORTS, stdout=file.fileno(), stderr=file.fileno()
        )
        crafted.wait(child, WALL)
    return child.returncode


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with a store, as a killed process left it."""
    folder = tmp_path_factory.mktemp("crafted") / "sound"
    errors = folder.with_name("errors")
    script = "import warnings; warnings.resetwarnings(); from pathlib import Path\n"
    script += "crafted.prepare(Path(sys.argv[1]))"
    assert in_a_process(script, folder, errors=errors) == 0, errors.read_text()
    assert list(folder.glob("runs.db-tail-*"))
    return folder


def outcome(sound, folder, craft, case, most):
    shutil.copytree(sound, folder)
    craft(folder)
    told = folder.with_name("told")
    script = """
from pathlib import Path
folder, told, case, most = sys.argv[1:]
crafted.look(Path(folder), Path(told), case, int(most))
"""
    errors = folder.with_name("errors")
    status = in_a_process(script, folder, told, case, most, errors=errors)
    answers, hung = crafted.answers(told)
    return status, answers, hung, errors.read_text()


def test_of_a_sound_store_every_command_ends_well(sound, tmp_path):
    """So that what is found below comes from what was made up."""
    status, answers, hung, errors = outcome(
        sound, tmp_path / "folder", lambda _: None, "sound", EVERY
    )
    assert (status, hung) == (0, None), errors
    assert {one.command: (one.status, one.wrong) for one in answers} == dict.fromkeys(
        crafted.commands(sound), (0, "")
    ), [one for one in answers if one.status or one.wrong]


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_what_was_made_up_costs_a_line_and_no_more(sound, tmp_path, kind, number):
    """Status 0 or 1, no traceback, two seconds of the processor and 200 MiB at the most."""
    status, answers, hung, errors = outcome(
        sound,
        tmp_path / "folder",
        lambda folder: crafted.craft(folder, kind, number),
        f"{kind} {number}",
        MOST,
    )
    assert hung is None, f"{hung} did not end: {status} {errors[-2000:]}"
    assert status == 0, errors
    assert [one.command for one in answers] == crafted.chosen(f"{kind} {number}", MOST)
    wrong = [f"{one.command}: {one.wrong}\n{one.errors}" for one in answers if one.wrong]
    assert not wrong, "\n".join(wrong)
