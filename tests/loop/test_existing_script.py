"""The programs in docs/examples do what their pages say."""

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

from patience import GUARD

from traininglog import Store

DOCS = Path(__file__).resolve().parents[2] / "docs"
PYTORCH = DOCS / "examples" / "plain_pytorch"


def ran(program, folder, **more):
    """Run a program in a folder; return its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | more, timeout=GUARD, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_the_page_shows_the_difference_between_the_two_programs():
    before, after = (
        (PYTORCH / name).read_text(encoding="utf-8").splitlines()
        for name in ("before.py", "after.py")
    )
    lines = [
        line
        for line in difflib.unified_diff(before, after, n=1, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    page = (DOCS / "guide" / "existing-script.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```diff\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert shown.splitlines() == lines
    assert sum(line.startswith("+") and len(line) > 1 for line in lines) == 5
    assert not any(line.startswith("-") for line in lines)


def test_a_plain_training_with_five_lines_more_is_one_curve_however_often_it_is_resumed(
    torch, tmp_path
):
    program = (PYTORCH / "after.py").read_text(encoding="utf-8")
    killed = tmp_path / "killed.py"  # in the midst of an epoch, after a checkpoint
    step = "        optimizer.step()\n"
    kill = "        if (epoch, batch) == (3, 10):\n            os.kill(os.getpid(), 9)\n"
    killed.write_text("import os\n" + program.replace(step, step + kill), encoding="utf-8")
    assert ran(killed, tmp_path)[0] == -9
    code, printed = ran(PYTORCH / "after.py", tmp_path)
    assert code == 0
    assert [line.split(":")[0] for line in printed.splitlines()] == [
        "epoch 3", "epoch 4", "epoch 5",
    ]  # fmt: skip
    with Store(tmp_path / "runs.db") as store:
        (info,) = store.iter_runs(where="config.lr == 0.05")
        assert (info.resumes, info.rows, info.last_time) == (1, 100, 100)
        frame = store.log(info.uuid, readonly=True).to_dataframe()
    assert list(frame.index) == list(range(1, 101))
    alone = tmp_path / "alone"
    alone.mkdir()
    assert ran(PYTORCH / "before.py", alone)[1].splitlines()[2:] == printed.splitlines()
