"""A monitor pays for what it uses, when it uses it."""

import subprocess
import sys

HEAVY = {
    "numpy", "pandas", "matplotlib", "rich", "sqlalchemy", "IPython", "tensorboardX", "losswise",
    "typer", "torch",
}  # fmt: skip


def imported(script):
    script += "\nimport sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split()) & HEAVY


def test_importing_the_monitors_imports_nothing_heavy():
    assert imported("import traininglog.monitors") == set()


def test_writing_in_memory_imports_nothing_heavy():
    script = """
from traininglog import open_log
from traininglog.monitors import *
writer = type("Writer", (), {"add_scalar": lambda *_: None})()
monitor = sum([
    LogMonitor(open_log("memory:")), DataframeMonitor(), RingbufferMonitor(), NanGuard(),
    StdoutMonitor(["loss"]), TensorBoardMonitor(writer),
])
with monitor.session(3):
    for step in range(1, 4):
        monitor.write({"loss": 1.0, "model": {"norm": 2.0}}, step)
"""
    assert imported(script) == set()


def test_a_frame_brings_pandas_and_a_plot_matplotlib():
    script = """
from traininglog.monitors import DataframeMonitor
monitor = DataframeMonitor()
monitor.write({"loss": 1.0}, 1)
monitor.df
"""
    assert imported(script) == {"numpy", "pandas"}
    assert imported(script + "monitor.plot()") == {"numpy", "pandas", "matplotlib"}
