"""Waiting in tests: for what must come about, however busy the machine is."""

import time

#: A guard against hanging, in seconds, and nothing else: no test says by it how fast anything is.
GUARD = 600.0


def until(condition, pause=0.002):
    """Wait until something is so."""
    end = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < end, "it has not come about"
        time.sleep(pause)
