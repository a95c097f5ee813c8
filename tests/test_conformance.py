"""Every store of the package passes the suite that it ships for others."""

import pytest

from traininglog import SQLiteLog, TrainingLog
from traininglog.testing import LogConformance


class TestMemory(LogConformance):
    @pytest.fixture
    def open_log(self):
        kept = []  # a run in memory lives as long as some log holds it

        def open_log(uuid=None, **options):
            kept.append(TrainingLog(uuid, **options))
            return kept[-1]

        return open_log


class TestSealing(LogConformance):
    """Whatever is flushed is sealed, and sealed again."""

    @pytest.fixture
    def open_log(self, tmp_path, always_sealing):
        return lambda uuid=None, **options: SQLiteLog(tmp_path / "runs.db", uuid, **options)


class TestSQLiteFile(LogConformance):
    @pytest.fixture
    def open_log(self, tmp_path):
        return lambda uuid=None, **options: SQLiteLog(tmp_path / "runs.db", uuid, **options)
