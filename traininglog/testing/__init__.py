"""What every store must pass: a conformance suite and a state machine, for your own store, too.

A store outside this package is tested like ours are::

    from traininglog.testing import LogConformance, log_machine

    class TestMyStore(LogConformance):
        @pytest.fixture
        def open_log(self, tmp_path):
            return lambda uuid=None, **options: MyLog(tmp_path / "log", uuid, **options)

    TestMyMachine = log_machine({"mine": lambda folder, uuid: MyLog(folder / "log", uuid)}).TestCase

`open_log()` opens a new log and ``open_log(uuid)`` an existing one of the same store. The suite
asks for nothing else and does not care which store it has. It needs the extra ``test``: pytest and
Hypothesis.

A store for trials is tested by `TrialConformance`, with a fixture `open_store` that returns a
function: each call opens the same store anew.
"""

import pytest

# Plain assertions in these modules are to explain themselves when they fail, as in a test file.
pytest.register_assert_rewrite(
    "traininglog.testing.conformance", "traininglog.testing.machine", "traininglog.testing.trials"
)

from traininglog.testing.conformance import LogConformance  # noqa: E402 - after the line above
from traininglog.testing.machine import log_machine  # noqa: E402
from traininglog.testing.trials import TrialConformance  # noqa: E402

__all__ = ["LogConformance", "TrialConformance", "log_machine"]
