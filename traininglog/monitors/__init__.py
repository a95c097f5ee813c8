"""Monitors: a trainer calls one once a step, and the monitor records or shows the measurements.

The main method of a `Monitor` is ``write(data, step)``. Monitors can be added, and a session ends
whatever happens:

>>> from traininglog import open_log
>>> from traininglog.monitors import LogMonitor, RingbufferMonitor
>>> log = open_log("memory:")
>>> monitor = LogMonitor(log) + RingbufferMonitor(capacity=2, key="loss")
>>> with monitor.session(num_steps=3):
...     for step in range(1, 4):
...         monitor.write({"loss": 1 / step, "model": {"norm": 2.0 * step}}, step)
>>> log[3]
{'step': 3.0, 'loss': 0.3333333333333333, 'model/norm': 6.0}
>>> monitor.ringbuffer_monitor.mean()
0.41666666666666663

No monitor needs a library before it is used: the first call that needs a heavy one imports it.
"""

from traininglog.monitors.base import CompositeMonitor, Monitor, StopTraining
from traininglog.monitors.dataframe import DataframeMonitor
from traininglog.monitors.flattening import BLACKLIST
from traininglog.monitors.log_monitor import LogMonitor
from traininglog.monitors.losswise import LosswiseMonitor
from traininglog.monitors.nan import NanGuard, NotFinite
from traininglog.monitors.ringbuffer import RingbufferMonitor
from traininglog.monitors.stdout import StdoutMonitor
from traininglog.monitors.tensorboard import TensorBoardMonitor

__all__ = [
    "BLACKLIST",
    "CompositeMonitor",
    "DataframeMonitor",
    "LogMonitor",
    "LosswiseMonitor",
    "Monitor",
    "NanGuard",
    "NotFinite",
    "RingbufferMonitor",
    "StdoutMonitor",
    "StopTraining",
    "TensorBoardMonitor",
]
