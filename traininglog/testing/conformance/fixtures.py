"""The fixtures of every part of the suite: a way to open logs of one store, and a new log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from traininglog import TrainingLogBase

OpenLog = Callable[..., TrainingLogBase]


class LogFixtures:
    """The fixtures of the suite. A subclass overrides `open_log`."""

    @pytest.fixture
    def open_log(self) -> OpenLog:
        """Return a callable that opens a new log of one store, or with a UUID an existing one."""
        raise NotImplementedError("override the fixture open_log")

    @pytest.fixture
    def log(self, open_log: OpenLog) -> TrainingLogBase:
        """Return a new log."""
        return open_log()
