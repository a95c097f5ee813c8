"""The contract of `TrainingLogBase`, as tests that every store must pass: a class per topic."""

from __future__ import annotations

from traininglog.testing.conformance.frames import FrameConformance
from traininglog.testing.conformance.imports import ImportConformance
from traininglog.testing.conformance.lifecycle import LifecycleConformance
from traininglog.testing.conformance.lineage import LineageConformance
from traininglog.testing.conformance.rows import RowConformance
from traininglog.testing.conformance.status import StatusConformance
from traininglog.testing.conformance.values import ValueConformance


class LogConformance(
    RowConformance,
    ValueConformance,
    FrameConformance,
    StatusConformance,
    LineageConformance,
    LifecycleConformance,
    ImportConformance,
):
    """The whole suite. A subclass defines the fixture `open_log`; see `traininglog.testing`."""
