"""Logs that seal after every few writes, where a log of ours waits for thousands."""

import numpy  # noqa: F401 - without which logs would wait for more to seal

from traininglog.sql import compaction
from traininglog.sqlite.sink import compaction as when


def seal_often(put=setattr, most=3):
    """Have logs of this process seal whatever they flush; with more than `most`, at once."""
    for name in ("ENOUGH", "FEWEST", "_LEAST"):
        put(when, name, 1)
    put(when, "MOST", most)
    put(compaction, "LEAST", 1)
