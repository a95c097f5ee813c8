"""A loop costs nothing to import, and brings in nothing that it does not need."""

import subprocess
import sys

PROGRAM = """
import sys
from traininglog import TrainingLog
from traininglog.loop import TrainLoop

log = TrainingLog()
params = {"steps": 0}
with TrainLoop(params, log=log, max_epoch=2, early_stopping=True, progress=False,
               checkpoint_dir=sys.argv[1]) as loop:
    for epoch in loop.iter_epochs():
        for step, _ in loop.iter_steps("ab"):
            params["steps"] += 1
            loop.collect_metrics(loss=1 / step)
        loop.collect_metrics(valid_loss=1 / epoch)
        loop.print_logs()
loaded = {name.split(".")[0] for name in sys.modules}
print(*sorted(loaded & {"numpy", "torch", "pandas", "rich", "sqlalchemy", "tqdm", "jax"}))
"""


def test_a_loop_over_plain_numbers_needs_no_other_package(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, tmp_path / "checkpoints"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == ""
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
