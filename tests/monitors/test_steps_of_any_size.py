"""Steps past what a float holds are counted exactly."""

import pandas as pd
import pytest

from traininglog import TrainingLog
from traininglog.monitors import DataframeMonitor, LogMonitor

START = 2**53


@pytest.mark.parametrize("kind", [int, float])
def test_steps_past_what_a_float_holds_are_counted_on_exactly(kind):
    log = TrainingLog()
    log[1]["step"] = START + 1
    monitor = LogMonitor(log)
    monitor.start_session(None)
    for step in (1, 2, 3):
        monitor.write({"loss": 1.0}, kind(step))
    assert log[:]["step"].to_list() == [START + 1, START + 2, START + 3, START + 4]


def test_a_frame_with_steps_past_what_a_float_holds_is_taken_as_it_is():
    steps = [START + 1, START + 2, START + 3]
    given = pd.DataFrame({"loss": [1.0, 0.5, 0.25]}, index=steps)
    assert DataframeMonitor(given).df.index.to_list() == steps
