"""The tests that every store must pass: a conformance suite and a state machine.

A store outside this package is tested in the same way as ours::

    from traininglog.testing import LogConformance, log_machine

    class TestMyStore(LogConformance):
        @pytest.fixture
        def open_log(self, tmp_path):
            return lambda uuid=None, **options: MyLog(tmp_path / "log", uuid, **options)

    TestMyMachine = log_machine({"mine": lambda folder, uuid: MyLog(folder / "log", uuid)}).TestCase

`open_log()` opens a new log and ``open_log(uuid)`` an existing one of the same store. The suite
needs nothing else and does not depend on the kind of store. It needs the extra ``test``: pytest and
Hypothesis.

`TrialConformance` tests a store for trials, by a fixture `open_store` that returns a function. Each
call of it opens the same store anew.
"""

import pytest

# Rewrite the assertions in these modules, so that they explain a failure, as in a test file.
pytest.register_assert_rewrite(
    "traininglog.testing.conformance", "traininglog.testing.machine", "traininglog.testing.trials"
)

from traininglog.testing.conformance import LogConformance  # noqa: E402 - after the line above
from traininglog.testing.machine import log_machine  # noqa: E402
from traininglog.testing.trials import TrialConformance  # noqa: E402

__all__ = ["LogConformance", "TrialConformance", "log_machine"]
